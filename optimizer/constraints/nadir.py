"""Lowest neutrophil count."""

from typing import ClassVar

import jax.numpy as jnp

from optimizer._axes import Scalar
from optimizer._fields import parameter
from optimizer.constraints.base import AbstractStateLimit, Reading
from optimizer.objectives.base import Scene


class Nadir(AbstractStateLimit):
    """Neutrophils(t) >= limit at all times, as the mechanism `myelosuppression` predicts them.

    The excess is ln(limit / neutrophils): 0.1 is about a tenth too few. Severe neutropenia (grade 4) is below 0.5e9
    cells/L, grade 3 below 1.0e9 (NCI Common Terminology Criteria for Adverse Events, version 5).
    """

    kind: ClassVar[str] = "nadir"
    needs: ClassVar[tuple[str, ...]] = ("neutrophils",)
    limit: Scalar = parameter(unit="cell/L", doc="lowest allowed neutrophil count", positive=True)

    def read(self, scene: Scene) -> Reading:
        neutrophils = scene.trajectory.observables["neutrophils"]
        return Reading(jnp.log(self.limit / neutrophils), jnp.min(neutrophils), self.limit)
