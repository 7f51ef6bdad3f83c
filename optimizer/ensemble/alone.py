"""One patient's search: from the best of the starts that are known, then from what is better than its ends."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.ensemble.evaluate import evaluate_doses
from optimizer.ensemble.risk import feasible_rank
from optimizer.ensemble.slots import End, Solved
from optimizer.problem import Task
from optimizer.search import basins, multistart
from optimizer.search.interior_point import step
from optimizer.search.iterate import State, start
from optimizer.search.landscape import Landscape
from optimizer.search.multistart import MOST_ITERATIONS, SEARCH_TOLERANCE, Progress, Run
from optimizer.search.phase_one import within
from optimizer.search.screening import LIMIT_TOLERANCE, Screened, chosen, diverse, evaluate, inside, screen

# Starts that are known beside optima, and how much optima differ.
_KNOWN, _SAME = 16, 0.02
# Schedules a move away from the best end that are tried, and descents from what is better, at most.
_TRIED, _MOST = 48, 3
# An end is left for a schedule that is better as it stands by more than this share of the spread over the starts.
_BETTER = 3e-4


def typical_starts(
    task: Task, restarts: int, tolerance: float, seed: int, tell: Callable[[Progress], None]
) -> tuple[list[State], Float[np.ndarray, "B n"]]:
    """Different optima of the typical patient, and promising starts strictly inside the limits; best first.

    Args:
        task: of the typical patient.
        restarts: descents.
        tolerance: KKT residual to reach, relative to the gradient at the start.
        seed: of the starts.
        tell: is told how the search goes.
    """
    screened = screen(task, seed)
    merits = screened.merits(screened.values, screened.excess)
    found, _ = basins.search(task, screened, chosen(task, screened, restarts, seed), tolerance, seed, tell)
    return _different(found), inside(task, screened, screened.points[diverse(screened.points, merits, _KNOWN)])


def different_optima(
    task: Landscape, points: jax.Array, tolerance: float, tell: Callable[[Progress], None]
) -> list[State]:
    """The different optima that restarts end in, best first; those that did not converge come last."""
    return _different(multistart.run(task, points, tolerance, tell))


def _different(found: Run) -> list[State]:
    if found.interrupted:
        raise KeyboardInterrupt
    ordered = sorted(found.states, key=lambda s: (not bool(s.done), float(s.value) if np.isfinite(s.value) else np.inf))
    kept: list[State] = []
    for state in ordered:
        if all(float(np.max(np.abs(np.asarray(state.x - other.x)))) > _SAME for other in kept):
            kept.append(state)
    return kept


def descend(task: Landscape, point: Float[Array, "n"], tolerance: Array) -> State:
    """Take one starting point of a patient to a stationary point."""
    return jax.lax.while_loop(
        lambda s: (s.iterations < MOST_ITERATIONS) & ~(s.done | s.stuck),
        lambda s: step(task, s, tolerance, SEARCH_TOLERANCE),
        start(task, point),
    )


def best_of(task: Task, ends: End) -> Solved:
    """The best end that meets the limits, of ends with a leading axis [R]."""
    found = jax.lax.map(lambda x: evaluate_doses(task, task.doses(x), jnp.ones(())), ends.x)
    excess = jnp.where(found.ok, found.excess, jnp.inf)
    best = jnp.argmin(feasible_rank(found.objective, excess, jnp))
    return ends.chosen(best, jnp.sum(ends.done & (excess <= LIMIT_TOLERANCE)))


def solve(task: Task, points: Float[Array, "R n"], tolerance: Array) -> Solved:
    """Take every starting point of a patient to a stationary point, and keep the best that meets the limits."""
    return best_of(task, jax.lax.map(lambda x: End.of(descend(task, x, tolerance)), points))


def search(
    task: Task,
    known: Float[np.ndarray, "C n"],
    restarts: int,
    middle: Float[np.ndarray, "n"],
    descend: Callable[[Float[np.ndarray, "n"]], End],
) -> Solved:
    """The best end of descents from the best scored of known starts, and from schedules that are better than all ends.

    Args:
        task: of the patient.
        known: strictly inside the dose limits; where there are no more than restarts, all are descended from, no more.
        restarts: descents from known starts.
        middle: a point inside all dose limits.
        descend: takes a start to a stationary point.
    """
    if len(known) <= restarts:
        return best_end(task, [descend(point) for point in known])
    screened = Screened(known, *evaluate(task, known))
    merits = screened.merits(screened.values, screened.excess)
    ends = [descend(point) for point in known[diverse(known, merits, restarts)]]
    for round_ in range(_MOST):
        found = np.stack([end.x for end in ends])
        values = screened.merits(*evaluate(task, found))
        moved = _moved(task, found[int(np.argmin(values))], middle, round_)
        tried = np.concatenate([known, moved])
        better = np.concatenate([merits, screened.merits(*evaluate(task, moved))])
        best = int(np.argmin(better))
        if not better[best] < values.min() - _BETTER * screened.spread:
            break
        ends.append(descend(inside(task, screened, tried[best : best + 1])[0]))
    return best_end(task, ends)


def best_end(task: Task, ends: list[End]) -> Solved:
    """The best end that meets the limits."""
    all_ = jax.tree.map(lambda *parts: np.stack(parts), *ends)
    values, excess = evaluate(task, all_.x)
    excess = np.where(np.isfinite(values), excess, np.inf)
    best = int(np.argmin(feasible_rank(values, excess, np)))
    return all_.chosen(best, np.sum(all_.done & (excess <= LIMIT_TOLERANCE)))


def _moved(
    task: Task, point: Float[np.ndarray, "n"], middle: Float[np.ndarray, "n"], seed: int
) -> Float[np.ndarray, "B n"]:
    """A schedule begun earlier or later, by ever more, and schedules a move away from it; inside the dose limits."""
    doses = point.reshape(task.grid.count, -1)
    steps = 2 ** np.arange(int(np.log2(len(doses))) + 1)
    places = np.arange(len(doses)) + np.r_[steps, -steps][:, None]
    shifted = doses[np.clip(places, 0, len(doses) - 1)].reshape(len(places), -1)
    lower, upper = np.asarray(task.lower), np.asarray(task.upper)
    shifted = within(task, np.clip(shifted, lower, upper), middle, np.zeros(len(places), bool))
    return np.concatenate([shifted, basins.neighbors(task, point[None], _TRIED - len(shifted), [seed], middle)])
