"""Where restarts begin: strictly feasible schedules of very different shapes."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.problem import Task

# Share of the way from a known schedule to the center.
_INWARD = 0.1


def center(task: Task) -> np.ndarray:
    """A point far from every dose limit [n]: the center of the largest ball inside them (fixed unknowns aside)."""
    lower, upper, matrix, bound = (np.asarray(a) for a in (task.lower, task.upper, task.matrix, task.bound))
    free = upper > lower
    if not free.any():
        return lower.copy()
    norms = np.sqrt((matrix[:, free] ** 2).sum(axis=1))
    count = int(free.sum())
    left = bound - matrix[:, ~free] @ lower[~free]
    from scipy.optimize import linprog

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


def starts(task: Task, restarts: int, seed: int) -> Float[Array, "R n"]:
    """Strictly feasible starting points: even, loading, delayed, pulsed and random schedules.

    Args:
        task: the numbers of the problem.
        restarts: how many, R.
        seed: of the random ones; the same seed gives the same points, and the first ones do not depend on R.
    """
    lower, upper = np.asarray(task.lower), np.asarray(task.upper)
    matrix, bound = np.asarray(task.matrix), np.asarray(task.bound)
    middle = center(task)
    count, drugs = task.grid.count, task.scale.size
    points = []
    for r in range(restarts):
        rng = np.random.default_rng([seed, r])
        shares = np.stack([_shape(r, count, rng) for _ in range(drugs)], -1).ravel()
        wished = lower + shares * (upper - lower)
        points.append(_inside(middle, wished, lower, upper, matrix, bound))
    return jnp.asarray(np.array(points))


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


def _inside(
    middle: np.ndarray, wished: np.ndarray, lower: np.ndarray, upper: np.ndarray, matrix: np.ndarray, bound: np.ndarray
) -> np.ndarray:
    """The wished point: first scaled down towards the lower bounds, then towards the center until it has room."""
    down = wished - lower
    rise = matrix @ down
    room = bound - matrix @ lower
    ratio = np.where(rise > 0, room / np.where(rise > 0, rise, 1.0), np.inf)
    wished = lower + down * np.clip(0.97 * ratio.min(initial=1.0 / 0.97), 0.0, 1.0)
    way = wished - middle
    outward = np.r_[matrix @ way, way, -way]
    left = np.r_[bound - matrix @ middle, upper - middle, middle - lower]
    reach = np.where(outward > 0, left / np.where(outward > 0, outward, 1.0), np.inf).min(initial=np.inf)
    return middle + way * min(1.0, reach) * 0.97
