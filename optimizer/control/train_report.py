"""What a training came to, as the report says it."""

from typing import Any

import numpy as np
from jaxtyping import Float

from optimizer.control.closed_loop import PatientOutcome
from optimizer.control.train_run import NETWORK, Learned
from optimizer.ensemble.summary import risks
from optimizer.ensemble.survival import Survival, spread, survival
from optimizer.scenario.networks import network_document
from optimizer.search.screening import LIMIT_TOLERANCE
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
    horizon = float(learned.split.ensemble.task.grid.horizon)
    return survival(np.asarray(learned.outcomes[name].evaluation.progression), horizon)


def document_of(learned: Learned) -> dict[str, Any]:
    """The network's file."""
    settings, best = learned.settings, learned.training.best
    trained = {
        "status": learned.status.value,
        "steps": best.step,
        "patients": learned.split.count,
        "seed": settings.seed,
        "risk": settings.risk.value,
        "noise": settings.noise,
        "delay": settings.delay,
        "objective": best.objective,
        "decisions_every_day": visit(learned),
    }
    drugs = learned.split.ensemble.task.system.drugs
    return network_document(learned.network, drugs, learned.scenario.name, trained)


def visit(learned: Learned) -> float:
    """Days between two decisions, the longest where they differ."""
    return float(np.diff(np.asarray(learned.split.ensemble.task.grid.edges)).max())


def body(learned: Learned) -> dict[str, Any]:
    """The report's body: JSON-able."""
    settings, training = learned.settings, learned.training
    included, split = learned.split.ensemble.included, learned.split.count
    return {
        "status": learned.status.value,
        "reason": learned.reason,
        "message": sentence(learned.status),
        "patients": {
            "trained_on": int(included[:split].sum()),
            "held_out": learned.held_out,
            "held_out_are_others": learned.split.are_others,
            "left_out": len(learned.split.ensemble.excluded),
        },
        "faults": list(learned.split.ensemble.excluded.values())[:_MOST_NAMED],
        "risk": settings.risk.value,
        "alpha": settings.alpha,
        "noise": settings.noise,
        "delay": settings.delay,
        "network": {"hidden": settings.hidden, "weights": int(training.weights.size)},
        "held_out": {name: _judged(learned, name) for name in learned.outcomes},
        "tuned_rule": learned.rule,
        "training": {
            "method": "Adam on normalized gradients through the closed loop, all patients at each step",
            "steps": training.steps,
            "taken": training.history[-1].step,
            "converged": training.converged,
            "fall_in_last_tenth": training.fall,
            "best": training.best._asdict(),
            "history": [checkpoint._asdict() for checkpoint in training.history],
        },
        "audit": {
            "passed": learned.audit.passed,
            "of": "the doses that the typical patient gets",
            "objective_difference": learned.audit.objective_difference,
        },
        "seconds": {name: round(value, 3) for name, value in learned.seconds.items()},
    }


def _judged(learned: Learned, name: str) -> dict[str, Any]:
    outcome, survived = learned.outcomes[name], curve(learned, name)
    objective = np.asarray(outcome.evaluation.objective)
    return {
        "objective": spread(objective),
        "risk": risks(objective, learned.settings.alpha),
        "over_network": _over(objective, learned.outcomes[NETWORK]),
        "median_progression_day": survived.median,
        "without_progression": float(survived.share[-1]),
        "mean_share_of_largest_dose": float(np.mean(outcome.given)),
        "within_limits": float(np.mean(outcome.excess <= LIMIT_TOLERANCE)),
        "worst_excess": float(np.max(outcome.excess)),
    }


def _over(objective: Float[np.ndarray, "P"], network: PatientOutcome) -> dict[str, float]:
    """By how much the objective is above the network's in the same patients, with the standard error of that mean."""
    above = objective - np.asarray(network.evaluation.objective)
    error = float(np.std(above, ddof=1) / np.sqrt(above.size)) if above.size > 1 else 0.0
    return {"mean": float(np.mean(above)), "standard_error": error, "share_of_patients": float(np.mean(above > 0.0))}
