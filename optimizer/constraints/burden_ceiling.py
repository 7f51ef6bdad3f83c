"""Most cancer cells, relative to the start."""

from typing import ClassVar

import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.constraints.base import AbstractStateLimit, Reading
from optimizer.fields import parameter
from optimizer.objectives.base import Scene


class BurdenCeiling(AbstractStateLimit):
    """N(t) <= factor N(0) at all times; the excess is relative to the limit, on a log scale for the search."""

    kind: ClassVar[str] = "burden_ceiling"
    is_local: ClassVar[bool] = True
    factor: Scalar = parameter(unit="1", doc="most cells as a multiple of those at the start", positive=True)

    def read(self, scene: Scene) -> Reading:
        burden = scene.trajectory.burden
        limit = self.factor * scene.first_burden
        return Reading(jnp.log(burden / limit), jnp.max(burden), limit)
