"""A patient in closed loop: a compiled program for the rules, one for `replan`, one for who knows the truth."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer._axes import Doses, Flag, Index, Scalar
from optimizer.adaptive.arms import Arm
from optimizer.adaptive.belief import Belief, Inference, chosen
from optimizer.adaptive.planner import Course, Effort, Measurement, Planner
from optimizer.adaptive.prior import draw
from optimizer.adaptive.visits import (
    Noise,
    Results,
    Visits,
    belief_keys,
    draw_noise,
    results,
    watch,
    watched,
)
from optimizer.cohort.crowd import with_system
from optimizer.cohort.judge import Judged, judge_scene
from optimizer.cohort.solve import solve
from optimizer.objectives.progression import Progression
from optimizer.observations import MISSING, Channel
from optimizer.problem import Problem
from optimizer.simulate import System, Trajectory, rollout

# Share of the way from a policy's schedule to the middle of the limits, where a search may begin.
_INWARD = 0.1


class Thought(NamedTuple):
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


class Lived(NamedTuple):
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
        problem: of the planner: decisions, objective and limits.
        truth: the same with the hidden patient's model, on nodes of its own.
        arms: policies that are not searched.
        inference: the planner's beliefs; None where nothing is replanned.
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

    def _live(self, channels: Any, system: System, doses: Doses, noise: Noise, visits: Visits) -> Lived:
        """What doses [K, N] come to in a patient, and what would be measured."""
        task = with_system(self.truth.task, system)
        trajectory = task.simulate((doses / task.scale).ravel()).trajectory
        return self._lived(channels, system, trajectory, doses, noise, visits)

    def _lived(
        self, channels: Any, system: System, trajectory: Trajectory, doses: Doses, noise: Noise, visits: Visits
    ) -> Lived:
        task = with_system(self.truth.task, system)
        judged = judge_scene(task, task.scene(trajectory), jnp.asarray(self.factor))
        burden = jnp.exp(jnp.interp(self.edges, trajectory.times, jnp.log(trajectory.burden)))
        shares = (doses / task.scale).ravel()
        rows = (task.matrix @ shares - task.bound) / jnp.maximum(jnp.abs(task.bound), 1e-300)
        box = jnp.maximum(shares - task.upper, task.lower - shares)
        over = jnp.maximum(jnp.max(rows, initial=0.0), jnp.max(box, initial=0.0))
        seen = self._sampled(channels, system, doses, noise, visits)
        return Lived(doses, burden, judged, over, seen)

    def _sampled(self, channels: Any, system: System, doses: Doses, noise: Noise, visits: Visits) -> Results:
        count = self.edges.shape[0] - 1
        if not channels:
            return Results(jnp.zeros((count, 0)), jnp.zeros((count, 0), int))
        return results(channels, system, self.problem.task.grid, doses, noise, visits)[0]

    # --- rules --------------------------------------------------------------------------------------------------------

    def _rules(
        self, channels: tuple[Channel, ...], system: System, seed: Array, index: Array, visits: Visits
    ) -> dict[str, Lived]:
        """Every policy that is not searched, each of them one rollout."""
        noise = self._noise(channels, seed, index)
        shown = watch(channels, noise, visits, self.edges) if channels and watched(channels) is not None else None
        found = {}
        for name, arm in self.arms.items():
            trajectory = rollout(system, arm.shown(self.problem, shown), self.problem.task.grid)
            found[name] = self._lived(channels, system, trajectory, trajectory.doses, noise, visits)
        return found

    def _noise(self, channels: tuple[Channel, ...], seed: Array, index: Array) -> Noise:
        if not channels:
            none = jnp.zeros((self.edges.shape[0] - 1, 0))
            return Noise(none, none)
        return draw_noise(channels, seed, index, self.edges[:-1])

    # --- measuring and planning again ---------------------------------------------------------------------------------

    def _replan(
        self, channels: tuple[Channel, ...], system: System, seed: Array, index: Array, visits: Visits
    ) -> tuple[Lived, Thought]:
        """The whole loop of one patient: measure, update the belief, plan, give the first dose, and so on."""
        assert self.inference is not None
        inference = self.inference.measured_by(channels)
        count = self.edges.shape[0] - 1
        planner = Planner(inference, self.effort, self.rows)
        noise = self._noise(channels, seed, index)
        first, steps = belief_keys(seed, index)
        particles = inference.particles
        belief = Belief(draw(inference.prior, first, particles), jnp.full(particles, -jnp.log(float(particles))))
        course = planner.init(belief, 0)._replace(key=steps)
        loop = partial(self._decision, planner, channels, system, noise, visits)
        (course, _), thoughts = jax.lax.scan(loop, (course, jnp.asarray(False)), jnp.arange(count))
        return self._live(channels, system, course.plan, noise, visits), thoughts

    def _decision(
        self,
        planner: Planner,
        channels: tuple[Channel, ...],
        system: System,
        noise: Noise,
        visits: Visits,
        carry: tuple[Course, Flag],
        k: Index,
    ) -> tuple[tuple[Course, Flag], Thought]:
        """One decision: later doses of the plan change nothing of what is measured now."""
        _, over = carry

        def alive() -> tuple[tuple[Course, Flag], Thought]:
            course, _ = carry
            grid, edges = self.problem.task.grid, self.edges
            found, times, burden = results(channels, system, grid, course.plan, noise, visits)
            passed = jnp.any((burden > self.factor * burden[0]) & (times <= edges[k])) & self.stops
            seen = jnp.where(visits.counts == k, found.seen, MISSING)
            new = Measurement(k, course.plan, edges[:-1], found.shown, seen)
            goes = ((k == 0) | jnp.any(seen != MISSING)) & ~passed
            course, thought = jax.lax.cond(
                goes, lambda: self._visit(planner, course, new), lambda: (course, _nothing(course.plan.dtype))
            )
            return (course, passed), thought

        return jax.lax.cond(over, lambda: (carry, _nothing(carry[0].plan.dtype)), alive)

    def _visit(self, planner: Planner, course: Course, new: Measurement) -> tuple[Course, Thought]:
        course, (plan, updated) = planner.step(course, new)
        z = chosen(course.belief, self.effort.particles)
        following = self.edges[new.index + 1]

        def ahead(one: Array) -> Scalar:
            trajectory = planner.inference.trajectory(one, plan.doses)
            return jnp.interp(following, trajectory.times, jnp.log(trajectory.burden))

        predicted = jnp.exp(jnp.median(jax.vmap(ahead)(z)))
        thought = Thought(
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
        return course, jax.tree.map(lambda a, b: jnp.asarray(a, b.dtype), thought, _nothing(course.plan.dtype))

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


def _nothing(kind: Any) -> Thought:
    nan, none, no = jnp.asarray(jnp.nan, kind), jnp.zeros((), int), jnp.asarray(False)
    return Thought(no, nan, none, nan, nan, nan, no, none, nan)


def numbers(tree: Any) -> Any:
    """Arrays outside of JAX."""
    return jax.tree.map(np.asarray, tree)
