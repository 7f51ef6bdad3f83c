"""What a trial comes to: Kaplan-Meier curves with confidence bands, log-rank tests, doses, regret."""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from optimizer.control.comparators import AT50, CONTINUOUS, REPLAN
from optimizer.control.controller_state import PlanDiagnostics
from optimizer.control.prediction import OUTSIDE
from optimizer.control.trial_run import TrialResult
from optimizer.control.trial_tables import KEPT_TO
from optimizer.ensemble.personalise import PatientStatus
from optimizer.ensemble.survival import between, compared, grades, holm, spread, survival
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


def after_of(result: TrialResult, name: str) -> np.ndarray | None:
    """Last visits known to be without progression, of each patient who counts; None where it is read at any time."""
    key = "progression_after_day"
    return of_policy(result, name, key) if key in result.table else None


def followed(result: TrialResult, name: str) -> np.ndarray:
    """Day on which each patient who counts is seen last: the horizon, or when he or she leaves."""
    days = of_policy(result, name, "progression_day")
    leaves = of_policy(result, name, "dropout_day") if "dropout_day" in result.table else np.inf
    return np.minimum(np.full(days.shape, horizon_of(result)), leaves)


def held(result: TrialResult, name: str) -> np.ndarray:
    """Days without progression, as long as each patient who counts is seen."""
    return np.minimum(of_policy(result, name, "progression_day"), followed(result, name))


def summary(result: TrialResult) -> dict[str, Any]:
    """The report's body: JSON-able."""
    table, names = result.table, result.trial.rows
    status, policy = np.array(table["status"]), np.array(table["policy"])
    used = int(counted(table).sum()) // len(names)
    return {
        "status": "tried" if used else "simulation_failed",
        "patients": int((policy == names[0]).sum()),
        "counted": used,
        "by_status": {name: dict(sorted(Counter(status[policy == name].tolist()).items())) for name in names},
        "faults": list(dict.fromkeys(reason for reason in table["reason"] if reason))[:_MOST_NAMED],
        "truth": None if result.trial.truth is result.trial.scenario else result.trial.truth.name,
        "truth_title": result.trial.truth.title,
        "median": "Kaplan-Meier: first day on which no more than half of the patients are without progression",
        "endpoint": result.trial.scenario.endpoint().kind,
        "horizon_day": horizon_of(result),
        "conduct": result.trial.scenario.plan.conduct,
        "changes": vars(result.trial.settings.changes),
        "policies": {name: _policy(result, name) for name in names},
        "comparisons": _comparisons(result),
        "ideal_bound": _bound(result),
        "replan": _replan(result),
        "tuned": {name: found.numbers for name, found in result.trial.programs.tuned.items()},
    }


def _policy(result: TrialResult, name: str) -> dict[str, Any]:
    horizon, days, after = horizon_of(result), of_policy(result, name, "progression_day"), after_of(result, name)
    curve = survival(days, followed(result, name), after)
    totals = [key for key in result.table if key.startswith("cumulative_dose.")]
    return {
        "median_progression_day": curve.median,
        "median_interval_day": list(curve.interval),
        **between(curve.median, after),
        "sentence": _sentence(name, days, curve.median, horizon),
        "mean_without_progression_day": float(np.mean(held(result, name))) if days.size else None,
        "worse_than": _worse(result, name),
        "conduct": _kept_to(result, name),
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
        **grades(of_policy(result, name, key) if (key := "neutropenia_grade") in result.table else None),
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
    found = []
    for pair in combinations(result.trial.policies, 2):
        mine, theirs = (of_policy(result, name, "progression_day") for name in pair)
        after = [own for name in pair if (own := after_of(result, name)) is not None]
        found.append({"policies": list(pair), **compared(mine, theirs, followed(result, pair[0]), after)})
    for test in ("log_rank", "stratified_log_rank", "wilcoxon"):
        own = [None if pair[test] is None else pair[test]["p"] for pair in found]
        for pair, p in zip(found, holm(own), strict=True):
            if p is not None:
                pair[test]["p_holm"] = p
    return found


def _mean_change(result: TrialResult, name: str) -> float | None:
    """Mean change of dose from one decision to the next before progression, as a share of the largest doses."""
    upper = np.maximum(result.trial.ensemble.problem.upper.max(axis=0), 1e-300)
    changes = [np.abs(np.diff(doses / upper, axis=0)).ravel() for _, doses in _given(result, name)]
    every = np.concatenate([*changes, np.zeros(0)])
    return float(np.mean(every)) if every.size else None


def _given(result: TrialResult, name: str) -> Iterator[tuple[float, np.ndarray]]:
    """Day of progression of each patient under a policy, and the doses of the decisions before it [k, N]."""
    log, table = result.decisions, result.table
    doses = np.stack([np.asarray(log[key]) for key in log if key.startswith("dose.")], axis=1)
    rows = np.array(table["policy"]) == name
    for patient, day in zip(table["patient"][rows], table["progression_day"][rows], strict=True):
        own = (np.array(log["policy"]) == name) & (np.asarray(log["patient"]) == patient)
        yield day, doses[own & ~(np.asarray(log["day"]) >= day)]


def _kept_to(result: TrialResult, name: str) -> dict[str, Any] | None:
    """Patients who left before progression, and what each missed on average; None where there is no [conduct]."""
    if result.trial.scenario.plan.conduct is None:
        return None
    left = np.isinf(of_policy(result, name, "progression_day")) & (followed(result, name) < horizon_of(result))
    rest = {key: spread(_finite(of_policy(result, name, key)))["mean"] for key in KEPT_TO[1:]}
    return {"dropped_out": int(left.sum()), **rest}


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
    if REPLAN not in result.trial.policies or not (planned := np.asarray(log["replan.planned"]) > 0).any():
        return None
    how = {name: np.asarray(log[f"replan.{name}"])[planned] for name in PlanDiagnostics._fields}
    fallback, patients = np.asarray(log["replan.fallback"]), np.asarray(log["patient"])
    # Who progressed after some decisions in a row without any dose.
    last = [(day, doses[-_STOPPED:]) for day, doses in _given(result, REPLAN)]
    return {
        "plans": int(planned.sum()),
        "converged": float(np.mean(how["converged"])),
        "median_iterations": float(np.median(how["iterations"])),
        "median_ess": float(np.median(how["ess"])),
        "particles_moved": float(np.mean(how["temperatures"] > 0)),
        "outside_99_percent": _outside(result),
        "beyond_10_nats": float(np.mean(how["negative_log_predictive"] > _FAR)),
        "patients_with_misfit": len(np.unique(patients[fallback == 1])),
        "patients_kept_from_stopping": len(np.unique(patients[fallback == 2])),
        "decisions_by_fallback": float(np.mean(fallback[np.array(log["policy"]) == REPLAN] > 0)),
        "progressed_untreated": sum(bool(np.isfinite(d)) and len(x) == _STOPPED and not x.any() for d, x in last),
    }


def _outside(result: TrialResult) -> float | None:
    """Share of the visits whose results lay outside the 99 % predictive interval of the belief before them."""
    if REPLAN not in result.trial.policies:
        return None
    p = np.asarray(result.decisions["replan.predictive_p"])
    p = p[np.isfinite(p)]
    return float(np.mean(p < OUTSIDE)) if p.size else None
