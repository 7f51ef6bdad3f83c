"""The tables of a trial: a row for each patient and policy, a row for each of their decisions."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.control.arms import CLAIRVOYANT, REPLAN
from optimizer.control.closed_loop import PatientOutcome, PlanDiagnostics
from optimizer.control.trial import Trial
from optimizer.files.run import Columns
from optimizer.observations import MISSING
from optimizer.outcome import cumulative_dose

if TYPE_CHECKING:
    from optimizer.control.trial_run import Seen

_DIAGNOSTICS = PlanDiagnostics._fields
_WHOLE = ("planned", "temperatures", "converged", "iterations")


class Outcome(StrEnum):
    """What became of a patient under a policy."""

    PROGRESSED = "progressed"
    NOT_PROGRESSED = "not_progressed"
    SIMULATION_FAILED = "simulation_failed"
    BAD_PARAMETERS = "bad_parameters"


def patient_columns(trial: Trial, rows: Sequence[int], found: Sequence[Seen | None]) -> Columns:
    """A chunk as columns, one row for each patient and policy."""
    faults, names = trial.patients.faults | trial.ensemble.failed, trial.rows
    pairs = [(i, seen, name) for i, seen in zip(rows, found, strict=True) for name in names]
    outcomes = [None if seen is None else seen.outcomes[name] for _, seen, name in pairs]
    out: Columns = {
        "patient": np.array([i for i, _, _ in pairs]),
        "name": [trial.patients.names[i] for i, _, _ in pairs],
        "policy": [name for _, _, name in pairs],
        "status": [_status(trial, i, one).value for (i, _, _), one in zip(pairs, outcomes, strict=True)],
        "reason": [faults.get(i, "") for i, _, _ in pairs],
    }
    horizon = float(trial.programs.edges[-1])
    best = [None if seen is None else seen.outcomes.get(CLAIRVOYANT) for _, seen, _ in pairs]
    held = _numbers(outcomes, lambda one: min(float(one.judged.progression), horizon))
    out["progression_day"] = _numbers(outcomes, lambda one: one.judged.progression)
    out["objective"] = _numbers(outcomes, lambda one: one.judged.objective)
    for t, term in enumerate(trial.programs.problem.task.objective.terms):
        out[term.kind] = _numbers(outcomes, lambda one, t=t: one.judged.terms[t])
    for j, drug in enumerate(trial.scenario.plan.drugs):
        key = f"cumulative_dose.{drug.name} [{drug.total_unit}]"
        out[key] = _numbers(outcomes, lambda one, j=j: _total(trial, one)[j])
    out["final_burden"] = _numbers(outcomes, lambda one: one.burden[-1])
    out["log10_change"] = _numbers(outcomes, lambda one: one.judged.change)
    out["violation"] = _numbers(outcomes, lambda one: max(float(one.judged.excess), float(one.over), 0.0))
    out["regret"] = out["objective"] - _numbers(best, lambda one: one.judged.objective)
    out["regret_day"] = _numbers(best, lambda one: min(float(one.judged.progression), horizon)) - held
    out["copied"] = np.array([seen is not None and seen.copied and name == CLAIRVOYANT for _, seen, name in pairs])
    out["ideal_bound_day"] = np.array([np.nan if seen is None else seen.bound for _, seen, _ in pairs])
    return out


def _numbers(outcomes: Sequence[PatientOutcome | None], read: Any) -> np.ndarray:
    return np.array([np.nan if one is None else float(read(one)) for one in outcomes])


def _total(trial: Trial, one: PatientOutcome) -> np.ndarray:
    routes = trial.ensemble.task.system.routes
    return cumulative_dose(np.asarray(one.doses), np.asarray(trial.programs.edges), routes)


def _status(trial: Trial, i: int, one: PatientOutcome | None) -> Outcome:
    if one is None:
        return Outcome.SIMULATION_FAILED if i in trial.ensemble.failed else Outcome.BAD_PARAMETERS
    if not (bool(one.judged.ok) and np.isfinite(one.judged.objective)):
        return Outcome.SIMULATION_FAILED
    return Outcome.PROGRESSED if np.isfinite(one.judged.progression) else Outcome.NOT_PROGRESSED


def decision_columns(trial: Trial, rows: Sequence[int], found: Sequence[Seen | None]) -> Columns:
    """A chunk as columns, one row for each patient, policy and decision; nobody who cannot be simulated is in it."""
    days = np.asarray(trial.programs.edges)[:-1]
    blocks = [
        (i, name, seen.outcomes[name], seen.diagnostics if name == REPLAN else None)
        for i, seen in zip(rows, found, strict=True)
        if seen is not None
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
    for name in _DIAGNOSTICS if REPLAN in trial.settings.policies else ():
        kind = np.int64 if name in _WHOLE else float
        blank = np.zeros(count) if name in _WHOLE else np.full(count, np.nan)
        own = [blank if diagnostics is None else getattr(diagnostics, name) for *_, diagnostics in blocks]
        out[f"replan.{name}"] = np.concatenate([*own, np.zeros(0)]).astype(kind)
    return out


def _stacked(parts: Sequence[Any]) -> np.ndarray:
    return np.concatenate([*map(np.asarray, parts), np.zeros(0)])
