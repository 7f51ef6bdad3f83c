"""From basin to basin: descents from schedules around the best end, and from starts that none was begun from."""

import itertools
from collections.abc import Callable

import numpy as np
from jaxtyping import Array, Float

from optimizer.problem import Task
from optimizer.programs import stored
from optimizer.search.multistart import Progress, Run, run
from optimizer.search.phase_one import center, within
from optimizer.search.screening import Screened, diverse, evaluate, inside, is_far

# Schedules tried around each of so many of the best ends, in a round.
_TRIED, _AROUND, _MOST_ROUNDS = 256, 3, 8
# As many as that at most, and no more than this share of the starts, which are few where a simulation is dear.
_SHARE = 16
# Descents of a round, as a share of the first ones; at least two from schedules that are better than all ends.
_MORE, _FEWEST = 4, 2
# The best schedules that are looked through for new ones.
_LOOKED_AT = 4096
# An objective is smaller where it is by more than this share of the spread over the starts: as far as audits agree.
SMALLER = 1e-5


def search(
    task: Task,
    screened: Screened,
    first: Float[Array, "R n"],
    tolerance: float,
    seed: int,
    tell: Callable[[Progress], None],
) -> tuple[Run, int]:
    """Descents from R points, then rounds of a quarter as many until one has found nothing better.

    A round begins from the best of: schedules a move away from the best ends, and starts that were scored and differ
    from all that was begun from. One that is better than every end as it stands is always followed.

    Args:
        task: the numbers of the problem.
        screened: starts that were scored.
        first: strictly inside the dose limits.
        tolerance: projected-gradient (KKT) residual to reach, relative to that at the start.
        seed: of the schedules that are tried.
        tell: is told how the search goes.

    Returns:
        All descents, and how many schedules were tried around the best ends.
    """
    found, tried, middle, begun = run(task, first, tolerance, tell), 0, center(task), np.asarray(first)
    known, known_merits = screened.points, screened.merits(screened.values, screened.excess)
    least = np.inf
    for round_ in itertools.count():
        ends = np.array([state.x for state in found.states])
        merits = screened.merits(*evaluate(task, ends))
        is_better = merits.min() < least - SMALLER * screened.spread
        least = float(merits.min())
        if found.interrupted or round_ == _MOST_ROUNDS or not is_better:
            break
        around = ends[diverse(ends, merits, min(_AROUND, len(ends)))]
        near = neighbors(task, around, min(_TRIED, len(screened.points) // _SHARE), [seed, round_], middle)
        tried += len(near)
        points = np.concatenate([known, near])
        values = np.concatenate([known_merits, screened.merits(*evaluate(task, near))])
        picked = _promising(points, values, least - SMALLER * screened.spread, begun, len(first) // _MORE)
        if not len(picked):
            break
        more = inside(task, screened, points[picked])
        begun = np.concatenate([begun, more])
        found = found.joined(run(task, stored(more), tolerance, tell))
    return found, tried


def _promising(points: np.ndarray, values: np.ndarray, least: float, begun: np.ndarray, count: int) -> np.ndarray:
    """Indices of points that are better than the least value, else of so many that differ from all begun from."""
    better = np.flatnonzero(values < least)
    if better.size:
        return better[diverse(points[better], values[better], min(max(count, _FEWEST), better.size))]
    order = np.argsort(values, kind="stable")
    new = np.array([i for i in order[:_LOOKED_AT] if np.isfinite(values[i]) and is_far(begun, points[i])], dtype=int)
    return new[diverse(points[new], values[new], min(count, new.size))] if count and new.size else new[:0]


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
