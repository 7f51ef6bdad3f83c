"""What every contender gives back, and what it is asked."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np


class Answer(NamedTuple):
    """Doses that a contender found.

    Attributes:
        doses: [K, N], as its solver left them.
        iterations: of its solver; over all temperatures where there are several.
        evaluations: of the objective, those for differences included; 0 where the solver does not say.
        note: why it stopped, where that was not convergence.
    """

    doses: np.ndarray
    iterations: int
    evaluations: int
    note: str = ""


class Contender(Protocol):
    """A way to solve one benchmark; building it is the work that is done once."""

    def solve(self, patient: Sequence[float] | None = None) -> Answer:
        """The doses of a patient (the numbers that differ, in the scenario's order), the typical one when None."""
        ...
