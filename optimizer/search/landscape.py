"""What the search asks of whatever is searched: doses, doses for many patients, numbers of a rule."""

from typing import Protocol, runtime_checkable

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
