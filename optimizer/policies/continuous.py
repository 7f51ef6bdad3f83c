"""Maximum tolerated dose."""

from typing import Any, ClassVar

from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.policies.base import AbstractPolicy, Observation


class Continuous(AbstractPolicy):
    """The same share of the largest dose of each drug at every decision: the maximum tolerated dose at a share of 1."""

    kind: ClassVar[str] = "continuous"
    dose_max: Float[Array, "N"]
    share: Scalar = parameter(unit="1", doc="share of the largest dose", default=1.0, minimum=0.0, maximum=1.0)

    def init(self) -> Any:
        return None

    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        return self.share * self.dose_max, None
