"""A cohort from the scenario to its tables: the typical patient, the one schedule for all, then chunk by chunk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.ensemble.ensemble import Ensemble, build_ensemble
from optimizer.ensemble.files import (
    FORMAT,
    Columns,
    digest,
    joined,
    open_run,
    read_table,
    table_bytes,
    to_bytes,
)
from optimizer.ensemble.patients import Patients, file_of, load_patients
from optimizer.ensemble.population import build_population, search
from optimizer.ensemble.risk import Risk
from optimizer.ensemble.solve import Outcomes, Solver
from optimizer.files.run_directory import DirectoryError, write_whole
from optimizer.scenario import Scenario, ScenarioError
from optimizer.search.feasible import make_feasible
from optimizer.search.interior_point import State
from optimizer.search.multistart import Progress, run
from optimizer.search.phase_one import center, inwards
from optimizer.search.starts import starts

# What a patient is given: the best for him or her, the best for all, the best for the typical patient.
SCHEDULES = ("personalised", "population", "typical")
_SHARED = "shared.json"
_SAME = 0.02


@dataclass(frozen=True)
class Settings:
    """What a run is asked besides the scenario.

    Attributes:
        patients: how many, P; None for all of a table.
        seed: of the patients' numbers and the starting points.
        risk: how the patients' objectives are made one.
        alpha: of cvar.
        restarts: starting points of each patient, the typical patient's and the population's optima first.
        chunk: patients to a file.
        posterior: file of draws in place of what [cohort] says.
        together: whether patients are stepped together; on everything but a CPU when None.
    """

    patients: int | None = None
    seed: int = 0
    risk: Risk = Risk.MEAN
    alpha: float = 0.9
    restarts: int = 3
    chunk: int = 128
    posterior: Path | None = None
    together: bool | None = None


@dataclass(frozen=True)
class Shared:
    """The schedules that all patients have in common, and where each one's restarts begin.

    Attributes:
        doses: of the population and of the typical patient [2, K, N].
        points: strictly inside the limits [R, n].
        converged: whether each of the two reached the tolerance.
        residual: KKT residual of each, relative to the gradient at its start.
        iterations: of each.
    """

    doses: np.ndarray
    points: np.ndarray
    converged: tuple[bool, bool]
    residual: tuple[float, float]
    iterations: tuple[int, int]


@dataclass(frozen=True)
class Cohort:
    """What a run found.

    Attributes:
        scenario: what was asked.
        settings: how.
        patients: who they are.
        ensemble: their numbers.
        shared: the schedules that all have in common.
        table: one row a patient.
    """

    scenario: Scenario
    settings: Settings
    patients: Patients
    ensemble: Ensemble
    shared: Shared
    table: Columns


def run_chunks(
    scenario: Scenario,
    settings: Settings,
    out: Path,
    versions: dict[str, str] | None = None,
    tell: Callable[[Progress], None] | None = None,
) -> Cohort:
    """Find all schedules, writing each chunk when it is done; go on where an earlier run of the same stopped.

    Args:
        scenario: with the patients.
        settings: what is asked of them.
        out: directory of the run.
        versions: of the packages that the numbers depend on; a run is not continued with others.
        tell: hears how it goes.

    Raises:
        ScenarioError: patients that cannot be made, or dose levels, which a cohort does not round to.
        DirectoryError: the directory holds something else, or a run of which a field differs.
    """
    tell, versions = tell or (lambda _: None), versions or {}
    _check(scenario, settings)
    patients = load_patients(scenario, settings.patients, settings.seed, settings.posterior)
    ensemble = build_ensemble(scenario, patients)
    if ensemble.problem.levels:
        raise ScenarioError([f"{scenario.file}: constraint: wanted no dose levels in a cohort; got some"])
    if not ensemble.healthy.any():
        first = (patients.faults | ensemble.failed)[0]
        raise ScenarioError([f"{scenario.file}: cohort: wanted a patient who can be simulated; got none: {first}"])
    open_run(out, manifest(scenario, settings, patients, versions))
    shared = _shared(scenario, settings, ensemble, out, tell)
    solver = Solver(
        ensemble, shared.points, scenario.tolerance, shared.doses, scenario.progression_factor, settings.together
    )
    total, parts = len(patients.names), []
    for first in range(0, total, settings.chunk):
        path = out / "chunks" / f"{first:09d}.parquet"
        if not path.is_file():
            found = solver.chunk(first, settings.chunk, partial(_count, tell, first, total))
            write_whole(path, table_bytes(_columns(scenario, patients, ensemble, found, first)))
        parts.append(read_table(path))
        _count(tell, 0, total, min(first + settings.chunk, total))
    return Cohort(scenario, settings, patients, ensemble, shared, joined(parts))


def _count(tell: Callable[[Progress], None], before: int, total: int, done: int) -> None:
    tell(Progress("patients", before + done, total, None))


def _check(scenario: Scenario, settings: Settings) -> None:
    limits = {"chunk": settings.chunk, "restarts": settings.restarts}
    for name, value in limits.items():
        if value < 1:
            raise ScenarioError([f"--{name}: wanted at least 1; got {value}"])
    if not 0.0 <= settings.alpha < 1.0:
        raise ScenarioError([f"--alpha: wanted at least 0 and less than 1; got {settings.alpha:g}"])
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise ScenarioError([f"{scenario.file}: wanted 64-bit numbers to be switched on; got 32-bit"])


def manifest(scenario: Scenario, settings: Settings, patients: Patients, versions: dict[str, str]) -> dict[str, Any]:
    """What the bytes of a run depend on."""
    return {
        "format": FORMAT,
        "scenario": scenario.resolved()["scenario"],
        "patients": len(patients.names),
        "seed": settings.seed,
        "risk": settings.risk.value,
        "alpha": settings.alpha,
        "restarts": settings.restarts,
        "chunk": settings.chunk,
        "source_sha256": digest(file_of(scenario, settings.posterior)),
        "platform": jax.default_backend(),
        "together": settings.together,
        "versions": versions,
    }


# --- schedules for all ------------------------------------------------------------------------------------------------


def _shared(
    scenario: Scenario, settings: Settings, ensemble: Ensemble, out: Path, tell: Callable[[Progress], None]
) -> Shared:
    """The schedules for all, read where they were found before."""
    path = out / _SHARED
    if path.is_file():
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            doses, points = np.array(kept["doses"]), np.array(kept["points"])
            pairs = [tuple(kept[name]) for name in ("converged", "residual", "iterations")]
        except (ValueError, KeyError, TypeError):
            raise DirectoryError(f"{path}: wanted the shared schedules of this run; got something else") from None
        return Shared(doses, points, *pairs)
    found = _find_shared(scenario, settings, ensemble, tell)
    record = {name: np.asarray(value).tolist() for name, value in vars(found).items()}
    write_whole(path, to_bytes(record))
    return found


def _find_shared(
    scenario: Scenario, settings: Settings, ensemble: Ensemble, tell: Callable[[Progress], None]
) -> Shared:
    task, tolerance = ensemble.task, scenario.tolerance
    first = starts(task, scenario.restarts, settings.seed)
    found = run(task, first, tolerance, lambda event: tell(Progress("typical patient", 0, 1, event.best)))
    if found.interrupted:
        raise KeyboardInterrupt
    optima = _distinct(found.states)
    middle = center(task)
    inside = inwards(np.array([state.x for state in optima[: settings.restarts]]), middle)
    tell(Progress("population", 0, 1, None))
    population = build_population(ensemble, settings.risk, settings.alpha, np.asarray(optima[0].x))
    together = _distinct(search(population, inside, tolerance))
    best = [together[0], optima[0]]
    doses = [make_feasible(ensemble.problem, np.asarray(task.doses(jnp.asarray(state.x))), middle) for state in best]
    points = [*inwards(np.asarray(together[0].x)[None], middle), *inside, *np.asarray(first)]
    return Shared(
        doses=np.array(doses),
        points=np.array(points[: settings.restarts]),
        converged=(bool(best[0].done), bool(best[1].done)),
        residual=(float(best[0].residual), float(best[1].residual)),
        iterations=(int(best[0].iterations), int(best[1].iterations)),
    )


def _distinct(states: list[State]) -> list[State]:
    """The different optima, best first; those that did not converge come last."""
    ordered = sorted(states, key=lambda s: (not bool(s.done), float(s.value) if np.isfinite(s.value) else np.inf))
    kept: list[State] = []
    for state in ordered:
        if all(float(np.max(np.abs(np.asarray(state.x - other.x)))) > _SAME for other in kept):
            kept.append(state)
    return kept


# --- the table --------------------------------------------------------------------------------------------------------


def _columns(scenario: Scenario, patients: Patients, ensemble: Ensemble, found: Outcomes, first: int) -> Columns:
    """A chunk as columns, one row a patient."""
    rows, faults = slice(first, first + len(found.status)), patients.faults | ensemble.failed
    out: Columns = {
        "patient": np.arange(rows.start, rows.stop),
        "name": list(patients.names[rows]),
        "status": [status.value for status in found.status],
        "reason": [faults.get(i, "") for i in range(rows.start, rows.stop)],
    }
    for place, column in zip(patients.places, patients.values[rows].T, strict=True):
        out[f"{place.key} [{place.unit}]"] = np.ascontiguousarray(column)
    solved, judged = found.solved, found.judged
    out |= {"converged": solved.converged, "iterations": solved.iterations, "residual": solved.residual}
    terms = [term.kind for term in ensemble.task.objective.terms]
    for s, name in enumerate(SCHEDULES):
        out[f"{name}.objective"] = np.ascontiguousarray(judged.objective[:, s])
        for t, term in enumerate(terms):
            out[f"{name}.{term}"] = np.ascontiguousarray(judged.terms[:, s, t])
        out[f"{name}.progression_day"] = np.ascontiguousarray(judged.progression[:, s])
        out[f"{name}.log10_change"] = np.ascontiguousarray(judged.change[:, s])
        out[f"{name}.violation"] = np.ascontiguousarray(judged.excess[:, s])
    for j, drug in enumerate(ensemble.task.system.drugs):
        out[f"doses.{drug} [{scenario.dose_units[drug]}]"] = np.ascontiguousarray(found.doses[:, :, j])
    return out
