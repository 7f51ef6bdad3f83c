"""Progression: how long the tumor is held."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from optimizer._axes import Scalar, Times
from optimizer._fields import parameter
from optimizer.objectives.base import AbstractTerm, Scene


def time_above(times: Times, log_burden: Times, level: Scalar) -> Scalar:
    """First time [day] at which the logarithm of the burden exceeds `level`; the last saved time when it never does.

    The crossing is the root of the quadratic through the two nodes around it and the next one (the one before where the
    next is a dose edge, at which the slope jumps).
    """
    above = log_burden > level
    reached = jnp.any(above)
    after = jnp.clip(jnp.argmax(above), 1, times.shape[0] - 1)
    next_one = jnp.minimum(after + 1, times.shape[0] - 1)
    third = jnp.where(times[next_one] > times[after], next_one, jnp.maximum(after - 2, 0))
    (t0, v0), (t1, v1), (t2, v2) = ((times[i], log_burden[i] - level) for i in (after - 1, after, third))

    def divided(rise: Scalar, run: Scalar) -> Scalar:
        return jnp.where(run == 0.0, 0.0, rise / jnp.where(run == 0.0, 1.0, run))

    chord = divided(v1 - v0, t1 - t0)
    curve = divided(divided(v2 - v1, t2 - t1) - chord, t2 - t0)
    slope = chord - curve * (t1 - t0)
    root = jnp.sqrt(jnp.maximum(slope**2 - 4.0 * curve * v0, 1e-300))
    # The root that a rising curve has, in the form that does not cancel.
    elapsed = jnp.clip(divided(-2.0 * v0, slope + root), 0.0, t1 - t0)
    crossing = jnp.where(above[0], times[0], t0 + elapsed)
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
