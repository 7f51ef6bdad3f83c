"""From a schedule that satisfies the dose limits to rounding, to one that satisfies them exactly, in whole levels."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Context, Decimal, Inexact, localcontext

import numpy as np

from optimizer.constraints.base import Row
from optimizer.problem import Problem
from optimizer.search.phase_one import center

# Doses this close to a bound (as a share of the largest dose) are put on it.
_SNAP = 1e-7

# Doses below this share of the largest one are no treatment, if leaving them out costs no more than this.
_TRACE, _FREE = 1e-3, 1e-6

# Sums of products of two doubles have fewer decimals than this; were it not so, it would be said.
_EXACT = Context(prec=3000, traps=[Inexact])


class NoLevels(ValueError):
    """No combination of the allowed levels satisfies the other dose limits."""


def satisfies(problem: Problem, doses: np.ndarray) -> bool:
    """Whether every dose limit holds in exact arithmetic on the decimals that will be written out, and in floats.

    Decimals are added up only where floats leave it open.
    """
    if (doses < problem.lower).any() or (doses > problem.upper).any():
        return False
    for row in problem.rows:
        terms = row.weights * doses[row.used]
        over = float(np.sum(terms)) - row.limit
        # Rounding of each number, of each product and of the sum, twice over, is less than this.
        doubt = (terms.size + 3) * np.finfo(float).eps * (float(np.sum(np.abs(terms))) + abs(row.limit))
        if over > doubt or (over >= -doubt and _exceeds(row, doses)):
            return False
    return all(np.isin(doses[:, j], problem.levels[d]).all() for j, d in _leveled(problem))


def _exceeds(row: Row, doses: np.ndarray) -> bool:
    """Whether a sum is above its limit as decimals."""
    with localcontext(_EXACT):
        pairs = zip(row.weights, doses[row.used], strict=True)
        return sum((_decimal(c) * _decimal(dose) for c, dose in pairs), Decimal(0)) > _decimal(row.limit)


def _decimal(value: float) -> Decimal:
    return Decimal(repr(float(value)))


def _leveled(problem: Problem) -> list[tuple[int, str]]:
    drugs = problem.task.system.drugs
    return [(j, drug) for j, drug in enumerate(drugs) if drug in problem.levels]


def make_feasible(problem: Problem, doses: np.ndarray, middle: np.ndarray | None = None) -> np.ndarray:
    """Put doses next to a bound on it, and move the rest inside by what makes every linear limit hold exactly.

    `middle` is `center(problem.task)`, where it is known already.
    """
    scale = np.asarray(problem.task.scale)
    lower, upper = problem.lower, problem.upper
    settled = np.where(doses - lower <= _SNAP * scale, lower, doses)
    settled = np.clip(np.where(upper - doses <= _SNAP * scale, upper, settled), lower, upper)
    # Twelve digits are far below what a pump delivers and keep the written numbers short.
    settled = np.clip(np.array([float(f"{d:.12g}") for d in settled.flat]).reshape(settled.shape), lower, upper)
    unleveled = replace(problem, levels={})
    middle = center(problem.task) if middle is None else middle
    inward = middle.reshape(settled.shape) * scale - settled
    share, least, candidate = 0.0, 1e-15, settled
    while not satisfies(unleveled, candidate) and share < 1.0:
        over = [float(np.sum(row.coefficients * candidate)) - row.limit for row in problem.rows]
        gain = [-float(np.sum(row.coefficients * inward)) for row in problem.rows]
        wanted = max((o / g for o, g in zip(over, gain, strict=True) if o > 0.0 and g > 0.0), default=0.0)
        share, least = share + max(wanted, least), 2.0 * least
        candidate = np.clip(settled + share * inward, lower, upper)
    return candidate


def without_traces(problem: Problem, doses: np.ndarray, judge: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Doses below a thousandth of their drug's largest one made zero: the most of them that cost nothing.

    Args:
        problem: the limits, which what is left satisfies.
        doses: a schedule that satisfies the linear limits [K, N].
        judge: merits (small is good) of a batch of schedules [B, K, N].
    """
    small = (doses > 0.0) & (doses < _TRACE * doses.max(axis=0)) & (problem.lower == 0.0)
    places = np.argwhere(small)
    if not len(places):
        return doses
    order = np.argsort(doses[small], kind="stable")
    # Zeros from the smallest dose on, one more each time.
    candidates = np.repeat(doses[None], len(places) + 1, axis=0)
    for i, at in enumerate(order, start=1):
        candidates[i:, places[at, 0], places[at, 1]] = 0.0
    merits = judge(candidates)
    free = merits <= merits[0] + _FREE * max(1.0, abs(float(merits[0])))
    unleveled = replace(problem, levels={})
    kept = [i for i in range(1, len(candidates)) if free[i] and satisfies(unleveled, candidates[i])]
    return candidates[max(kept, default=0)]


def round_to_levels(
    problem: Problem,
    doses: np.ndarray,
    judge: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> np.ndarray:
    """The best schedule in whole levels that a descent over single steps and exchanges finds from `doses`.

    Args:
        problem: the limits, with the allowed levels.
        doses: a schedule that satisfies the linear limits [K, N].
        judge: merits (small is good) of a batch of schedules [B, K, N].
        seed: picks the exchanges to try when there are too many.

    Raises:
        NoLevels: no rounding satisfies the limits.
    """
    current = _first_rounding(problem, doses)
    merit = float(judge(current[None])[0])
    rng = np.random.default_rng(seed)
    for _ in range(200):
        moves = [m for m in _neighbors(problem, current, rng) if satisfies(problem, m)]
        if not moves:
            break
        merits = judge(np.array(moves))
        best = int(np.argmin(merits))
        if not merits[best] < merit - 1e-12 * abs(merit):
            break
        current, merit = moves[best], float(merits[best])
    return current


def _first_rounding(problem: Problem, doses: np.ndarray) -> np.ndarray:
    """Nearest levels if they satisfy the limits, else the levels below, else no drug beyond the smallest doses."""
    nearest, below, least = doses.copy(), doses.copy(), problem.lower.copy()
    for j, drug in _leveled(problem):
        levels = problem.levels[drug]
        at = np.searchsorted(levels, doses[:, j] + 1e-9 * np.abs(doses[:, j]), side="right") - 1
        below[:, j] = levels[np.maximum(at, 0)]
        up = levels[np.minimum(at + 1, levels.size - 1)]
        nearest[:, j] = np.where(up - doses[:, j] < doses[:, j] - below[:, j], up, below[:, j])
        least[:, j] = levels[np.minimum(np.searchsorted(levels, problem.lower[:, j]), levels.size - 1)]
    for candidate in (nearest, below, least):
        if satisfies(problem, candidate):
            return candidate
    raise NoLevels("no schedule in the allowed dose levels satisfies the other dose limits")


def _neighbors(problem: Problem, doses: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Schedules one level up or down in one dose, or up in one and down in another of the same drug."""
    for j, drug in _leveled(problem):
        levels = problem.levels[drug]
        at = np.searchsorted(levels, doses[:, j])
        ups = np.flatnonzero(at + 1 < levels.size)
        downs = np.flatnonzero(at > 0)
        singles = [[(k, 1)] for k in ups] + [[(k, -1)] for k in downs]
        pairs = [[(k, 1), (m, -1)] for k in ups for m in downs if k != m]
        if len(pairs) > 1024:
            pairs = [pairs[i] for i in np.sort(rng.choice(len(pairs), 1024, replace=False))]
        for move in singles + pairs:
            changed = doses.copy()
            for k, direction in move:
                changed[k, j] = levels[at[k] + direction]
            yield changed
