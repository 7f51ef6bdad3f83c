"""What a trial comes to: Kaplan-Meier curves with confidence bands, log-rank tests, doses, regret."""

from __future__ import annotations

import warnings
from collections import Counter
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from optimizer.control.arms import CLAIRVOYANT, REPLAN
from optimizer.control.trial_run import TrialResult
from optimizer.control.trial_table import Outcome
from optimizer.ensemble.summary import spread
from optimizer.files.run import Columns

_LEVEL = 0.95
_MOST_NAMED = 100


class Curve(NamedTuple):
    """Kaplan-Meier estimate of the share of patients without progression, with a pointwise confidence band.

    Attributes:
        days: of progressions, from 0 [E + 1].
        share: without progression from that day on [E + 1].
        low: lower end of the band [E + 1].
        high: upper end of the band [E + 1].
    """

    days: Float[np.ndarray, "E"]
    share: Float[np.ndarray, "E"]
    low: Float[np.ndarray, "E"]
    high: Float[np.ndarray, "E"]

    def median(self) -> tuple[float | None, float | None, float | None]:
        """First day on which no more than half are without progression, and the days on which the band's ends say so.

        None where that is never.
        """
        first = [np.flatnonzero(values <= 0.5) for values in (self.share, self.low, self.high)]
        middle, early, late = (float(self.days[at[0]]) if at.size else None for at in first)
        return middle, early, late


def curve(days: Float[np.ndarray, "P"], horizon: float) -> Curve:
    """Kaplan-Meier estimate (doi 10.1080/01621459.1958.10501452) with a band by Greenwood's formula for log(-log S).

    Args:
        days: of progression; infinite where there is none, which is censored at the horizon.
        horizon: end of the observation [day].
    """
    happened = np.isfinite(days)
    if not happened.any():
        return Curve(np.zeros(1), *[np.ones(1)] * 3)
    from scipy.stats import ecdf

    estimate = ecdf(_censored(days, horizon)).sf
    with warnings.catch_warnings():
        # Where all or none are left the formula has no width, which scipy warns of.
        warnings.simplefilter("ignore")
        band = estimate.confidence_interval(confidence_level=_LEVEL, method="log-log")
    at = np.isin(estimate.quantiles, days[happened])
    share = estimate.probabilities[at]
    ends = [np.where(np.isfinite(e), e, share) for e in (band.low.probabilities[at], band.high.probabilities[at])]
    return Curve(
        *(np.r_[first, x] for first, x in ((0.0, estimate.quantiles[at]), (1.0, share), *((1.0, e) for e in ends)))
    )


def _censored(days: np.ndarray, horizon: float) -> Any:
    from scipy.stats import CensoredData

    happened = np.isfinite(days)
    return CensoredData(uncensored=days[happened], right=np.full(int((~happened).sum()), horizon))


def counted(table: Columns) -> np.ndarray:
    """Rows of patients who could be simulated under every policy."""
    good = np.isin(table["status"], [Outcome.PROGRESSED.value, Outcome.NOT_PROGRESSED.value])
    patients = np.asarray(table["patient"])
    sick = np.unique(patients[~good])
    return ~np.isin(patients, sick)


def of_policy(result: TrialResult, name: str, column: str) -> np.ndarray:
    """A column of the patients who count, under one policy."""
    table = result.table
    return table[column][counted(table) & (np.array(table["policy"]) == name)]


def horizon_of(result: TrialResult) -> float:
    """End of the observation [day]."""
    return float(result.trial.programs.edges[-1])


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
        "horizon_day": horizon_of(result),
        "changes": vars(result.trial.settings.changes),
        "policies": {name: _policy(result, name) for name in names},
        "comparisons": [_compared(result, a, b) for a, b in combinations(result.trial.settings.policies, 2)],
        "ideal_bound": _bound(result),
        "replan": _replan(result),
    }


def _of(result: TrialResult, name: str, column: str) -> list[Any]:
    pairs = zip(result.table["policy"], result.table[column], strict=True)
    return [value for policy, value in pairs if policy == name]


def _policy(result: TrialResult, name: str) -> dict[str, Any]:
    horizon, days = horizon_of(result), of_policy(result, name, "progression_day")
    middle, early, late = curve(days, horizon).median() if days.size else (None, None, None)
    totals = [key for key in result.table if key.startswith("cumulative_dose.")]
    return {
        "median_progression_day": middle,
        "median_interval_day": [early, late],
        "sentence": _sentence(name, days, middle, horizon),
        "mean_without_progression_day": float(np.mean(held(result, name))) if days.size else None,
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


def _compared(result: TrialResult, one: str, other: str) -> dict[str, Any]:
    """The log-rank test (doi 10.1093/biomet/52.1-2.203) and the difference within patients."""
    horizon = horizon_of(result)
    mine, theirs = (of_policy(result, name, "progression_day") for name in (one, other))
    test = None
    if np.isfinite(mine).any() or np.isfinite(theirs).any():
        from scipy.stats import logrank

        found = logrank(_censored(mine, horizon), _censored(theirs, horizon))
        test = {"statistic": float(found.statistic), "p": float(found.pvalue)}
    gain = held(result, one) - held(result, other)
    return {
        "policies": [one, other],
        "log_rank": test,
        "longer_day": spread(gain),
        "patients_longer": int((gain > 1e-6).sum()),
        "patients_shorter": int((gain < -1e-6).sum()),
    }


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
    if REPLAN not in result.trial.settings.policies:
        return None
    planned = np.asarray(log["replan.planned"]) > 0
    if not planned.any():
        return None
    moved = np.asarray(log["replan.temperatures"])[planned] > 0
    return {
        "plans": int(planned.sum()),
        "converged": float(np.mean(np.asarray(log["replan.converged"])[planned])),
        "median_iterations": float(np.median(np.asarray(log["replan.iterations"])[planned])),
        "median_ess": float(np.median(np.asarray(log["replan.ess"])[planned])),
        "particles_moved": float(np.mean(moved)),
    }


def clairvoyant_is_there(result: TrialResult) -> bool:
    """Whether regret is known."""
    return CLAIRVOYANT in result.trial.rows
