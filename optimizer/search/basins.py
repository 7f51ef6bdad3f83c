"""From basin to basin: descents from schedules around the best end, and from starts that none was begun from."""

import itertools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.problem import Task
from optimizer.search.moves import neighbors
from optimizer.search.multistart import Progress, Run, run
from optimizer.search.phase_one import center
from optimizer.search.screening import Screened, diverse, evaluate, inside, is_far

# Schedules tried around each of so many of the best ends, in a round.
_TRIED, _AROUND, _MOST_ROUNDS = 256, 3, 8
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
        near = neighbors(task, ends[diverse(ends, merits, min(_AROUND, len(ends)))], _TRIED, [seed, round_], middle)
        tried += len(near)
        points = np.concatenate([known, near])
        values = np.concatenate([known_merits, screened.merits(*evaluate(task, near))])
        picked = _promising(points, values, least - SMALLER * screened.spread, begun, len(first) // _MORE)
        if not len(picked):
            break
        more = inside(task, screened, points[picked])
        begun = np.concatenate([begun, more])
        found = found.joined(run(task, jnp.asarray(more), tolerance, tell))
    return found, tried


def _promising(points: np.ndarray, values: np.ndarray, least: float, begun: np.ndarray, count: int) -> np.ndarray:
    """Indices of points that are better than the least value, else of so many that differ from all begun from."""
    better = np.flatnonzero(values < least)
    if better.size:
        return better[diverse(points[better], values[better], min(max(count, _FEWEST), better.size))]
    order = np.argsort(values, kind="stable")
    new = np.array([i for i in order[:_LOOKED_AT] if np.isfinite(values[i]) and is_far(begun, points[i])], dtype=int)
    return new[diverse(points[new], values[new], min(count, new.size))] if count and new.size else new[:0]
