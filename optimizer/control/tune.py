"""Policy search over a rule's numbers: the threshold rule that does best on an ensemble."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Index
from optimizer.control.assays import Assays, BurdenAssays, power, watched
from optimizer.control.belief import Inference
from optimizer.control.closed_loop import Conduct, Feedback, closed_loop
from optimizer.control.comparators import at50
from optimizer.control.measurements import Measurements
from optimizer.ensemble.ensemble import Members
from optimizer.ensemble.risk import Risk, feasible_rank, risk_of
from optimizer.observations import MISSING
from optimizer.policies.base import AbstractMeasuring, AbstractPolicy, Observation
from optimizer.policies.continuous import Continuous
from optimizer.policies.sequence import Sequential
from optimizer.problem import Problem
from optimizer.regimens import Rule

# Values of each number at first, by how many numbers are open; then this many about the best, ever closer.
_FIRST = {1: 41, 2: 17, 3: 9, 4: 6}
_FEWEST = 4
_AROUND = 5
_ZOOMS = 5
_CLOSER = 0.5
# Patients of a belief that a rule is tuned on.
_TUNED_ON = 24
# A share of the first burden that no burden falls below.
_NEVER: Any = 1e-12


def open_rule(written: Rule | None, problem: Problem, factor: float, delay: int) -> Rule:
    """The scenario's rule with its ranges; a threshold rule below progression where it has none.

    Args:
        written: the scenario's own.
        problem: whose drugs are given.
        factor: progression is more than this multiple of the cells at the start.
        delay: visits by which measurements are late.
    """
    if written is not None:
        return written._replace(policy=_late(written.policy, delay))
    lower, upper = np.array([0.05, 0.1, 0.2]), np.array([factor, factor, 1.0])
    return Rule(at50(problem, delay), ("stop_below", "restart_above", "share"), lower, upper)


def _late(policy: AbstractPolicy, delay: int) -> AbstractPolicy:
    """A rule whose measurements are late, without noise: each patient has noise of his or her own."""
    if isinstance(policy, Sequential):
        return dataclasses.replace(policy, phases=tuple(_late(phase, delay) for phase in policy.phases))
    if isinstance(policy, AbstractMeasuring):
        return dataclasses.replace(policy, noise=jnp.zeros(()), delay=delay)
    return policy


class Tuned(NamedTuple):
    """A rule with the numbers that do best."""

    controller: Feedback  #: the rule
    numbers: dict[str, float]  #: by name
    value: float  #: the risk they came to


def tuned_on_belief(
    inference: Inference,
    assays: Callable[[Index], Assays],
    factor: float,
    risk: Risk,
    alpha: float,
    spread: float = 1.0,
) -> Tuned:
    """The threshold rule that does best on patients of the prior, measured as in the trial.

    Args:
        inference: with the prior.
        assays: how patients are measured.
        factor: most of the first burden at which treatment may begin again.
        risk: how the patients' objectives are made one.
        alpha: of cvar.
        spread: by which the prior is widened.
    """
    rule = open_rule(None, inference.problem, factor, 0)
    return tuned(inference.members(_TUNED_ON, spread), assays, inference.problem, rule, risk, alpha)


def constant_on_belief(inference: Inference, risk: Risk, alpha: float) -> Tuned:
    """The constant dose, one share of the largest of each drug, that does best on patients of the prior."""
    problem = inference.problem
    never = dataclasses.replace(at50(problem), stop_below=_NEVER, restart_above=_NEVER)
    rule = Rule(never, ("share",), np.zeros(1), np.ones(1))
    assays = BurdenAssays(jnp.zeros(()), problem.task.grid.count)
    found = tuned(inference.members(_TUNED_ON), assays, problem, rule, risk, alpha)
    constant = Continuous(found.numbers["share"] * problem.task.scale)
    return found._replace(controller=Feedback(problem.limited(constant), False))


@eqx.filter_jit
def _evaluated(
    members: Members, assays: Any, policy: AbstractPolicy, names: tuple[str, ...], values: Float[Array, "B n"]
) -> tuple[Float[Array, "B P"], Float[Array, "B P"]]:
    """Objective and worst excess of a limit of each patient under each set of numbers."""

    def one(numbers: Array) -> tuple[Array, Array]:
        found = closed_loop(members, Feedback(policy.with_numbers(names, numbers), True), assays, Conduct(1.0))
        return found.evaluation.objective, found.excess

    return jax.lax.map(one, values)


def tuned(
    members: Members,
    assays: Callable[[Index], Assays],
    problem: Problem,
    rule: Rule,
    risk: Risk,
    alpha: float,
) -> Tuned:
    """The rule with the numbers that do best on all patients.

    A grid over all ranges, then ever finer ones about the best; the objective of a rule has steps.

    Args:
        members: whom it is tuned on.
        assays: how they are measured.
        problem: with the limits on doses.
        rule: with its open numbers.
        risk: how the patients' objectives are made one.
        alpha: of cvar.
    """
    policy, size = problem.limited(rule.policy), _FIRST.get(len(rule.names), _FEWEST)
    ranges = list(zip(rule.lower, rule.upper, strict=True))
    axes = [np.linspace(low, high, size) for low, high in ranges]
    best, least, reach = rule.written(), np.inf, (rule.upper - rule.lower) / (size - 1)
    for _ in range(1 + _ZOOMS):
        values = np.array(list(itertools.product(*axes)))
        found, excess = map(np.asarray, _evaluated(members, assays, policy, rule.names, jnp.asarray(values)))
        ranks = feasible_rank(np.array([risk_of(risk, row, alpha) for row in found]), excess.max(axis=1))
        if ranks.min() < least:
            best, least = values[int(np.argmin(ranks))], float(ranks.min())
        steps = np.linspace(-1.0, 1.0, _AROUND)
        axes = [np.clip(b + r * steps, low, high) for b, r, (low, high) in zip(best, reach, ranges, strict=True)]
        reach = _CLOSER * reach
    numbers = dict(zip(rule.names, best.tolist(), strict=True))
    return Tuned(Feedback(policy.with_numbers(rule.names, jnp.asarray(best)), True), numbers, least)


# --- what is given where no plan of the model is to be believed: the best rule on the widened belief ----


# By how much the belief is widened for the rule.
WIDER = 1.5
# Most of the first burden at which the rule begins again: before progression.
HIGHEST = 1.0


class Fallback(NamedTuple):
    """Doses that a rule gives."""

    dose: Float[np.ndarray, "N"]  #: at the decision that is due, held until the next visit [N]
    rule: dict[str, float]  #: its numbers by name

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
