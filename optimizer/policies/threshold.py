"""Treat until the burden has fallen so far, again when it has risen so far."""

from typing import Any, ClassVar

import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.fields import parameter, setting
from optimizer.policies.base import AbstractFeedback, blend


class Threshold(AbstractFeedback):
    """On from the start; off once N < stop_below N(0), on again once N > restart_above N(0).

    AT50 is 0.5 and 1 (Zhang et al. 2017, doi 10.1038/s41467-017-01968-5). A treatment that was begun or stopped is kept
    for the least time on or off, counted in visits.
    """

    kind: ClassVar[str] = "threshold"
    stop_below: Scalar = parameter(unit="1", doc="off below this multiple of the first burden", positive=True)
    restart_above: Scalar = parameter(unit="1", doc="on above this multiple of the first burden", positive=True)
    share: Scalar = parameter(unit="1", doc="share of the largest dose when on", default=1.0, minimum=0.0, maximum=1.0)
    least_on: int = setting(doc="visits that treatment lasts at least", unit="1", default=1, minimum=1)
    least_off: int = setting(doc="visits that a rest lasts at least", unit="1", default=1, minimum=1)

    def start(self) -> Any:
        # On, and for long enough to be stopped at once.
        return jnp.ones(()), jnp.asarray(float(self.least_on))

    def rule(self, memory: Any, log_burden: Scalar, log_start: Scalar, length: Scalar) -> tuple[Scalar, Any]:
        on, since = memory
        stop = 1.0 - self.over(log_burden, log_start + jnp.log(self.stop_below))
        restart = self.over(log_burden, log_start + jnp.log(self.restart_above))
        wanted = blend(on, 1.0 - stop, restart)
        least = jnp.where(on > 0.5, self.least_on, self.least_off)
        new = jnp.where(since >= least, wanted, on)
        since = jnp.where((new > 0.5) == (on > 0.5), since + 1.0, 1.0)
        return new * self.share, (new, since)
