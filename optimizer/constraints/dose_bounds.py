"""Smallest and largest dose of a drug in some or all intervals."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float

from optimizer.constraints.base import AbstractDoseLimit, Check, ConstraintError, DoseFrame
from optimizer.constraints.given import SAME, Given
from optimizer.fields import setting


class DoseBounds(AbstractDoseLimit):
    """minimum <= dose <= maximum in the intervals that start in [start, stop); off the grid, at those times."""

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
        inside = self.holds(frame.edges[:-1])
        if not inside.any():
            until = "the horizon" if self.stop is None else f"day {self.stop:g}"
            raise ConstraintError(
                f"dose_bounds of {self.drug}: no decision interval starts between day {self.start:g} and {until}"
            )
        self.tighten(frame.edges[:-1], frame.lower[:, j], frame.upper[:, j])

    def holds(self, times: Float[np.ndarray, "X"]) -> Bool[np.ndarray, "X"]:
        """At which of these times [X, day] the bounds hold."""
        return (times >= self.start - SAME) & (times < (np.inf if self.stop is None else self.stop - SAME))

    def tighten(
        self, times: Float[np.ndarray, "X"], lower: Float[np.ndarray, "X"], upper: Float[np.ndarray, "X"]
    ) -> None:
        """Change the bounds of the drug at these times [X, day] in place."""
        inside = self.holds(times)
        if self.minimum is not None:
            lower[inside] = np.maximum(lower[inside], self.minimum)
        if self.maximum is not None:
            # An allowance above the drug's own largest dose widens it: a loading dose.
            upper[inside] = self.maximum

    def judge(self, frame: DoseFrame, given: Sequence[Given]) -> Check | None:
        return None  # the drug's own bounds, which these change, are judged once for all
