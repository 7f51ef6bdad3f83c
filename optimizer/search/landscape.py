"""What the search asks of whatever is searched: doses, doses for many patients, numbers of a rule."""

from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array

from optimizer.axes import Scalar, Times


@runtime_checkable
class Landscape(Protocol):
    """What is searched: a function of shares inside linear limits, with further limits that it looks up on the way.

    Attributes:
        lower: smallest shares [n].
        upper: largest shares [n].
        matrix: linear limits on shares [rows, n].
        bound: their right-hand sides [rows].
        is_smooth: whether no temperature plays a role.
    """

    @property
    def lower(self) -> Array: ...

    @property
    def upper(self) -> Array: ...

    @property
    def matrix(self) -> Array: ...

    @property
    def bound(self) -> Array: ...

    @property
    def is_smooth(self) -> bool: ...

    def evaluate(self, shares: Array, temperature: Scalar) -> tuple[Scalar, tuple[Times, ...]]:
        """The objective at a temperature, and the relative excess of every state limit."""
        ...


class Lagrangian(NamedTuple):
    """Augmented Lagrangian: what makes one number, the merit, of an objective and the excesses of state limits."""

    multipliers: tuple[Times, ...]  #: of the state limits, one [T] each
    penalty: Scalar  #: weight of the squares
    temperature: Scalar  #: of the terms that are not smooth
    weight: Scalar | float = 1.0  #: of the objective
    counted: Scalar | float = 1.0  #: of the limits; 0 for a patient who does not count

    def merit(self, value: Scalar, excesses: tuple[Times, ...]) -> Scalar:
        """Of an objective, and the excess of every state limit at every saved time."""
        value = self.weight * value
        for excess, multiplier in zip(excesses, self.multipliers, strict=True):
            shifted = jnp.maximum(multiplier + self.penalty * excess, 0.0)
            value = value + self.counted * jnp.sum(shifted**2 - multiplier**2) / (2.0 * self.penalty)
        return value

    def of(self, chosen: list[int]) -> "Lagrangian":
        """Of some of the limits."""
        return self._replace(multipliers=tuple(self.multipliers[i] for i in chosen))
