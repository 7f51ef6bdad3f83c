"""What a trial comes to: Kaplan-Meier curves with confidence bands, log-rank tests, doses, regret."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np

from optimizer.control.comparators import AT50, CLAIRVOYANT, CONTINUOUS, REPLAN
from optimizer.control.misfit import OUTSIDE
from optimizer.control.trial_run import TrialResult
from optimizer.ensemble.paired import compared, holm
from optimizer.ensemble.personalise import PatientStatus
from optimizer.ensemble.survival import spread, survival
from optimizer.files.run import Columns

_MOST_NAMED = 100
# Days by which a patient must progress earlier to be worse off, and decisions without a dose that are a stop.
_EARLIER = 1e-6
_STOPPED = 3
# Minus the logarithm of a predictive density from which on no noise explains a result.
_FAR = 10.0


def counted(table: Columns) -> np.ndarray:
    """Rows of patients who could be simulated under every policy."""
    good = np.isin(table["status"], [PatientStatus.PROGRESSED.value, PatientStatus.NOT_PROGRESSED.value])
    patients = np.asarray(table["patient"])
    return ~np.isin(patients, patients[~good])


def of_policy(result: TrialResult, name: str, column: str) -> np.ndarray:
    """A column of the patients who count, under one policy."""
    table = result.table
    return table[column][counted(table) & (np.array(table["policy"]) == name)]


def horizon_of(result: TrialResult) -> float:
    """End of the observation [day]."""
    return float(result.trial.ensemble.task.grid.horizon)


def held(result: TrialResult, name: str) -> np.ndarray:
    """Days without progression, up to the horizon, of each patient who counts."""
    return np.minimum(of_policy(result, name, "progression_day"), horizon_of(result))


def summary(result: TrialResult) -> dict[str, Any]:
    """The report's body: JSON-able."""
    table, names = result.table, result.trial.rows
    status = np.array(table["status"])[np.array(table["policy"]) == names[0]]
    used = int(counted(table).sum()) // len(names)
    return {
        "status": "tried" if used else "simulation_failed",
        "patients": len(status),
        "counted": used,
        "by_status": {n: dict(sorted(Counter(_of(result, n, "status")).items())) for n in names},
        "faults": list(dict.fromkeys(reason for reason in table["reason"] if reason))[:_MOST_NAMED],
        "truth": None if result.trial.truth is result.trial.scenario else result.trial.truth.name,
        "truth_title": result.trial.truth.title,
        "median": "Kaplan-Meier: first day on which no more than half of the patients are without progression",
        "horizon_day": horizon_of(result),
        "changes": vars(result.trial.settings.changes),
        "policies": {name: _policy(result, name) for name in names},
        "comparisons": _comparisons(result),
        "ideal_bound": _bound(result),
        "replan": _replan(result),
        "tuned": {name: found.numbers for name, found in result.trial.programs.tuned.items()},
    }


def _of(result: TrialResult, name: str, column: str) -> list[Any]:
    pairs = zip(result.table["policy"], result.table[column], strict=True)
    return [value for policy, value in pairs if policy == name]


def _policy(result: TrialResult, name: str) -> dict[str, Any]:
    horizon, days = horizon_of(result), of_policy(result, name, "progression_day")
    middle, (early, late) = None, (None, None)
    if days.size:
        curve = survival(days, horizon)
        middle, (early, late) = curve.median, curve.interval
    totals = [key for key in result.table if key.startswith("cumulative_dose.")]
    return {
        "median_progression_day": middle,
        "median_interval_day": [early, late],
        "sentence": _sentence(name, days, middle, horizon),
        "mean_without_progression_day": float(np.mean(held(result, name))) if days.size else None,
        "worse_than": _worse(result, name),
        "mean_change": _mean_change(result, name),
        "outside_99_percent": _outside(result) if name == REPLAN else None,
        "progressed": int(np.isfinite(days).sum()),
        "objective": spread(of_policy(result, name, "objective")),
        "cumulative_dose": {
            key.removeprefix("cumulative_dose."): spread(of_policy(result, name, key)) for key in totals
        },
        "regret": spread(_finite(of_policy(result, name, "regret"))),
        "regret_day": spread(_finite(of_policy(result, name, "regret_day"))),
        "worst_violation": float(np.max(of_policy(result, name, "violation"), initial=0.0)),
    }


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _sentence(name: str, days: np.ndarray, middle: float | None, horizon: float) -> str:
    count, gone = days.size, int(np.isfinite(days).sum())
    if not count:
        return f"{name}: nobody could be simulated."
    if middle is None:
        return (
            f"{name}: {gone} of {count} patients progressed within {horizon:g} days, fewer than half of them: "
            "the median time to progression lies beyond and is not known."
        )
    return f"{name}: half of the {count} patients had progressed by day {middle:.4g} ({gone} by day {horizon:g})."


def _comparisons(result: TrialResult) -> list[dict[str, Any]]:
    """Every pair of policies; p-values also corrected for how many pairs there are."""
    horizon, found = horizon_of(result), []
    for pair in combinations(result.trial.policies, 2):
        mine, theirs = (of_policy(result, name, "progression_day") for name in pair)
        found.append({"policies": list(pair), **compared(mine, theirs, horizon)})
    for test in ("log_rank", "stratified_log_rank", "wilcoxon"):
        own = [None if pair[test] is None else pair[test]["p"] for pair in found]
        for pair, p in zip(found, holm(own), strict=True):
            if p is not None:
                pair[test]["p_holm"] = p
    return found


