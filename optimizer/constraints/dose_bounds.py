"""Smallest and largest dose of a drug in some or all intervals."""

from typing import ClassVar

import numpy as np

from optimizer.constraints.base import AbstractDoseLimit, ConstraintError, DoseFrame
from optimizer.fields import setting


class DoseBounds(AbstractDoseLimit):
    """minimum <= dose <= maximum in the intervals that start in [start, stop)."""

    kind: ClassVar[str] = "dose_bounds"
    drug: str = setting(doc="name of the drug")
    minimum: float | None = setting(
        unit="dose", doc="smallest dose; the drug's own when left out", default=None, minimum=0.0
    )
    maximum: float | None = setting(
        unit="dose", doc="largest dose; the drug's own when left out", default=None, minimum=0.0
    )
    start: float = setting(unit="day", doc="first day that it holds", default=0.0, minimum=0.0)
    stop: float | None = setting(
        unit="day",
        doc="day from which it no longer holds; the horizon when left out",
        default=None,
        positive=True,
    )

    def apply(self, frame: DoseFrame) -> None:
        j = frame.column(self.drug)
        begins = frame.edges[:-1]
        inside = (begins >= self.start - 1e-9) & (begins < (np.inf if self.stop is None else self.stop - 1e-9))
        if not inside.any():
            until = "the horizon" if self.stop is None else f"day {self.stop:g}"
            raise ConstraintError(
                f"dose_bounds of {self.drug}: no decision interval starts between day {self.start:g} and {until}"
            )
        if self.minimum is not None:
            frame.lower[inside, j] = np.maximum(frame.lower[inside, j], self.minimum)
        if self.maximum is not None:
            # An allowance above the drug's own largest dose widens it: a loading dose.
            frame.upper[inside, j] = self.maximum
