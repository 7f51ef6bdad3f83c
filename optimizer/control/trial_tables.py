"""The tables of a trial: a row for each patient and policy, and one for each decision."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from optimizer.constraints.toxicity_grade import has_grades
from optimizer.control.closed_loop import PatientOutcome
from optimizer.control.comparators import CLAIRVOYANT, REPLAN
from optimizer.control.conduct import Adherence
from optimizer.control.receding_horizon import PlanDiagnostics
from optimizer.control.trial import Trial
from optimizer.ensemble.personalise import PatientStatus
from optimizer.files.run import Columns
from optimizer.observations import MISSING
from optimizer.outcome import cumulative_dose

# Columns of a trial with [conduct].
KEPT_TO = ("dropout_day", "missed_doses", "late_doses", "toxicities")
_WHOLE = ("planned", "temperatures", "converged", "iterations", "fallback")


class PatientRecord(NamedTuple):
    """All that is recorded of one patient."""

    outcomes: dict[str, PatientOutcome]  #: by policy
    #: how each plan of `replan` came about, arrays with a leading axis [K]; None without it
    plans: PlanDiagnostics | None
    copied: bool  #: whether the best policy's schedule is the best that was found
    bound: float  #: the longest possible time to progression, where theory knows it [day]; else NaN
    adherence: Adherence | None = None  #: how the patient kept to the trial; None where there is no [conduct]


def patient_columns(trial: Trial, rows: Sequence[int], found: Sequence[PatientRecord | None]) -> Columns:
    """A chunk as columns, one row for each patient and policy."""
    names, horizon = trial.rows, float(trial.ensemble.task.grid.horizon)
    at_visits = trial.scenario.is_read_at_visits
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
        **({"progression_after_day": column(lambda one: one.evaluation.after)} if at_visits else {}),
        "objective": column(lambda one: one.evaluation.objective),
    }
    for t, term in enumerate(trial.ensemble.task.objective.terms):
        out[term.kind] = column(lambda one, t=t: one.evaluation.terms[t])
    for j, drug in enumerate(trial.scenario.plan.drugs):
        key = f"cumulative_dose.{drug.name} [{drug.total_unit}]"
        out[key] = column(lambda one, j=j: _total(trial, one)[j])
    if trial.scenario.plan.conduct is not None:
        kept = [_kept_to(trial, record, name) for _, record, name in pairs]
        out |= {key: np.array([own[key] for own in kept]) for key in KEPT_TO}
    out["final_burden"] = column(lambda one: one.burden[-1])
    out["log10_change"] = column(lambda one: one.evaluation.change)
    out["violation"] = column(lambda one: one.excess)
    if has_grades(trial.ensemble.task.system.model):
        out["neutropenia_grade"] = column(lambda one: one.evaluation.grade)
    out["regret"] = out["objective"] - column(lambda one: one.evaluation.objective, best)
    out["regret_day"] = column(held, best) - column(held)
    out["copied"] = np.array([r is not None and r.copied and name == CLAIRVOYANT for _, r, name in pairs])
    out["ideal_bound_day"] = np.array([np.nan if record is None else record.bound for _, record, _ in pairs])
    return out


def _kept_to(trial: Trial, record: PatientRecord | None, name: str) -> dict[str, float]:
    """When a patient leaves, and what was missed before, or before progression; not of who knows the patient."""
    if record is None or record.adherence is None:
        return dict.fromkeys(KEPT_TO, np.nan)
    adherence, one = record.adherence, record.outcomes[name]
    until = min(float(one.evaluation.progression), float(adherence.leaves))
    counts = adherence.counted(np.asarray(one.doses), until, np.asarray(trial.ensemble.task.grid.edges)[:-1])
    missed = [np.nan] * len(counts) if name == CLAIRVOYANT else counts
    return dict(zip(KEPT_TO, (float(adherence.leaves), *missed), strict=True))


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
