"""Fixed cycles of treatment and rest."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.policies.base import AbstractPolicy, Observation

# Days by which a decision may fall short of a switch that rounding put just after it.
_NEAR = 1e-9


class Intermittent(AbstractPolicy):
    """On for so many days, off for so many, from the first decision on; decided at the start of each interval."""

    kind: ClassVar[str] = "intermittent"
    dose_max: Float[Array, "N"]
    on: Scalar = parameter(unit="day", doc="days of treatment in a cycle", positive=True)
    off: Scalar = parameter(unit="day", doc="days of rest in a cycle", minimum=0.0)
    share: Scalar = parameter(unit="1", doc="share of the largest dose when on", default=1.0, minimum=0.0, maximum=1.0)

    def init(self) -> Any:
        return None

    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        phase = jnp.mod(observation.time + _NEAR, self.on + self.off)
        return jnp.where(phase < self.on, self.share, 0.0) * self.dose_max, None
