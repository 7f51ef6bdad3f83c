"""Model predictive control over a particle filter: the best schedule ahead over all that is still believed, its first
dose given, and again at the next visit.

In the field's words: a receding-horizon controller with the scenario (particle) approach to uncertainty and move
blocking; the belief is a tempered sequential Monte Carlo filter. All of it is pure functions of what was measured.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Doses, Flag, Index, Scalar
from optimizer.control.assays import Assays
from optimizer.control.belief import Belief, Inference, Updated
from optimizer.control.closed_loop import Conduct, Feedback
from optimizer.control.controller_state import (
    ControllerState,
    Measurement,
    Plan,
    PlanDiagnostics,
    strongly_typed,
    with_rows,
)
from optimizer.control.plan_search import Effort, best_plan, blocks, open_doses
from optimizer.control.prediction import ModelCheck, tail_of
from optimizer.ensemble.ensemble import with_system
from optimizer.ensemble.program import EnsembleProgram
from optimizer.objectives.roughness import Roughness
from optimizer.observations import MISSING, Record
from optimizer.policies.base import Observation
from optimizer.policies.schedule import Schedule
from optimizer.problem import Task
from optimizer.search.starts import starts
from optimizer.simulate import System, Trajectory, rollout

# Share of a largest dose below which a planned dose is none.
_DUST = 0.01


class RecedingHorizonController:
    """Updates a belief and plans over it; `step` is pure, so that it can be jitted and vmapped.

    Args:
        inference: beliefs about the patients of a scenario.
        effort: how hard a plan is searched.
        rows: measurements that a record has room for.
        fallback: rule that gives the dose while the model misfits; the plan does without one.
        may_stop: whether a plan may stop treatment for good below progression while the measured burden rises.

    Example:
        >>> from optimizer.control import Effort, Inference, RecedingHorizonController, load_prior
        >>> from optimizer.scenario import Scenario
        >>> scenario = Scenario.load("scenarios/competing_clones_trial.toml")
        >>> inference = Inference(scenario, load_prior(scenario), scenario.channels(), particles=64)
        >>> controller = RecedingHorizonController(inference, Effort(particles=4, restarts=1, iterations=5), rows=10)
        >>> controller.init(inference.begin(seed=0), seed=0).rows.item()
        0
    """

    def __init__(
        self,
        inference: Inference,
        effort: Effort,
        rows: int,
        fallback: Feedback | None = None,
        may_stop: bool = False,
    ):
        self.inference, self.effort, self.rows = inference, effort, rows
        self.fallback, self.may_stop = fallback, may_stop
        task = inference.problem.task
        self._starts = starts(task, max(effort.restarts, 1), inference.scenario.seed)
        self._blocks, self._groups = blocks(task.grid.count, effort.singly)
        self.plan = jax.jit(self._plan)
        self.objective_of = jax.jit(self._objective_of)
        self.step = jax.jit(self._step)

    def init(self, belief: Belief, seed: int) -> ControllerState:
        """Before anything was measured or given."""
        return self._init(belief, jax.random.key(np.uint32(seed)))

    def _init(self, belief: Belief, key: Array) -> ControllerState:
        first = self.inference.problem.task.doses(self._starts[0])
        record = Record.empty(self.rows, len(self.inference.channels))
        return strongly_typed(ControllerState(belief, record, jnp.zeros((), int), first, key, ModelCheck.start()))

    def _step(self, state: ControllerState, new: Measurement) -> tuple[ControllerState, tuple[Plan, Updated]]:
        """Take in what was measured and plan what is next.

        Args:
            state: so far.
            new: what is new; nothing but missing values where there is nothing new.
        """
        record, fresh = with_rows(state.record, state.rows, new)
        key, own = jax.random.split(state.key)
        belief, updated = self.inference.update(own, state.belief, new.given, record, fresh)
        warmest = jnp.where(new.index > 0, self.effort.temperature, 1.0)
        plan = self._plan(belief, new.given, new.index, state.plan, warmest)
        rows = state.rows + jnp.sum(jnp.any(new.seen != 0, axis=1))
        check = state.check.after(tail_of(updated.predictive_p))
        return strongly_typed(ControllerState(belief, record, rows, plan.doses, key, check)), (plan, updated)

    def _plan(self, belief: Belief, given: Doses, index: Index, before: Doses, warmest: Scalar) -> Plan:
        """The best doses from a decision on, over the belief.

        Args:
            belief: what is believed.
            given: doses; those before `index` were given [K, N].
            index: decisions that were made already.
            before: the plan that the search begins from [K, N].
            warmest: temperature at which the search begins, of terms that are not smooth.
        """
        task, program = self.inference.problem.task, self.program(belief, given, index)
        wished = jnp.stack([_scaled(task, before), *self._starts])[: max(self.effort.restarts, 1)]
        end = best_plan(program, wished, self.effort, warmest)
        shares = jnp.clip(program.shares(end.x), task.lower, task.upper)
        # A search that ended nowhere leaves the plan as it is.
        found = jnp.where(jnp.all(jnp.isfinite(shares)), task.doses(shares), before)
        # Doses too small to be given are none, unless a limit asks for some.
        asks = jnp.any(task.matrix < 0.0)
        dust = (found < _DUST * task.scale) & (task.lower.reshape(found.shape) <= 0.0) & ~asks
        doses = jnp.where(_done(task, index)[:, None], given, jnp.where(dust, 0.0, found))
        converged = end.done | (end.residual <= self.effort.tolerance)
        return Plan(doses, end.value, end.residual, converged, end.violation, end.iterations)

    def _objective_of(self, belief: Belief, given: Doses, index: Index, doses: Doses) -> Scalar:
        """Objective of doses [K, N] over the particles that are planned for, as reported."""
        program = self.program(belief, given, index)
        values = jax.lax.map(
            lambda system: with_system(program.task, system).loss(doses), program.systems, batch_size=128
        )
        return program.summed(values, jnp.asarray(1e-6)).value

    def program(self, belief: Belief, given: Doses, index: Index) -> EnsembleProgram:
        """The particles that are planned for as one nonlinear program, with what lies ahead open."""
        effort, task = self.effort, self.inference.problem.task
        drugs, count = task.scale.size, task.grid.count
        ahead = jnp.maximum(jnp.arange(count) - index, 0)
        group = (jnp.asarray(self._blocks)[ahead][:, None] * drugs + jnp.arange(drugs)).ravel()
        done = jnp.repeat(_done(task, index), drugs)
        if effort.change > 0.0 and not any(isinstance(term, Roughness) for term in task.objective.terms):
            task = eqx.tree_at(lambda t: t.objective, task, task.objective + effort.change * Roughness())
        task, open_ = open_doses(task, _scaled(task, given), done, group, self._groups * drugs)
        systems = self.inference.standing(belief, effort.particles)
        weights = jnp.full(effort.particles, 1.0 / effort.particles)
        return EnsembleProgram(task, systems, weights, jnp.ones(()), effort.risk, effort.alpha, open_)

    # --- in closed loop -----------------------------------------------------------------------------------------------

    def control(self, task: Task, assays: Assays, conduct: Conduct) -> tuple[Trajectory, PlanDiagnostics]:
        """The whole loop of one patient: measure, update the belief, plan, give the first dose, and so on.

        Later doses of a plan change nothing of what is measured now, so that each decision replays the plan so far.
        """
        assert conduct.keys is not None
        (first, steps), kind = conduct.keys, task.scale.dtype
        belief = self.inference.begun(first, conduct.patient)
        rule = None if self.fallback is None else self.fallback.shown(assays, task)

        def decision(carry: Any, k: Index) -> Any:
            def alive() -> Any:
                state, _, memory, seen_last, last = carry
                found, trajectory = assays.under(task.system, state.plan, task.grid)
                burden, times = trajectory.burden, trajectory.times
                passed = jnp.isfinite(conduct.found(task, trajectory, found, task.grid.edges[k])[0]) & conduct.stops
                seen = jnp.where(assays.visits.counts == k, found.seen, MISSING)
                new = Measurement(k, state.plan, task.grid.edges[:-1], found.shown, seen)
                goes = ((k == 0) | jnp.any(seen != MISSING)) & ~passed
                state, told = jax.lax.cond(
                    goes, lambda: self._visit(state, new), lambda: (state, PlanDiagnostics.none(kind))
                )
                if rule is not None:
                    now = jnp.exp(jnp.interp(task.grid.edges[k], times, jnp.log(burden)))
                    at = Observation(k, task.grid.edges[k], task.grid.lengths[k], now, burden[0])
                    asked, memory = rule.decide(memory, at)
                    newest = assays.newest_burden(found, k)
                    last = jnp.where(goes, self._overruled(state, k, newest > seen_last), last)
                    dose = jnp.where(last > 0, self._within(state.plan, k, asked), state.plan[k])
                    state = state._replace(plan=jnp.where(passed, state.plan, state.plan.at[k].set(dose)))
                    told = told._replace(fallback=jnp.where(passed, 0, last))
                    seen_last = jnp.where(goes, newest, seen_last)
                return (state, passed, memory, seen_last, last), told

            return jax.lax.cond(carry[1], lambda: (carry, PlanDiagnostics.none(kind)), alive)

        memory = None if rule is None else rule.init()
        start = (self._init(belief, steps), jnp.asarray(False), memory, jnp.asarray(jnp.inf), jnp.zeros((), int))
        found, told = jax.lax.scan(as_taken(decision, assays), (start, jnp.ones(())), jnp.arange(task.grid.count))
        state = found[0][0]
        return rollout(task.system, Schedule(state.plan), task.grid), told

    def _overruled(self, state: ControllerState, k: Index, rises: Flag) -> Index:
        """Why the plan's dose is not given: 1, the model misfits; 2, treatment would be stopped for good; else 0."""
        ahead = jnp.arange(state.plan.shape[0]) >= k
        ends = jnp.all(jnp.where(ahead[:, None], state.plan, 0.0) <= 0.0) & rises & (not self.may_stop)
        return jnp.where(state.check.misfits, 1, jnp.where(ends, 2, 0))

    def _within(self, plan: Doses, k: Index, asked: Float[Array, "N"]) -> Float[Array, "N"]:
        """A dose at a decision, or as much of it as the limits on sums of doses leave, with the least doses later."""
        task = self.inference.problem.task
        done = jnp.repeat(_done(task, k), task.scale.size)
        base = jnp.where(done, _scaled(task, plan), task.lower)
        least = base.reshape(plan.shape)[k]
        way = (jnp.zeros_like(plan).at[k].set(asked / task.scale - least)).ravel()
        rise, room = task.matrix @ way, task.bound - task.matrix @ base
        share = jnp.where(rise > 0.0, jnp.maximum(room, 0.0) / jnp.where(rise > 0.0, rise, 1.0), jnp.inf)
        return (least + jnp.minimum(jnp.min(share, initial=1.0), 1.0) * (asked / task.scale - least)) * task.scale

    def _visit(self, state: ControllerState, new: Measurement) -> tuple[ControllerState, PlanDiagnostics]:
        state, (plan, updated) = self.step(state, new)
        following = self.inference.problem.task.grid.edges[new.index + 1]

        def log_burden(system: System) -> Scalar:
            trajectory = rollout(system, Schedule(plan.doses), self.inference.problem.task.grid)
            return jnp.interp(following, trajectory.times, jnp.log(trajectory.burden))

        standing = self.inference.standing(state.belief, self.effort.particles)

        told = PlanDiagnostics(
            planned=jnp.asarray(True),
            ess=updated.ess,
            temperatures=updated.temperatures,
            negative_log_predictive=jnp.sum(updated.negative_log_predictive),
            objective=plan.objective,
            residual=plan.residual,
            converged=plan.converged,
            iterations=plan.iterations,
            predicted=jnp.exp(jnp.median(jax.vmap(log_burden)(standing))),
            predictive_p=state.check.p,
            fallback=jnp.zeros((), int),
        )
        like = PlanDiagnostics.none(state.plan.dtype)
        return state, jax.tree.map(lambda a, b: jnp.asarray(a, b.dtype), told, like)


def as_taken(decision: Callable[[Any, Index], Any], assays: Assays) -> Callable[[Any, Index], Any]:
    """A decision of the loop whose dose is taken as the patient does, and kept in the plan so."""

    def step(carry: Any, k: Index) -> Any:
        (own, most), adherence = carry, assays.adherence
        (state, *rest), told = decision(own, k)
        if adherence is not None:
            before = jnp.where(k > 0, state.plan[k - 1], 0.0)
            dose, most = adherence.given(k, state.plan[k], before, most)
            state = state._replace(plan=state.plan.at[k].set(dose))
        return ((state, *rest), most), told

    return step


def _done(task: Task, index: Index) -> Array:
    return jnp.arange(task.grid.count) < index


def _scaled(task: Task, doses: Doses) -> Float[Array, "n"]:
    """Doses as shares of the largest, flattened."""
    return (doses / task.scale).ravel()
