"""One step of a primal-dual interior-point method with exact second derivatives, for one restart.

Dose limits are linear and the iterates stay strictly inside them; limits on states enter through an augmented
Lagrangian; terms that are not smooth are followed from temperature 1 down. Nocedal and Wright 2006, chapters 17 and 19
(doi 10.1007/978-0-387-40065-5); barrier updates after Waechter and Biegler 2006 (doi 10.1007/s10107-004-0559-y).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from optimizer.axes import Flag, Index, Scalar, Times
from optimizer.search.direction import direction
from optimizer.search.landscape import Landscape
from optimizer.search.merit import derivatives, look, merit

L = TypeVar("L", bound=Landscape)

_LEAST_BARRIER = 1e-11
_LEAST_TEMPERATURE = 1e-3
# Factor on the temperature once a subproblem is solved, and how much less well than the last one.
_COOLING, _EARLY = 0.1, 1e4
_HALVINGS = 12
_ARMIJO = 1e-4
# Room, as a share of the largest dose, above which a limit is not active (as in kkt.py).
_ACTIVE = 1e-5


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
        prices: multipliers of the state limits, one [T] each.
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
    prices: tuple[Times, ...]
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
    _, excesses, path = look(task, x, jnp.ones(()))
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
        prices=tuple(jnp.zeros(excess.shape) for excess in excesses),
        penalty=jnp.asarray(10.0),
        temperature=jnp.asarray(_LEAST_TEMPERATURE if task.is_smooth else 1.0),
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


def step(
    task: L,
    state: State,
    tolerance: Scalar | float,
    limit_tolerance: float,
    derive: Callable[[L, State], tuple[Scalar, Any, Array, Array]] | None = None,
) -> State:
    """One iteration: derivatives, convergence test, modified Newton direction, line search, multipliers.

    `derive` gives value, excesses, gradient and Hessian of the merit where a task knows a shorter way to them.
    """
    free, lens = task.upper > task.lower, (state.prices, state.penalty, state.temperature)
    if derive is None:
        value, excesses, slope, hessian = derivatives(task, state.x, state.path, *lens)
    else:
        value, excesses, slope, hessian = derive(task, state)
    slope = jnp.where(free, slope, 0.0)
    room = gaps(task, state.x, free)
    scale = jnp.where(state.iterations == 0, jnp.maximum(jnp.max(jnp.abs(slope)), 1e-8), state.scale)
    stationary = jnp.where(free, slope - state.low + state.high + state.row @ task.matrix, 0.0)
    products = jnp.concatenate([state.low * room.low, state.high * room.high, state.row * room.row])
    # What multipliers of limits that are not active still carry is a gradient that nothing holds up.
    rooms = jnp.concatenate([room.low, room.high, room.row])
    idle = jnp.where(rooms > _ACTIVE, jnp.concatenate([state.low, state.high, state.row]), 0.0)
    parts = [jnp.max(jnp.abs(stationary)), jnp.sum(products), jnp.max(idle)]
    residual = jnp.max(jnp.stack(parts))
    violation = jnp.max(jnp.stack([jnp.zeros(()), *(jnp.max(e) for e in excesses)]))

    # Finished on this subproblem? Then tighten it, or stop.
    solved = residual <= tolerance * scale
    cold = state.temperature <= _LEAST_TEMPERATURE * 1.001
    drift = [jnp.max(jnp.abs(_reprice(p, e, state.penalty) - p)) for p, e in zip(state.prices, excesses, strict=True)]
    settled = jnp.max(jnp.stack([jnp.zeros(()), *drift])) <= 1e3 * tolerance * scale
    kept = (violation <= limit_tolerance) & settled
    done = solved & cold & kept
    # Early subproblems need not be solved to the end; the last one, whose prices stay, has to be.
    near = residual <= jnp.where(cold, 30.0, _EARLY) * tolerance * scale
    tighten = near & ~(cold & kept)

    # Barrier: lowered as soon as its own problem is solved to some times its value; measured, later costs iterations
    # where the objective stays as it is, sooner where terms are still followed to colder ones.
    barrier, nearly = state.barrier, jnp.where(cold, 30.0, 10.0)
    least = jnp.clip(0.3 * _ACTIVE * tolerance * scale, 1e-14, _LEAST_BARRIER)
    floor = jnp.maximum(_LEAST_BARRIER, 0.1 * tolerance * scale / products.size)
    # What a multiplier carries of a limit with little room, barrier / room, may need a lower one.
    floor = jnp.where(jnp.max(idle) > tolerance * scale, least, floor)
    for _ in range(3):
        centered = jnp.maximum(
            jnp.max(jnp.abs(stationary)), jnp.max(jnp.abs(products - jnp.where(products > 0, barrier, 0.0)))
        )
        smaller = jnp.maximum(floor, jnp.minimum(0.2 * barrier, barrier**1.5))
        barrier = jnp.where((centered <= nearly * barrier) & (barrier > floor), smaller, barrier)

    sigma_low, sigma_high, sigma_row = state.low / room.low, state.high / room.high, state.row / room.row
    curvature = jnp.where(free[:, None] & free[None, :], hessian, 0.0)
    curvature = curvature + jnp.diag(jnp.where(free, sigma_low + sigma_high, 1.0))
    curvature = curvature + jnp.where(free[:, None] & free[None, :], (task.matrix.T * sigma_row) @ task.matrix, 0.0)
    downhill = -slope + jnp.where(free, barrier / room.low - barrier / room.high, 0.0)
    downhill = downhill - jnp.where(free, (barrier / room.row) @ task.matrix, 0.0)
    dx, lowest = direction(curvature, downhill, state.damping, solved)
    # A stationary point that is no minimum is left, not stayed at.
    done = done & (lowest > -1e-6 * jnp.maximum(1.0, scale))
    dx = jnp.where(free, dx, 0.0)

    d_low = jnp.where(free, barrier / room.low - state.low - sigma_low * dx, 0.0)
    d_high = jnp.where(free, barrier / room.high - state.high + sigma_high * dx, 0.0)
    shift = task.matrix @ dx
    d_row = barrier / room.row - state.row + sigma_row * shift
    keep = jnp.maximum(0.99, 1.0 - barrier)
    reach = keep * _reach(jnp.concatenate([room.low, room.high, room.row]), jnp.concatenate([dx, -dx, -shift]))
    dual = keep * _reach(jnp.concatenate([state.low, state.high, state.row]), jnp.concatenate([d_low, d_high, d_row]))

    def barrier_value(z: Array, value: Scalar) -> Scalar:
        left = gaps(task, z, free)
        logs = jnp.log(jnp.maximum(jnp.concatenate([left.low, left.high, left.row]), 1e-300))
        return value - barrier * jnp.sum(logs)

    now = barrier_value(state.x, value)
    along = jnp.minimum(-downhill @ dx, 0.0)

    def tried(length: Scalar) -> tuple[Scalar, Any]:
        z = state.x + length * dx
        value, (_, path) = merit(task, z, *lens)
        return barrier_value(z, value), path

    length, halvings, path = _backtrack(tried, now, along, jnp.minimum(reach, 1.0), state.path)
    moved = halvings < _HALVINGS
    x = state.x + jnp.where(moved, length, 0.0) * dx
    change = jnp.where(halvings == 0, 0.1, jnp.where(halvings < 3, 1.0, 30.0))
    damping = jnp.clip(state.damping * change, 1e-10, 1e6)

    after = gaps(task, x, free)
    low = _guard(state.low + jnp.minimum(dual, 1.0) * d_low, barrier, after.low, free)
    high = _guard(state.high + jnp.minimum(dual, 1.0) * d_high, barrier, after.high, free)
    row = _guard(state.row + jnp.minimum(dual, 1.0) * d_row, barrier, after.row, jnp.ones_like(after.row, bool))

    prices = tuple(
        jnp.where(tighten, _reprice(p, e, state.penalty), p) for p, e in zip(state.prices, excesses, strict=True)
    )
    # Nothing changes any more, multipliers included, and never will.
    same = jnp.abs(residual / scale - state.residual) <= 1e-12 * state.residual
    stalled = same & (jnp.max(jnp.abs(x - state.x)) <= 1e-15) & (barrier == state.barrier) & ~done & ~tighten
    slow = tighten & (violation > jnp.maximum(0.25 * state.violation, limit_tolerance))
    following = State(
        x=jnp.where(tighten, state.x, x),
        path=jax.tree.map(lambda old, new: jnp.where(moved & ~tighten, new, old), state.path, path),
        low=low,
        high=high,
        row=row,
        barrier=jnp.where(tighten, jnp.maximum(barrier, 1e-7), barrier),
        damping=jnp.where(tighten, 1e-8, damping),
        prices=prices,
        penalty=jnp.where(slow, jnp.minimum(state.penalty * 4.0, 1e8), state.penalty),
        temperature=jnp.where(
            tighten, jnp.maximum(state.temperature * _COOLING, _LEAST_TEMPERATURE), state.temperature
        ),
        violation=jnp.where(tighten, violation, state.violation),
        value=value,
        residual=residual / scale,
        scale=scale,
        iterations=state.iterations + 1,
        done=done,
        stuck=(~moved & (state.damping > 1e5)) | stalled,
    )
    finished = state.done | state.stuck | done
    stay = state._replace(
        value=following.value, residual=following.residual, scale=scale, violation=violation, done=following.done
    )
    stay = jax.tree.map(lambda a, b: jnp.where(state.done | state.stuck, a, b), state, stay)
    return jax.tree.map(lambda a, b: jnp.where(finished, a, b), stay, following)


def _backtrack(function: Any, now: Scalar, slope: Scalar, longest: Scalar, path: Any) -> tuple[Scalar, Index, Any]:
    """First of longest / 2^j that satisfies Armijo's condition, j (the limit of halvings when none does), and its path.

    `function` gives value and path; `path` is any one, for its shapes.
    """

    def tried(carry: Any) -> Any:
        length, halvings, *_ = carry
        value, path = function(length)
        # The last term lets a step through whose gain is below rounding.
        good = jnp.isfinite(value) & (value <= now + _ARMIJO * length * slope + 1e-13 * jnp.abs(now))
        return jnp.where(good, length, 0.5 * length), halvings + jnp.where(good, 0, 1), good, path

    first = (longest, jnp.zeros((), int), jnp.asarray(False), path)
    length, halvings, _, path = jax.lax.while_loop(lambda c: ~c[2] & (c[1] < _HALVINGS), tried, first)
    return length, halvings, path


def _reprice(price: Times, excess: Times, penalty: Scalar) -> Times:
    return jnp.maximum(price + penalty * excess, 0.0)


def _reach(room: Array, speed: Array) -> Scalar:
    """Longest step that keeps all room positive."""
    return jnp.min(jnp.where(speed < 0, -room / jnp.where(speed < 0, speed, -1.0), jnp.inf), initial=jnp.inf)


def _guard(multiplier: Array, barrier: Scalar, room: Array, free: Array) -> Array:
    """Keep a multiplier within a wide band around barrier / room, and at zero for fixed unknowns."""
    center = barrier / room
    return jnp.where(free, jnp.clip(multiplier, 1e-8 * center, 1e10 * center), 0.0)
