"""The open-loop schedule."""

from typing import Any, ClassVar

from jaxtyping import Array, Float

from optimizer.axes import Doses
from optimizer.fields import parameter
from optimizer.policies.base import AbstractPolicy, Observation


class Schedule(AbstractPolicy):
    """The dose of each drug in each decision interval, decided beforehand.

    Example:
        >>> import jax.numpy as jnp
        >>> Schedule(jnp.ones((26, 1))).doses.shape
        (26, 1)
    """

    kind: ClassVar[str] = "schedule"
    doses: Doses = parameter(unit="dose", doc="dose of each drug in each interval [K, N]", ndim=2)

    def init(self) -> Any:
        return None

    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        return self.doses[observation.index], None
