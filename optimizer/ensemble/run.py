"""A cohort from the scenario to its tables: the typical patient, the one schedule for all, then chunk by chunk."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.constraints.toxicity_grade import has_grades
from optimizer.ensemble.alone import different_optima, typical_starts
from optimizer.ensemble.ensemble import Ensemble, build_ensemble
from optimizer.ensemble.patients import load_patients, source_digest
from optimizer.ensemble.personalise import Personalised, Solver
from optimizer.ensemble.program import build_program
from optimizer.ensemble.risk import refuse_alpha
from optimizer.files.chunks import HERE, AbstractJob, Workers, collected, slices
from optimizer.files.run import Columns, Run, table_bytes, to_bytes
from optimizer.files.run_directory import DirectoryError, check_writable
from optimizer.programs import check_64_bits
from optimizer.scenario import Scenario, ScenarioError
from optimizer.search.feasible import make_feasible
from optimizer.search.multistart import Progress
from optimizer.search.phase_one import center, off_the_limits
from optimizer.settings import CohortSettings as Settings

# What a patient is given: the best for him or her, the best for all, the best for the typical patient.
SCHEDULES = ("personalised", "population", "typical")
# Of patients with a risk, also the best for those who do not have the resistant clone, and for those who do.
BY_RISK = ("absent", "present")
FORMAT = "adose-cohort-1"
_SHARED = "shared.json"


@dataclass(frozen=True)
class Shared:
    """The schedules that all patients have in common, and where each one's restarts begin."""

    doses: np.ndarray  #: of the population, of the typical patient, and of `BY_RISK` where there are both [S - 1, K, N]
    points: np.ndarray  #: strictly inside the limits, those of everybody's restarts first [C, n]
    converged: tuple[bool, ...]  #: whether each of them reached the tolerance
    residual: tuple[float, ...]  #: KKT residual of each, relative to the gradient at its start
    iterations: tuple[int, ...]  #: of each

    @property
    def names(self) -> tuple[str, ...]:
        """What the schedules are the best for."""
        return (*SCHEDULES[1:], *BY_RISK)[: len(self.doses)]


@dataclass(frozen=True)
class Cohort:
    """What a run found.

    Attributes:
        scenario: what was asked.
        settings: how.
        ensemble: the patients.
        shared: the schedules that all have in common.
        table: one row a patient.
    """

    scenario: Scenario
    settings: Settings
    ensemble: Ensemble
    shared: Shared
    table: Columns

    @property
    def schedules(self) -> tuple[str, ...]:
        """What a patient is given, each in turn."""
        return (SCHEDULES[0], *self.shared.names)


class CohortJob(AbstractJob):
    """A cohort that is ready to be searched, chunk by chunk.

    Raises:
        ScenarioError: patients that cannot be made, or dose levels, which a cohort does not round to.
    """

    run: Run

    def __init__(
        self,
        scenario: Scenario,
        settings: Settings,
        out: Path,
        versions: dict[str, str],
        tell: Callable[[Progress], None] = lambda _: None,
        is_shared: bool = False,
    ):
        self.scenario, self.settings, self._tell = scenario, scenario.fill(settings), tell
        _check(scenario, self.settings)
        check_writable(out)
        patients = load_patients(scenario, self.settings.patients, self.settings.seed, self.settings.posterior)
        self.ensemble = ensemble = build_ensemble(scenario, patients)
        if ensemble.problem.levels:
            raise ScenarioError([f"{scenario.file}: constraint: wanted no dose levels in a cohort; got some"])
        ensemble.require(scenario.file)
        self.run = Run(out, manifest(scenario, self.settings, len(ensemble.names), versions), is_shared)
        self.shared = _shared(scenario, self.settings, ensemble, self.run, tell)
        points, doses, progressed = self.shared.points, self.shared.doses, scenario.progression()
        self._solver = Solver(
            ensemble, points, scenario.tolerance, doses, progressed, self.settings.together, self.settings.restarts
        )
        super().__init__(slices(len(ensemble.names), self.settings.chunk))

    def make(self, number: int) -> list[bytes]:
        """The table of a chunk."""
        first = self.rows[number].start
        found = self._solver.chunk(first, self.settings.chunk, lambda done: self.tell(first + done))
        return [table_bytes(_columns(self.scenario, self.ensemble, found, first))]

    def keys(self, number: int) -> list[dict[str, Any]]:
        """The patients of a chunk."""
        rows = self.rows[number]
        return [{"patient": rows, "name": self.ensemble.names[rows.start : rows.stop]}]

    def tell(self, done: int) -> None:
        """Say how many patients are done."""
        self._tell(Progress("patients", done, len(self.ensemble.names), None))


def run_chunks(
    scenario: Scenario,
    settings: Settings,
    out: Path,
    versions: dict[str, str] | None = None,
    tell: Callable[[Progress], None] | None = None,
    workers: Workers = HERE,
) -> Cohort | None:
    """Find all schedules, writing each chunk when it is done; go on where an earlier run of the same stopped.

    Of a part nothing comes back. Raises as `CohortJob` does.
    """
    given = scenario, settings, out, versions or {}
    job = CohortJob(*given, tell or (lambda _: None), workers.is_shared)
    found = collected(job, workers, partial(CohortJob, *given, is_shared=True))
    return None if found is None else Cohort(scenario, job.settings, job.ensemble, job.shared, *found)


def _check(scenario: Scenario, settings: Settings) -> None:
    limits = {"chunk": settings.chunk, "restarts": settings.restarts}
    for name, value in limits.items():
        if value < 1:
            raise ScenarioError([f"--{name}: wanted at least 1; got {value}"])
    refuse_alpha(settings.alpha)
    check_64_bits("cohort")


