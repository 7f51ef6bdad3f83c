"""How far a schedule is from satisfying the first-order conditions, measured apart from the search that found it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.problem import Task
from optimizer.programs import program
from optimizer.search.iterate import State

# A limit counts as active when its room is below this share of its size.
_ACTIVE = 1e-5
# Up to so many unknowns derivatives are carried along, so many at a time: half the time to compile of the way back.
_FEW, _ABREAST = 128, 16


@program
def gradient(task: Task, shares: Float[Array, "n"], temperature: Scalar | None) -> Float[Array, "n"]:
    """Gradient of the objective with respect to shares: as reported, or as searched at a temperature."""

    def value(x: Array) -> Scalar:
        if temperature is None:
            return task.loss(task.doses(x))
        return task.objective.smooth(task.simulate(x), temperature)

    if shares.size > _FEW:
        return jax.grad(value)(shares)
    # Whole blocks of directions: what is left over would be compiled once more.
    ways = jnp.eye(-(-shares.size // _ABREAST) * _ABREAST, shares.size, dtype=shares.dtype)
    slopes = jax.lax.map(lambda way: jax.jvp(value, (shares,), (way,))[1], ways, batch_size=_ABREAST)
    return slopes[: shares.size]


def residual(task: Task, shares: np.ndarray, gradient: np.ndarray, limit_gradients: np.ndarray | None = None) -> float:
    """Smallest |gradient + sum of multipliers times active limits|, the multipliers being non-negative.

    Zero at a point that satisfies the Karush-Kuhn-Tucker conditions. Unlike the size of the last step it cannot be
    fooled by a method that has stalled.

    Args:
        task: the limits.
        shares: the point, flattened shares of the largest doses [n].
        gradient: of the objective with respect to the shares [n].
        limit_gradients: gradients of the active limits on states, weighted over time [limits, n].

    Returns:
        The largest entry of the remainder, in units of the objective per largest dose; inf where something is not
        finite.
    """
    if not np.all(np.isfinite(gradient)) or (limit_gradients is not None and not np.all(np.isfinite(limit_gradients))):
        return np.inf
    lower, upper, matrix, bound = (np.asarray(a) for a in (task.lower, task.upper, task.matrix, task.bound))
    free = upper > lower
    identity = np.eye(shares.size)
    width = np.where(free, upper - lower, 1.0)
    columns = [
        -identity[:, free & (shares - lower <= _ACTIVE * width)],
        identity[:, free & (upper - shares <= _ACTIVE * width)],
        matrix[bound - matrix @ shares <= _ACTIVE * np.maximum(np.abs(bound), 1.0)].T,
        np.zeros((shares.size, 0)) if limit_gradients is None else np.asarray(limit_gradients).T,
    ]
    active = np.hstack(columns)[free]
    slope = np.asarray(gradient)[free]
    if not slope.size:
        return 0.0
    if active.shape[1]:
        from scipy.optimize import nnls

        multipliers, _ = nnls(active, -slope)
        slope = slope + active @ multipliers
    return float(np.max(np.abs(slope)))


def gap(task: Task, shares: np.ndarray, gradient: np.ndarray) -> float:
    """What the objective could fall by, to first order, on the way to any schedule within the dose limits.

    max over y in the limits of gradient (x - y), a linear program: the gap of Frank and Wolfe 1956
    (doi 10.1002/nav.3800030109), an upper bound of what is left where the objective is convex. Unlike a residual it is
    in units of the objective, and small where the optimum is flat.

    Args:
        task: the limits.
        shares: the point, flattened shares of the largest doses [n].
        gradient: of the objective (and the priced limits on states) with respect to the shares [n].
    """
    lower, upper, matrix, bound = (np.asarray(a) for a in (task.lower, task.upper, task.matrix, task.bound))
    if not np.all(np.isfinite(gradient)):
        return np.inf
    size = max(float(np.max(np.abs(gradient), initial=0.0)), 1e-300)
    from scipy.optimize import linprog

    rows, most = (matrix, np.maximum(bound, matrix @ shares)) if bound.size else (None, None)
    answer = linprog(gradient / size, A_ub=rows, b_ub=most, bounds=np.stack([lower, upper], -1))
    return max(float(gradient @ shares) - size * float(answer.fun), 0.0) if answer.success else np.inf


class Stationarity(NamedTuple):
    """How far an end is from stationary."""

    residual: float  #: KKT residual, relative to the gradient at the start of its descent
    gap: float  #: what the objective could fall by to first order


def stationarity(task: Task, state: State) -> Stationarity:
    """What is left at the end of a descent, measured apart from it."""
    if not state.iterations:
        return Stationarity(np.inf, np.inf)
    x = np.asarray(state.x)
    slope = np.asarray(gradient(task, state.x, None if task.objective.is_smooth else state.temperature))
    limit_gradients = np.asarray(_pulls(task, state)) if task.state_limits else np.zeros((0, x.size))
    left = gap(task, x, slope + limit_gradients.sum(axis=0))
    return Stationarity(residual(task, x, slope, limit_gradients) / max(float(state.scale), 1e-300), left)


@program
def _pulls(task: Task, state: State) -> Array:
    """Gradient of each limit on states, weighted with its multipliers over time [limits, n]."""

    def excesses(x: Array) -> list[Array]:
        return [reading.excess for reading in task.readings(task.simulate(x))]

    pairs = zip(state.multipliers, excesses(state.x), strict=True)
    multipliers = [jnp.maximum(multiplier + state.penalty * excess, 0.0) for multiplier, excess in pairs]

    def weighted(x: Array) -> Array:
        return jnp.stack([jnp.sum(p * e) for p, e in zip(multipliers, excesses(x), strict=True)])

    return jax.jacrev(weighted)(state.x)
