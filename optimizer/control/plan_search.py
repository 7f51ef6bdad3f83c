"""Nonlinear programming of one plan, as pure functions: the only place where control touches the search.

Phase one (a strictly feasible start by the interior-point method itself), move blocking, and a descent from every
starting point of which the best feasible end is kept.
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Flag, Scalar, Times
from optimizer.ensemble.program import EnsembleProgram
from optimizer.ensemble.risk import Risk, feasible_rank
from optimizer.problem import Task
from optimizer.search.interior_point import step
from optimizer.search.iterate import State, start
from optimizer.search.move_blocking import MoveBlocking
from optimizer.search.multistart import MOST_ITERATIONS, SEARCH_TOLERANCE

_MOST_STEPS = 40
# Room in a limit, as a share of a largest dose, below which it is used up.
_USED_UP = 1e-9
# How strongly the middle of the box is preferred among points with room in every limit.
_PULL = 1e-3
# Share of the way to the nearest limit that a start may go.
_REACH = 0.95


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
        change: cost of change, in units of the objective: of a mean squared change by the largest doses from each
            decision to the next. Not where the objective has a term for it.
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
    change: float = 0.01

    def ends(self, state: State, coldest: float) -> Flag:
        """Whether a search that goes no lower than a temperature is over."""
        cold = (state.temperature <= 1.001 * coldest) & (state.residual <= self.tolerance)
        return (state.iterations >= self.iterations) | state.done | state.stuck | cold


def best_plan(program: EnsembleProgram, wished: Float[Array, "R n"], effort: Effort, warmest: Scalar) -> State:
    """The best end of a search from each of several schedules, as near to them as the limits let it begin.

    Args:
        program: with what is open.
        wished: schedules as shares of the largest doses.
        effort: how hard it is searched.
        warmest: temperature at which a search begins.
    """
    limits = program.lower, program.upper, program.matrix, program.bound
    inner = phase_one(*limits)
    points = jax.vmap(lambda x: _towards(_unknowns(program, x), inner, *limits))(wished)
    is_cooled = program.is_smooth or bool(program.task.state_limits)
    coldest = 0.0 if is_cooled else effort.coldest
    # A search cools down, in place of moving, at a thousand times the tolerance: the one that stays warm must not.
    strict = effort.tolerance * (1e-3 if coldest else 1.0)

    def search(x: Array) -> State:
        values, _ = program.values(x, jnp.ones(()))
        spread = jnp.std(values)
        own = program.spread_over(jnp.where(spread > 0.0, spread, 1.0))
        first = start(own, x)
        first = first._replace(temperature=jnp.minimum(first.temperature, warmest))

        def advance(state: State) -> State:
            after = step(own, state, strict, SEARCH_TOLERANCE)
            return after._replace(temperature=jnp.maximum(after.temperature, coldest))

        return jax.lax.while_loop(lambda s: ~effort.ends(s, coldest), advance, first)

    ends = jax.lax.map(search, points)
    best = jnp.argmin(feasible_rank(ends.value, ends.violation, jnp))
    return jax.tree.map(lambda leaf: leaf[best], ends)


class _Room(eqx.Module):
    """min s over (x, s), such that matrix x - s <= bound: s below 0 is room in every limit."""

    lower: Float[Array, "n"]
    upper: Float[Array, "n"]
    matrix: Float[Array, "rows n"]
    bound: Float[Array, "rows"]

    @property
    def is_smooth(self) -> bool:
        return True

    def evaluate(self, shares: Array, temperature: Scalar) -> tuple[Scalar, tuple[Times, ...]]:
        away = (shares - 0.5 * (self.lower + self.upper))[:-1]
        return shares[-1] + 0.5 * _PULL * jnp.sum(away**2), ()


def phase_one(
    lower: Float[Array, "n"], upper: Float[Array, "n"], matrix: Float[Array, "rows n"], bound: Float[Array, "rows"]
) -> Float[Array, "n"]:
    """A point of the box with room in all linear limits; outside of some where there is none.

    Phase one of an interior-point method: the largest excess is made small until it is negative.
    """
    middle = 0.5 * (lower + upper)
    if matrix.shape[0] == 0:
        return middle
    worst = jnp.maximum(jnp.max(matrix @ middle - bound), 0.0) + 1.0
    room = _Room(
        jnp.append(lower, -1.0),
        jnp.append(upper, worst + 1.0),
        jnp.concatenate([matrix, -jnp.ones((matrix.shape[0], 1))], axis=1),
        bound,
    )
    last = jax.lax.while_loop(
        lambda s: (s.iterations < _MOST_STEPS) & ~(s.done | s.stuck),
        lambda s: step(room, s, 1e-4, 1.0),
        start(room, jnp.append(middle, worst)),
    )
    return last.x[:-1]


def _towards(
    wished: Float[Array, "n"],
    inner: Float[Array, "n"],
    lower: Float[Array, "n"],
    upper: Float[Array, "n"],
    matrix: Float[Array, "rows n"],
    bound: Float[Array, "rows"],
) -> Float[Array, "n"]:
    """From an inner point to a wished one, or as far as the limits let it; fixed unknowns stay."""
    way = jnp.where(upper > lower, wished - inner, 0.0)
    rooms = jnp.concatenate([upper - inner, inner - lower, bound - matrix @ inner])
    speeds = jnp.concatenate([way, -way, matrix @ way])
    reach = jnp.min(jnp.where(speeds > 0.0, rooms / jnp.where(speeds > 0.0, speeds, 1.0), jnp.inf), initial=jnp.inf)
    return inner + way * _REACH * jnp.minimum(1.0, jnp.maximum(reach, 0.0))


def _unknowns(program: EnsembleProgram, shares: Float[Array, "n"]) -> Float[Array, "m"]:
    """The unknowns that come nearest to these shares: means over the doses of a block that are open."""
    blocking: Any = program.blocking
    free = (blocking.span > 0.0).astype(float)
    own = jnp.where(
        blocking.span > 0.0, (shares - blocking.base) / jnp.where(blocking.span > 0.0, blocking.span, 1.0), 0.0
    )
    return blocking.summed(own) / jnp.maximum(blocking.summed(free), 1.0)


def open_doses(
    task: Task, given: Float[Array, "n"], done: Array, group: Array, count: int
) -> tuple[Task, MoveBlocking]:
    """What is still open of a task once some doses were given, and the task with limits that are used up put aside.

    Args:
        task: with its limits on all doses.
        given: shares of the largest doses [n].
        done: which of them were given [n].
        group: of each dose [n].
        count: groups.
    """
    base = jnp.where(done, given, task.lower)
    span = jnp.where(done, 0.0, task.upper - task.lower)
    left = task.bound - task.matrix @ base
    spent = left <= _USED_UP
    # What would add to a sum that is used up is not given any more.
    adds = jnp.any(spent[:, None] & (task.matrix > 0.0), axis=0)
    span = jnp.where(adds, 0.0, span)
    frees = jnp.any((task.matrix < 0.0) & (span > 0.0), axis=1)
    bound = jnp.where(spent & ~frees, task.matrix @ base + 1.0, task.bound)
    return eqx.tree_at(lambda t: t.bound, task, bound), MoveBlocking(base, span, group, count)


def blocks(count: int, singly: int | None) -> tuple[np.ndarray, int]:
    """Move blocking: block of each of `count` decisions ahead, so many alone, then blocks that double; and how many.

    >>> blocks(9, 2)[0].tolist()
    [0, 1, 2, 2, 3, 3, 3, 3, 4]
    """
    if singly is None or singly >= count:
        return np.arange(count), count
    lengths = [1] * singly
    while sum(lengths) < count:
        lengths.append(2 * lengths[-1] if len(lengths) > singly or singly == 0 else 2)
    found = np.repeat(np.arange(len(lengths)), lengths)[:count]
    return found, int(found[-1]) + 1
