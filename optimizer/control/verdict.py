"""How a replan ended: the audit of its plan, the status, and the sentence that says what decided it."""

from __future__ import annotations

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from optimizer.control.belief import Belief, Inference
from optimizer.control.plan_restarts import Found, PlanRestarts
from optimizer.control.plan_search import Effort
from optimizer.control.prediction import Prediction
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem
from optimizer.search.audit import Audit, audit
from optimizer.search.feasible import satisfies
from optimizer.search.screening import LIMIT_TOLERANCE
from optimizer.search.verdict import difference
from optimizer.status import Status


def audited(inference: Inference, problem: Problem, belief: Belief, doses: np.ndarray) -> Audit:
    """The adaptive solver's word on the plan in the particle with the largest weight."""
    heaviest = belief.z[int(jnp.argmax(belief.log_weights))]
    task = eqx.tree_at(lambda t: t.system, problem.task, inference.system(heaviest))
    own = replace(problem, task=task)
    _, report = own.simulate(Schedule(jnp.asarray(doses)))
    return audit(own, doses, report, 0.0, directions=0)


def verdict(
    search: PlanRestarts,
    found: Found,
    doses: np.ndarray,
    ahead: Prediction,
    checked: Audit,
    no_levels: str,
    effort: Effort,
    misfits: bool,
) -> tuple[Status, str]:
    """Status, and the sentence that says what decided it."""
    if not checked.report.finite:
        return Status.SIMULATION_FAILED, "the audit's solver ran out of steps or met a number that is not finite"
    if not satisfies(search.problem, doses):
        over = [c for c in checked.report.constraints if c.violation > 0.0]
        said = f"{over[0].name}: wanted at most {over[0].limit:.6g}; got {over[0].value:.6g}" if over else ""
        told = said or "no schedule was found that satisfies every dose limit exactly"
        return Status.INFEASIBLE, no_levels or f"{told}; doses that were given count"
    if ahead.violation > LIMIT_TOLERANCE:
        names = ", ".join(limit.label() for limit in search.problem.task.state_limits)
        worst = f"{100.0 * ahead.violation:.3g} % beyond its limit in the worst particle"
        return Status.INFEASIBLE, f"{names}: wanted it met by all that is believed possible; got {worst}"
    if misfits:
        return Status.MISFIT, "what was measured does not fit the model"
    if not checked.passed:
        return Status.AUDIT_FAILED, difference(checked)
    if not found.plan.converged:
        wanted = f"wanted a KKT residual of at most {effort.tolerance:g} of its start"
        return Status.NOT_CONVERGED, f"{wanted}; got {float(found.plan.residual):.1e}"
    ways = f"{found.optima} distinct optim{'um' if found.optima == 1 else 'a'}"
    return Status.SOLVED, f"{found.converged} of {found.restarts} restarts converged, to {ways}"
