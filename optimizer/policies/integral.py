"""A dose that rises as long as the burden is above a target, and falls as long as it is below."""

from typing import Any, ClassVar

import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.policies.base import AbstractMeasuring


class Integral(AbstractMeasuring):
    """share_k = share_(k-1) + gain length (N / N(0) - target), kept in [0, 1], length that of the interval.

    Integral control: what is held in the end is the target itself (Astrom and Murray 2008, doi 10.1515/9781400828739).
    The sum is kept in [0, 1] too, so that a long excess is forgotten at once.
    """

    kind: ClassVar[str] = "integral"
    gain: Scalar = parameter(unit="1/day", doc="rise of the share a day for each first burden above", positive=True)
    target: Scalar = parameter(unit="1", doc="burden to hold, in first ones", default=0.5, minimum=0.0)
    initial: Scalar = parameter(
        unit="1", doc="share of the largest dose before the first visit", default=0.0, minimum=0.0, maximum=1.0
    )

    def start(self) -> Any:
        return jnp.asarray(self.initial)

    def rule(self, memory: Any, log_burden: Scalar, log_start: Scalar, length: Scalar) -> tuple[Scalar, Any]:
        share = memory + self.gain * length * (jnp.exp(log_burden - log_start) - self.target)
        share = jnp.clip(share, 0.0, 1.0)
        return share, share
