"""Skip the dose where the tumor does not grow."""

from typing import Any, ClassVar

import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.policies.base import AbstractFeedback


class DoseSkipping(AbstractFeedback):
    """The full dose at the first visit and wherever the burden grew by more than a band since the last one, else none.

    Adaptive therapy 2 of Enriquez-Navas et al. 2016, doi 10.1126/scitranslmed.aad7842.
    """

    kind: ClassVar[str] = "dose_skipping"
    band: Scalar = parameter(unit="1", doc="growth that is let pass without a dose", default=0.0, minimum=0.0)
    share: Scalar = parameter(unit="1", doc="share when given", default=1.0, minimum=0.0, maximum=1.0)

    def start(self) -> Any:
        return jnp.asarray(-jnp.inf)

    def rule(self, memory: Any, log_burden: Scalar, log_start: Scalar, length: Scalar) -> tuple[Scalar, Any]:
        first = ~jnp.isfinite(memory)
        grew = self.over(log_burden, jnp.where(first, log_burden, memory) + jnp.log1p(self.band))
        return jnp.where(first, 1.0, grew) * self.share, log_burden
