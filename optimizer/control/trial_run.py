"""A trial from its patients to its tables, chunk by chunk, to the same bytes after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from optimizer.analysis.bounds import ideal_containment
from optimizer.control.assays import trial_assays
from optimizer.control.closed_loop import PatientOutcome
from optimizer.control.comparators import CLAIRVOYANT, REPLAN
from optimizer.control.receding_horizon import PlanDiagnostics
from optimizer.control.trial import Asked, Trial, prepare
from optimizer.ensemble.ensemble import Cores
from optimizer.ensemble.patients import file_of
from optimizer.ensemble.personalise import PatientStatus
from optimizer.files.chunks import HERE, Workers, made, slices
from optimizer.files.run import Columns, Run, columns_of, digest, joined, table_bytes
from optimizer.files.run_directory import check_writable
from optimizer.observations import MISSING
from optimizer.outcome import cumulative_dose
from optimizer.search.feasible import make_feasible, satisfies
from optimizer.search.multistart import Progress
from optimizer.settings import Changes

FORMAT = "adose-trial-2"
# Excess of a limit that is not taken for one.
_KEPT = 1e-6


class PatientRecord(NamedTuple):
    """All that is recorded of one patient.

    Attributes:
        outcomes: by policy.
        plans: how each plan of `replan` came about, arrays with a leading axis [K]; None without it.
        copied: whether the best policy's schedule is the best that was found.
        bound: the longest possible time to progression, where theory knows it [day]; else NaN.
    """

    outcomes: dict[str, PatientOutcome]
    plans: PlanDiagnostics | None
    copied: bool
    bound: float


@dataclass(frozen=True)
class TrialResult:
    """What a trial found.

    Attributes:
        trial: what was asked.
        table: one row for each patient and policy.
        decisions: one row for each patient, policy and decision.
    """

    trial: Trial
    table: Columns
    decisions: Columns


def manifest(trial: Trial, versions: dict[str, str]) -> dict[str, Any]:
    """What the bytes of a trial depend on."""
    apart = ("patients", "policies", "truth", "sweep", "risk", "changes")
    return {
        "format": FORMAT,
        "scenario": trial.scenario.resolved()["scenario"],
        "truth": None if trial.truth is trial.scenario else trial.truth.resolved()["scenario"],
        "policies": list(trial.policies),
        "patients": len(trial.ensemble.names),
        "risk": trial.settings.risk.value,
        **{name: value for name, value in vars(trial.settings).items() if name not in apart},
        "changes": vars(trial.settings.changes),
        "belief_sha256": digest(file_of(trial.scenario, None)),
        "truth_sha256": digest(file_of(trial.truth, None)),
        "platform": jax.default_backend(),
        "versions": versions,
    }


class TrialJob:
    """A trial that is ready to be run, chunk by chunk.

    Args:
        trial: what is asked.
        out: directory of the run.
        versions: of the packages that the numbers depend on; a run is not continued with others.
        tell: hears how it goes.
        is_shared: whether others may be at work in the directory at the same time.

    Raises:
        ScenarioError: visits on days that are no decisions.
        DirectoryError: the directory holds something else, or a run of which a field differs.
    """

    at_once = 1

    def __init__(
        self,
        trial: Trial,
        out: Path,
        versions: dict[str, str],
        tell: Callable[[Progress], None] = lambda _: None,
        is_shared: bool = False,
    ):
        self.trial, self._tell = trial, tell
        check_writable(out)
        self._runner = Runner(trial)
        self.run = Run(out, manifest(trial, versions), is_shared)
        self.rows = slices(len(trial.ensemble.names), trial.settings.chunk)
        self.files = [[f"{kind}/{rows.start:09d}.parquet" for kind in ("decisions", "chunks")] for rows in self.rows]

    def make(self, number: int) -> list[bytes]:
        """The decisions and the patients of a chunk."""
        rows = self.rows[number]
        found = list(self._runner.patients(rows, lambda done: self.tell(rows.start + done)))
        columns = decision_columns(self.trial, rows, found), patient_columns(self.trial, rows, found)
        return [table_bytes(each) for each in columns]

    def read(self, number: int, kept: Sequence[bytes]) -> tuple[Columns, Columns]:
        """A chunk's decisions and patients, which are of its patients."""
        trial, rows = self.trial, self.rows[number]
        whose = {"patient": np.repeat(rows, len(trial.rows)), "policy": [*trial.rows] * len(rows)}
        each = len(trial.rows) * trial.ensemble.task.grid.count
        simulated = {"patient": np.repeat([i for i in rows if trial.ensemble.included[i]], each).tolist()}
        log, table = (self.run.out / name for name in self.files[number])
        return columns_of(kept[0], log, simulated), columns_of(kept[1], table, whose)

    def tell(self, done: int) -> None:
        """Say how many patients are done."""
        self._tell(Progress("patients", done, len(self.trial.ensemble.names), None))


