"""Where a search stands: unknowns, multipliers, barrier and progress of one restart, and the room to every limit."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from optimizer.axes import Flag, Index, Scalar, Times
from optimizer.search.landscape import Landscape
from optimizer.search.merit import evaluate

# The temperature that terms which are not smooth are followed to.
LEAST_TEMPERATURE = 1e-3


class State(NamedTuple):
    """A restart in progress.

    Attributes:
        x: doses as shares [n].
        path: where the intervals begin at these doses; nothing but in a single patient.
        low: multipliers of the lower bounds [n].
        high: multipliers of the upper bounds [n].
        row: multipliers of the linear limits [rows].
        barrier: barrier parameter.
        damping: added to the eigenvalues of the scaled Hessian.
        multipliers: multipliers of the state limits, one [T] each.
        penalty: weight of the augmented Lagrangian.
        temperature: of the terms that are not smooth.
        violation: worst relative excess of a state limit.
        value: objective with penalties.
        residual: KKT residual, in units of the objective per largest dose.
        scale: the gradient at the start, which the residual is measured against.
        iterations: steps taken.
        done: whether the residual has been reached (and the state limits hold).
        stuck: whether no step helps any more.
    """

    x: Float[Array, "n"]
    path: Any
    low: Float[Array, "n"]
    high: Float[Array, "n"]
    row: Float[Array, "rows"]
    barrier: Scalar
    damping: Scalar
    multipliers: tuple[Times, ...]
    penalty: Scalar
    temperature: Scalar
    violation: Scalar
    value: Scalar
    residual: Scalar
    scale: Scalar
    iterations: Index
    done: Flag
    stuck: Flag


class Gaps(NamedTuple):
    """Room to each limit."""

    low: Float[Array, "n"]
    high: Float[Array, "n"]
    row: Float[Array, "rows"]


def gaps(task: Landscape, x: Float[Array, "n"], free: Bool[Array, "n"]) -> Gaps:
    """Room to each limit; 1 for unknowns that are fixed."""
    return Gaps(
        jnp.where(free, x - task.lower, 1.0),
        jnp.where(free, task.upper - x, 1.0),
        task.bound - task.matrix @ x,
    )


def start(task: Landscape, x: Float[Array, "n"]) -> State:
    """State of a restart at a strictly feasible point."""
    free = task.upper > task.lower
    _, excesses, path = evaluate(task, x, jnp.ones(()))
    room, barrier = gaps(task, x, free), jnp.asarray(1e-2)
    zero, infinite, no = jnp.zeros(()), jnp.asarray(jnp.inf), jnp.asarray(False)
    state = State(
        x=x,
        path=path,
        low=jnp.where(free, barrier / room.low, 0.0),
        high=jnp.where(free, barrier / room.high, 0.0),
        row=barrier / room.row,
        barrier=barrier,
        damping=jnp.asarray(1e-8),
        multipliers=tuple(jnp.zeros(excess.shape) for excess in excesses),
        penalty=jnp.asarray(10.0),
        temperature=jnp.asarray(LEAST_TEMPERATURE if task.is_smooth else 1.0),
        violation=zero,
        value=infinite,
        residual=infinite,
        scale=zero,
        iterations=jnp.zeros((), int),
        done=no,
        stuck=no,
    )
    # Numbers written as literals are weakly typed; after a step they are not, and that would be a second compilation.
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), state)


class Point(NamedTuple):
    """What the search sees where a step begins: merit, excesses, gradient, Hessian, room to limits, open unknowns."""

    value: Scalar
    excesses: tuple[Times, ...]
    slope: Float[Array, "n"]
    hessian: Any
    room: Gaps
    free: Bool[Array, "n"]
