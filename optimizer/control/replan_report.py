"""What a replan says: JSON-able tables."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.control.belief import Belief, effective
from optimizer.control.identifiability import BAND
from optimizer.control.prediction import MISFIT, OUTSIDE, QUANTILES, Prediction, quantiles, tail_of
from optimizer.control.replan import Replanned, Visit
from optimizer.observations import BELOW, MEASURED, OVER, UNDER
from optimizer.search.screening import LIMIT_TOLERANCE

# A plan that moves less than this share of the largest doses has not changed.
_UNCHANGED = 1e-3


def account(found: Replanned) -> dict[str, Any]:
    """The report's body: JSON-able."""
    edges = np.asarray(found.asked.inference.problem.task.grid.edges)
    doses, first = _by_drug(found, found.doses), found.asked.index
    return {
        "status": found.status.value,
        "reason": found.reason,
        "message": found.status.sentence,
        "today": float(edges[first]),
        "next": {"day": float(edges[first]), "doses": {drug: column[first] for drug, column in doses.items()}},
        "schedule": {"day": edges[:-1].tolist(), "given": first, "doses": doses},
        "budgets": _budgets(found),
        "belief": _belief(found),
        "fit": _fit(found),
        "identifiability": _identifiability(found),
        "misfit": {
            "active": found.misfits,
            "overruled": found.fallback is not None,
            "visits_outside_99_percent": sum(_is_outside(visit) for visit in found.visits),
            "last_visit_p": float(found.check.p),
            "fallback": None if found.fallback is None else found.fallback.rule,
        },
        "visits": [_visit(found, visit) for visit in found.visits],
        "changed_most": changed_most(found),
        "prediction": {
            "plan": _prediction(found, found.predictions[0]),
            "course": _prediction(found, found.predictions[1]),
        },
        "staying_the_course": _staying(found),
        "risk": found.asked.effort.risk.value,
        "alpha": found.asked.effort.alpha,
        "search": _search(found),
        "audit": {
            "passed": found.audit.passed,
            "method": "adaptive solve of the particle with the largest weight",
            "objective": found.audit.report.total,
            "objective_difference": found.audit.objective_difference,
            "constraint_differences": found.audit.constraint_differences,
            "violations": {c.name: c.violation for c in found.audit.report.constraints},
        },
    }


def _by_drug(found: Replanned, doses: np.ndarray) -> dict[str, list[float]]:
    return {drug: doses[:, j].tolist() for j, drug in enumerate(found.asked.inference.problem.task.system.drugs)}


def _search(found: Replanned) -> dict[str, Any]:
    """How the plan was found."""
    search, plan = found.found, found.found.plan
    return {
        "restarts": search.restarts,
        "converged": search.converged,
        "distinct_optima": search.optima,
        "iterations": int(plan.iterations),
        "kkt_residual": float(plan.residual),
        "tolerance": found.asked.effort.tolerance,
        "particles": found.asked.effort.particles,
        "temperature": found.asked.effort.coldest,
    }


def _budgets(found: Replanned) -> list[dict[str, Any]]:
    """What is left of every sum of doses: limits that all doses of the schedule count in, or the tightest window."""
    tightest: dict[str, dict[str, Any]] = {}
    for row in found.asked.inference.problem.rows:
        if (row.coefficients < 0.0).any():
            continue
        used = float(np.sum(row.coefficients * found.asked.given))
        entry = {"name": row.key, "limit": row.limit, "given": used, "left": max(row.limit - used, 0.0)}
        known = tightest.get(row.key)
        if known is None or entry["left"] < known["left"]:
            tightest[row.key] = entry
    return list(tightest.values())


