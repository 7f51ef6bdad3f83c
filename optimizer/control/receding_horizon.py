"""The plan: the best schedule ahead over all that is still believed, as pure functions of what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Doses, Flag, Index, Scalar
from optimizer.control.belief import Belief, Inference, Updated, chosen
from optimizer.control.phase_one import inside, open_doses, towards
from optimizer.ensemble.ensemble import with_system
from optimizer.ensemble.population import EnsembleProgram, derive
from optimizer.ensemble.risk import Risk
from optimizer.observations import Record
from optimizer.problem import Task
from optimizer.search.interior_point import State, start, step
from optimizer.search.multistart import MOST_ITERATIONS, SEARCH_TOLERANCE
from optimizer.search.optimize import LIMIT_TOLERANCE
from optimizer.search.starts import starts


@dataclass(frozen=True)
class Effort:
    """How hard a plan is searched.

    Attributes:
        risk: how the particles' objectives are made one.
        alpha: of cvar.
        particles: of the belief that are planned for.
        restarts: starting points; the plan before comes first.
        tolerance: KKT residual to reach, relative to the gradient at the start.
        iterations: most of a restart.
        singly: decisions that are planned one by one; what is further ahead is planned in blocks that double in
            length. All of them when None.
        temperature: of terms that are not smooth, where a later search begins: the plan before is near.
        coldest: temperature that is kept to the end. Few particles stand for many: a plan that is sharp for them lets
            the tumor run up to just below what counts as progression in the highest of them, and a patient a little
            above that one progresses. A term at a temperature is one that is averaged over such patients. Not where
            there are limits on states, which are enforced as the search cools down.
    """

    risk: Risk = Risk.MEAN
    alpha: float = 0.9
    particles: int = 32
    restarts: int = 4
    tolerance: float = 1e-6
    iterations: int = MOST_ITERATIONS
    singly: int | None = None
    temperature: float = 1.0
    coldest: float = 0.0

    def ends(self, state: State, coldest: float) -> Flag:
        """Whether a search that goes no lower than a temperature is over."""
        cold = (state.temperature <= 1.001 * coldest) & (state.residual <= self.tolerance)
        return (state.iterations >= self.iterations) | state.done | state.stuck | cold


class Plan(NamedTuple):
    """Doses ahead.

    Attributes:
        doses: those that were given, and the planned ones [K, N].
        objective: risk of the objective over the particles, as searched.
        residual: KKT residual, relative to the gradient at the start.
        converged: whether it reached the tolerance within the limits on states.
        violation: worst relative excess of a limit on states, over all particles.
        iterations: of the restart that is taken.
    """

    doses: Doses
    objective: Scalar
    residual: Scalar
    converged: Flag
    violation: Scalar
    iterations: Index


class Measurement(NamedTuple):
    """What is new at a visit, before its doses are given.

    Attributes:
        index: decisions that were made already: the next one is planned.
        given: doses; those of decisions that were made count [K, N].
        day: of what was measured [R].
        shown: on the scales on which errors add; R rows are as many as visits can have at once [R, C].
        seen: MISSING, MEASURED or BELOW [R, C].
    """

    index: Index
    given: Doses
    day: Float[Array, "R"]
    shown: Float[Array, "R C"]
    seen: Array


class ControllerState(NamedTuple):
    """All that a plan depends on: state in, state out.

    Attributes:
        belief: given everything measured.
        record: everything measured, empty rows at its end.
        rows: of the record that are filled.
        plan: the last one, which the next search begins from [K, N].
        key: of the update.
    """

    belief: Belief
    record: Record
    rows: Index
    plan: Doses
    key: Array


class RecedingHorizonController:
    """Updates a belief and plans over it; `step` is pure, so that it can be jitted and vmapped.

    Args:
        inference: beliefs about the patients of a scenario.
        effort: how hard a plan is searched.
        rows: measurements that a record has room for.

    Example:
        >>> from optimizer.control import Effort, Inference, RecedingHorizonController, load_prior
        >>> from optimizer.scenario import Scenario
        >>> scenario = Scenario.load("scenarios/competing_clones_trial.toml")
        >>> inference = Inference(scenario, load_prior(scenario), scenario.channels(), particles=64)
        >>> controller = RecedingHorizonController(inference, Effort(particles=4, restarts=1, iterations=5), rows=10)
        >>> controller.init(inference.begin(seed=0), seed=0).rows.item()
        0
    """

    def __init__(self, inference: Inference, effort: Effort, rows: int):
        self.inference, self.effort, self.rows = inference, effort, rows
        task = inference.problem.task
        self._starts = starts(task, max(effort.restarts, 1), inference.scenario.seed)
        self._ladder, self._groups = ladder(task.grid.count, effort.singly)
        self.plan = jax.jit(self._plan)
        self.worth = jax.jit(self._worth)
        self.step = jax.jit(self._step)

    def init(self, belief: Belief, seed: int) -> ControllerState:
        """Before anything was measured or given."""
        task = self.inference.problem.task
        first = task.doses(self._starts[0])
        record = Record.empty(self.rows, len(self.inference.channels))
        key = jax.random.key(np.uint32(seed))
        return _strong(ControllerState(belief, record, jnp.zeros((), int), first, key))

    def _step(
        self, controller_state: ControllerState, new: Measurement
    ) -> tuple[ControllerState, tuple[Plan, Updated]]:
        """Take in what was measured and plan what is next.

        Args:
            controller_state: so far.
            new: what is new; nothing but missing values where there is nothing new.
        """
        record, fresh = _added(controller_state.record, controller_state.rows, new)
        key, own = jax.random.split(controller_state.key)
        belief, updated = self.inference.update(own, controller_state.belief, new.given, record, fresh)
        warmest = jnp.where(new.index > 0, self.effort.temperature, 1.0)
        plan = self._plan(belief, new.given, new.index, controller_state.plan, warmest)
        rows = controller_state.rows + jnp.sum(jnp.any(new.seen != 0, axis=1))
        return _strong(ControllerState(belief, record, rows, plan.doses, key)), (plan, updated)

    def _plan(self, belief: Belief, given: Doses, index: Index, before: Doses, warmest: Scalar) -> Plan:
        """The best doses from a decision on, over the belief.

        Args:
            belief: what is believed.
            given: doses; those before `index` were given [K, N].
            index: decisions that were made already.
            before: the plan that the search begins from [K, N].
            warmest: temperature at which the search begins, of terms that are not smooth.
        """
        effort, task = self.effort, self.inference.problem.task
        population = self.population(belief, given, index)
        limits = population.lower, population.upper, population.matrix, population.bound
        inner = inside(*limits)
        wished = jnp.stack([self._unknowns(population, x) for x in (_shares(task, before), *self._starts)])
        points = jax.vmap(lambda x: towards(x, inner, *limits))(wished[: max(effort.restarts, 1)])

        def search(x: Array) -> State:
            values, _ = population.values(x, jnp.ones(()))
            spread = jnp.std(values)
            own = population.spread_over(jnp.where(spread > 0.0, spread, 1.0))
            first = start(own, x)
            first = first._replace(temperature=jnp.minimum(first.temperature, warmest))
            return jax.lax.while_loop(lambda s: ~effort.ends(s, coldest), lambda s: advance(own, s), first)

        def advance(own: EnsembleProgram, state: State) -> State:
            after = step(own, state, strict, SEARCH_TOLERANCE, derive)
            return after._replace(temperature=jnp.maximum(after.temperature, coldest))

        coldest = 0.0 if population.is_smooth or task.state_limits else effort.coldest
        # A search cools down, in place of moving, at a thousand times the tolerance: the one that stays warm must not.
        strict = effort.tolerance * (1e-3 if coldest else 1.0)
        ends = jax.lax.map(search, points)
        out = jnp.maximum(ends.violation - LIMIT_TOLERANCE, 0.0)
        rank = jnp.where(jnp.isfinite(ends.value), ends.value + 1e6 * out, jnp.inf)
        best = jnp.argmin(rank)
        end = jax.tree.map(lambda leaf: leaf[best], ends)
        shares = jnp.clip(population.shares(end.x), task.lower, task.upper)
        # A search that ended nowhere leaves the plan as it is.
        found = jnp.where(jnp.all(jnp.isfinite(shares)), task.doses(shares), before)
        doses = jnp.where(_done(task, index)[:, None], given, found)
        converged = end.done | (end.residual <= effort.tolerance)
        return Plan(doses, end.value, end.residual, converged, end.violation, end.iterations)

    def _worth(self, belief: Belief, given: Doses, index: Index, doses: Doses) -> Scalar:
        """Objective of doses [K, N] over the particles that are planned for, as reported."""
        population = self.population(belief, given, index)

        def one(system: Any) -> Scalar:
            return with_system(population.task, system).loss(doses)

        values = jax.lax.map(one, population.systems, batch_size=128)
        return population.summed(values, jnp.asarray(1e-6)).value

    def population(self, belief: Belief, given: Doses, index: Index) -> EnsembleProgram:
        """The task of all particles that are planned for, with what lies ahead open."""
        effort, task = self.effort, self.inference.problem.task
        drugs, count = task.scale.size, task.grid.count
        ahead = jnp.maximum(jnp.arange(count) - index, 0)
        group = (jnp.asarray(self._ladder)[ahead][:, None] * drugs + jnp.arange(drugs)).ravel()
        done = jnp.repeat(_done(task, index), drugs)
        task, open_ = open_doses(task, _shares(task, given), done, group, self._groups * drugs)
        systems = self.inference.systems(chosen(belief, effort.particles))
        share = jnp.full(effort.particles, 1.0 / effort.particles)
        return EnsembleProgram(task, systems, share, jnp.ones(()), effort.risk, effort.alpha, open_)

    @staticmethod
    def _unknowns(population: EnsembleProgram, shares: Float[Array, "n"]) -> Float[Array, "m"]:
        """The unknowns that come nearest to these shares: means over the doses of a group that are open."""
        ahead: Any = population.ahead
        free = (ahead.span > 0.0).astype(float)
        own = jnp.where(ahead.span > 0.0, (shares - ahead.base) / jnp.where(ahead.span > 0.0, ahead.span, 1.0), 0.0)
        return ahead.summed(own) / jnp.maximum(ahead.summed(free), 1.0)


def ladder(count: int, singly: int | None) -> tuple[np.ndarray, int]:
    """Block of each of `count` decisions ahead: so many alone, then blocks that double in length; and how many.

    >>> ladder(9, 2)[0].tolist()
    [0, 1, 2, 2, 3, 3, 3, 3, 4]
    """
    if singly is None or singly >= count:
        return np.arange(count), count
    lengths = [1] * singly
    while sum(lengths) < count:
        lengths.append(2 * lengths[-1] if len(lengths) > singly or singly == 0 else 2)
    blocks = np.repeat(np.arange(len(lengths)), lengths)[:count]
    return blocks, int(blocks[-1]) + 1


def _strong(controller_state: ControllerState) -> ControllerState:
    """Without weakly typed numbers, which would be compiled a second time."""
    return jax.tree.map(
        lambda a: a if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a.astype(a.dtype), controller_state
    )


def _done(task: Task, index: Index) -> Array:
    return jnp.arange(task.grid.count) < index


def _shares(task: Task, doses: Doses) -> Float[Array, "n"]:
    return (doses / task.scale).ravel()


def _added(record: Record, rows: Index, new: Measurement) -> tuple[Record, Array]:
    """The record with new rows behind the old ones, and which of it is new [L, C].

    Rows without any result are left out; days of the empty rows are never looked at.
    """
    filled = jnp.any(new.seen != 0, axis=1)
    # Behind the end there is no row: what goes there is dropped.
    places = jnp.where(filled, rows + jnp.cumsum(filled) - 1, record.day.shape[0])
    day = record.day.at[places].set(new.day, mode="drop")
    shown = record.shown.at[places].set(new.shown, mode="drop")
    seen = record.seen.at[places].set(new.seen, mode="drop")
    fresh = (jnp.arange(day.shape[0]) >= rows)[:, None] & (seen != 0)
    return Record(day, shown, seen), fresh
