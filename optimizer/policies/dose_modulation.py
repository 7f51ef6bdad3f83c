"""Raise or lower the dose with the response."""

from typing import Any, ClassVar

import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.policies.base import AbstractFeedback, blend


class DoseModulation(AbstractFeedback):
    """The dose rises by a fraction when the burden grew by more than a band since the last visit, falls when it shrank.

    Adaptive therapy 1 of Enriquez-Navas et al. 2016, doi 10.1126/scitranslmed.aad7842. The share of the largest dose is
    multiplied or divided by 1 + step, and kept between `least` and 1.
    """

    kind: ClassVar[str] = "dose_modulation"
    step: Scalar = parameter(unit="1", doc="fraction by which the dose is changed", default=0.5, positive=True)
    band: Scalar = parameter(unit="1", doc="relative change that is let pass", default=0.1, minimum=0.0)
    least: Scalar = parameter(unit="1", doc="least share of the largest dose", default=0.05, minimum=0.0, maximum=1.0)

    def start(self) -> Any:
        return jnp.ones(()), jnp.asarray(-jnp.inf)

    def rule(self, memory: Any, log_burden: Scalar, log_start: Scalar, length: Scalar) -> tuple[Scalar, Any]:
        share, last = memory
        last = jnp.where(jnp.isfinite(last), last, log_burden)
        grew = self.over(log_burden, last + jnp.log1p(self.band))
        shrank = 1.0 - self.over(log_burden, last - jnp.log1p(self.band))
        factor = blend(grew, 1.0 + self.step, blend(shrank, 1.0 / (1.0 + self.step), jnp.ones(())))
        share = jnp.clip(share * factor, self.least, 1.0)
        return share, (share, log_burden)
