"""On and off by the burden."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.fields import parameter, setting
from optimizer.policies.base import AbstractPolicy, Observation


class Threshold(AbstractPolicy):
    """Treat until the burden is below one level, again when it is above another."""

    kind: ClassVar[str] = "threshold"
    dose_max: Float[Array, "N"]
    stop_below: Scalar = parameter(unit="1", doc="off below this multiple of the start", positive=True)
    restart_above: Scalar = parameter(unit="1", doc="on above this multiple of the start", positive=True)
    level: Scalar = parameter(unit="dose", doc="dose when on", default=0.0, minimum=0.0)
    drug: int = setting(doc="index of the drug (its name in a scenario)", default=0)

    def init(self) -> Any:
        return jnp.ones(())

    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        share = observation.burden / observation.start_burden
        on = jnp.where(share < self.stop_below, 0.0, jnp.where(share > self.restart_above, 1.0, memory))
        return on * self.dose_max, on
