"""Where descents may begin: schedules of the shapes that the field knows, and schedules drawn unseen.

Pieces of constant dose (a constant dose, strike then hold, hold then strike, up to six levels with any switch times),
on and off between two times, and tapers; drugs switch together or each by itself. All are brought inside the dose
limits, half of them up to the budget where there is one.
"""

import numpy as np
from jaxtyping import Array, Float

from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Task
from optimizer.programs import stored
from optimizer.regimens import Regimen
from optimizer.search.phase_one import center, within

# Share of the way from the center to a limit.
_ROOM = 0.97
# How often a schedule has so many pieces.
_PIECES = (1, 2, 3, 4, 5, 6)
_HOW_OFTEN = (0.04, 0.34, 0.30, 0.14, 0.10, 0.08)
# Smallest level that is not nothing, as a share of the largest dose: 10^-2.5.
_DECADES = 2.5
# Schedules of one random generator.
_BLOCK = 512


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
    return stored(middle + _ROOM * (points - middle))


def on_decisions(problem: Problem, regimen: Regimen) -> Float[np.ndarray, "K N"]:
    """What a regimen gives in each decision interval of a problem: amounts added up, rates averaged."""
    policy = problem.delivered(regimen.policy)
    given = policy.doses if isinstance(policy, Schedule) else problem.simulate(policy, regimen.grid)[0].doses
    doses, own, edges = (np.asarray(a) for a in (given, regimen.grid.edges, problem.task.grid.edges))
    begin, end = edges[:-1, None], edges[1:, None]
    amounts = ((own[:-1] >= begin) & (own[:-1] < end)) @ doses
    shared = np.maximum(np.minimum(own[1:], end) - np.maximum(own[:-1], begin), 0.0)
    is_rate = np.array(problem.task.system.routes) == "infusion"
    return np.where(is_rate, shared @ doses / (end - begin), amounts)


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


def shapes(task: Task, count: int, seed: int, middle: Float[np.ndarray, "n"]) -> Float[np.ndarray, "B n"]:
    """Schedules inside the dose limits, as flattened shares of the largest doses.

    Args:
        task: the numbers of the problem.
        count: how many, B; the first ones do not depend on it.
        seed: the same seed gives the same schedules.
        middle: a point inside all dose limits.
    """
    intervals, drugs = task.grid.count, task.scale.size
    blocks = [_block(np.random.default_rng([seed, b]), intervals, drugs) for b in range(-(-count // _BLOCK))]
    wished = np.concatenate(blocks)[:count].reshape(count, -1)
    filled = np.arange(count) % 2 == 1
    return within(task, np.asarray(task.lower) + wished * np.asarray(task.upper - task.lower), middle, filled)


def _block(rng: np.random.Generator, intervals: int, drugs: int) -> Float[np.ndarray, "B K N"]:
    """A block of schedules as shares of the largest doses."""
    together = rng.uniform(size=_BLOCK) < 0.5
    place = (np.arange(intervals) + 0.5) / intervals
    columns, first = [], rng.uniform(size=(_BLOCK, max(_PIECES) + 3))
    for j in range(drugs):
        own = rng.uniform(size=first.shape)
        times = first if j == 0 else np.where(together[:, None], first, own)
        levels = _levels(rng, (_BLOCK, max(_PIECES)))
        pieces = rng.choice(_PIECES, _BLOCK, p=_HOW_OFTEN)
        kinds = [_stepped(place, times, levels, pieces), _pulsed(place, times, levels), _tapered(place, times, levels)]
        kind = rng.choice(3, _BLOCK, p=(0.7, 0.15, 0.15))
        columns.append(np.choose(kind[:, None], kinds))
    return np.stack(columns, axis=-1)


def _levels(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Shares of the largest dose: none, all, any, and small ones by their logarithm."""
    any_, small = rng.uniform(size=shape), 10.0 ** -(_DECADES * rng.uniform(size=shape))
    return np.choose(rng.choice(4, shape, p=(0.2, 0.2, 0.35, 0.25)), [np.zeros(shape), np.ones(shape), any_, small])


def _stepped(place: np.ndarray, times: np.ndarray, levels: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """Pieces of constant dose [B, K]."""
    cuts = np.sort(np.where(np.arange(levels.shape[1] - 1) < pieces[:, None] - 1, times[:, : levels.shape[1] - 1], 2.0))
    piece = np.sum(place[:, None] > cuts[:, None, :], axis=2)
    return np.take_along_axis(levels, piece, axis=1)


def _pulsed(place: np.ndarray, times: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """One level and another in turn between two times, a third before and after [B, K]."""
    count = place.size
    period = 2.0 + np.floor(times[:, 0] ** 2 * max(count - 2, 1))
    on = np.mod(np.arange(count) + np.floor(times[:, 1] * period)[:, None], period[:, None])
    pulses = np.where(on < np.maximum(1.0, np.round(times[:, 2] * period))[:, None], levels[:, :1], levels[:, 1:2])
    begin, end = np.sort(times[:, 3:5] * 1.6 - 0.3).T
    return np.where((place >= begin[:, None]) & (place <= end[:, None]), pulses, levels[:, 2:3])


def _tapered(place: np.ndarray, times: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """From one level to another, evenly or by equal factors, after one time and before another [B, K]."""
    begin, end = np.sort(times[:, :2] * 1.6 - 0.3).T
    way = np.clip((place - begin[:, None]) / (end - begin)[:, None], 0.0, 1.0)
    first, last = levels[:, :1], levels[:, 1:2]
    even = first + (last - first) * way
    least = 10.0**-_DECADES
    factors = np.maximum(first, least) ** (1.0 - way) * np.maximum(last, least) ** way
    return np.where(times[:, 2:3] < 0.5, even, factors)
