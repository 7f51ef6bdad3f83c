"""A dose in proportion to what the burden has above a target."""

from typing import Any, ClassVar

import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.policies.base import AbstractMeasuring


class Setpoint(AbstractMeasuring):
    """share = gain (N / N(0) - target), kept in [0, 1].

    Proportional control: the burden settles above the target, by the share that holds it over the gain (Astrom and
    Murray 2008, doi 10.1515/9781400828739).
    """

    kind: ClassVar[str] = "setpoint"
    gain: Scalar = parameter(unit="1", doc="share of the dose for each first burden above target", positive=True)
    target: Scalar = parameter(unit="1", doc="burden to hold, in first ones", default=0.5, minimum=0.0)

    def start(self) -> Any:
        return None

    def rule(self, memory: Any, log_burden: Scalar, log_start: Scalar, length: Scalar) -> tuple[Scalar, Any]:
        return jnp.clip(self.gain * (jnp.exp(log_burden - log_start) - self.target), 0.0, 1.0), None