def _mean_change(result: TrialResult, name: str) -> float | None:
    """Mean change of dose from one decision to the next before progression, as a share of the largest doses."""
    log, table, changes = result.decisions, result.table, []
    upper = result.trial.ensemble.problem.upper.max(axis=0)
    keys = [key for key in log if key.startswith("dose.")]
    given = np.stack([np.asarray(log[key]) / max(most, 1e-300) for key, most in zip(keys, upper, strict=True)], axis=1)
    rows = np.array(table["policy"]) == name
    for patient, day in zip(table["patient"][rows], table["progression_day"][rows], strict=True):
        own = (np.array(log["policy"]) == name) & (np.asarray(log["patient"]) == patient)
        before = given[own & ~(np.asarray(log["day"]) >= day)]
        changes += [np.abs(np.diff(before, axis=0)).ravel()]
    every = np.concatenate([*changes, np.zeros(0)])
    return float(np.mean(every)) if every.size else None


def _worse(result: TrialResult, name: str) -> dict[str, int]:
    """Patients who progressed earlier than under the policies that no new one may fall behind."""
    standard = [other for other in (CONTINUOUS, AT50) if other in result.trial.policies and other != name]
    return {other: int((held(result, name) < held(result, other) - _EARLIER).sum()) for other in standard}


def _bound(result: TrialResult) -> dict[str, Any] | None:
    """How the policies stand to the longest possible time to progression, where theory knows one."""
    first = result.trial.rows[0]
    bounds = of_policy(result, first, "ideal_bound_day")
    if not np.isfinite(bounds).any():
        return None
    share, above = {}, {}
    for name in result.trial.rows:
        days = of_policy(result, name, "progression_day")
        reached = np.isfinite(days) & np.isfinite(bounds)
        share[name] = float(np.median(days[reached] / bounds[reached])) if reached.any() else None
        above[name] = int((days[reached] > bounds[reached] * (1.0 + 1e-9)).sum())
    known = _finite(bounds)
    doi = "10.1038/s41559-021-01428-w"
    return {"doi": doi, "median_day": float(np.median(known)), "median_share_reached": share, "patients_above": above}


def _replan(result: TrialResult) -> dict[str, Any] | None:
    """How the plans were found."""
    log = result.decisions
    if REPLAN not in result.trial.policies:
        return None
    planned = np.asarray(log["replan.planned"]) > 0
    if not planned.any():
        return None
    fallback = np.asarray(log["replan.fallback"])
    moved = np.asarray(log["replan.temperatures"])[planned] > 0
    return {
        "plans": int(planned.sum()),
        "converged": float(np.mean(np.asarray(log["replan.converged"])[planned])),
        "median_iterations": float(np.median(np.asarray(log["replan.iterations"])[planned])),
        "median_ess": float(np.median(np.asarray(log["replan.ess"])[planned])),
        "particles_moved": float(np.mean(moved)),
        "outside_99_percent": _outside(result),
        "beyond_10_nats": float(np.mean(np.asarray(log["replan.negative_log_predictive"])[planned] > _FAR)),
        "patients_with_misfit": _patients_with(log, fallback == 1),
        "patients_kept_from_stopping": _patients_with(log, fallback == 2),
        "decisions_by_fallback": float(np.mean(fallback[np.array(log["policy"]) == REPLAN] > 0)),
        "progressed_untreated": _untreated(result),
    }


def _patients_with(log: Columns, rows: np.ndarray) -> int:
    """Patients in some rows of the log."""
    return len(np.unique(np.asarray(log["patient"])[rows]))


def _outside(result: TrialResult) -> float | None:
    """Share of the visits whose results lay outside the 99 % predictive interval of the belief before them."""
    if REPLAN not in result.trial.policies:
        return None
    p = np.asarray(result.decisions["replan.predictive_p"])
    p = p[np.isfinite(p)]
    return float(np.mean(p < OUTSIDE)) if p.size else None


def _untreated(result: TrialResult) -> int:
    """Patients of `replan` who progressed after some decisions in a row without any dose."""
    log, table, count = result.decisions, result.table, 0
    ends = table["progression_day"][np.array(table["policy"]) == REPLAN]
    patients = np.asarray(table["patient"])[np.array(table["policy"]) == REPLAN]
    doses = np.sum([np.asarray(log[key]) for key in log if key.startswith("dose.")], axis=0)
    for patient, day in zip(patients[np.isfinite(ends)], ends[np.isfinite(ends)], strict=True):
        own = (np.array(log["policy"]) == REPLAN) & (np.asarray(log["patient"]) == patient)
        before = doses[own & (np.asarray(log["day"]) < day)][-_STOPPED:]
        count += int(before.size == _STOPPED and not before.any())
    return count


def clairvoyant_is_there(result: TrialResult) -> bool:
    """Whether regret is known."""
    return CLAIRVOYANT in result.trial.rows
