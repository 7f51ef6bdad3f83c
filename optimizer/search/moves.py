"""Schedules a move away from another one: pieces of it exchanged, shifted, merged, scaled, moved or set anew."""

import numpy as np
from jaxtyping import Float

from optimizer.problem import Task
from optimizer.search.phase_one import within


def neighbors(
    task: Task, points: Float[np.ndarray, "R n"], count: int, seed: list[int], middle: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "B n"]:
    """Schedules a move away from points, so many of each in a row, some two or three moves; inside the dose limits."""
    rng = np.random.default_rng(seed)
    lower, upper = (np.asarray(a).reshape(task.grid.count, -1) for a in (task.lower, task.upper))
    tried = []
    for point in np.repeat(points, count, axis=0):
        doses = point.reshape(lower.shape).copy()
        for _ in range(rng.choice(3, p=(0.6, 0.3, 0.1)) + 1):
            j = rng.integers(doses.shape[1])
            doses[:, j] = _moved(rng, doses[:, j], lower[:, j], upper[:, j])
        tried.append(np.clip(doses, lower, upper).ravel())
    return within(task, np.array(tried), middle, rng.uniform(size=len(tried)) < 0.3)


def _moved(rng: np.random.Generator, doses: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """One drug's doses [K] after a move."""
    count, doses = doses.size, doses.copy()
    length = min(count, int(np.ceil(count ** rng.uniform())))
    first, other = rng.integers(count - length + 1, size=2)
    one, two = slice(first, first + length), slice(other, other + length)
    kind = rng.integers(6)
    if kind == 0:  # exchange two pieces
        doses[one], doses[two] = doses[two].copy(), doses[one].copy()
    elif kind == 1:  # shift a piece, or everything
        doses[one] = np.roll(doses[one], rng.choice((-2, -1, 1, 2)))
    elif kind == 2:  # merge a piece to its mean, or to what is given next to it
        doses[one] = rng.choice((doses[one].mean(), doses[max(first - 1, 0)], doses[min(first + length, count - 1)]))
    elif kind == 3:  # a piece at none, all or anything
        level = rng.choice((0.0, 1.0, rng.uniform(), 10.0 ** (-2.5 * rng.uniform())))
        doses[one] = lower[one] + level * (upper - lower)[one]
    elif kind == 4:  # from one piece to another, by a share of it
        share = rng.choice((1.0, rng.uniform(), 10.0 ** (-2.5 * rng.uniform())))
        taken = share * (doses[one] - lower[one])
        doses[one] -= taken
        doses[two] += taken[: doses[two].size]
    else:  # a piece scaled, by much or by little
        size = 10.0 ** (-2.5 * rng.uniform())
        doses[one] = lower[one] + (doses[one] - lower[one]) * np.exp(size * rng.normal())
    return doses
