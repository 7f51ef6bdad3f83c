"""The best schedule of each patient, and what it comes to beside the schedules that all of them share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from optimizer.endpoints.base import AtVisits, Progressed
from optimizer.ensemble.alone import best_of, descend, search
from optimizer.ensemble.ensemble import Cores, Ensemble, with_system
from optimizer.ensemble.evaluate import Evaluation, evaluate_doses
from optimizer.ensemble.slots import End, Solved, side_by_side
from optimizer.mesh import Mesh as Panels
from optimizer.problem import Task
from optimizer.programs import program, stored
from optimizer.search import kkt
from optimizer.search.feasible import make_feasible, satisfies
from optimizer.search.fewer_nodes import AT_ENDS, agree, on_panels_of, thinned
from optimizer.search.iterate import LEAST_TEMPERATURE
from optimizer.search.phase_one import center
from optimizer.search.quadrature import QuadratureProgram, fitting
from optimizer.search.screening import LIMIT_TOLERANCE
from optimizer.simulate import System

# Searches side by side on an accelerator; a guess at what fills one, not measured.
SLOTS = 4096
# The same on a core, where the model is a quadrature, and patients to a call. With as many slots as a vector of the
# core holds every slot computes by the same instructions, and a patient's bits do not depend on the neighbors; with
# more some are left to the scalar end of a loop.
_SLOTS, _GROUP = 8, 64


class PatientStatus(StrEnum):
    """What became of a patient: of a search for his or her schedule, or under a policy."""

    SOLVED = "solved"
    NOT_CONVERGED = "not_converged"
    INFEASIBLE = "infeasible"
    PROGRESSED = "progressed"
    NOT_PROGRESSED = "not_progressed"
    SIMULATION_FAILED = "simulation_failed"
    BAD_PARAMETERS = "bad_parameters"


@dataclass(frozen=True)
class Personalised:
    """Patients of one chunk, arrays with a leading axis [C]."""

    status: list[PatientStatus]  #: of each
    doses: Float[np.ndarray, "C K N"]  #: personalised schedules [C, K, N]; NaN where there is none
    solved: Solved  #: how the search went
    #: what the personalised and the shared schedules come to [C, S, ...]; NaN where there is nothing
    evaluated: Evaluation


def _solve_many(task: Task, systems: System, points: Array, tolerance: Array) -> Solved:
    """Patients as an accelerator takes them."""
    return side_by_side(
        lambda system: with_system(task, system), partial(_best_one, task), systems, points, tolerance, SLOTS
    )


def _solve_group(quick: QuadratureProgram, systems: System, points: Array, live: Array, tolerance: Array) -> Solved:
    """The first `live` patients of a group, where the model is a quadrature."""

    def of(system: System) -> QuadratureProgram:
        return eqx.tree_at(lambda q: q.task, quick, with_system(quick.task, system))

    def best(_: System, ends: End) -> Solved:
        return ends.chosen(jnp.argmin(jnp.where(jnp.isfinite(ends.value), ends.value, jnp.inf)), jnp.sum(ends.done))

    return side_by_side(of, best, systems, points, tolerance, _SLOTS, live)


def _descend_one(task: Task, point: Array, tolerance: Array) -> End:
    return End.of(descend(task, point, tolerance))


def _best_one(task: Task, system: System, ends: End) -> Solved:
    return best_of(with_system(task, system), ends)


def _evaluate_one(task: Task, system: System, doses: Any, progressed: Progressed) -> Evaluation:
    return jax.lax.map(lambda d: evaluate_doses(with_system(task, system), d, progressed), doses)


# Everything that is a number is an argument: one compilation for all runs of the same shape. Alone, every restart is a
# call: the same search in a loop over restarts takes up to three times as long (models stepped in time, on a CPU).
_ALONE = program(_descend_one), program(_evaluate_one)
_QUICK = program(_solve_group), program(jax.vmap(_evaluate_one, (None, 0, 0, None)))


def over_devices(function: Callable[..., Any], mapped: Sequence[int | None]) -> Callable[..., Any]:
    """A function of many patients as a program on all devices that there are, an equal share on each.

    Args:
        function: of patients in leading axes; no patient's results depend on another's.
        mapped: 0 for an argument with a leading axis of patients, a multiple of the devices; None for what all share.
    """
    if jax.device_count() == 1:
        return jax.jit(function)
    # Each device goes through its own steps: none waits for another's slowest patient.
    mesh = Mesh(np.array(jax.devices()), ("patients",))
    given = tuple(PartitionSpec() if axis is None else PartitionSpec("patients") for axis in mapped)
    return jax.jit(
        jax.shard_map(function, mesh=mesh, in_specs=given, out_specs=PartitionSpec("patients"), check_vma=False)
    )


@cache
def _together() -> tuple[Callable[..., Solved], Callable[..., Evaluation]]:
    evaluate_many = jax.vmap(_evaluate_one, (None, 0, 0, None))
    return over_devices(_solve_many, (None, 0, None, None)), over_devices(evaluate_many, (None, 0, 0, None))


class Solver:
    """Solves the patients of an ensemble, with programs compiled once whatever their number and the size of the chunks.

    On a CPU every core takes the next patient that waits: patients differ in their iterations, and one who cannot be
    simulated costs nothing. On an accelerator searches go side by side, and one that has ended makes room for the next;
    so they do on each core of a CPU where the model is a quadrature. Whoever ends nowhere there, or whose objective is
    not that on the nodes of the simulation, is searched alone.

    Args:
        ensemble: the patients.
        points: known starts, strictly inside the limits [C, n]. Where patients are searched side by side everybody's
            restarts begin at the first of them, where they are searched alone at those that are best for the patient.
        tolerance: KKT residual to reach, relative to the gradient at the start.
        shared: schedules that all patients are given besides their own [S - 1, K, N].
        progressed: what progression is.
        together: whether to step patients together; on everything but a CPU when left out.
        restarts: of each patient; as many as there are points when left out.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        points: np.ndarray,
        tolerance: float,
        shared: np.ndarray,
        progressed: float | AtVisits,
        together: bool | None = None,
        restarts: int | None = None,
    ):
        self.ensemble, self.shared, self._cores = ensemble, shared, Cores()
        self.known, self.restarts = points, len(points) if restarts is None else restarts
        self.together = jax.default_backend() != "cpu" if together is None else together
        self.points = jnp.asarray(points[: self.restarts])
        self.tolerance, self.progressed = jnp.asarray(tolerance), jax.tree.map(jnp.asarray, progressed)
        self.quick = None if self.together else fitting(ensemble.task, self.points[:1])
        alone = self.quick is None and not self.together
        self.mesh = (thinned(ensemble.task, self.points[:1]) if alone else ensemble.task).system.mesh

    @cached_property
    def middle(self) -> np.ndarray:
        """A point far from every dose limit [n]."""
        return center(self.ensemble.task)

    def chunk(self, first: int, size: int, tell: Callable[[int], None] = lambda done: None) -> Personalised:
        """Patients `first` up to `first + size`, or fewer at the end; `tell` hears how many are done.

        Args:
            first: index of the first patient.
            size: patients of a chunk; the last one is filled up with the typical patient where it is stepped together.
            tell: is told after each patient.
        """
        included = self.ensemble.included[first : first + size]
        # Chunks and groups have one size, or every new one would be compiled; every device has as many patients.
        together = -(-size // jax.device_count()) * jax.device_count()
        each = together if self.together else 1 if self.quick is None else _GROUP
        who = first + np.flatnonzero(included)
        parts = self._cores.map(partial(self._group, each), [who[i : i + each] for i in range(0, len(who), each)])
        well = (row for part in parts for row in part)
        found: list[Any] = []
        for good in included:
            found.append(next(well) if good else None)
            tell(len(found))
        return self._gathered(found, included, first)

    def _one(self, row: int, mesh: Panels | None = None) -> tuple[Any, np.ndarray, Any]:
        """A patient alone, on few nodes; on those of the simulation where the objective is not the same there."""
        task, system = self.ensemble.task, jax.tree.map(lambda leaf: leaf[row], self.ensemble.systems)
        own = on_panels_of(self.mesh if mesh is None else mesh, with_system(task, system))

        def descend_one(point: np.ndarray) -> End:
            return jax.tree.map(np.asarray, _ALONE[0](own, stored(point), self.tolerance))

        solved = search(own, self.known, self.restarts, self.middle, descend_one)
        doses = self._settled(solved.shares)
        evaluated = _ALONE[1](task, system, np.concatenate([doses[None], self.shared]), self.progressed)
        evaluated = jax.tree.map(np.asarray, evaluated)
        is_on_few = mesh is None and self.mesh.size < system.mesh.size
        if is_on_few and not agree(with_system(task, system), own, solved.shares[None])[0]:
            return self._one(row, system.mesh)
        return solved, doses, evaluated

    def _group(self, size: int, rows: np.ndarray) -> list[Any]:
        """Patients side by side, filled up with the first of them; who ends nowhere good is searched alone."""
        if not self.together and self.quick is None:
            return [self._one(row) for row in rows]
        rest, task = size - len(rows), self.ensemble.task
        padded = np.concatenate([rows, np.repeat(rows[:1], rest)])
        own = jax.tree.map(lambda leaf: leaf[padded], self.ensemble.systems)
        if self.quick is None:
            solve, evaluate = _together()
            solved = solve(task, own, self.points, self.tolerance)
        else:
            solve, evaluate = _QUICK
            solved = solve(self.quick, own, self.points, jnp.asarray(len(rows)), self.tolerance)
        solved = jax.tree.map(np.asarray, solved)
        doses = np.stack([self._settled(shares) for shares in solved.shares[: len(rows)]])
        given = np.concatenate([doses[:, None], np.broadcast_to(self.shared, (len(rows), *self.shared.shape))], 1)
        given = np.concatenate([given, np.repeat(given[:1], rest, axis=0)])
        evaluated = jax.tree.map(np.asarray, evaluate(task, own, given, self.progressed))
        reached = evaluated.objective[:, 0]
        good = solved.done & (np.abs(solved.value - reached) <= AT_ENDS * np.maximum(1.0, np.abs(reached)))
        return [
            jax.tree.map(lambda a, i=i: a[i], (solved, doses, evaluated))
            if good[i] or self.together
            else self._one(row)
            for i, row in enumerate(rows)
        ]

    def _settled(self, shares: np.ndarray) -> np.ndarray:
        """Doses that satisfy every limit on doses exactly; NaN where the search ended nowhere."""
        if not np.all(np.isfinite(shares)):
            return np.full(self.shared.shape[1:], np.nan)
        doses = shares.reshape(self.shared.shape[1:]) * np.asarray(self.ensemble.task.scale)
        return make_feasible(self.ensemble.problem, doses, self.middle)

    def _gathered(self, found: list[Any], included: np.ndarray, first: int) -> Personalised:
        """Rows as arrays; those of patients who cannot be simulated are masked here, after the solve."""
        blank = _blank(self.ensemble, self.shared)
        rows = [row if good else blank for row, good in zip(found, included, strict=True)]
        solved, doses, evaluated = (jax.tree.map(lambda *p: np.stack(p), *part) for part in zip(*rows, strict=True))
        status = [self._status(row, first + i) for i, row in enumerate(rows)]
        return Personalised(status, doses, solved, evaluated)

    def _status(self, row: Any, i: int) -> PatientStatus:
        solved, doses, evaluated = row
        if not self.ensemble.included[i]:
            bad = i in self.ensemble.patients.faults
            return PatientStatus.BAD_PARAMETERS if bad else PatientStatus.SIMULATION_FAILED
        if not (np.all(evaluated.ok) and np.all(np.isfinite(evaluated.objective))):
            return PatientStatus.SIMULATION_FAILED
        if evaluated.excess[0] > LIMIT_TOLERANCE or not satisfies(self.ensemble.problem, doses):
            return PatientStatus.INFEASIBLE
        near = solved.done or self._is_near(i, solved, evaluated)
        return PatientStatus.SOLVED if near else PatientStatus.NOT_CONVERGED

    def _is_near(self, i: int, solved: Solved, evaluated: Evaluation) -> bool:
        """Whether the objective could fall by next to nothing of its spread, to first order, as `optimize` judges.

        A residual is measured against the gradient at the start, which is next to nothing, too, where hardly any
        schedule is worse than another. The spread is over the starts and the schedules that all are given.
        """
        task, system = self.ensemble.task, jax.tree.map(lambda leaf: leaf[i], self.ensemble.systems)
        if task.state_limits:
            return False
        own, x = with_system(task, system), jnp.asarray(solved.shares)
        starts = np.resize(jax.vmap(own.doses)(self.points), (1 + len(self.shared), *self.shared.shape[1:]))
        begun = _ALONE[1](task, system, starts, self.progressed)
        values = np.concatenate([evaluated.objective, begun.objective])
        slope = kkt.gradient(own, x, None if own.is_smooth else jnp.asarray(LEAST_TEMPERATURE))
        left = kkt.gap(own, solved.shares, np.asarray(slope))
        return left <= float(self.tolerance) * float(np.ptp(values[np.isfinite(values)]))


def _blank(ensemble: Ensemble, shared: np.ndarray) -> Any:
    """The row of a patient who cannot be simulated."""
    one, many, terms = np.full((), np.nan), np.full(1 + len(shared), np.nan), len(ensemble.task.objective.terms)
    whole, no = np.zeros((), int), np.zeros((), bool)
    solved = Solved(np.full(ensemble.task.lower.size, np.nan), whole, whole, one, no, one)
    table = np.full((many.size, terms), np.nan)
    evaluated = Evaluation(many, table, many, many, many, many, many, np.zeros(many.size, bool))
    return solved, np.full(shared.shape[1:], np.nan), evaluated
