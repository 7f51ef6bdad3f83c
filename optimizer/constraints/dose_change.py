"""Largest change of the dose from one decision to the next."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from optimizer.constraints.base import AbstractDoseLimit, Check, DoseFrame, Row
from optimizer.constraints.given import Given
from optimizer.fields import setting


class DoseChange(AbstractDoseLimit):
    """|dose_k - dose_(k-1)| <= limit for each k >= 1.

    Off the decision grid no rate may step by more. Of boluses there, two that follow each other may not differ by more;
    whether a time without one counts as a dose of zero has no meaning, so that nothing is said where they do not.
    """

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

    def judge(self, frame: DoseFrame, given: Sequence[Given]) -> Check:
        own, name = given[frame.column(self.drug)], f"dose_change of {self.drug}"
        if own.is_infused:
            times = np.unique(np.r_[own.starts, own.stops])
            after = own.rate(times)
            # What runs from the start on is no step, and neither is the end.
            steps = np.where((times > 0.0) & (times < frame.edges[-1]), np.abs(np.diff(after, prepend=0.0)), 0.0)
            return Check.at_most(name, float(np.max(steps)), self.limit, float(frame.upper.max()))
        step = float(np.max(np.abs(np.diff(own.doses)), initial=0.0))
        over = step > self.limit or len(own.doses) == 0
        return Check.at_most(name, step, self.limit, step) if over else Check.unsaid(name, self.limit)
