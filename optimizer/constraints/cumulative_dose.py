"""Most drug in total or in any rolling window."""

from typing import ClassVar

import numpy as np

from optimizer._fields import setting
from optimizer.constraints.base import AbstractDoseLimit, DoseFrame, Row


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
        seen: set[tuple[int, ...]] = set()
        for start in starts:
            inside = (begins >= start - 1e-9) & (begins < start + length - 1e-9)
            members = tuple(np.flatnonzero(inside))
            if any(set(members) <= set(other) for other in seen):
                continue
            seen.add(members)
            coefficients = np.zeros(frame.lower.shape)
            coefficients[inside, j] = amounts[inside]
            name = key if self.window is None else f"{key} from day {start:g}"
            frame.rows.append(Row(name, coefficients, self.limit, key))