def run_trial(
    trial: Trial,
    out: Path,
    versions: dict[str, str] | None = None,
    tell: Callable[[Progress], None] | None = None,
    workers: Workers = HERE,
) -> TrialResult | None:
    """Try all policies in all patients, writing each chunk when it is done; go on where the same stopped earlier.

    Args:
        trial, out, versions, tell: as of `TrialJob`, which raises.
        workers: who makes the chunks; of a part nothing comes back.
    """
    given = out, versions or {}
    job = TrialJob(trial, *given, tell or (lambda _: None), workers.is_shared)
    again = partial(_opened, trial.asked, trial.settings.changes, *given)
    logs, tables = dict[Path, Columns](), dict[Path, Columns]()
    for number, kept in made(job, workers, again):
        log, table = (job.run.out / name for name in job.files[number])
        logs[log], tables[table] = job.read(number, kept)
    return None if workers.is_shared else TrialResult(trial, joined(tables), joined(logs))


def _opened(asked: Asked, changes: Changes, out: Path, versions: dict[str, str]) -> TrialJob:
    """The job on a worker."""
    return TrialJob(prepare(*asked).with_changes(changes), out, versions, is_shared=True)


class Runner:
    """Patients of a trial, one at a time on each core; a patient's numbers do not depend on who the others are."""

    def __init__(self, trial: Trial):
        self.trial, self.programs = trial, trial.programs
        self.assays, self._cores = trial_assays(trial.scenario, trial.channels, trial.settings.seed), Cores()
        # Before anything is traced that uses them.
        assert self.programs.tuned is not None

    def patients(self, rows: range, tell: Callable[[int], None]) -> Iterator[PatientRecord | None]:
        """What is recorded of these patients; None of one who is excluded."""
        included = self.trial.ensemble.included
        found = self._cores.map(self.one, [i for i in rows if included[i]])
        for done, i in enumerate(rows):
            record = next(found) if included[i] else None
            tell(done + 1)
            yield record

    def one(self, i: int) -> PatientRecord:
        """One patient under every policy."""
        trial, programs = self.trial, self.programs
        system = trial.ensemble.system(i)
        own = self.assays, system, np.uint32(i)
        found = numbers(programs.rules(*own))
        plans = None
        if REPLAN in trial.policies:
            found[REPLAN], plans = numbers(programs.replan(*own))
        copied = False
        if trial.settings.restarts:
            found[CLAIRVOYANT], copied = self._best(own, found)
        bound = ideal_containment(system, trial.scenario.progression_factor)
        found = {name: found[name] for name in trial.rows}
        return PatientRecord(found, plans, copied, np.nan if bound is None else bound.value)

    def _best(self, own: Any, found: dict[str, PatientOutcome]) -> tuple[PatientOutcome, bool]:
        """Who knows the truth: the best that a search finds, or the best of the policies that keep the limits."""
        trial, programs, problem = self.trial, self.programs, self.trial.ensemble.problem
        allowed = [one for one in found.values() if keeps(one)]
        known = min(allowed or found.values(), key=lambda one: _rank(one.evaluation.objective))
        tolerance = np.asarray(trial.scenario.tolerance)
        doses = np.asarray(programs.best(own[1], trial.points, trial.middle, known.doses, tolerance))
        if not np.all(np.isfinite(doses)):
            return known, True
        best = numbers(programs.live(*own, make_feasible(problem, doses, trial.middle)))
        is_behind = bool(allowed) and known.evaluation.objective < best.evaluation.objective
        is_worse = is_behind or not keeps(best) or not satisfies(problem, best.doses)
        return (known, True) if is_worse else (best, False)


def numbers(tree: Any) -> Any:
    """Arrays outside of JAX."""
    return jax.tree.map(np.asarray, tree)


def _rank(value: Any) -> float:
    return float(value) if np.isfinite(value) else np.inf


def keeps(one: PatientOutcome) -> bool:
    """Whether a policy kept all limits in a patient who could be simulated."""
    return bool(one.evaluation.ok) and float(one.excess) <= _KEPT


# --- the tables -------------------------------------------------------------------------------------------------------


_WHOLE = ("planned", "temperatures", "converged", "iterations", "fallback")


