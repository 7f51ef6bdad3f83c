"""A patient in closed loop: a compiled program for the rules, one for `replan`, one for who knows the truth."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Doses, Flag, Index, Scalar
from optimizer.control.arms import Arm
from optimizer.control.belief import Belief, Inference, chosen
from optimizer.control.prior import draw
from optimizer.control.receding_horizon import ControllerState, Effort, Measurement, RecedingHorizonController
from optimizer.control.visits import (
    Noise,
    Results,
    Visits,
    belief_keys,
    draw_noise,
    results,
    watch,
    watched,
)
from optimizer.ensemble.ensemble import with_system
from optimizer.ensemble.judge import Judged, judge_scene
from optimizer.ensemble.solve import solve
from optimizer.objectives.progression import Progression
from optimizer.observations import MISSING, Channel
from optimizer.problem import Problem
from optimizer.simulate import System, Trajectory, rollout

# Share of the way from a policy's schedule to the middle of the limits, where a search may begin.
_INWARD = 0.1


class PlanDiagnostics(NamedTuple):
    """What `replan` thought at a decision; NaN and 0 where it kept to its plan.

    Attributes:
        planned: whether it planned again.
        ess: effective number of particles once the new results were weighed.
        temperatures: stages in which particles were moved.
        surprise: minus the logarithm of the density that the belief gave to the new results.
        objective: risk of the objective over the particles, as searched.
        residual: KKT residual, relative to the gradient at the start.
        converged: whether it reached the tolerance.
        iterations: of the search.
        predicted: median burden at the next decision over the particles that are planned for [cell].
    """

    planned: Flag
    ess: Scalar
    temperatures: Index
    surprise: Scalar
    objective: Scalar
    residual: Scalar
    converged: Flag
    iterations: Index
    predicted: Scalar


class PatientOutcome(NamedTuple):
    """A patient under a policy.

    Attributes:
        doses: given [K, N].
        burden: at the decisions and at the end [K + 1].
        judged: what it comes to.
        over: worst relative excess of a limit on doses.
        results: what was sampled; none of it where nothing is measured.
    """

    doses: Doses
    burden: Float[Array, "edges"]
    judged: Judged
    over: Scalar
    results: Results


class Programs:
    """The compiled programs of a trial; assays, visits and patients are their arguments, so that a sweep shares them.

    Args:
        problem: of the controller: decisions, objective and limits.
        truth: the same with the hidden patient's model, on nodes of its own.
        arms: policies that are not searched.
        inference: the controller's beliefs; None where nothing is replanned.
        effort: how hard plans are searched.
        rows: of results that a record has room for: samples of one day whose results come apart are rows of their own.
        factor: progression is more than this multiple of the first burden.
    """

    def __init__(
        self,
        problem: Problem,
        truth: Problem,
        arms: dict[str, Arm],
        inference: Inference | None,
        effort: Effort,
        rows: int,
        factor: float,
    ):
        self.problem, self.truth, self.arms, self.inference = problem, truth, arms, inference
        self.effort, self.rows, self.factor = effort, rows, factor
        self.stops = any(isinstance(term, Progression) for term in problem.task.objective.terms)
        self.rules = jax.jit(self._rules)
        self.replan = jax.jit(self._replan)
        self.best = jax.jit(self._best)
        self.live = jax.jit(self._live)
        self.noise = jax.jit(self._noise)

    @property
    def edges(self) -> Float[Array, "edges"]:
        """Decisions and the end [day]."""
        return self.problem.task.grid.edges

    # --- any doses ----------------------------------------------------------------------------------------------------

    def _live(self, channels: Any, system: System, doses: Doses, noise: Noise, visits: Visits) -> PatientOutcome:
        """What doses [K, N] come to in a patient, and what would be measured."""
        task = with_system(self.truth.task, system)
        trajectory = task.simulate((doses / task.scale).ravel()).trajectory
        return self._patient_outcome(channels, system, trajectory, doses, noise, visits)

    def _patient_outcome(
        self, channels: Any, system: System, trajectory: Trajectory, doses: Doses, noise: Noise, visits: Visits
    ) -> PatientOutcome:
        task = with_system(self.truth.task, system)
        judged = judge_scene(task, task.scene(trajectory), jnp.asarray(self.factor))
        burden = jnp.exp(jnp.interp(self.edges, trajectory.times, jnp.log(trajectory.burden)))
        shares = (doses / task.scale).ravel()
        rows = (task.matrix @ shares - task.bound) / jnp.maximum(jnp.abs(task.bound), 1e-300)
        box = jnp.maximum(shares - task.upper, task.lower - shares)
        over = jnp.maximum(jnp.max(rows, initial=0.0), jnp.max(box, initial=0.0))
        seen = self._sampled(channels, system, doses, noise, visits)
        return PatientOutcome(doses, burden, judged, over, seen)

    def _sampled(self, channels: Any, system: System, doses: Doses, noise: Noise, visits: Visits) -> Results:
        count = self.edges.shape[0] - 1
        if not channels:
            return Results(jnp.zeros((count, 0)), jnp.zeros((count, 0), int))
        return results(channels, system, self.problem.task.grid, doses, noise, visits)[0]

    # --- rules --------------------------------------------------------------------------------------------------------

    def _rules(
        self, channels: tuple[Channel, ...], system: System, seed: Array, index: Array, visits: Visits
    ) -> dict[str, PatientOutcome]:
        """Every policy that is not searched, each of them one rollout."""
        noise = self._noise(channels, seed, index)
        shown = watch(channels, noise, visits, self.edges) if channels and watched(channels) is not None else None
        found = {}
        for name, arm in self.arms.items():
            trajectory = rollout(system, arm.shown(self.problem, shown), self.problem.task.grid)
            found[name] = self._patient_outcome(channels, system, trajectory, trajectory.doses, noise, visits)
        return found

    def _noise(self, channels: tuple[Channel, ...], seed: Array, index: Array) -> Noise:
        if not channels:
            none = jnp.zeros((self.edges.shape[0] - 1, 0))
            return Noise(none, none)
        return draw_noise(channels, seed, index, self.edges[:-1])

    # --- measuring and planning again ---------------------------------------------------------------------------------

    def _replan(
        self, channels: tuple[Channel, ...], system: System, seed: Array, index: Array, visits: Visits
    ) -> tuple[PatientOutcome, PlanDiagnostics]:
        """The whole loop of one patient: measure, update the belief, plan, give the first dose, and so on."""
        assert self.inference is not None
        inference = self.inference.measured_by(channels)
        count = self.edges.shape[0] - 1
        controller = RecedingHorizonController(inference, self.effort, self.rows)
        noise = self._noise(channels, seed, index)
        first, steps = belief_keys(seed, index)
        particles = inference.particles
        belief = Belief(draw(inference.prior, first, particles), jnp.full(particles, -jnp.log(float(particles))))
        controller_state = controller.init(belief, 0)._replace(key=steps)
        loop = partial(self._decision, controller, channels, system, noise, visits)
        (controller_state, _), diagnostics = jax.lax.scan(
            loop, (controller_state, jnp.asarray(False)), jnp.arange(count)
        )
        return self._live(channels, system, controller_state.plan, noise, visits), diagnostics

    def _decision(
        self,
        controller: RecedingHorizonController,
        channels: tuple[Channel, ...],
        system: System,
        noise: Noise,
        visits: Visits,
        carry: tuple[ControllerState, Flag],
        k: Index,
    ) -> tuple[tuple[ControllerState, Flag], PlanDiagnostics]:
        """One decision: later doses of the plan change nothing of what is measured now."""
        _, over = carry

        def alive() -> tuple[tuple[ControllerState, Flag], PlanDiagnostics]:
            controller_state, _ = carry
            grid, edges = self.problem.task.grid, self.edges
            found, times, burden = results(channels, system, grid, controller_state.plan, noise, visits)
            passed = jnp.any((burden > self.factor * burden[0]) & (times <= edges[k])) & self.stops
            seen = jnp.where(visits.counts == k, found.seen, MISSING)
            new = Measurement(k, controller_state.plan, edges[:-1], found.shown, seen)
            goes = ((k == 0) | jnp.any(seen != MISSING)) & ~passed
            controller_state, diagnostics = jax.lax.cond(
                goes,
                lambda: self._visit(controller, controller_state, new),
                lambda: (controller_state, _nothing(controller_state.plan.dtype)),
            )
            return (controller_state, passed), diagnostics

        return jax.lax.cond(over, lambda: (carry, _nothing(carry[0].plan.dtype)), alive)

    def _visit(
        self, controller: RecedingHorizonController, controller_state: ControllerState, new: Measurement
    ) -> tuple[ControllerState, PlanDiagnostics]:
        controller_state, (plan, updated) = controller.step(controller_state, new)
        z = chosen(controller_state.belief, self.effort.particles)
        following = self.edges[new.index + 1]

        def ahead(one: Array) -> Scalar:
            trajectory = controller.inference.trajectory(one, plan.doses)
            return jnp.interp(following, trajectory.times, jnp.log(trajectory.burden))

        predicted = jnp.exp(jnp.median(jax.vmap(ahead)(z)))
        diagnostics = PlanDiagnostics(
            jnp.asarray(True),
            updated.ess,
            updated.temperatures,
            jnp.sum(updated.surprise),
            plan.objective,
            plan.residual,
            plan.converged,
            plan.iterations,
            predicted,
        )
        return controller_state, jax.tree.map(
            lambda a, b: jnp.asarray(a, b.dtype), diagnostics, _nothing(controller_state.plan.dtype)
        )

    # --- who knows the truth ------------------------------------------------------------------------------------------

    def _best(
        self,
        channels: tuple[Channel, ...],
        system: System,
        points: Float[Array, "R n"],
        middle: Float[Array, "n"],
        copied: Doses,
        tolerance: Array,
    ) -> tuple[Doses, Flag]:
        """The best schedule of one who knows the patient: of starting points, and of the best policy's schedule."""
        task = with_system(self.truth.task, system)
        shares = (copied / task.scale).ravel()
        begun = jnp.concatenate([points, (shares + _INWARD * (middle - shares))[None]])
        solved = solve(task, begun, tolerance)
        return task.doses(jnp.clip(solved.shares, task.lower, task.upper)), solved.done


def _nothing(kind: Any) -> PlanDiagnostics:
    nan, none, no = jnp.asarray(jnp.nan, kind), jnp.zeros((), int), jnp.asarray(False)
    return PlanDiagnostics(no, nan, none, nan, nan, nan, no, none, nan)


def numbers(tree: Any) -> Any:
    """Arrays outside of JAX."""
    return jax.tree.map(np.asarray, tree)
