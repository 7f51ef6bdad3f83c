"""Schedules of the shapes that the field knows, by the ten thousand: what a search scores before it descends.

Pieces of constant dose (a constant dose, strike then hold, hold then strike, up to six levels with any switch times),
on and off between two times, and tapers; drugs switch together or each by itself. All are brought inside the dose
limits, half of them up to the budget where there is one.
"""

import numpy as np
from jaxtyping import Float

from optimizer.problem import Task
from optimizer.search.starts import within

# How often a schedule has so many pieces.
_PIECES = (1, 2, 3, 4, 5, 6)
_HOW_OFTEN = (0.04, 0.34, 0.30, 0.14, 0.10, 0.08)
# Smallest level that is not nothing, as a share of the largest dose: 10^-2.5.
_DECADES = 2.5
# Schedules of one random generator.
_BLOCK = 512


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