def patient_columns(trial: Trial, rows: Sequence[int], found: Sequence[PatientRecord | None]) -> Columns:
    """A chunk as columns, one row for each patient and policy."""
    names, horizon = trial.rows, float(trial.ensemble.task.grid.horizon)
    pairs = [(i, record, name) for i, record in zip(rows, found, strict=True) for name in names]
    outcomes = [None if record is None else record.outcomes[name] for _, record, name in pairs]
    best = [None if record is None else record.outcomes.get(CLAIRVOYANT) for _, record, _ in pairs]

    def column(read: Callable[[PatientOutcome], Any], of: Sequence[PatientOutcome | None] = outcomes) -> np.ndarray:
        return np.array([np.nan if one is None else float(read(one)) for one in of])

    def held(one: PatientOutcome) -> float:
        return min(float(one.evaluation.progression), horizon)

    out: Columns = {
        "patient": np.array([i for i, _, _ in pairs]),
        "name": [trial.ensemble.names[i] for i, _, _ in pairs],
        "policy": [name for _, _, name in pairs],
        "status": [_status(trial, i, one).value for (i, _, _), one in zip(pairs, outcomes, strict=True)],
        "reason": [trial.ensemble.excluded.get(i, "") for i, _, _ in pairs],
        "progression_day": column(lambda one: one.evaluation.progression),
        "objective": column(lambda one: one.evaluation.objective),
    }
    for t, term in enumerate(trial.ensemble.task.objective.terms):
        out[term.kind] = column(lambda one, t=t: one.evaluation.terms[t])
    for j, drug in enumerate(trial.scenario.plan.drugs):
        key = f"cumulative_dose.{drug.name} [{drug.total_unit}]"
        out[key] = column(lambda one, j=j: _total(trial, one)[j])
    out["final_burden"] = column(lambda one: one.burden[-1])
    out["log10_change"] = column(lambda one: one.evaluation.change)
    out["violation"] = column(lambda one: one.excess)
    out["regret"] = out["objective"] - column(lambda one: one.evaluation.objective, best)
    out["regret_day"] = column(held, best) - column(held)
    out["copied"] = np.array([r is not None and r.copied and name == CLAIRVOYANT for _, r, name in pairs])
    out["ideal_bound_day"] = np.array([np.nan if record is None else record.bound for _, record, _ in pairs])
    return out


def _total(trial: Trial, one: PatientOutcome) -> np.ndarray:
    task = trial.ensemble.task
    return cumulative_dose(np.asarray(one.doses), np.asarray(task.grid.edges), task.system.routes)


def _status(trial: Trial, i: int, one: PatientOutcome | None) -> PatientStatus:
    if one is None:
        bad = i in trial.ensemble.patients.faults
        return PatientStatus.BAD_PARAMETERS if bad else PatientStatus.SIMULATION_FAILED
    if not (bool(one.evaluation.ok) and np.isfinite(one.evaluation.objective)):
        return PatientStatus.SIMULATION_FAILED
    return PatientStatus.PROGRESSED if np.isfinite(one.evaluation.progression) else PatientStatus.NOT_PROGRESSED


def decision_columns(trial: Trial, rows: Sequence[int], found: Sequence[PatientRecord | None]) -> Columns:
    """A chunk as columns, one row for each patient, policy and decision; nobody who cannot be simulated is in it."""
    days = np.asarray(trial.ensemble.task.grid.edges)[:-1]
    blocks = [
        (i, name, record.outcomes[name], record.plans if name == REPLAN else None)
        for i, record in zip(rows, found, strict=True)
        if record is not None
        for name in trial.rows
    ]
    count, each = len(days), [np.arange(len(days))] * len(blocks)
    out: Columns = {
        "patient": np.repeat(np.array([i for i, *_ in blocks], dtype=int), count),
        "policy": [name for _, name, *_ in blocks for _ in range(count)],
        "decision": np.concatenate([*each, np.zeros(0, int)]),
        "day": np.tile(days, len(blocks)),
    }
    for j, drug in enumerate(trial.scenario.plan.drugs):
        out[f"dose.{drug.name} [{drug.dose_unit}]"] = _stacked([one.doses[:, j] for _, _, one, _ in blocks])
    out["burden"] = _stacked([one.burden[:-1] for _, _, one, _ in blocks])
    for c, channel in enumerate(trial.channels):
        shown = [np.asarray(channel.value(one.results.shown[:, c])) for _, _, one, _ in blocks]
        seen = [one.results.seen[:, c] for _, _, one, _ in blocks]
        masked = [np.where(s != MISSING, v, np.nan) for s, v in zip(seen, shown, strict=True)]
        out[f"measured.{channel.label()} [{channel.quantity.unit}]"] = _stacked(masked)
        out[f"seen.{channel.label()}"] = np.concatenate([*seen, np.zeros(0, int)]).astype(np.int64)
    for name in PlanDiagnostics._fields if REPLAN in trial.policies else ():
        kind = np.int64 if name in _WHOLE else float
        blank = np.zeros(count) if name in _WHOLE else np.full(count, np.nan)
        own = [blank if plans is None else getattr(plans, name) for *_, plans in blocks]
        out[f"replan.{name}"] = np.concatenate([*own, np.zeros(0)]).astype(kind)
    return out


def _stacked(parts: Sequence[Any]) -> np.ndarray:
    return np.concatenate([*map(np.asarray, parts), np.zeros(0)])