def manifest(scenario: Scenario, settings: Settings, patients: int, versions: dict[str, str]) -> dict[str, Any]:
    """What the bytes of a run depend on."""
    apart = ("patients", "posterior", "risk")
    return {
        "format": FORMAT,
        "scenario": scenario.resolved()["scenario"],
        "patients": patients,
        "risk": settings.risk.value,
        **{name: value for name, value in vars(settings).items() if name not in apart},
        "source_sha256": source_digest(scenario, settings.posterior),
        "platform": jax.default_backend(),
        "versions": versions,
    }


# --- schedules for all ------------------------------------------------------------------------------------------------


def _shared(
    scenario: Scenario, settings: Settings, ensemble: Ensemble, run: Run, tell: Callable[[Progress], None]
) -> Shared:
    """The schedules for all, read where they were found before."""

    def make() -> list[bytes]:
        found = _find_shared(scenario, settings, ensemble, tell)
        return [to_bytes({name: np.asarray(value).tolist() for name, value in vars(found).items()})]

    (data,) = run.parts([_SHARED], make)
    try:
        kept = json.loads(data)
        doses, points = np.array(kept["doses"], dtype=float), np.array(kept["points"], dtype=float)
        converged, residual, iterations = (tuple(kept[name]) for name in ("converged", "residual", "iterations"))
        shape = ensemble.problem.lower.shape
        if doses.shape != (2 + len(by_clone(ensemble)), *shape) or points.shape[1:] != (ensemble.task.lower.size,):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise DirectoryError(f"{run.out / _SHARED}: wanted the shared schedules of this run; got others") from None
    return Shared(doses, points, converged, residual, iterations)


def by_clone(ensemble: Ensemble) -> list[Ensemble]:
    """Of patients with a risk, those who do not have the clone and those who do; nothing where either is nobody."""
    patients, everybody = ensemble.patients, range(len(ensemble.names))
    if patients.risk is None:
        return []
    has_it = patients.values[:, -1] > 0.0
    groups = [ensemble.excluded | {i: "" for i in everybody if has_it[i] == away} for away in (True, False)]
    found = [replace(ensemble, excluded=group) for group in groups]
    return found if all(group.included.any() for group in found) else []


def _find_shared(
    scenario: Scenario, settings: Settings, ensemble: Ensemble, tell: Callable[[Progress], None]
) -> Shared:
    task, tolerance = ensemble.task, scenario.tolerance
    optima, known = typical_starts(
        task,
        scenario.restarts,
        tolerance,
        settings.seed,
        lambda event: tell(Progress("typical patient", 0, 1, event.best)),
    )
    middle = center(task)
    own = off_the_limits(np.array([state.x for state in optima]), middle)
    inside = own[: settings.restarts]
    typical = np.asarray(optima[0].x)
    tell(Progress("population", 0, 1, None))
    program = build_program(ensemble, settings.risk, settings.alpha, typical)
    together = different_optima(program, jnp.asarray(inside), tolerance, lambda event: None)
    groups = [build_program(group, settings.risk, settings.alpha, typical) for group in by_clone(ensemble)]
    by_risk = [different_optima(group, jnp.asarray(inside), tolerance, lambda event: None)[0] for group in groups]
    best = [together[0], optima[0], *by_risk]
    doses = [make_feasible(ensemble.problem, np.asarray(task.doses(jnp.asarray(state.x))), middle) for state in best]
    shared = np.array([np.asarray(state.x) for state in (together[0], *by_risk)])
    return Shared(
        doses=np.array(doses),
        points=np.array([*off_the_limits(shared, middle), *own, *known]),
        converged=tuple(bool(state.done) for state in best),
        residual=tuple(float(state.residual) for state in best),
        iterations=tuple(int(state.iterations) for state in best),
    )


# --- the table --------------------------------------------------------------------------------------------------------


def _columns(scenario: Scenario, ensemble: Ensemble, found: Personalised, first: int) -> Columns:
    """A chunk as columns, one row a patient."""
    rows, patients = slice(first, first + len(found.status)), ensemble.patients
    out: Columns = {
        "patient": np.arange(rows.start, rows.stop),
        "name": list(patients.names[rows]),
        "status": [status.value for status in found.status],
        "reason": [ensemble.excluded.get(i, "") for i in range(rows.start, rows.stop)],
        **patients.columns(rows),
    }
    solved, evaluated = found.solved, found.evaluated
    out |= {"converged": solved.converged, "iterations": solved.iterations, "residual": solved.residual}
    terms, at_visits = [term.kind for term in ensemble.task.objective.terms], scenario.is_read_at_visits
    for s, name in enumerate((*SCHEDULES, *BY_RISK)[: evaluated.objective.shape[1]]):
        own = {"objective": evaluated.objective[:, s]}
        own |= {term: evaluated.terms[:, s, t] for t, term in enumerate(terms)}
        own |= {"progression_day": evaluated.progression[:, s]}
        own |= {"progression_after_day": evaluated.after[:, s]} if at_visits else {}
        own |= {"log10_change": evaluated.change[:, s]}
        own |= {"violation": evaluated.excess[:, s]}
        own |= {"neutropenia_grade": evaluated.grade[:, s]} if has_grades(ensemble.task.system.model) else {}
        out |= {f"{name}.{key}": np.ascontiguousarray(column) for key, column in own.items()}
    for j, drug in enumerate(ensemble.task.system.drugs):
        out[f"doses.{drug} [{scenario.dose_units[drug]}]"] = np.ascontiguousarray(found.doses[:, :, j])
    return out
