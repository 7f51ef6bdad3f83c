"""Most drug in total or in any rolling window."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from optimizer.constraints.base import AbstractDoseLimit, Check, DoseFrame, Row
from optimizer.constraints.given import Given
from optimizer.fields import setting


class CumulativeDose(AbstractDoseLimit):
    """Sum of the doses <= limit, over the horizon or over every window of `window` days.

    A window [t, t + window) that starts at a decision holds the boluses given inside it and the infusions of the
    intervals that start inside it; windows that start at decisions are the worst ones. Off the decision grid a window
    may start at any time and holds what of an infusion flows inside it.
    """

    kind: ClassVar[str] = "cumulative_dose"
    drug: str = setting(doc="name of the drug")
    limit: float = setting(unit="dose total", doc="most drug", minimum=0.0)
    window: float | None = setting(
        unit="day",
        doc="length of the rolling window; the whole horizon when left out",
        default=None,
        positive=True,
    )

    def apply(self, frame: DoseFrame) -> None:
        j = frame.column(self.drug)
        amounts, begins = frame.amounts(self.drug), frame.edges[:-1]
        starts = begins[:1] if self.window is None else begins
        length = np.inf if self.window is None else self.window
        key = self._label()
        last = -1
        for start in starts:
            inside = np.flatnonzero((begins >= start - 1e-9) & (begins < start + length - 1e-9))
            # A window that ends where the one before it ended holds no more than that one.
            if inside[-1] == last:
                continue
            last = inside[-1]
            name = key if self.window is None else f"{key} from day {start:g}"
            frame.rows.append(Row(name, (inside, j), amounts[inside], frame.lower.shape, self.limit, key))

    def judge(self, frame: DoseFrame, given: Sequence[Given]) -> Check:
        own = given[frame.column(self.drug)]
        return Check.at_most(self._label(), own.total if self.window is None else self._worst(own), self.limit)

    def _label(self) -> str:
        return f"cumulative_dose of {self.drug}" + ("" if self.window is None else f" in {self.window:g} day")

    def _worst(self, given: Given) -> float:
        """Most drug in any window: one of those that begin or end where an event does, at either side of that time."""
        assert self.window is not None
        events = np.r_[given.starts, given.stops]
        first = np.r_[events, events - self.window]
        sides = [given.until(first + self.window, closed) - given.until(first, closed) for closed in (False, True)]
        return float(np.max(np.concatenate(sides), initial=0.0))
