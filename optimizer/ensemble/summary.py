"""What a cohort comes to: the value of personalising, the spread of each term, survival curves."""

from collections import Counter
from typing import Any

import numpy as np
from jaxtyping import Float

from optimizer.ensemble.personalise import PatientStatus
from optimizer.ensemble.risk import Risk, risk_of
from optimizer.ensemble.run import SCHEDULES, Cohort
from optimizer.ensemble.survival import spread, survival

_MOST_NAMED = 100


def counted(cohort: Cohort) -> np.ndarray:
    """Patients whose schedules can be compared [P]: those who were simulated and meet the limits."""
    good = (PatientStatus.SOLVED.value, PatientStatus.NOT_CONVERGED.value)
    return np.array([status in good for status in cohort.table["status"]], bool)


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
