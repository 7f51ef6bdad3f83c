"""Hold the burden at a level with as little drug as that takes."""

from typing import Any, ClassVar

import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.policies.base import AbstractFeedback


class Containment(AbstractFeedback):
    """The share of the largest dose that should bring the burden to a level by the next visit; no drug far below it.

    At the first visit, when nothing is known of the growth, `initial` holds a burden that is at the level.

    share_k = share_(k-1) + (e_k + e_k - e_(k-1)) / (kill_rate length), kept in [0, 1], with e = ln(N / (level N(0))):
    what the last share did to the burden says what it lacked. `kill_rate` need only be right within a factor of two;
    too small a number makes the doses swing. Containment: Viossat and Noble 2021, doi 10.1038/s41559-021-01428-w.
    """

    kind: ClassVar[str] = "containment"
    kill_rate: Scalar = parameter(
        unit="1/day", doc="fall of the net growth rate from no drug to the largest dose", positive=True
    )
    level: Scalar = parameter(unit="1", doc="burden to hold, in first ones", default=1.0, positive=True)

    initial: Scalar = parameter(
        unit="1", doc="share of the largest dose that holds a burden at first", default=0.5, minimum=0.0, maximum=1.0
    )

    def start(self) -> Any:
        return jnp.asarray(self.initial), jnp.asarray(-jnp.inf)

    def rule(self, memory: Any, log_burden: Scalar, log_start: Scalar, length: Scalar) -> tuple[Scalar, Any]:
        share, last = memory
        error = log_burden - log_start - jnp.log(self.level)
        trend = jnp.where(jnp.isfinite(last), error - jnp.where(jnp.isfinite(last), last, 0.0), 0.0)
        share = jnp.clip(share + (error + trend) / (self.kill_rate * length), 0.0, 1.0)
        return share, (share, error)
