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
    """A restart in progress."""

    x: Float[Array, "n"]  #: doses as shares [n]
    path: Any  #: where the intervals begin at these doses; nothing but in a single patient
    low: Float[Array, "n"]  #: multipliers of the lower bounds [n]
    high: Float[Array, "n"]  #: multipliers of the upper bounds [n]
    row: Float[Array, "rows"]  #: multipliers of the linear limits [rows]
    barrier: Scalar  #: barrier parameter
    damping: Scalar  #: added to the eigenvalues of the scaled Hessian
    multipliers: tuple[Times, ...]  #: multipliers of the state limits, one [T] each
    penalty: Scalar  #: weight of the augmented Lagrangian
    temperature: Scalar  #: of the terms that are not smooth
    violation: Scalar  #: worst relative excess of a state limit
    value: Scalar  #: objective with penalties
    residual: Scalar  #: KKT residual, in units of the objective per largest dose
    scale: Scalar  #: the gradient at the start, which the residual is measured against
    iterations: Index  #: steps taken
    done: Flag  #: whether the residual has been reached (and the state limits hold)
    stuck: Flag  #: whether no step helps any more


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
