"""Progression: how long the tumor is held."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from optimizer._axes import Scalar, Times
from optimizer._fields import parameter
from optimizer.objectives.base import AbstractTerm, Scene


def time_above(times: Times, log_burden: Times, level: Scalar) -> Scalar:
    """First time [day] at which the logarithm of the burden exceeds `level`; the last saved time when it never does.

    The nodes come in panels (start, middle, end); inside the panel where it happens, the crossing is the root of the
    quadratic through its three nodes.
    """
    above = log_burden > level
    reached = jnp.any(above)
    hit = jnp.argmax(above)
    middle = jnp.clip(hit + (hit % 2 == 0) * -1, 1, times.shape[0] - 2)
    t0, t2 = times[middle - 1], times[middle + 1]
    v0, v1, v2 = (log_burden[middle + i] - level for i in (-1, 0, 1))
    curve, slope = 2.0 * (v0 + v2) - 4.0 * v1, 4.0 * v1 - 3.0 * v0 - v2
    root = jnp.sqrt(jnp.maximum(slope**2 - 4.0 * curve * v0, 1e-300))
    # The smaller root in [0, 1] of curve x^2 + slope x + v0, in the form that does not cancel for a rising crossing.
    share = jnp.clip(-2.0 * v0 / jnp.where(slope + root == 0.0, 1.0, slope + root), 0.0, 1.0)
    crossing = jnp.where(hit == 0, times[0], t0 + share * (t2 - t0))
    return jnp.where(reached, crossing, times[-1])


class Progression(AbstractTerm):
    """Minus the time [day] until N > factor N(0), as a share of the horizon.

    Searched through the survival S(t) = exp(-int hazard), hazard = 20 / horizon / temperature at and above the
    threshold, falling below it over 0.05 temperature decades; the term is minus the mean of S. Reported as the exact
    crossing (the horizon when it never happens).
    """

    kind: ClassVar[str] = "progression"
    is_smooth: ClassVar[bool] = False
    factor: Scalar = parameter(unit="1", doc="progression is N > factor N(0)", default=1.2, positive=True)

    def evaluate(self, scene: Scene) -> Scalar:
        burden = scene.trajectory.burden
        level = jnp.log(self.factor * burden[0])
        return -time_above(scene.trajectory.times, jnp.log(burden), level) / scene.grid.horizon

    def smooth(self, scene: Scene, temperature: Scalar) -> Scalar:
        trajectory = scene.trajectory
        above = jnp.log10(trajectory.burden / (self.factor * trajectory.burden[0])) / (0.05 * temperature)
        hazard = 20.0 / temperature * jax.nn.softplus(above) / scene.grid.horizon
        steps = 0.5 * (hazard[1:] + hazard[:-1]) * jnp.diff(trajectory.times)
        survival = jnp.exp(-jnp.concatenate([jnp.zeros(1), jnp.cumsum(steps)]))
        return -scene.average(survival)
