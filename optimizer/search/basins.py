"""From basin to basin: schedules near the best one, with pieces of it exchanged, shifted, merged or set anew."""

import itertools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from optimizer.problem import Task
from optimizer.search.multistart import Progress, Run, run
from optimizer.search.phase_one import center, within
from optimizer.search.screening import Screened, diverse, evaluate, inside

# Schedules tried around each of so many of the best ends, in a round; rounds go on while one of them helps.
_TRIED, _AROUND, _MOST_ROUNDS = 256, 3, 8
# Descents of a round.
_DESCENTS = 2
# An objective is smaller where it is by more than this share of the spread over the starts: as far as audits agree.
SMALLER = 1e-5


def hop(
    task: Task, screened: Screened, found: Run, tolerance: float, seed: int, tell: Callable[[Progress], None]
) -> tuple[Run, int]:
    """Descents from schedules around the best end that are better than it, until a round finds none.

    Args:
        task: the numbers of the problem.
        screened: starts that were scored: one that is better than every end is descended from, too.
        found: descents so far.
        tolerance: as theirs.
        seed: of the schedules that are tried.
        tell: is told how the search goes.

    Returns:
        All descents, and how many schedules were tried.
    """
    tried, middle = 0, center(task)
    known, known_merits = screened.points, screened.merits(screened.values, screened.excess)
    for round_ in itertools.count():
        ends = np.array([state.x for state in found.states])
        merits = screened.merits(*evaluate(task, ends))
        if found.interrupted or round_ == _MOST_ROUNDS or not np.isfinite(merits).any():
            break
        around = ends[diverse(ends, merits, min(_AROUND, len(ends)))]
        near = np.concatenate([neighbors(task, x, _TRIED, [seed, round_, i], middle) for i, x in enumerate(around)])
        tried += len(near)
        near_merits = screened.merits(*evaluate(task, near))
        points, values = np.concatenate([known, near]), np.concatenate([known_merits, near_merits])
        better = values < merits.min() - SMALLER * screened.spread
        if not better.any():
            break
        better = np.flatnonzero(better)
        picked = better[diverse(points[better], values[better], min(_DESCENTS, len(better)))]
        found = found.joined(run(task, jnp.asarray(inside(task, points[picked])), tolerance, tell))
        # What was descended from once is not descended from again.
        known_merits[picked[picked < len(known)]] = np.inf
    return found, tried


def neighbors(
    task: Task, point: Float[np.ndarray, "n"], count: int, seed: list[int], middle: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "B n"]:
    """Schedules a move away from a point, and some two or three moves, inside the dose limits."""
    rng = np.random.default_rng(seed)
    lower, upper = (np.asarray(a).reshape(task.grid.count, -1) for a in (task.lower, task.upper))
    tried = []
    for _ in range(count):
        doses = point.reshape(lower.shape).copy()
        for _ in range(rng.choice(3, p=(0.6, 0.3, 0.1)) + 1):
            j = rng.integers(doses.shape[1])
            doses[:, j] = _moved(rng, doses[:, j], lower[:, j], upper[:, j])
        tried.append(np.clip(doses, lower, upper).ravel())
    return within(task, np.array(tried), middle, rng.uniform(size=count) < 0.3)


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
        share = rng.uniform()
        taken = share * (doses[one] - lower[one])
        doses[one] -= taken
        doses[two] += taken[: doses[two].size]
    else:  # a piece scaled
        doses[one] = lower[one] + (doses[one] - lower[one]) * np.exp(rng.normal())
    return doses
