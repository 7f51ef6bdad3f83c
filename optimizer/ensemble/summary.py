"""What a cohort comes to: the value of personalising, the spread of each term, survival curves."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from optimizer.ensemble.risk import Risk, risk_of
from optimizer.ensemble.run import SCHEDULES, Cohort
from optimizer.ensemble.solve import PatientStatus

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MOST_NAMED = 100


class Survival(NamedTuple):
    """Kaplan-Meier estimate of the share of patients without progression.

    Attributes:
        days: of progressions, from 0 [E + 1].
        share: without progression from that day on [E + 1].
    """

    days: Float[np.ndarray, "E"]
    share: Float[np.ndarray, "E"]

    @property
    def median(self) -> float | None:
        """First day on which no more than half are without progression; None when that is never."""
        below = np.flatnonzero(self.share <= 0.5)
        return float(self.days[below[0]]) if below.size else None


def survival(days: Float[np.ndarray, "P"], horizon: float) -> Survival:
    """Kaplan-Meier estimate (Kaplan and Meier 1958, doi 10.1080/01621459.1958.10501452).

    Args:
        days: of progression; infinite where there is none, which is censored at the horizon.
        horizon: end of the observation [day].
    """
    happened = np.isfinite(days)
    if not happened.any():
        return Survival(np.zeros(1), np.ones(1))
    from scipy.stats import CensoredData, ecdf

    estimate = ecdf(CensoredData(uncensored=days[happened], right=np.full(int((~happened).sum()), horizon))).sf
    events = np.isin(estimate.quantiles, days[happened])
    return Survival(np.r_[0.0, estimate.quantiles[events]], np.r_[1.0, estimate.probabilities[events]])


def counted(cohort: Cohort) -> np.ndarray:
    """Patients whose schedules can be compared [P]: those who were simulated and meet the limits."""
    good = (PatientStatus.SOLVED.value, PatientStatus.NOT_CONVERGED.value)
    return np.array([status in good for status in cohort.table["status"]], bool)


def spread(values: Float[np.ndarray, "P"]) -> dict[str, Any]:
    """Mean, standard deviation and quantiles."""
    if not values.size:
        return {"mean": None, "sd": None, "quantiles": {}}
    quantiles = {f"{q:g}": float(np.quantile(values, q)) for q in _QUANTILES}
    return {"mean": float(np.mean(values)), "sd": float(np.std(values)), "quantiles": quantiles}


def summary(cohort: Cohort) -> dict[str, Any]:
    """The report's body: JSON-able."""
    table, settings, used = cohort.table, cohort.settings, counted(cohort)
    horizon = float(cohort.ensemble.task.grid.horizon)
    terms = [term.kind for term in cohort.ensemble.task.objective.terms]
    schedules = {}
    for name in SCHEDULES:
        objective = table[f"{name}.objective"][used]
        curve = survival(table[f"{name}.progression_day"][used], horizon)
        schedules[name] = {
            "objective": spread(objective),
            "risk": risks(objective, settings.alpha),
            "terms": {term: spread(table[f"{name}.{term}"][used]) for term in terms},
            "median_progression_day": curve.median,
            "without_progression": float(curve.share[-1]) if objective.size else None,
            "worst_violation": float(np.max(table[f"{name}.violation"][used], initial=0.0)),
        }
    return {
        "status": _status(cohort, used),
        "patients": len(table["patient"]),
        "by_status": dict(sorted(Counter(table["status"]).items())),
        "faults": [reason for reason in table["reason"] if reason][:_MOST_NAMED],
        "risk": settings.risk.value,
        "alpha": settings.alpha,
        "value_of_personalising": _value(table, used),
        "schedules": schedules,
        "population": _population(cohort),
        "search": _search(cohort, used),
    }


def risks(values: Float[np.ndarray, "P"], alpha: float) -> dict[str, float | None]:
    """The objectives of all patients as one number, in each of the ways."""
    return {risk.value: risk_of(risk, values, alpha) if values.size else None for risk in Risk}


def _status(cohort: Cohort, used: np.ndarray) -> str:
    if not used.any():
        return "simulation_failed"
    return "solved" if cohort.shared.converged[0] else "not_converged"


def _value(table: dict[str, Any], used: np.ndarray) -> dict[str, Any]:
    """How much lower the objective is under a patient's own schedule than under a shared one."""
    own = table["personalised.objective"][used]
    return {name: spread(table[f"{name}.objective"][used] - own) for name in SCHEDULES[1:]}


def _population(cohort: Cohort) -> dict[str, Any]:
    grid, shared = cohort.ensemble.task.grid, cohort.shared
    drugs, days = cohort.ensemble.task.system.drugs, np.asarray(grid.edges)[:-1].tolist()
    out: dict[str, Any] = {"day": days}
    for s, name in enumerate(SCHEDULES[1:]):
        out[name] = {
            "doses": {drug: shared.doses[s, :, j].tolist() for j, drug in enumerate(drugs)},
            "converged": shared.converged[s],
            "kkt_residual": shared.residual[s],
            "iterations": shared.iterations[s],
        }
    return out


def _search(cohort: Cohort, used: np.ndarray) -> dict[str, Any]:
    if not used.any():
        return {"median_iterations": None, "most_iterations": None}
    steps = cohort.table["iterations"][used]
    restarts = cohort.settings.restarts
    return {"restarts": restarts, "median_iterations": float(np.median(steps)), "most_iterations": int(steps.max())}
