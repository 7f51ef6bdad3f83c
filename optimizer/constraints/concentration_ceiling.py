"""Highest concentration of a drug."""

from typing import ClassVar

import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.constraints.base import AbstractStateLimit, Reading
from optimizer.fields import parameter, setting
from optimizer.objectives.base import Scene


class ConcentrationCeiling(AbstractStateLimit):
    """c(t) <= limit at all times."""

    kind: ClassVar[str] = "concentration_ceiling"
    is_local: ClassVar[bool] = True
    drug: int = setting(doc="index of the drug (its name in a scenario)")
    limit: Scalar = parameter(unit="mg/L", doc="highest concentration", positive=True)

    def read(self, scene: Scene) -> Reading:
        conc = scene.trajectory.conc[:, self.drug]
        return Reading(conc / self.limit - 1.0, jnp.max(conc), self.limit)
