"""The doses that a vial or a pump can deliver."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from optimizer.constraints.base import AbstractDoseLimit, Check, ConstraintError, DoseFrame
from optimizer.constraints.given import Given
from optimizer.fields import setting

_MOST_LEVELS = 100_000


class DoseLevels(AbstractDoseLimit):
    """Every dose is a multiple of a quantum, or one of a list (to which no drug, 0, always belongs)."""

    kind: ClassVar[str] = "dose_levels"
    drug: str = setting(doc="name of the drug")
    quantum: float | None = setting(
        unit="dose", doc="smallest step: every dose is a multiple of it", default=None, positive=True
    )
    levels: tuple[float, ...] | None = setting(unit="dose", doc="allowed doses", default=None, minimum=0.0, ndim=1)

    def apply(self, frame: DoseFrame) -> None:
        j = frame.column(self.drug)
        if (self.quantum is None) == (self.levels is None):
            raise ConstraintError(f"dose_levels of {self.drug}: wanted either a quantum or a list of levels")
        most = float(frame.upper[:, j].max())
        if self.levels is not None:
            allowed = np.unique(np.array([0.0, *self.levels]))
        else:
            quantum = self.quantum or 0.0
            count = most / quantum
            if not count < _MOST_LEVELS:
                raise ConstraintError(
                    f"dose_levels of {self.drug}: a quantum of {quantum:g} gives more than {_MOST_LEVELS} levels"
                )
            # Multiples as the nearest decimals: 3 x 0.1 is 0.3, not 0.30000000000000004.
            allowed = np.array([float(f"{k * quantum:.15g}") for k in range(int(count + 1e-9) + 1)])
        allowed = allowed[allowed <= most]
        lowest = frame.lower[:, j]
        if not all(((allowed >= lo) & (allowed <= hi)).any() for lo, hi in zip(lowest, frame.upper[:, j], strict=True)):
            raise ConstraintError(f"dose_levels of {self.drug}: no allowed level lies within the dose bounds")
        frame.levels[self.drug] = allowed

    def judge(self, frame: DoseFrame, given: Sequence[Given]) -> Check:
        """The dose that is farthest from a level, in shares of itself, with its nearest level as the limit."""
        allowed, doses = frame.levels[self.drug], np.unique(given[frame.column(self.drug)].doses)
        name = f"dose_levels of {self.drug}"
        if not doses.size:
            return Check(name, 0.0, 0.0, 0.0)
        above = np.clip(np.searchsorted(allowed, doses), 1, max(len(allowed) - 1, 1))
        pairs = allowed[np.minimum(np.stack([above - 1, above]), len(allowed) - 1)]
        nearest = np.where(doses - pairs[0] <= pairs[1] - doses, *pairs)
        away = np.abs(doses - nearest) / doses
        worst = int(np.argmax(away))
        return Check(name, float(doses[worst]), float(nearest[worst]), float(away[worst]))
