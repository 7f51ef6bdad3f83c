"""Most cancer cells at the end, relative to the start."""

from typing import ClassVar

import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.constraints.base import AbstractStateLimit, Reading
from optimizer.fields import parameter
from optimizer.objectives.base import Scene


class FinalCeiling(AbstractStateLimit):
    """N(T) <= factor N(0) at the horizon T, whatever happens before; the excess is on a log scale."""

    kind: ClassVar[str] = "final_ceiling"
    factor: Scalar = parameter(unit="1", doc="most cells at the end as a multiple of those at the start", positive=True)

    def read(self, scene: Scene) -> Reading:
        burden = scene.trajectory.burden
        limit = self.factor * burden[0]
        return Reading(jnp.log(burden[-1:] / limit), burden[-1], limit)
