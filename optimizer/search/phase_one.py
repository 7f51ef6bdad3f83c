"""Points inside the dose limits: the center, where there is most room, and ways into them from outside or an edge."""

import numpy as np
from jaxtyping import Float

from optimizer.problem import Task

# Share of the way from a known schedule to the center.
INWARD = 0.1


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


def off_the_limits(points: Float[np.ndarray, "R n"], middle: Float[np.ndarray, "n"]) -> Float[np.ndarray, "R n"]:
    """Points inside the dose limits moved a tenth of the way to the center: strictly feasible ones.

    A barrier method cannot begin on a limit, which is where optima lie.
    """
    return points + INWARD * (middle - points)
