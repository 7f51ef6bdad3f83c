"""The best schedule of each patient, and what it comes to beside the schedules that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.ensemble.devices import over_devices, shared_out
from optimizer.ensemble.ensemble import Ensemble, with_system
from optimizer.ensemble.judge import Judged, Numbers, judge
from optimizer.ensemble.slots import through_slots
from optimizer.problem import Task
from optimizer.programs import program
from optimizer.search.feasible import make_feasible, satisfies
from optimizer.search.interior_point import State, start, step
from optimizer.search.multistart import MOST_ITERATIONS, SEARCH_TOLERANCE, cores
from optimizer.search.optimize import LIMIT_TOLERANCE
from optimizer.search.phase_one import center
from optimizer.simulate import System

# Searches side by side on an accelerator; a guess at what fills one, not measured.
SLOTS = 4096


class PatientStatus(StrEnum):
    """What became of a patient."""

    SOLVED = "solved"
    NOT_CONVERGED = "not_converged"
    INFEASIBLE = "infeasible"
    SIMULATION_FAILED = "simulation_failed"
    BAD_PARAMETERS = "bad_parameters"


class Solved(NamedTuple):
    """The best of the restarts of a patient.

    Attributes:
        shares: doses as shares of the largest [n].
        converged: restarts that reached the tolerance within the limits on states.
        iterations: of the best one.
        residual: its KKT residual, relative to the gradient at its start.
        done: whether it reached the tolerance.
    """

    shares: Float[Numbers, "n"]
    converged: Numbers
    iterations: Numbers
    residual: Numbers
    done: Numbers


class End(NamedTuple):
    """Where a restart ended: the few numbers of its `State` that are asked for."""

    x: Float[Numbers, "n"]
    residual: Numbers
    iterations: Numbers
    done: Numbers


@dataclass(frozen=True)
class Outcomes:
    """Patients of one chunk, arrays with a leading axis [C].

    Attributes:
        status: of each.
        doses: personalised schedules [C, K, N]; NaN where there is none.
        solved: how the search went.
        judged: what the personalised and the shared schedules come to, axes [C, S, ...]; NaN where there is nothing.
    """

    status: list[PatientStatus]
    doses: Float[np.ndarray, "C K N"]
    solved: Solved
    judged: Judged


def descend(task: Task, point: Float[Array, "n"], tolerance: Array) -> State:
    """Take one starting point of a patient to a stationary point."""
    return jax.lax.while_loop(
        lambda s: (s.iterations < MOST_ITERATIONS) & ~(s.done | s.stuck),
        lambda s: step(task, s, tolerance, SEARCH_TOLERANCE),
        start(task, point),
    )


def best_of(task: Task, ends: State | End) -> Solved:
    """The best end that meets the limits, of ends with a leading axis [R]."""
    found = jax.lax.map(lambda x: judge(task, task.doses(x), jnp.ones(())), ends.x)
    out = jnp.where(found.ok, jnp.maximum(found.excess - LIMIT_TOLERANCE, 0.0), jnp.inf)
    rank = jnp.where(jnp.isfinite(found.objective), found.objective + 1e6 * out, jnp.inf)
    best = jnp.argmin(jnp.where(jnp.isnan(rank), jnp.inf, rank))
    converged = jnp.sum(ends.done & (out == 0.0))
    return Solved(ends.x[best], converged, ends.iterations[best], ends.residual[best], ends.done[best])


def solve(task: Task, points: Float[Array, "R n"], tolerance: Array) -> Solved:
    """Take every starting point of a patient to a stationary point, and keep the best that meets the limits."""
    return best_of(task, jax.lax.map(lambda x: descend(task, x, tolerance), points))


def _end(state: State) -> End:
    return End(state.x, state.residual, state.iterations, state.done)


def _solve_many(task: Task, systems: System, points: Array, tolerance: Array) -> Solved:
    """The best restart of every patient, all restarts of all patients side by side."""
    patients, restarts = jax.tree.leaves(systems)[0].shape[0], points.shape[0]

    def own(job: Array) -> Task:
        return with_system(task, jax.tree.map(lambda leaf: leaf[job // restarts], systems))

    ends, _ = through_slots(
        lambda job: start(own(job), points[job % restarts]),
        lambda job, state: step(own(job), state, tolerance, SEARCH_TOLERANCE),
        _end,
        patients * restarts,
        SLOTS,
    )
    ends = jax.tree.map(lambda leaf: leaf.reshape(patients, restarts, *leaf.shape[1:]), ends)
    return jax.vmap(_best_one, (None, 0, 0))(task, systems, ends)


def _descend_one(task: Task, system: System, point: Array, tolerance: Array) -> End:
    return _end(descend(with_system(task, system), point, tolerance))


def _best_one(task: Task, system: System, ends: End) -> Solved:
    return best_of(with_system(task, system), ends)


def _judge_one(task: Task, system: System, doses: Array, factor: Array) -> Judged:
    return jax.lax.map(lambda d: judge(with_system(task, system), d, factor), doses)


# Everything that is a number is an argument: one compilation for all runs of the same shape. Alone, every restart is a
# call: the same search in a loop over restarts takes up to three times as long (marching models on a CPU).
_ALONE = program(_descend_one), program(_best_one), program(_judge_one)


@cache
def _together() -> tuple[Callable[..., Solved], Callable[..., Judged]]:
    judge_many = jax.vmap(_judge_one, (None, 0, 0, None))
    return over_devices(_solve_many, (None, 0, None, None)), over_devices(judge_many, (None, 0, 0, None))


class Solver:
    """Solves the patients of an ensemble, with programs compiled once whatever their number and the size of the chunks.

    On a CPU every core takes the next patient that waits: patients differ in their iterations, and one who cannot be
    simulated costs nothing. On an accelerator searches go side by side, and one that has ended makes room for the next.

    Args:
        ensemble: the patients.
        points: where everybody's restarts begin, strictly inside the limits [R, n].
        tolerance: KKT residual to reach, relative to the gradient at the start.
        shared: schedules that all patients are given besides their own [S - 1, K, N].
        factor: progression is more than this multiple of the cells at the start.
        together: whether to step patients together; on everything but a CPU when left out.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        points: np.ndarray,
        tolerance: float,
        shared: np.ndarray,
        factor: float,
        together: bool | None = None,
    ):
        self.ensemble, self.shared, self._is_warm = ensemble, shared, False
        self.together = jax.default_backend() != "cpu" if together is None else together
        self.points, self.tolerance, self.factor = jnp.asarray(points), jnp.asarray(tolerance), jnp.asarray(factor)

    @cached_property
    def middle(self) -> np.ndarray:
        """A point far from every dose limit [n]."""
        return center(self.ensemble.task)

    def chunk(self, first: int, size: int, tell: Callable[[int], None] = lambda done: None) -> Outcomes:
        """Patients `first` up to `first + size`, or fewer at the end; `tell` hears how many are done.

        Args:
            first: index of the first patient.
            size: patients of a chunk; the last one is filled up with the typical patient where it is stepped together.
            tell: is told after each patient.
        """
        healthy = self.ensemble.healthy[first : first + size]
        systems = jax.tree.map(lambda leaf: leaf[first : first + size], self.ensemble.systems)
        rows = self._lockstep(systems, len(healthy), size) if self.together else self._by_core(systems, healthy)
        found: list[Any] = []
        for row in rows:
            found.append(row)
            tell(len(found))
        return self._gathered(found, healthy, first)

    def _by_core(self, systems: System, healthy: np.ndarray) -> Iterator[Any]:
        def work(i: int) -> Any:
            return self._one(jax.tree.map(lambda leaf: leaf[i], systems)) if healthy[i] else None

        if not self._is_warm:
            # Compiled before there are threads, which would each do it.
            self._one(jax.tree.map(lambda leaf: leaf[0], systems))
            self._is_warm = True
        pool = ThreadPoolExecutor(max(1, cores()))
        try:
            yield from pool.map(work, range(len(healthy)))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _one(self, system: System) -> tuple[Any, np.ndarray, Any]:
        descend_one, best_one, judge_one = _ALONE
        task = self.ensemble.task
        ends = [descend_one(task, system, point, self.tolerance) for point in self.points]
        stacked = jax.tree.map(lambda *parts: np.stack(parts), *ends)
        solved = jax.tree.map(np.asarray, best_one(task, system, stacked))
        doses = self._settled(solved.shares)
        judged = judge_one(task, system, np.concatenate([doses[None], self.shared]), self.factor)
        return solved, doses, jax.tree.map(np.asarray, judged)

    def _lockstep(self, systems: System, count: int, size: int) -> Iterator[Any]:
        """All together; chunks have one size, or every new one would be compiled."""
        solve_all, judge_all = _together()
        size = shared_out(size)
        padded = jax.tree.map(lambda leaf: np.concatenate([leaf, np.repeat(leaf[:1], size - count, axis=0)]), systems)
        solved = jax.tree.map(np.asarray, solve_all(self.ensemble.task, padded, self.points, self.tolerance))
        doses = np.stack([self._settled(shares) for shares in solved.shares])
        shared = np.broadcast_to(self.shared, (size, *self.shared.shape))
        given = np.concatenate([doses[:, None], shared], axis=1)
        judged = jax.tree.map(np.asarray, judge_all(self.ensemble.task, padded, given, self.factor))
        for i in range(count):
            yield jax.tree.map(lambda a, i=i: a[i], solved), doses[i], jax.tree.map(lambda a, i=i: a[i], judged)

    def _settled(self, shares: np.ndarray) -> np.ndarray:
        """Doses that satisfy every limit on doses exactly; NaN where the search ended nowhere."""
        if not np.all(np.isfinite(shares)):
            return np.full(self.shared.shape[1:], np.nan)
        return make_feasible(
            self.ensemble.problem, np.asarray(self.ensemble.task.doses(jnp.asarray(shares))), self.middle
        )

    def _gathered(self, found: list[Any], healthy: np.ndarray, first: int) -> Outcomes:
        """Rows as arrays; those of patients who cannot be simulated are masked here, after the solve."""
        sample = next((row for row, good in zip(found, healthy, strict=True) if good and row is not None), None)
        if sample is None:
            sample = _empty(self.ensemble, self.shared)
        blank = jax.tree.map(_masked, sample)
        rows = [row if good else blank for row, good in zip(found, healthy, strict=True)]
        solved, doses, judged = (
            jax.tree.map(lambda *parts: np.stack(parts), *part) for part in zip(*rows, strict=True)
        )
        status = [self._status(row, first + i) for i, row in enumerate(rows)]
        return Outcomes(status, doses, solved, judged)

    def _status(self, row: Any, i: int) -> PatientStatus:
        solved, doses, judged = row
        if not self.ensemble.healthy[i]:
            return PatientStatus.SIMULATION_FAILED if i in self.ensemble.failed else PatientStatus.BAD_PARAMETERS
        if not (np.all(judged.ok) and np.all(np.isfinite(judged.objective))):
            return PatientStatus.SIMULATION_FAILED
        if judged.excess[0] > LIMIT_TOLERANCE or not satisfies(self.ensemble.problem, doses):
            return PatientStatus.INFEASIBLE
        return PatientStatus.SOLVED if solved.done else PatientStatus.NOT_CONVERGED


def _masked(leaf: np.ndarray) -> np.ndarray:
    kind = np.asarray(leaf).dtype.kind
    return np.full_like(leaf, np.nan if kind == "f" else 0)


def _empty(ensemble: Ensemble, shared: np.ndarray) -> Any:
    """The shapes of a row where a chunk has nobody who can be simulated."""
    one, many, terms = np.zeros(()), np.zeros(1 + len(shared)), len(ensemble.task.objective.terms)
    whole = np.zeros((), int)
    solved = Solved(np.zeros(ensemble.task.lower.size), whole, whole, one, np.zeros((), bool))
    judged = Judged(many, np.zeros((many.size, terms)), many, many, many, many.astype(bool))
    return solved, np.zeros(shared.shape[1:]), judged
