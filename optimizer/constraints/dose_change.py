"""Largest change of the dose from one decision to the next."""

from typing import ClassVar

import numpy as np

from optimizer.constraints.base import AbstractDoseLimit, DoseFrame, Row
from optimizer.fields import setting


class DoseChange(AbstractDoseLimit):
    """|dose_k - dose_(k-1)| <= limit for each k >= 1."""

    kind: ClassVar[str] = "dose_change"
    drug: str = setting(doc="name of the drug")
    limit: float = setting(unit="dose", doc="largest step between neighboring decisions", minimum=0.0)

    def apply(self, frame: DoseFrame) -> None:
        j = frame.column(self.drug)
        key = f"dose_change of {self.drug}"
        for k in range(1, len(frame.lower)):
            for sign in (1.0, -1.0):
                used, weights = (np.array([k - 1, k]), j), np.array([-sign, sign])
                name = f"{key} at day {frame.edges[k]:g}"
                frame.rows.append(Row(name, used, weights, frame.lower.shape, self.limit, key))
