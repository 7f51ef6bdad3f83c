"""Drug-free intervals."""

from typing import ClassVar

from optimizer.constraints.base import AbstractDoseLimit, ConstraintError, DoseFrame
from optimizer.fields import setting


class RestPeriod(AbstractDoseLimit):
    """No drug in the decision intervals that start in [start, stop), again every `every` days when that is given."""

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
        since = frame.edges[:-1] - self.start
        inside = since >= -1e-9
        phase = since if self.every is None else (since + 1e-9) % self.every - 1e-9
        inside &= phase < self.stop - self.start - 1e-9
        if not inside.any():
            raise ConstraintError(
                f"rest_period: no decision interval starts between day {self.start:g} and day {self.stop:g}"
            )
        for j in columns:
            if (frame.lower[inside, j] > 0).any():
                raise ConstraintError(f"rest_period: {frame.drugs[j]} has a smallest dose above zero in the rest")
            frame.upper[inside, j] = 0.0
