"""Progression: how long the tumor is held."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

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


# Steps that are integrated along their line, each on three pieces by Gauss and Legendre's rule.
_STEEP = 4
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(8)


class Progression(AbstractTerm):
    """Minus the time [day] until N > factor N(0), as a share of the horizon.

    Searched through the survival S(t) = exp(-int hazard), hazard = 20 / horizon / temperature at and above the
    threshold, falling below it over 0.05 temperature decades; the term is minus the mean of S. Between two saved times
    the logarithm of N is a line, along which the hazard is integrated exactly, so that a crossing counts as the day on
    which it is, however cold. Reported as the exact crossing (the horizon when it never happens).
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
        steps = jnp.diff(trajectory.times)
        most = 20.0 / temperature / scene.grid.horizon * steps
        spent = most * _mean_softplus(above[:-1], above[1:])
        survival = jnp.exp(-jnp.concatenate([jnp.zeros(1), jnp.cumsum(spent)[:-1]]))
        return -jnp.sum(steps * survival * _mean_survival(above[:-1], above[1:], most, spent)) / scene.grid.horizon


@jax.custom_jvp
def _softplus_integral(x: Array) -> Array:
    """Integral of ln(1 + exp) from minus infinity, -Li2(-exp(x)); beyond zero by the inversion formula."""
    tail = -jax.scipy.special.spence(1.0 + jnp.exp(-jnp.abs(x)))
    return jnp.where(x > 0.0, 0.5 * x**2 + jnp.pi**2 / 6.0 - tail, tail)


@_softplus_integral.defjvp
def _softplus_integral_slope(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return _softplus_integral(*primals), jax.nn.softplus(primals[0]) * tangents[0]


def _mean_softplus(first: Array, last: Array) -> Array:
    """Mean of ln(1 + exp) between two numbers: of a hazard over a step in which its exponent is linear."""
    rise = last - first
    is_short = jnp.abs(rise) < 0.1
    exact = (_softplus_integral(last) - _softplus_integral(first)) / jnp.where(is_short, 1.0, rise)
    ends = jax.nn.softplus(first) + jax.nn.softplus(last)
    return jnp.where(is_short, (ends + 4.0 * jax.nn.softplus(0.5 * (first + last))) / 6.0, exact)


def _mean_survival(first: Array, last: Array, most: Array, spent: Array) -> Array:
    """Mean survival over steps, that at their start being one.

    Args:
        first: exponent of the hazard at the start.
        last: at the end.
        most: hazard where ln(1 + exp) is one, times the length of the step.
        spent: integral of the hazard over the step.
    """
    # Most steps are short: the trapezoidal rule with its first correction, the slope of survival being its hazard.
    left = jnp.exp(-jnp.minimum(spent, 1.0))
    slopes = most * (jax.nn.softplus(last) * left - jax.nn.softplus(first))
    safe = jnp.maximum(spent, 1e-3)
    short = jnp.where(spent < 0.5, 0.5 * (1.0 + left) + slopes / 12.0, -jnp.expm1(-safe) / safe)
    # Where most is lost the day counts: a few steps, in which the hazard rises, are integrated along their line.
    lost = jnp.where(last > first, jnp.exp(-(jnp.cumsum(spent) - spent)) * -jnp.expm1(-spent), 0.0)
    steep = jax.lax.top_k(jax.lax.stop_gradient(lost), min(_STEEP, lost.size))[1]
    return short.at[steep].set(jax.vmap(_mean_along)(first[steep], last[steep], most[steep]))


def _mean_along(first: Scalar, last: Scalar, most: Scalar) -> Scalar:
    """Mean survival over a step along which the hazard's exponent is a line.

    Survival falls around the exponent at which the hazard so far is one: -ln(most / rise) while that is below zero.
    """
    rise = last - first
    steepness = most / jnp.maximum(rise, 1e-9)
    width = jnp.maximum(1.0, 1.0 / jnp.sqrt(steepness))
    fall = jnp.maximum(-jnp.log(steepness), first)
    edges = jnp.stack([fall - 6.0 * width, fall + 4.0 * width])
    inner = jnp.clip((edges - first) / jnp.maximum(rise, 1e-9), 0.0, 1.0)
    edges = jax.lax.stop_gradient(jnp.concatenate([jnp.zeros(1), inner, jnp.ones(1)]))
    halves = 0.5 * jnp.diff(edges)[:, None]
    places = (edges[:-1, None] + halves * (1.0 + _POINTS)).ravel()
    spent = most * places * _mean_softplus(first, first + rise * places)
    return jnp.sum((halves * _WEIGHTS).ravel() * jnp.exp(-spent))
