"""Where restarts begin: strictly feasible schedules of very different shapes."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import linprog

from optimizer.problem import Task

# Share of the way from a known schedule to the center.
_INWARD = 0.1
# Share of the way from the center to a limit.
_ROOM = 0.97


def center(task: Task) -> np.ndarray:
    """A point far from every dose limit [n]: the center of the largest ball inside them (fixed unknowns aside)."""
    lower, upper, matrix, bound = (np.asarray(a) for a in (task.lower, task.upper, task.matrix, task.bound))
    free = upper > lower
    if not free.any():
        return lower.copy()
    norms = np.sqrt((matrix[:, free] ** 2).sum(axis=1))
    count = int(free.sum())
    left = bound - matrix[:, ~free] @ lower[~free]
    answer = linprog(
        np.r_[np.zeros(count), -1.0],
        A_ub=np.block(
            [
                [matrix[:, free], norms[:, None]],
                [-np.eye(count), np.ones((count, 1))],
                [np.eye(count), np.ones((count, 1))],
            ]
        ),
        b_ub=np.r_[left, -lower[free], upper[free]],
        bounds=[(None, None)] * count + [(0.0, None)],
    )
    point = lower.copy()
    point[free] = answer.x[:-1]
    return point


def within(
    task: Task, wished: Float[np.ndarray, "B n"], middle: Float[np.ndarray, "n"], filled: np.ndarray | bool = False
) -> Float[np.ndarray, "B n"]:
    """Schedules brought inside the dose limits: scaled towards the smallest doses, then moved towards the middle.

    Args:
        task: the numbers of the problem.
        wished: schedules.
        middle: a point inside all dose limits.
        filled: which schedules are scaled up, too, until a limit on sums holds them.
    """
    lower, upper, matrix, bound = (np.asarray(a) for a in (task.lower, task.upper, task.matrix, task.bound))
    down = np.clip(wished, lower, upper) - lower
    for _ in range(3 if np.any(filled) else 1):
        factor = _reach(down @ matrix.T, bound - matrix @ lower)
        down = down * np.where(np.isfinite(factor), np.where(filled, factor, np.minimum(factor, 1.0)), 1.0)[:, None]
        down = np.minimum(down, upper - lower)
    way = lower + down - middle
    reach = np.minimum(_reach(way @ matrix.T, bound - matrix @ middle), 1.0)
    return np.clip(middle + way * reach[:, None], lower, upper)


def _reach(rise: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Longest step [B] along rises [B, rows] that keeps inside the room [rows]."""
    steps = np.where(rise > 0.0, room / np.where(rise > 0.0, rise, 1.0), np.inf)
    return np.maximum(steps.min(axis=1, initial=np.inf), 0.0)


def starts(task: Task, restarts: int, seed: int) -> Float[Array, "R n"]:
    """Strictly feasible starting points: even, loading, delayed, pulsed and random schedules.

    Args:
        task: the numbers of the problem.
        restarts: how many, R.
        seed: of the random ones; the same seed gives the same points, and the first ones do not depend on R.
    """
    lower, upper = np.asarray(task.lower), np.asarray(task.upper)
    middle, count, drugs = center(task), task.grid.count, task.scale.size
    wished = []
    for r in range(restarts):
        rng = np.random.default_rng([seed, r])
        wished.append(np.stack([_shape(r, count, rng) for _ in range(drugs)], -1).ravel())
    points = within(task, lower + np.array(wished) * (upper - lower), middle)
    return jnp.asarray(middle + _ROOM * (points - middle))


def inwards(task: Task, doses: np.ndarray) -> Float[Array, "R n"]:
    """Schedules [R, K, N] that keep the dose limits, moved a tenth of the way to the center: strictly feasible points.

    A barrier method cannot begin on a limit, which is where optima lie.
    """
    shares = (doses / np.asarray(task.scale)).reshape(len(doses), -1)
    return jnp.asarray(shares + _INWARD * (center(task) - shares))


def _shape(r: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Shares of the largest dose over the intervals, by the number of the restart."""
    place = (np.arange(count) + 0.5) / count
    jitter = rng.uniform(0.85, 1.0, count)
    kind = r % 8
    if kind == 0:
        return np.full(count, 0.5) * (1.0 if r == 0 else rng.uniform(0.1, 1.9)) * (1.0 if r == 0 else jitter)
    if kind == 1:
        return np.exp(-place / rng.uniform(0.1, 1.0)) * jitter
    if kind == 2:
        return np.exp((place - 1.0) / rng.uniform(0.1, 1.0)) * jitter
    if kind == 3:
        period, phase, duty = rng.integers(2, 9), rng.integers(0, 8), rng.uniform(0.2, 0.8)
        return np.where(((np.arange(count) + phase) % period) / period < duty, 0.95, 0.02) * jitter
    if kind == 4:
        first, last = np.sort(rng.uniform(0.0, 1.0, 2))
        return np.where((place >= first) & (place <= last), 0.95, 0.05) * jitter
    if kind == 5:
        return (rng.uniform(size=count) < rng.uniform(0.15, 0.85)) * 0.9 * jitter + 0.02
    if kind == 6:
        return rng.beta(0.4, rng.uniform(0.4, 3.0), count)
    return rng.uniform(0.0, 1.0, count)
