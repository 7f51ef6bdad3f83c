"""What a training came to, as the report says it."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from optimizer.control.train_run import NETWORK, Learned
from optimizer.control.watched import Evaluation
from optimizer.ensemble.summary import Survival, risks, spread, survival
from optimizer.scenario.networks import network_document
from optimizer.search.optimize import LIMIT_TOLERANCE
from optimizer.status import Status

_MOST_NAMED = 100
# Of the outcomes; those of a search speak of schedules.
_SENTENCES = {
    Status.SOLVED: "Trained: the loss no longer falls, those trained on are within limits, the audit agrees.",
    Status.NOT_CONVERGED: "Not converged: the loss was still falling when the steps were used up.",
    Status.INTERRUPTED: "Interrupted: the best network so far was kept.",
    Status.INFEASIBLE: "Infeasible: no network was found that keeps every limit.",
}


def sentence(status: Status) -> str:
    """The outcome of a training in words."""
    return _SENTENCES.get(status, status.sentence)


def curve(learned: Learned, name: str) -> Survival:
    """Kaplan-Meier estimate of the patients held out under a policy."""
    horizon = float(learned.classes.ensemble.task.grid.horizon)
    return survival(np.asarray(learned.judged[name].judged.progression), horizon)


def document_of(learned: Learned) -> dict[str, Any]:
    """The network's file."""
    settings, best = learned.settings, learned.training.best
    trained = {
        "status": learned.status.value,
        "steps": best.step,
        "patients": learned.classes.split,
        "seed": settings.seed,
        "risk": settings.risk.value,
        "noise": settings.noise,
        "delay": settings.delay,
        "objective": best.objective,
        "decisions_every_day": visit(learned),
    }
    drugs = learned.classes.ensemble.task.system.drugs
    return network_document(learned.network, drugs, learned.scenario.name, trained)


def visit(learned: Learned) -> float:
    """Days between two decisions, the longest where they differ."""
    return float(np.diff(np.asarray(learned.classes.ensemble.task.grid.edges)).max())


def body(learned: Learned) -> dict[str, Any]:
    """The report's body: JSON-able."""
    settings, training = learned.settings, learned.training
    healthy, split = learned.classes.ensemble.healthy, learned.classes.split
    return {
        "status": learned.status.value,
        "reason": learned.reason,
        "message": sentence(learned.status),
        "patients": {
            "trained_on": int(healthy[:split].sum()),
            "held_out": learned.held_out,
            "held_out_are_others": learned.classes.are_others,
            "left_out": len(learned.classes.faults),
        },
        "faults": list(learned.classes.faults[:_MOST_NAMED]),
        "risk": settings.risk.value,
        "alpha": settings.alpha,
        "noise": settings.noise,
        "delay": settings.delay,
        "network": {"hidden": settings.hidden, "weights": int(training.weights.size)},
        "held_out": {name: _judged(learned, name) for name in learned.judged},
        "tuned_rule": learned.rule,
        "training": {
            "method": "Adam on normalized gradients through the closed loop, all patients at each step",
            "steps": training.steps,
            "taken": training.history[-1].step,
            "converged": training.converged,
            "fall_in_last_tenth": training.fall,
            "best": training.best._asdict(),
            "history": [look._asdict() for look in training.history],
        },
        "audit": {
            "passed": learned.audit.passed,
            "of": "the doses that the typical patient gets",
            "objective_difference": learned.audit.objective_difference,
        },
        "seconds": {name: round(value, 3) for name, value in learned.seconds.items()},
    }


def _judged(learned: Learned, name: str) -> dict[str, Any]:
    came, survived = learned.judged[name], curve(learned, name)
    objective = np.asarray(came.judged.objective)
    return {
        "objective": spread(objective),
        "risk": risks(objective, learned.settings.alpha),
        "over_network": _over(objective, learned.judged[NETWORK]),
        "median_progression_day": survived.median,
        "without_progression": float(survived.share[-1]),
        "mean_share_of_largest_dose": float(np.mean(came.given)),
        "within_limits": float(np.mean(came.excess <= LIMIT_TOLERANCE)),
        "worst_excess": float(np.max(came.excess)),
    }


def _over(objective: Float[np.ndarray, "P"], network: Evaluation) -> dict[str, float]:
    """By how much the objective is above the network's in the same patients, with the standard error of that mean."""
    above = objective - np.asarray(network.judged.objective)
    error = float(np.std(above, ddof=1) / np.sqrt(above.size)) if above.size > 1 else 0.0
    return {"mean": float(np.mean(above)), "standard_error": error, "share_of_patients": float(np.mean(above > 0.0))}