def _belief(found: Replanned) -> dict[str, Any]:
    """Median and interval of each number that is not known, by its key, in internal units, now and at first."""
    prior, beliefs = found.asked.inference.prior, (found.belief, found.before)
    columns = [np.asarray(jax.vmap(prior.numbers)(belief.z)).T for belief in beliefs]
    numbers = {}
    for place, *pair in zip(prior.places, *columns, strict=True):
        is_at_risk = prior.risks is not None and place is prior.places[-1]
        now, before = (_told(belief, column, is_at_risk) for belief, column in zip(beliefs, pair, strict=True))
        numbers[place.key] = {"unit": place.unit, **now, "before": before}
    return {
        "particles": found.asked.settings.particles,
        "effective_particles": float(effective(found.belief)),
        "numbers": numbers,
        "noise": _noise(found),
    }


def _fit(found: Replanned) -> dict[str, Any]:
    p_value = found.fit.p_value
    return {
        "posterior_predictive_p": p_value,
        "fits": None if p_value is None else p_value >= MISFIT,
        "sentence": fit_sentence(found),
        "standardized_residuals": [
            {"day": float(day), **_named(found, row)}
            for day, row in zip(found.asked.seen.days, found.fit.residuals, strict=True)
        ],
    }


def _identifiability(found: Replanned) -> dict[str, Any] | None:
    """What the measurements tell of each number, and whether they decide the next dose."""
    told, places = found.identified, found.asked.inference.prior.places
    if told is None:
        return None
    widths = zip(places, told.by_data.tolist(), told.width.tolist(), strict=True)
    return {
        "rank": told.rank,
        "of": len(places),
        "information": told.information.tolist(),
        "profile_width": {
            place.key: {"by_data": alone if np.isfinite(alone) else None, "with_prior": width}
            for place, alone, width in widths
        },
        "decides": told.decides,
        "band": list(BAND),
        "next_doses": (told.next_doses * np.asarray(found.asked.inference.problem.task.scale)).tolist(),
        "sentence": identifiability_sentence(found),
    }


def identifiability_sentence(found: Replanned) -> str:
    """What the measurements tell and what they decide; "" where nothing is said."""
    told, places = found.identified, found.asked.inference.prior.places
    if told is None:
        return ""
    wide = [place.key for place, width in zip(places, told.by_data, strict=True) if not width < 1.0]
    less = f"; of {', '.join(wide)} they tell less than was known before" if wide else ""
    rank = f"What was measured tells of {told.rank} of {len(places)} numbers (rank of the Fisher information){less}."
    return f"{told.sentence} {rank}"


def _is_outside(visit: Visit) -> bool:
    return bool(tail_of(jnp.asarray(visit.expected)) < OUTSIDE)


def fit_sentence(found: Replanned) -> str:
    """Whether what was measured fits the model, plainly."""
    p_value = found.fit.p_value
    if p_value is None:
        return "Nothing was measured: the belief is the prior."
    if p_value >= MISFIT:
        return f"What was measured fits the model (posterior predictive p {p_value:.2g})."
    far = np.abs(np.where(np.isfinite(found.fit.residuals), found.fit.residuals, 0.0))
    row, channel = np.unravel_index(int(np.argmax(far)), far.shape)
    day, label = found.asked.seen.days[row], found.asked.inference.channels[channel].label()
    worst = f"{label} on day {day:g} is {far[row, channel]:.1f} standard deviations off"
    return (
        f"What was measured does not fit the model (posterior predictive p {p_value:.1e}): {worst}. "
        "No plan of this model is to be believed before that is explained."
    )


def _named(found: Replanned, row: np.ndarray) -> dict[str, float]:
    labels = [c.label() for c in found.asked.inference.channels]
    return {label: float(value) for label, value in zip(labels, row, strict=True) if np.isfinite(value)}


