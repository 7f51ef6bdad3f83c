"""A concentration to be kept inside a window."""

from typing import ClassVar

import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.constraints.base import AbstractStateLimit, Reading
from optimizer.fields import parameter, setting
from optimizer.objectives.base import Scene


class ConcentrationWindow(AbstractStateLimit):
    """low <= c(t) <= high for start <= t <= stop.

    The reading's value is the concentration at the time of the worst violation (or of the least room), its limit the
    side that it is nearest to.
    """

    kind: ClassVar[str] = "concentration_window"
    is_local: ClassVar[bool] = True
    drug: int = setting(doc="index of the drug (its name in a scenario)")
    low: Scalar = parameter(unit="mg/L", doc="lowest concentration", positive=True)
    high: Scalar = parameter(unit="mg/L", doc="highest concentration", positive=True)
    start: Scalar = parameter(unit="day", doc="first day that it holds", default=0.0, minimum=0.0)
    stop: Scalar = parameter(unit="day", doc="last day that it holds", default=1e9, positive=True)

    def read(self, scene: Scene) -> Reading:
        trajectory = scene.trajectory
        conc = trajectory.conc[:, self.drug]
        above, below = conc / self.high - 1.0, 1.0 - conc / self.low
        inside = (trajectory.times >= self.start) & (trajectory.times <= self.stop)
        excess = jnp.where(inside, jnp.maximum(above, below), -1.0)
        worst = jnp.argmax(excess)
        side = jnp.where(above[worst] >= below[worst], self.high, self.low)
        return Reading(excess, conc[worst], side)
