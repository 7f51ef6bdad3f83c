"""Hold the burden at a level with as little drug as that takes."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer._axes import Scalar
from optimizer._fields import parameter, setting
from optimizer.policies.base import AbstractFeedback


class Containment(AbstractFeedback):
    """No drug below the level; at it, a share of the largest dose set from the burden's error and its trend.

    share_k = share_(k-1) + gain e_k + damping (e_k - e_(k-1)), kept in [0, 1], with e = ln(N / (level N(0))): a
    discrete proportional-integral rule. It needs no model, settles on the least share that keeps the burden there, and
    gives the largest dose when that is not enough. Containment: Viossat and Noble 2021, doi 10.1038/s41559-021-01428-w.
    """

    kind: ClassVar[str] = "containment"
    dose_max: Float[Array, "N"]
    level: Scalar = parameter(unit="1", doc="burden to hold, in first ones", default=1.0, positive=True)
    gain: Scalar = parameter(unit="1", doc="change of the share for an error", default=5.0, minimum=0.0)
    damping: Scalar = parameter(unit="1", doc="change of the share for a trend", default=50.0, minimum=0.0)
    noise: Scalar = parameter(unit="1", doc="sd of the logarithm of a measured burden", default=0.0, minimum=0.0)
    delay: int = setting(doc="visits by which measurements are late", unit="1", default=0, minimum=0)
    seed: int = setting(doc="of the noise", unit="1", default=0, minimum=0)
    width: float = 0.0

    def start(self) -> Any:
        return jnp.zeros(()), jnp.asarray(-jnp.inf)

    def rule(self, memory: Any, log_burden: Scalar, log_start: Scalar) -> tuple[Scalar, Any]:
        share, last = memory
        error = log_burden - log_start - jnp.log(self.level)
        trend = jnp.where(jnp.isfinite(last), error - jnp.where(jnp.isfinite(last), last, 0.0), 0.0)
        share = jnp.clip(share + self.gain * error + self.damping * trend, 0.0, 1.0)
        return share, (share, error)
