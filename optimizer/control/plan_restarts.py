"""The search for what is left of a patient's doses, from many starts; its audit, and how it ended in words."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from optimizer.control.belief import Belief, Inference
from optimizer.control.plan_search import Effort
from optimizer.control.prediction import Prediction
from optimizer.control.receding_horizon import Plan, RecedingHorizonController
from optimizer.ensemble.ensemble import Cores
from optimizer.ensemble.risk import feasible_rank
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem
from optimizer.search.audit import Audit, audit
from optimizer.search.feasible import NoLevels, make_feasible, round_to_levels, satisfies
from optimizer.search.multistart import Progress
from optimizer.search.screening import LIMIT_TOLERANCE
from optimizer.search.starts import starts
from optimizer.search.verdict import difference
from optimizer.status import Status

# Plans that differ by less than this share of the largest doses are one optimum.
_SAME = 0.02


@dataclass(frozen=True)
class Found:
    """The best plan of several restarts."""

    plan: Plan
    doses: np.ndarray
    restarts: int
    converged: int
    optima: int


class PlanRestarts:
    """Plans from one day on, whatever is believed: one compiled program, restarts on all cores."""

    def __init__(
        self,
        controller: RecedingHorizonController,
        given: np.ndarray,
        index: int,
        restarts: int,
        tell: Callable[[Progress], None],
    ):
        self.controller, self.given, self.index, self.tell = controller, given, index, tell
        whole = controller.inference.problem
        self.problem = _remaining(whole, given, index)
        points = starts(whole.task, restarts, controller.inference.scenario.seed)
        self.points = [np.asarray(whole.task.doses(x)) for x in points]
        self._cores = Cores()

    def near(self, belief: Belief, start: np.ndarray, warmest: float = 1.0) -> Plan:
        """The optimum that a search from one schedule reaches; one that begins cool stays near it."""
        past, index = jnp.asarray(self.given), jnp.asarray(self.index)
        found = self.controller.plan(belief, past, index, jnp.asarray(start), jnp.asarray(warmest))
        return jax.tree.map(np.asarray, found)

    def best(self, belief: Belief, hints: list[np.ndarray]) -> Found:
        """The best of all starting points, earlier plans among them."""
        points = [*hints, *self.points]
        self.tell(Progress("plan", 0, len(points), None))
        plans: list[Plan] = []
        for plan in self._cores.map(lambda x: self.near(belief, x), points):
            plans.append(plan)
            self.tell(Progress("plan", len(plans), len(points), min(float(p.objective) for p in plans)))
        values, excess = (np.array([getattr(p, name) for p in plans]) for name in ("objective", "violation"))
        order = np.argsort(feasible_rank(values, excess), kind="stable")
        scale = np.asarray(self.problem.task.scale)
        good = [plans[i] for i in order if plans[i].converged]
        kept: list[np.ndarray] = []
        for plan in good:
            if all(np.max(np.abs(plan.doses - other) / scale) > _SAME for other in kept):
                kept.append(plan.doses)
        best = plans[int(order[0])]
        return Found(best, np.asarray(best.doses), len(plans), len(good), len(kept))

    def settled(self, doses: np.ndarray) -> np.ndarray:
        """Doses that satisfy every limit on doses exactly."""
        # What was given may leave no room at all: then the least doses are where to go.
        return make_feasible(self.problem, doses, np.asarray(self.problem.task.lower))

    def rounded(self, belief: Belief, doses: np.ndarray, seed: int) -> tuple[np.ndarray, str]:
        """Exact doses, in the levels that are allowed; and why there are none."""
        exact = self.settled(doses)
        if not self.problem.levels:
            return exact, ""
        try:
            return round_to_levels(self.problem, exact, lambda batch: self._objective_of(belief, batch), seed), ""
        except NoLevels as error:
            return exact, str(error)

    def _objective_of(self, belief: Belief, batch: np.ndarray) -> np.ndarray:
        """Objective of schedules [B, K, N] over the belief."""
        given, index = jnp.asarray(self.given), jnp.asarray(self.index)
        return np.array(
            [float(self.controller.objective_of(belief, given, index, jnp.asarray(doses))) for doses in batch]
        )


def _remaining(problem: Problem, given: np.ndarray, index: int) -> Problem:
    """The problem with the doses that were given fixed; its limits count them."""
    shares = jnp.asarray((given / np.asarray(problem.task.scale)).ravel())
    done = jnp.asarray(np.repeat(np.arange(len(given)) < index, given.shape[1]))
    task = eqx.tree_at(
        lambda t: (t.lower, t.upper),
        problem.task,
        (jnp.where(done, shares, problem.task.lower), jnp.where(done, shares, problem.task.upper)),
    )
    return replace(problem, task=task)


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
    overruled: str,
) -> tuple[Status, str]:
    """Status, and the sentence that says what decided it; `overruled` says why the doses are not the plan's, if so."""
    if not checked.report.finite:
        return Status.SIMULATION_FAILED, "the audit's solver ran out of steps or met a number that is not finite"
    if not satisfies(search.problem, doses):
        over = [c for c in checked.report.constraints if c.violation > 0.0]
        said = f"{over[0].name}: wanted {over[0].wanted}; got {over[0].value:.6g}" if over else ""
        told = said or "no schedule was found that satisfies every dose limit exactly"
        return Status.INFEASIBLE, no_levels or f"{told}; doses that were given count"
    if ahead.violation > LIMIT_TOLERANCE:
        names = ", ".join(limit.label() for limit in search.problem.task.state_limits)
        worst = f"{100.0 * ahead.violation:.3g} % beyond its limit in the worst particle"
        return Status.INFEASIBLE, f"{names}: wanted it met by all that is believed possible; got {worst}"
    if overruled:
        return Status.MISFIT, overruled
    if not checked.passed:
        return Status.AUDIT_FAILED, difference(checked)
    if not found.plan.converged:
        wanted = f"wanted a KKT residual of at most {effort.tolerance:g} of its start"
        return Status.NOT_CONVERGED, f"{wanted}; got {float(found.plan.residual):.1e}"
    ways = f"{found.optima} distinct optim{'um' if found.optima == 1 else 'a'}"
    return Status.SOLVED, f"{found.converged} of {found.restarts} restarts converged, to {ways}"
