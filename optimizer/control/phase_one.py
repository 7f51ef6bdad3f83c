"""A point strictly inside linear limits, as a pure function: where a search for what lies ahead begins."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar, Times
from optimizer.problem import Task
from optimizer.search.ahead import Ahead
from optimizer.search.interior_point import start, step

_MOST_STEPS = 40
# Room in a limit, as a share of a largest dose, below which it is used up.
_USED_UP = 1e-9
# How strongly the middle of the box is preferred among points with room in every limit.
_PULL = 1e-3
# Share of the way to the nearest limit that a start may go.
_REACH = 0.95


class _Room(eqx.Module):
    """min s over (x, s), such that matrix x - s <= bound: s below 0 is room in every limit."""

    lower: Float[Array, "n"]
    upper: Float[Array, "n"]
    matrix: Float[Array, "rows n"]
    bound: Float[Array, "rows"]

    @property
    def is_smooth(self) -> bool:
        return True

    def look(self, shares: Array, temperature: Scalar) -> tuple[Scalar, tuple[Times, ...]]:
        away = (shares - 0.5 * (self.lower + self.upper))[:-1]
        return shares[-1] + 0.5 * _PULL * jnp.sum(away**2), ()


def inside(
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
    first = start(room, jnp.append(middle, worst))
    last = jax.lax.while_loop(
        lambda s: (s.iterations < _MOST_STEPS) & ~(s.done | s.stuck),
        lambda s: step(room, s, 1e-4, 1.0),
        first,
    )
    return last.x[:-1]


def towards(
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


def open_doses(task: Task, given: Float[Array, "n"], done: Array, group: Array, count: int) -> tuple[Task, Ahead]:
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
    return eqx.tree_at(lambda t: t.bound, task, bound), Ahead(base, span, group, count)
