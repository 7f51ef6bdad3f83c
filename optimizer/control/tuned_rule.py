"""The rule that a network has to beat: the numbers of a threshold rule that do best on the same patients."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.control.watched import Watched, sums
from optimizer.ensemble.risk import Risk, risk_of
from optimizer.policies.base import AbstractMeasuring, AbstractPolicy
from optimizer.policies.threshold import Threshold
from optimizer.problem import Problem
from optimizer.regimens import Rule
from optimizer.search.optimize import LIMIT_TOLERANCE
from optimizer.simulate import System

# Values of each number at first, by how many numbers are open; then this many about the best, ever closer.
_FIRST = {1: 41, 2: 17, 3: 9, 4: 6}
_FEWEST = 4
_AROUND = 5
_ZOOMS = 5
_CLOSER = 0.5


def at50(problem: Problem, delay: int = 0) -> Threshold:
    """The whole dose until half of the first burden is left, none until it is back: doi 10.1038/s41467-017-01968-5."""
    numbers: dict[str, Any] = {"stop_below": 0.5, "restart_above": 1.0, "share": 1.0}
    return Threshold(dose_max=problem.task.scale, **numbers, delay=delay)


def open_rule(written: Rule | None, problem: Problem, factor: float, delay: int) -> Rule:
    """The scenario's rule with its ranges; a threshold rule below progression where it has none.

    Args:
        written: the scenario's own.
        problem: whose drugs are given.
        factor: progression is more than this multiple of the cells at the start.
        delay: visits by which measurements are late.
    """
    if written is not None:
        policy = written.policy
        if isinstance(policy, AbstractMeasuring):
            # Each patient has noise of his or her own.
            policy = dataclasses.replace(policy, noise=jnp.zeros(()), delay=delay)
        return written._replace(policy=policy)
    lower, upper = np.array([0.05, 0.1, 0.2]), np.array([factor, factor, 1.0])
    return Rule(at50(problem, delay), ("stop_below", "restart_above", "share"), lower, upper)


@eqx.filter_jit
def _tried(
    patients: Watched, limited: AbstractPolicy, names: tuple[str, ...], values: Float[Array, "B n"]
) -> tuple[Float[Array, "B P"], Float[Array, "B P"]]:
    """Objective and worst excess of a limit of each patient under each set of numbers."""

    def one(numbers: Array) -> tuple[Array, Array]:
        policy = eqx.tree_at(lambda p: tuple(getattr(p.rule, name) for name in names), limited, tuple(numbers))

        def patient(system: System, number: Array) -> tuple[Scalar, Scalar]:
            task, scene = patients.scene(system, number, policy)
            worst = [jnp.max(reading.excess) for reading in task.readings(scene)]
            excess = jnp.concatenate([jnp.zeros(1), jnp.asarray(worst), sums(task, scene)])
            return task.objective.evaluate(scene), jnp.max(excess)

        return patients.map(patient)

    return jax.lax.map(one, values)


def tuned(
    patients: Watched,
    problem: Problem,
    rule: Rule,
    risk: Risk,
    alpha: float,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[AbstractPolicy, np.ndarray, float]:
    """The rule with the numbers that do best on all patients, those numbers [n], and the risk they came to.

    A grid over all ranges, then ever finer ones about the best; the objective of a rule has steps.

    Args:
        patients: whom it is tuned on.
        problem: with the limits on doses.
        rule: with its open numbers.
        risk: how the patients' objectives are made one.
        alpha: of cvar.
        tell: hears how many grids of how many are done.
    """
    limited, count = problem.limited(rule.policy), len(rule.names)
    size = _FIRST.get(count, _FEWEST)
    axes, reach = (
        [np.linspace(a, b, size) for a, b in zip(rule.lower, rule.upper, strict=True)],
        rule.upper - rule.lower,
    )
    best, least = rule.written(), np.inf
    reach = reach / (size - 1)
    for zoom in range(1 + _ZOOMS):
        values = np.array(list(itertools.product(*axes)))
        found, excess = (np.asarray(a) for a in _tried(patients, limited, rule.names, jnp.asarray(values)))
        worst = excess.max(axis=1)
        merits = np.array([risk_of(risk, row, alpha) for row in found])
        merits = np.where(worst > LIMIT_TOLERANCE, 1e6 * (1.0 + worst), merits)
        merits = np.where(np.isfinite(merits), merits, np.inf)
        if merits.min() < least:
            best, least = values[int(np.argmin(merits))], float(merits.min())
        tell(zoom + 1, 1 + _ZOOMS)
        steps = np.linspace(-1.0, 1.0, _AROUND)
        axes = [
            np.clip(b + r * steps, low, high)
            for b, r, low, high in zip(best, reach, rule.lower, rule.upper, strict=True)
        ]
        reach = _CLOSER * reach
    policy = eqx.tree_at(
        lambda p: tuple(getattr(p.rule, name) for name in rule.names), limited, tuple(jnp.asarray(b) for b in best)
    )
    return policy, best, least
