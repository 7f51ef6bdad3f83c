"""Drug-free intervals."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float

from optimizer.constraints.base import AbstractDoseLimit, Check, ConstraintError, DoseFrame
from optimizer.constraints.given import SAME, Given
from optimizer.fields import setting


class RestPeriod(AbstractDoseLimit):
    """No drug in the decision intervals that start in [start, stop), again every `every` days when that is given.

    Off the decision grid: no bolus at these times, and no infusion that flows at any of them.
    """

    kind: ClassVar[str] = "rest_period"
    start: float = setting(unit="day", doc="first day of rest", minimum=0.0)
    stop: float = setting(unit="day", doc="day on which dosing may resume", positive=True)
    drug: str | None = setting(doc="name of the drug; all drugs when left out", default=None)
    every: float | None = setting(
        unit="day", doc="period of repetition; once when left out", default=None, positive=True
    )

    def apply(self, frame: DoseFrame) -> None:
        if self.stop <= self.start:
            raise ConstraintError(f"rest_period: wanted stop after start, got {self.start:g} to {self.stop:g} day")
        columns = range(len(frame.drugs)) if self.drug is None else [frame.column(self.drug)]
        inside = self._rests(frame.edges[:-1])
        if not inside.any():
            raise ConstraintError(
                f"rest_period: no decision interval starts between day {self.start:g} and day {self.stop:g}"
            )
        for j in columns:
            if (frame.lower[inside, j] > 0).any():
                raise ConstraintError(f"rest_period: {frame.drugs[j]} has a smallest dose above zero in the rest")
            frame.upper[inside, j] = 0.0

    def _rests(self, times: Float[np.ndarray, "X"]) -> Bool[np.ndarray, "X"]:
        """Which of these times [X, day] are in a rest."""
        since = times - self.start
        phase = since if self.every is None else (since + SAME) % self.every - SAME
        return (since >= -SAME) & (phase < self.stop - self.start - SAME)

    def judge(self, frame: DoseFrame, given: Sequence[Given]) -> Check:
        columns = range(len(frame.drugs)) if self.drug is None else [frame.column(self.drug)]
        # An infusion that runs at any time of a rest runs when the rest begins, or begins in it.
        begins = np.array([self.start])
        if self.every is not None:
            begins = np.arange(self.start, float(frame.edges[-1]), self.every)
        worst = 0.0
        for j in columns:
            own = given[j]
            there = np.r_[own.rate(begins), own.doses[self._rests(own.starts)]]
            worst = max(worst, float(np.max(there, initial=0.0)))
        name = "rest_period" + ("" if self.drug is None else f" of {self.drug}")
        return Check.at_most(name, worst, 0.0, worst)
