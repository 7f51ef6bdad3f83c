"""Ways of dosing that a problem is asked about besides its own schedule: to compare with, or with numbers left open."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from optimizer.policies.base import AbstractPolicy
from optimizer.simulate import Grid


class Regimen(NamedTuple):
    """A way of dosing to compare with.

    Attributes:
        name: name in tables and figures.
        policy: what it gives: a `Schedule` where doses are listed.
        grid: when it decides.
    """

    name: str
    policy: AbstractPolicy
    grid: Grid


class Rule(NamedTuple):
    """A policy with numbers left open: which ones do best?

    Attributes:
        policy: with the numbers as they were written.
        names: of the open ones [P].
        lower: smallest value of each [P].
        upper: largest value of each [P].
    """

    policy: AbstractPolicy
    names: tuple[str, ...]
    lower: Float[np.ndarray, "P"]
    upper: Float[np.ndarray, "P"]

    def written(self) -> np.ndarray:
        """The open numbers as they were written [P]."""
        return np.array([float(self.policy.number(name)) for name in self.names])

    def with_numbers(self, values: Float[Array, "P"]) -> AbstractPolicy:
        """The policy with other numbers [P]."""
        return self.policy.with_numbers(self.names, values)