def _visit(found: Replanned, visit: Visit) -> dict[str, Any]:
    seen, values = found.asked.seen.seen[visit.row], found.asked.seen.values[visit.row]
    measured = {}
    for channel, state, value in zip(found.asked.inference.channels, seen, values, strict=True):
        if state == MEASURED:
            measured[channel.label()] = float(value)
        elif state in (BELOW, UNDER, OVER):
            measured[channel.label()] = f"{'>' if state == OVER else '<'}{value:g}"
    planned = None if visit.doses is None else _by_drug(found, visit.doses).items()
    return {
        "day": float(found.asked.seen.days[visit.row]),
        "measured": measured,
        "expected_p": _named(found, visit.expected),
        "forecast": {
            channel.label(): {"median": middle, "interval_90": [low, high]}
            for channel, (low, middle, high) in zip(
                found.asked.inference.channels, visit.forecast.tolist(), strict=True
            )
            if np.isfinite(middle)
        },
        "effective_particles": visit.ess,
        "next_doses": None if planned is None else {drug: column[found.asked.index] for drug, column in planned},
        "plan_changed_by": visit.change,
    }


def changed_most(found: Replanned) -> dict[str, Any] | None:
    """The visit after which the plan changed most; None where no measurement changed it."""
    planned = [visit for visit in found.visits if visit.change is not None]
    if not planned:
        return None
    most = max(planned, key=lambda visit: visit.change or 0.0)
    if (most.change or 0.0) < _UNCHANGED:
        return None
    labels = [c.label() for c in found.asked.inference.channels]
    least = int(np.argmin(np.where(np.isfinite(most.expected), most.expected, np.inf)))
    return {
        "day": float(found.asked.seen.days[most.row]),
        "measurement": labels[least],
        "expected_p": float(most.expected[least]),
        "plan_changed_by": most.change,
    }


def _prediction(found: Replanned, ahead: Prediction) -> dict[str, Any]:
    effort = found.asked.effort
    return {
        "day": ahead.days.tolist(),
        "burden": {f"{q:g}": ahead.burden[:, i].tolist() for i, q in enumerate(QUANTILES)},
        "probability_of_progression": ahead.probability().tolist(),
        "median_progression_day": ahead.median_progression(),
        "objective": {"risk": ahead.risk(effort.risk, effort.alpha), "mean": float(ahead.weights @ ahead.objective)},
        "worst_violation": ahead.violation,
        "limits_met": ahead.violation <= LIMIT_TOLERANCE,
    }


def _staying(found: Replanned) -> dict[str, Any]:
    """What it would cost to go on as before."""
    plan, course = found.predictions
    effort = found.asked.effort
    ends = [float(ahead.probability()[-1]) for ahead in (plan, course)]
    return {
        "course": found.course[0],
        "doses": _by_drug(found, found.course[1]),
        "objective": course.risk(effort.risk, effort.alpha) - plan.risk(effort.risk, effort.alpha),
        "probability_of_progression": ends[1] - ends[0],
        "median_progression_day": {"plan": plan.median_progression(), "course": course.median_progression()},
        "limits_met": course.violation <= LIMIT_TOLERANCE,
    }


def _noise(replanned: Replanned) -> dict[str, Any]:
    """What is believed now of the noise of cells and of assays."""
    noise, z = replanned.asked.inference.prior.noise, replanned.belief.z
    if noise is None:
        return {}
    cells, assays = (np.asarray(size) for size in jax.vmap(noise.sizes)(z[:, -noise.count :]))
    return {
        "log_cells": {"unit": "1/day^0.5", **_told(replanned.belief, cells)},
        "assay_factor": {"unit": "1", **_told(replanned.belief, assays)},
    }


def _told(belief: Belief, values: np.ndarray, is_at_risk: bool = False) -> dict[str, Any]:
    """Weighted median and interval of a number of all particles, and of cells at risk the chance that there are any."""
    weights = np.exp(np.asarray(belief.log_weights))
    low, middle, high = quantiles(values, weights, (0.05, 0.5, 0.95))
    present = {"present": float(weights[values > 0.0].sum())} if is_at_risk else {}
    return {"median": middle, "interval_90": [low, high], **present}
