"""Low doses without a break."""

from typing import Any, ClassVar

from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.policies.base import AbstractPolicy, Observation


class Metronomic(AbstractPolicy):
    """A low share of the largest dose at every decision (metronomic chemotherapy, doi 10.1038/nrc1369)."""

    kind: ClassVar[str] = "metronomic"
    dose_max: Float[Array, "N"]
    share: Scalar = parameter(unit="1", doc="share of the largest dose", default=0.2, minimum=0.0, maximum=1.0)

    def init(self) -> Any:
        return None

    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        return self.share * self.dose_max, None
