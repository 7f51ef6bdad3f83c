"""What schedules come to, without derivatives and by the thousand; and which of them a search had better begin from."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.problem import Task
from optimizer.programs import program, stored
from optimizer.search.multistart import cores
from optimizer.search.phase_one import INWARD, center, within
from optimizer.search.starts import shapes, starts

# Largest relative violation of a limit on states that is let pass.
LIMIT_TOLERANCE = 1e-6
# Schedules of one call: a program for every other number of them would be compiled.
_BLOCK = 32
# Saved times that are simulated to score starts, about a second of one core; and how many starts that may be.
_SAVED_TIMES = 8e6
_FEWEST, _MOST = 512, 20_480
# Starts of a search differ by at least this share of what they give together, as long as there are enough of them.
APART = 0.3
# The worst of the starts say nothing of the objective.
_COMMON = 0.95
# A schedule that breaks a limit on states by a tenth is as bad as the worst that keeps it.
_PENALTY = 10.0
# Shares of the way to the center, where there is room to every limit; the first that costs no more than a share of the
# spread is taken.
_INWARD, _COSTS = (INWARD, 0.03, 0.01, 3e-3, 1e-3, 1e-4, 1e-6), 0.01


@program
def _score(task: Task, shares: Array) -> tuple[Array, Array, Array]:
    def one(x: Array) -> tuple[Array, Array, Array]:
        scene = task.simulate(x)
        worst = [jnp.max(reading.excess) for reading in task.readings(scene)]
        excess = jnp.max(jnp.stack([jnp.zeros(()), *worst]))
        return jnp.asarray(task.objective.evaluate(scene)), excess, jnp.asarray(scene.trajectory.times.size)

    return jax.vmap(one)(shares)


def in_blocks(
    score: Callable[[Any, Array], tuple[Array, ...]], task: Any, points: np.ndarray
) -> tuple[np.ndarray, ...]:
    """What a program says of points [B, n], asked for in blocks of one size, on all cores."""
    padded = np.concatenate([points, np.repeat(points[:1], -len(points) % _BLOCK, axis=0)])
    blocks = padded.reshape(-1, _BLOCK, points.shape[1])

    def one(block: np.ndarray) -> list[np.ndarray]:
        return [np.asarray(part) for part in score(task, stored(block))]

    with ThreadPoolExecutor(max(1, min(cores(), len(blocks)))) as pool:
        parts = [*pool.map(one, blocks)]
    return tuple(np.concatenate(part)[: len(points)] for part in zip(*parts, strict=True))


def evaluate(task: Task, points: Float[np.ndarray, "B n"]) -> tuple[np.ndarray, np.ndarray]:
    """Objective as reported [B], and worst relative excess of a limit on states [B], of flattened shares."""
    values, excess, _ = in_blocks(_score, task, points)
    return values, excess


@dataclass(frozen=True)
class Screened:
    """Starts that were scored."""

    points: Float[np.ndarray, "B n"]  #: flattened shares [B, n], inside the dose limits
    values: Float[np.ndarray, "B"]  #: objective as reported [B]
    excess: Float[np.ndarray, "B"]  #: worst relative excess of a limit on states [B]

    @cached_property
    def spread(self) -> float:
        """Of the objective over them, from the best to all but the worst twentieth."""
        good = self.values[np.isfinite(self.values)]
        return float(np.quantile(good, _COMMON) - good.min()) if good.size else 0.0

    @property
    def best(self) -> int:
        """The best start that keeps the limits on states; where none does, the one that comes nearest."""
        return int(ranked(self.values, self.excess)[0])

    def merits(self, values: np.ndarray, excess: np.ndarray) -> np.ndarray:
        """Objectives, with what limits on states are broken by added in units of the spread; inf where not finite."""
        out = np.maximum(excess - LIMIT_TOLERANCE, 0.0)
        merits = values + _PENALTY * max(self.spread, 1e-12) * out
        return np.where(np.isfinite(merits), merits, np.inf)


def ranked(values: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """Indices from the best to the worst: those that break a limit on states by how far, what is not finite last."""
    out = np.where(excess <= LIMIT_TOLERANCE, 0.0, excess)
    return np.lexsort((values, np.where(np.isfinite(excess) & np.isfinite(values), out, np.inf)))


def screen(task: Task, seed: int, given: Iterable[np.ndarray] = ()) -> Screened:
    """Score starts: what is given, constant doses, and as many of the shapes that the field knows as a second allows.

    The number depends on the times that a simulation saves and on nothing else: the same seed gives the same bytes.

    Args:
        task: the numbers of the problem.
        seed: of the shapes.
        given: further schedules [K, N], such as regimens; scaled into the dose limits.
    """
    middle, drugs, count = center(task), task.scale.size, task.grid.count
    levels = np.r_[0.0, np.geomspace(0.005, 0.1, 6), np.linspace(0.15, 1.0, 12)]
    mixes = np.concatenate([np.ones((1, drugs)), np.eye(drugs)[: drugs if drugs > 1 else 0]])
    constant = np.tile((levels[:, None, None] * mixes).reshape(-1, drugs), (1, count))
    listed = np.array([*given]).reshape(-1, count, drugs) / np.asarray(task.scale)
    fixed = within(task, np.concatenate([listed.reshape(-1, count * drugs), constant]), middle)
    *scores, times = in_blocks(_score, task, fixed)
    more = int(np.clip(_SAVED_TIMES / times[0], _FEWEST, _MOST)) // _BLOCK * _BLOCK
    drawn = shapes(task, more, seed, middle)
    points = np.concatenate([fixed, drawn])
    values, excess = (np.concatenate(pair) for pair in zip(scores, evaluate(task, drawn), strict=True))
    return Screened(points, values, excess)


def chosen(task: Task, screened: Screened, restarts: int, seed: int) -> Float[Array, "R n"]:
    """Where descents begin, strictly inside the dose limits: in turn the best scored and schedules drawn unseen."""
    merits = screened.merits(screened.values, screened.excess)
    good = np.flatnonzero(np.isfinite(merits)) if np.isfinite(merits).any() else np.arange(len(merits))
    drawn = np.array(starts(task, max(restarts // 2, 1), seed))[: restarts // 2]
    # Where a drawn one cannot be simulated, the next of the scored ones takes its place.
    failed = ~np.isfinite(evaluate(task, drawn)[0]) if len(drawn) else np.zeros(0, bool)
    count = restarts - len(drawn)
    best = screened.points[good[diverse(screened.points[good], merits[good], count + int(failed.sum()))]]
    scored = inside(task, screened, best)
    drawn[failed] = scored[count:]
    points = np.empty((restarts, best.shape[1]))
    points[::2], points[1::2] = scored[:count], drawn
    return stored(points)


def diverse(points: np.ndarray, merits: np.ndarray, count: int) -> np.ndarray:
    """Indices of the best points, best first, that differ from each other; by less and less until there are enough."""
    order, kept = np.argsort(merits, kind="stable"), []
    for apart in (APART, 0.3 * APART, 0.1 * APART, 0.0):
        for i in order:
            if len(kept) < count and i not in kept and is_far(points[kept], points[i], apart):
                kept.append(int(i))
    return np.resize(np.array(kept), count)


def is_far(others: Float[np.ndarray, "R n"], point: Float[np.ndarray, "n"], apart: float = APART) -> bool:
    """Whether a schedule differs from each of others by a share of what both give together."""
    return bool(np.all(np.abs(others - point).sum(axis=1) >= apart * (others.sum(axis=1) + point.sum())))


def inside(task: Task, screened: Screened, points: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B n"]:
    """Points on the dose limits moved to the center: by a tenth, or by less where that costs much.

    A barrier method cannot begin on a limit, which is where optima lie; what it begins from has to stay in its basin.
    """
    middle = center(task)
    moved = points + np.array((0.0, *_INWARD))[:, None, None] * (middle - points)
    values, excess = evaluate(task, moved.reshape(-1, points.shape[1]))
    merits = screened.merits(values, excess).reshape(len(moved), -1)
    good = merits[1:] <= merits[0] + _COSTS * screened.spread
    first = np.where(good.any(axis=0), np.argmax(good, axis=0), np.argmin(merits[1:], axis=0))
    return moved[1 + first, np.arange(len(points))]
