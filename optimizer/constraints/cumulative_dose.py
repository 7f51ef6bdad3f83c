"""Most drug in total or in any rolling window."""

from typing import ClassVar

import numpy as np

from optimizer.constraints.base import AbstractDoseLimit, DoseFrame, Row
from optimizer.fields import setting


class CumulativeDose(AbstractDoseLimit):
    """Sum of the doses <= limit, over the horizon or over every window of `window` days.

    A window [t, t + window) that starts at a decision holds the boluses given inside it and the infusions of the
    intervals that start inside it; windows that start at decisions are the worst ones.
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
        key = f"cumulative_dose of {self.drug}" + ("" if self.window is None else f" in {self.window:g} day")
        last = -1
        for start in starts:
            inside = np.flatnonzero((begins >= start - 1e-9) & (begins < start + length - 1e-9))
            # A window that ends where the one before it ended holds no more than that one.
            if inside[-1] == last:
                continue
            last = inside[-1]
            name = key if self.window is None else f"{key} from day {start:g}"
            frame.rows.append(Row(name, (inside, j), amounts[inside], frame.lower.shape, self.limit, key))
