"""The protocol of a policy."""

from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from optimizer._axes import Index, Scalar


class Observation(NamedTuple):
    """What a policy may see at a decision.

    Attributes:
        index: number of the decision interval that begins.
        time: its start [day].
        length: its length [day].
        burden: cancer cells now [cell].
        start_burden: cancer cells at time 0 [cell].
    """

    index: Index
    time: Scalar
    length: Scalar
    burden: Scalar
    start_burden: Scalar


class AbstractPolicy(eqx.Module):
    """Doses from observations. Its float leaves are what a search moves."""

    kind: AbstractClassVar[str]

    @abstractmethod
    def init(self) -> Any:
        """Memory before the first decision, a pytree of arrays."""

    @abstractmethod
    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        """Doses of the interval that begins (amounts for a bolus, rates for an infusion), and the new memory."""
