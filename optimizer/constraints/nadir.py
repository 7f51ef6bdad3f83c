"""Lowest neutrophil count."""

from typing import ClassVar

import jax.numpy as jnp

from optimizer._axes import Scalar, Times
from optimizer._fields import parameter
from optimizer.constraints.base import AbstractStateLimit, Reading
from optimizer.objectives.base import Scene


class Nadir(AbstractStateLimit):
    """Neutrophils(t) >= limit at all times, as the mechanism `myelosuppression` predicts them.

    The excess is ln(limit / neutrophils): 0.1 is about a tenth too few. A lowest count is that of the parabola through
    three saved ones, and so does not hang on when they are saved. Severe neutropenia (grade 4) is below 0.5e9 cells/L,
    grade 3 below 1e9 (NCI Common Terminology Criteria for Adverse Events, version 5).
    """

    kind: ClassVar[str] = "nadir"
    needs: ClassVar[tuple[str, ...]] = ("neutrophils",)
    limit: Scalar = parameter(unit="cell/L", doc="lowest allowed neutrophil count", positive=True)

    def read(self, scene: Scene) -> Reading:
        trajectory = scene.trajectory
        logs = _bottoms(trajectory.times, jnp.log(trajectory.observables["neutrophils"]))
        return Reading(jnp.log(self.limit) - logs, jnp.exp(jnp.min(logs)), self.limit)


def _bottoms(times: Times, values: Times) -> Times:
    """The values, each that is lower than its neighbors in time replaced by the bottom of the parabola through them."""
    left, right = times[1:-1] - times[:-2], times[2:] - times[1:-1]
    fall, rise = values[:-2] - values[1:-1], values[2:] - values[1:-1]
    # A dose edge is saved twice: there the value stands as it is.
    lowest = (fall > 0.0) & (rise > 0.0) & (left > 1e-9) & (right > 1e-9)
    left, right = jnp.where(lowest, left, 1.0), jnp.where(lowest, right, 1.0)
    before, after = jnp.where(lowest, fall, 1.0) / left, jnp.where(lowest, rise, 1.0) / right
    slope = (after * left - before * right) / (left + right)
    bend = (after + before) / (left + right)
    return values.at[1:-1].add(jnp.where(lowest, -0.25 * slope**2 / bend, 0.0))
