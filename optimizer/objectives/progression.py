"""Progression: how long the tumor is held."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.polynomial.legendre import leggauss

from optimizer.axes import Scalar, Times
from optimizer.endpoints.base import AtVisits, Progressed
from optimizer.fields import parameter
from optimizer.objectives.base import AbstractTerm, Scene
from optimizer.simulate import System, Trajectory
from optimizer.simulate.crossings import first_above


def time_above(times: Times, log_burden: Times, level: Scalar) -> Scalar:
    """First time [day] at which the logarithm of the burden exceeds `level`; the last saved time when it never does.

    The crossing is the root of the polynomial through five nodes around it, on one side of a dose edge.
    """
    above = log_burden > level
    after = jnp.clip(jnp.argmax(above), 1, times.shape[0] - 1)
    # Of five nodes on one side of a dose edge, which is there twice, two come before the crossing where they can.
    same = jnp.diff(times) == 0.0
    edges = [same[jnp.clip(after + i, 0, same.size - 1)] for i in (-2, 0, 1)]
    before = jnp.where(edges[0], 1, jnp.where(edges[1], 4, jnp.where(edges[2], 3, 2)))
    places = jnp.clip(after - before + jnp.arange(5), 0, times.shape[0] - 1)
    low, high = times[after - 1], times[after]
    line = _newton_polynomial(times[places], log_burden[places] - level)
    chord = log_burden[after] - log_burden[after - 1]
    share = (level - log_burden[after - 1]) / jnp.where(chord == 0.0, 1.0, chord)
    root = low + jnp.clip(share, 0.0, 1.0) * (high - low)
    for _ in range(5):
        value, slope = jax.jvp(line, (root,), (jnp.ones_like(root),))
        # The last step carries the derivatives; the root itself is found by then.
        root = jnp.clip(jax.lax.stop_gradient(root) - value / jnp.where(slope > 0.0, slope, jnp.inf), low, high)
    crossing = jnp.where(above[0], times[0], root)
    return jnp.where(jnp.any(above), crossing, times[-1])


def day_of(progressed: Progressed, system: System, trajectory: Trajectory) -> tuple[Scalar, Scalar]:
    """Day of progression, infinite when never, and the last day that is known to be without it."""
    if isinstance(progressed, AtVisits):
        return progressed.read(system, trajectory)
    logs = jnp.log(trajectory.burden)
    level = jnp.log(progressed) + logs[0]
    crossing = time_above(trajectory.times, logs, level)
    return jnp.where(jnp.any(logs > level), crossing, jnp.inf), crossing


def _newton_polynomial(nodes: Array, values: Array) -> Callable[[Scalar], Scalar]:
    """The polynomial through nodes, by divided differences; a node that is there twice counts once."""
    row, leading = values, [values[0]]
    for order in range(1, nodes.size):
        run = nodes[order:] - nodes[:-order]
        row = jnp.where(run == 0.0, 0.0, (row[1:] - row[:-1]) / jnp.where(run == 0.0, 1.0, run))
        leading.append(row[0])

    def at(time: Scalar) -> Scalar:
        out = leading[-1]
        for coefficient, node in zip(leading[-2::-1], nodes[-2::-1], strict=True):
            out = coefficient + (time - node) * out
        return out

    return at


# Gauss and Legendre's rule on [0, 1]; survival below exp(-_GONE) is not integrated.
_POINTS, _WEIGHTS = (0.5 * (each + shift) for each, shift in zip(leggauss(6), (1.0, 0.0), strict=True))
_GONE = 12.0
# Decades over which the corner of the hazard is rounded at temperature 1, and the hazard over the horizon for each.
WIDTH, HAZARD = 0.05, 20.0


class Progression(AbstractTerm):
    """Minus the time [day] until N > factor N(0), as a share of the horizon.

    Searched through the survival S(t) = exp(-int hazard); the term is minus the mean of S. The hazard is
    20 / horizon / temperature for every 0.05 temperature decades that N is above the threshold, and falls exponentially
    over as many below it. Between two saved times log N is a line, along which the hazard is integrated, so that a
    crossing counts as the day on which it is, however cold. Reported as the exact crossing (the horizon when it never
    happens).
    """

    kind: ClassVar[str] = "progression"
    is_smooth: ClassVar[bool] = False
    # The hazard so far.
    carried: ClassVar[int] = 1
    factor: Scalar = parameter(unit="1", doc="progression is N > factor N(0)", default=1.2, positive=True)

    def evaluate(self, scene: Scene) -> Scalar:
        burden = scene.trajectory.burden
        level = jnp.log(self.factor * scene.first_burden)
        return -time_above(scene.trajectory.times, jnp.log(burden), level) / scene.grid.horizon

    def exact(self, scene: Scene) -> float:
        logs = np.log(np.asarray(scene.trajectory.burden))
        level = float(np.log(self.factor)) + float(logs[0])
        horizon = float(scene.grid.horizon)
        crossing = first_above(np.asarray(scene.trajectory.times), logs, level)
        return -(horizon if crossing is None else crossing) / horizon

    def smooth(self, scene: Scene, temperature: Scalar) -> Scalar:
        return self.passes(scene, jnp.zeros(1), temperature)[1]

    def passes(self, scene: Scene, carried: Array, temperature: Scalar) -> tuple[Array, Scalar]:
        return survived(scene, carried, self.factor, WIDTH * temperature, HAZARD / temperature)


def survived(scene: Scene, spent: Array, factor: Scalar, width: Scalar, hazard: Scalar) -> tuple[Array, Scalar]:
    """Hazard so far [1] after a piece of a trajectory, and minus the mean survival over it as a share of the horizon.

    Args:
        scene: the piece.
        spent: the hazard so far [1].
        factor: progression is N > factor N(0).
        width: decades over which the corner of the hazard is rounded.
        hazard: over the horizon, for every width that N is above the threshold.
    """
    trajectory = scene.trajectory
    above = jnp.log10(trajectory.burden / (factor * scene.first_burden)) / width
    steps = jnp.diff(trajectory.times)
    ends = above[:-1], above[1:], hazard / scene.grid.horizon * steps
    before = jnp.concatenate([spent, spent + jnp.cumsum(_spent(*ends))])
    survival = jnp.exp(-before[:-1]) * _mean_survival(*ends)
    return before[-1:], -jnp.sum(steps * survival) / scene.grid.horizon


def _elementwise(function: Callable[..., Array]) -> Callable[..., Array]:
    """An elementwise function whose derivatives are found once, in however many directions they are then asked for."""
    kept = jax.custom_jvp(function)

    @functools.cache
    def partial(i: int) -> Callable[..., Array]:
        def along(*inputs: Array) -> Array:
            def moved(x: Array) -> Array:
                return function(*inputs[:i], x, *inputs[i + 1 :])

            return jax.jvp(moved, (inputs[i],), (jnp.ones_like(inputs[i]),))[1]

        return _elementwise(along)

    @functools.partial(kept.defjvp, symbolic_zeros=True)
    def _(inputs: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
        moving = [i for i, t in enumerate(tangents) if not isinstance(t, jax.custom_derivatives.SymbolicZero)]
        # One contraction, which is handed the slopes as they are: a sum of products would find them again each time.
        slopes = jnp.stack([partial(i)(*inputs) for i in moving])
        return kept(*inputs), jnp.einsum("i...,i...->...", slopes, jnp.stack([tangents[i] for i in moving]))

    return kept


def _hazard(x: Array) -> Array:
    """The larger of zero and x, rounded by exp(-abs(x)) / 2: its mean over a Laplace distribution around x."""
    return jnp.where(x > 0.0, x, 0.0) + _tail(x)


def _tail(x: Array) -> Array:
    """exp(-abs(x)) / 2, with the slopes of its left side at zero, as the other choices by x > 0 have."""
    return 0.5 * jnp.exp(jnp.where(x > 0.0, -x, x))


@_elementwise
def _spent(first: Array, last: Array, most: Array) -> Array:
    """Integral of the hazard over steps.

    Args:
        first: exponent at the start.
        last: at the end; along a line in between.
        most: hazard beyond the threshold by an exponent of one, times the length of the step.
    """

    def integral(x: Array) -> Array:
        return jnp.where(x > 0.0, 0.5 * x**2 + 1.0 - _tail(x), _tail(x))

    rise = last - first
    is_short = jnp.abs(rise) < 0.01
    exact = (integral(last) - integral(first)) / jnp.where(is_short, 1.0, rise)
    simpson = (_hazard(first) + _hazard(last) + 4.0 * _hazard(0.5 * (first + last))) / 6.0
    return most * jnp.where(is_short, simpson, exact)


@_elementwise
def _mean_survival(first: Array, last: Array, most: Array) -> Array:
    """Mean survival over steps, that at their start being one; arguments as of `_spent`.

    The hazard is taken as a ramp up to (or down from) the larger of its two ends, as wide as its integral asks: the
    whole step where the hazard changes little, the part beyond the crossing where it sets in within the step.
    """
    spent = _spent(first, last, most)
    largest = most * _hazard(jnp.maximum(first, last))
    filled = 2.0 * spent / jnp.maximum(largest, 1e-60)
    width = jnp.minimum(filled, 1.0)
    rises = last > first
    bend = jnp.where(rises, 1.0, -1.0) * (2.0 / jnp.maximum(filled, 1.0) - 1.0)
    # What is spent at the place v of the ramp is spent * ((1 - bend) v + bend v^2); at `far` it is _GONE, if ever.
    share = _GONE / jnp.maximum(spent, _GONE)
    up = jnp.maximum(bend, 0.0)
    far_up = 2.0 * share / (1.0 - up + jnp.sqrt((1.0 - up) ** 2 + 4.0 * up * share))
    far = jnp.where(rises, far_up, share / (1.0 - bend * (1.0 - share)))
    places = [far * point for point in _POINTS]
    along = sum(w * jnp.exp(-spent * v * (1.0 - bend + bend * v)) for v, w in zip(places, _WEIGHTS, strict=True))
    return width * far * along + (1.0 - width) * jnp.where(rises, 1.0, jnp.exp(-spent))
