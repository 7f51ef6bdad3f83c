"""What is given where no plan of the model is to be believed: the best rule on the widened belief."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from optimizer.control.assays import BurdenAssays, power, watched
from optimizer.control.belief import Inference
from optimizer.control.measurements import Measurements
from optimizer.control.tune import Tuned, constant_on_belief, tuned_on_belief
from optimizer.ensemble.risk import Risk
from optimizer.observations import MISSING
from optimizer.policies.base import Observation

# By how much the belief is widened for the rule.
WIDER = 1.5
# Most of the first burden at which the rule begins again: before progression.
HIGHEST = 1.0


class Fallback(NamedTuple):
    """Doses that a rule gives.

    Attributes:
        dose: at the decision that is due, held until the next visit [N].
        rule: its numbers by name.
    """

    dose: Float[np.ndarray, "N"]
    rule: dict[str, float]

    @property
    def sentence(self) -> str:
        """The rule in words."""
        names = {"stop_below": "off below", "restart_above": "on above", "share": "share of the largest dose"}
        said = ", ".join(f"{names[name]} {value:.3g}" for name, value in self.rule.items())
        return f"the dose of the best rule tuned on the widened belief ({said}), held until the next visit"


def log_burdens(inference: Inference, seen: Measurements) -> tuple[np.ndarray, np.ndarray]:
    """Days on which the burden can be told, and its logarithm up to a constant; none where no channel shows it."""
    c = watched(inference.channels)
    if c is None:
        return np.zeros(0), np.zeros(0)
    rows = seen.seen[:, c] != MISSING
    return seen.days[rows], power(inference.channels[c]) * np.log(seen.values[rows, c])


def rises(inference: Inference, seen: Measurements) -> bool:
    """Whether the last measured burden is above the one before it."""
    _, logs = log_burdens(inference, seen)
    return len(logs) > 1 and logs[-1] > logs[-2]


def fall_back(inference: Inference, seen: Measurements, index: int, risk: Risk, alpha: float) -> Fallback:
    """The rule's dose at a decision; the best constant dose where the burden was not measured.

    Args:
        inference: with the prior.
        seen: what was measured.
        index: the decision that is due.
        risk: how the patients' objectives are made one.
        alpha: of cvar.
    """
    grid, (days, logs) = inference.problem.task.grid, log_burdens(inference, seen)
    c = watched(inference.channels)
    noise = 0.0 if c is None else power(inference.channels[c]) * float(inference.channels[c].assay.noise)
    assays = BurdenAssays(jnp.asarray(noise), grid.count)
    found: Tuned
    if len(days):
        found = tuned_on_belief(inference, assays, HIGHEST, risk, alpha, WIDER)
    else:
        found = constant_on_belief(inference, risk, alpha)
    policy, edges = found.controller.policy, np.asarray(grid.edges)
    memory, dose = policy.init(), jnp.zeros(inference.problem.task.scale.size)
    for k in range(index + 1):
        known = np.flatnonzero(days <= edges[k] + 1e-9)
        burden = np.exp(logs[known[-1]] - logs[0]) if known.size else 1.0
        at = Observation(jnp.asarray(k), edges[k], edges[k + 1] - edges[k], jnp.asarray(burden), jnp.ones(()))
        dose, memory = policy.decide(memory, at)
    return Fallback(np.asarray(dose), found.numbers)
