"""What a cohort comes to: the value of personalising, the spread of each term, survival curves."""

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from optimizer.ensemble.personalise import PatientStatus
from optimizer.ensemble.risk import Risk, risk_of
from optimizer.ensemble.run import BY_RISK, Cohort, by_clone
from optimizer.ensemble.survival import between, grades, spread, survival

_MOST_NAMED = 100
_READ = ("progression_after_day", "neutropenia_grade")


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
    for name in cohort.schedules:
        objective = table[f"{name}.objective"][used]
        after, grade = (own[used] if (own := table.get(f"{name}.{key}")) is not None else None for key in _READ)
        curve = survival(table[f"{name}.progression_day"][used], horizon, after)
        schedules[name] = {
            "objective": spread(objective),
            "risk": risks(objective, settings.alpha),
            "terms": {term: spread(table[f"{name}.{term}"][used]) for term in terms},
            "median_progression_day": curve.median,
            **between(curve.median, after),
            "without_progression": float(curve.share[-1]) if objective.size else None,
            "worst_violation": float(np.max(table[f"{name}.violation"][used], initial=0.0)),
            **grades(grade),
        }
    return {
        "status": _status(cohort, used),
        "endpoint": cohort.scenario.endpoint().kind,
        "patients": len(table["patient"]),
        "by_status": dict(sorted(Counter(table["status"]).items())),
        "faults": [reason for reason in table["reason"] if reason][:_MOST_NAMED],
        "risk": settings.risk.value,
        "alpha": settings.alpha,
        "value_of_personalising": _value(cohort, used),
        "schedules": schedules,
        **_value_of_risk(cohort, used),
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


def _value(cohort: Cohort, used: np.ndarray) -> dict[str, Any]:
    """How much lower the objective is under a patient's own schedule than under a shared one."""
    own = cohort.table["personalised.objective"][used]
    return {name: spread(cohort.table[f"{name}.objective"][used] - own) for name in cohort.shared.names}


def _value_of_risk(cohort: Cohort, used: np.ndarray) -> dict[str, Any]:
    """What it is worth to know each patient's probability of the clone, and from which one on the plan is another.

    With f_s the mean objective of a schedule s among those without the clone, and g_s among those with it, a patient of
    probability p expects (1 - p) f_s + p g_s. The schedules for those without (0) and with it (1) are equal at
    p = a / (a + b), a = f_1 - f_0 what the second loses without the clone, b = g_0 - g_1 what it gains with it (Pauker
    and Kassirer 1980, doi 10.1056/NEJM198005153022006). Between them another schedule may be the best.
    """
    table, risk, names = cohort.table, cohort.ensemble.patients.risk, (BY_RISK[0], "population", BY_RISK[1])
    groups = [used & group.included for group in by_clone(cohort.ensemble)]
    if risk is None or not groups or not all(group.any() for group in groups):
        return {}
    mean = np.array([[np.mean(table[f"{name}.objective"][group]) for group in groups] for name in names])
    expected = _expected(mean, risk[used])
    for_all, best = expected.mean(axis=1), np.argmin(expected, axis=0)
    known = mean.min(axis=0) @ [1.0 - risk[used].mean(), risk[used].mean()]
    found = {
        "probability": spread(risk[used]),
        "with_the_clone": int(groups[1].sum()),
        "mean_objective": {name: dict(zip(BY_RISK, mean[s].tolist(), strict=True)) for s, name in enumerate(names)},
        "threshold": _equal(mean[0], mean[2]),
        "schedules_by_probability": [{"from": p, "schedule": names[s]} for p, s in _envelope(mean)],
        "patients_by_schedule": {name: int(np.sum(best == s)) for s, name in enumerate(names)},
        "one_for_all": names[int(np.argmin(for_all))],
        "of_the_probability": float(for_all.min() - expected.min(axis=0).mean()),
        "of_the_clone": float(for_all.min() - known),
    }
    return {"value_of_risk": found | {"sentence": _sentence(found)}}


def _expected(mean: Float[np.ndarray, "S 2"], risk: Float[np.ndarray, "P"]) -> Float[np.ndarray, "S P"]:
    """What each schedule is expected to come to at a probability of the clone."""
    return mean[:, :1] * (1.0 - risk) + mean[:, 1:] * risk


def _equal(one: Float[np.ndarray, "2"], other: Float[np.ndarray, "2"]) -> float | None:
    """The probability at which the other schedule becomes better than the one; None where one is better at all."""
    lost, gained = float(other[0] - one[0]), float(one[1] - other[1])
    return lost / (lost + gained) if lost > 0.0 and gained > 0.0 else None


def _envelope(mean: Float[np.ndarray, "S 2"]) -> list[tuple[float, int]]:
    """Which schedule is the best from which probability on.

    >>> _envelope(np.array([[0.0, 4.0], [1.0, 2.0], [2.0, 1.5]]))
    [(0.0, 0), (0.3333333333333333, 1), (0.6666666666666666, 2)]
    """
    crossings = {_equal(one, other) for one in mean for other in mean}
    starts = [0.0, *sorted(p for p in crossings if p is not None)]
    middles = np.array([0.5 * (a + b) for a, b in pairwise([*starts, 1.0])])
    best = np.argmin(_expected(mean, middles), axis=0).tolist()
    return [(p, s) for i, (p, s) in enumerate(zip(starts, best, strict=True)) if i == 0 or s != best[i - 1]]


def _sentence(found: dict[str, Any]) -> str:
    """What a risk is worth, in words."""
    plans = []
    for entry in found["schedules_by_probability"]:
        since = f" from {entry['from']:.2g} on" if entry["from"] else ""
        plans.append(f"{entry['schedule']}{since} ({found['patients_by_schedule'][entry['schedule']]} patients)")
    threshold = (
        "" if found["threshold"] is None else f" (of absent and present alone: from {found['threshold']:.2g} on)"
    )
    return (
        f"The best schedule by the probability of the clone: {', '.join(plans)}{threshold}. Knowing each patient's "
        f"probability lowers the mean objective, against {found['one_for_all']} for all, by "
        f"{found['of_the_probability']:.3g}, knowing who has the clone by {found['of_the_clone']:.3g}."
    )


def _population(cohort: Cohort) -> dict[str, Any]:
    grid, shared = cohort.ensemble.task.grid, cohort.shared
    drugs, days = cohort.ensemble.task.system.drugs, np.asarray(grid.edges)[:-1].tolist()
    out: dict[str, Any] = {"day": days}
    for s, name in enumerate(shared.names):
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
