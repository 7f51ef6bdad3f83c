"""The largest dose, always."""

from typing import Any, ClassVar

from jaxtyping import Array, Float

from optimizer.policies.base import AbstractPolicy, Observation


class Continuous(AbstractPolicy):
    """The largest dose of each drug at every decision."""

    kind: ClassVar[str] = "continuous"
    dose_max: Float[Array, "N"]

    def init(self) -> Any:
        return None

    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        return self.dose_max, None
