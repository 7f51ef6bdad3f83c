"""One step of a primal-dual interior-point method with exact second derivatives, for one restart.

Dose limits are linear and the iterates stay strictly inside them; limits on states enter through an augmented
Lagrangian; terms that are not smooth are followed from temperature 1 down. Nocedal and Wright 2006, chapters 17 and 19
(doi 10.1007/978-0-387-40065-5); barrier updates after Waechter and Biegler 2006 (doi 10.1007/s10107-004-0559-y).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from optimizer.axes import Flag, Index, Scalar, Times
from optimizer.search.iterate import LEAST_TEMPERATURE, Point, State, gaps
from optimizer.search.landscape import Lagrangian, Landscape
from optimizer.search.merit import derivatives, merit

_LEAST_BARRIER = 1e-11
# Factor on the temperature once a subproblem is solved, if nothing else is said, and how much less well than the last;
# one of many small steps need not end where the next begins.
_COOLING, _EARLY = 0.1, 1e4
_HALVINGS = 12
_ARMIJO = 1e-4
# Room, as a share of the largest dose, above which a limit is not active (as in kkt.py).
_ACTIVE = 1e-5


def step(
    task: Landscape,
    state: State,
    tolerance: Scalar | float,
    limit_tolerance: float,
) -> State:
    """One iteration: derivatives, convergence test, modified Newton direction, line search, multipliers.

    A task that knows a shorter way to value, excesses, gradient and Hessian of the merit has a method `derive`; a
    Hessian is whatever has a method `direction` (`Dense`, `Blocks`).
    """
    free, lagrangian = task.upper > task.lower, Lagrangian(state.multipliers, state.penalty, state.temperature)
    derive = getattr(task, "derive", None)
    value, excesses, slope, hessian = derive(state) if derive else derivatives(task, state.x, state.path, lagrangian)
    here = Point(value, excesses, jnp.where(free, slope, 0.0), hessian, gaps(task, state.x, free), free)
    scale = jnp.where(state.iterations == 0, jnp.maximum(jnp.max(jnp.abs(here.slope)), 1e-8), state.scale)
    left = _residuals(task, state, here)
    cooling = getattr(task, "cooling", _COOLING)
    early = _EARLY * (cooling / _COOLING) ** 4
    solved, done, tighten = _verdict(state, left, excesses, tolerance * scale, limit_tolerance, early)
    barrier = _barrier(state, left, tolerance * scale)
    dx, downhill, lowest = _newton(task, state, here, barrier, solved)
    # A stationary point that is no minimum is left, not stayed at.
    done = done & (lowest > -1e-6 * jnp.maximum(1.0, scale))
    duals = _dual_step(task, state, here, barrier, dx)
    reach, dual_reach = _fractions_to_the_boundary(task, state, here, barrier, dx, duals)
    # Where a subproblem is tightened the point stays; its path, on which terms hand numbers on, is that of the next.
    cooler = jnp.maximum(state.temperature * cooling, LEAST_TEMPERATURE)
    there = lagrangian._replace(temperature=jnp.where(tighten, cooler, state.temperature))
    longest = jnp.where(tighten, 0.0, jnp.minimum(reach, 1.0))
    x, path, tries = _line_search(task, state, here, there, barrier, (dx, downhill, longest))
    own = state._replace(
        path=path,
        value=value,
        residual=left.size / scale,
        scale=scale,
        iterations=state.iterations + 1,
        done=done,
    )
    room = gaps(task, x, free)
    own = own._replace(
        low=_guard(state.low + jnp.minimum(dual_reach, 1.0) * duals[0], barrier, room.low, free),
        high=_guard(state.high + jnp.minimum(dual_reach, 1.0) * duals[1], barrier, room.high, free),
        row=_guard(
            state.row + jnp.minimum(dual_reach, 1.0) * duals[2], barrier, room.row, jnp.ones_like(room.row, bool)
        ),
    )
    return _following(state, own, x, barrier, left, excesses, tries, tighten, limit_tolerance, cooler)


class Residuals(NamedTuple):
    """What is left of the optimality conditions (Nocedal and Wright 2006, equations 19.2)."""

    stationary: Float[Array, "n"]  #: gradient of the Lagrangian [n]
    products: Float[Array, "limits"]  #: of multipliers and room, which the barrier parameter should be [2 n + rows]
    #: multipliers of limits that are not active: a gradient that nothing holds up [2 n + rows]
    idle: Float[Array, "limits"]
    size: Scalar  #: the largest, which the search drives to zero
    violation: Scalar  #: worst relative excess of a state limit


def _residuals(task: Landscape, state: State, here: Point) -> Residuals:
    room, duals = jnp.concatenate(here.room), jnp.concatenate([state.low, state.high, state.row])
    stationary = jnp.where(here.free, here.slope - state.low + state.high + state.row @ task.matrix, 0.0)
    products, idle = duals * room, jnp.where(room > _ACTIVE, duals, 0.0)
    size = jnp.max(jnp.stack([jnp.max(jnp.abs(stationary)), jnp.sum(products), jnp.max(idle)]))
    violation = jnp.max(jnp.stack([jnp.zeros(()), *(jnp.max(e) for e in here.excesses)]))
    return Residuals(stationary, products, idle, size, violation)


def _is_cold(state: State) -> Flag:
    return state.temperature <= LEAST_TEMPERATURE * 1.001


def _verdict(
    state: State, left: Residuals, excesses: tuple[Times, ...], wanted: Scalar, limit_tolerance: float, early: float
) -> tuple[Flag, Flag, Flag]:
    """Whether the subproblem is solved, the whole problem is, and the subproblem is to be tightened."""
    solved, cold = left.size <= wanted, _is_cold(state)
    pairs = zip(state.multipliers, excesses, strict=True)
    drift = [jnp.max(jnp.abs(_updated(m, e, state.penalty) - m)) for m, e in pairs]
    settled = jnp.max(jnp.stack([jnp.zeros(()), *drift])) <= 1e3 * wanted
    kept = (left.violation <= limit_tolerance) & settled
    # Early subproblems need not be solved to the end; the last one, whose multipliers stay, has to be.
    near = left.size <= jnp.where(cold, 30.0, early) * wanted
    return solved, solved & cold & kept, near & ~(cold & kept)


def _barrier(state: State, left: Residuals, wanted: Scalar) -> Scalar:
    """The barrier parameter, lowered as soon as its own problem is solved (Waechter and Biegler 2006, equation 7).

    Solved is to some times its value; measured, later costs iterations where the objective stays as it is, sooner where
    terms are still followed to colder ones.
    """
    barrier, nearly = state.barrier, jnp.where(_is_cold(state), 30.0, 10.0)
    least = jnp.clip(0.3 * _ACTIVE * wanted, 1e-14, _LEAST_BARRIER)
    floor = jnp.maximum(_LEAST_BARRIER, 0.1 * wanted / left.products.size)
    # What a multiplier carries of a limit with little room, barrier / room, may need a lower one.
    floor = jnp.where(jnp.max(left.idle) > wanted, least, floor)
    for _ in range(3):
        away = jnp.max(jnp.abs(left.products - jnp.where(left.products > 0, barrier, 0.0)))
        centered = jnp.maximum(jnp.max(jnp.abs(left.stationary)), away)
        smaller = jnp.maximum(floor, jnp.minimum(0.2 * barrier, barrier**1.5))
        barrier = jnp.where((centered <= nearly * barrier) & (barrier > floor), smaller, barrier)
    return barrier


def _newton(
    task: Landscape, state: State, here: Point, barrier: Scalar, solved: Flag
) -> tuple[Float[Array, "n"], Float[Array, "n"], Scalar]:
    """Step of the unknowns from the condensed system (19.12), the way downhill, and the lowest scaled eigenvalue."""
    room, free = here.room, here.free
    diagonal = jnp.where(free, state.low / room.low + state.high / room.high, 1.0)
    downhill = -here.slope + jnp.where(free, barrier / room.low - barrier / room.high, 0.0)
    downhill = downhill - jnp.where(free, (barrier / room.row) @ task.matrix, 0.0)
    dx, lowest = here.hessian.direction(diagonal, state.row / room.row, free, downhill, state.damping, solved)
    return jnp.where(free, dx, 0.0), downhill, lowest


def _dual_step(
    task: Landscape, state: State, here: Point, barrier: Scalar, dx: Float[Array, "n"]
) -> tuple[Array, Array, Array]:
    """Steps of the multipliers of lower and upper bounds and of linear limits, from those of the unknowns (19.13)."""
    room, free, shift = here.room, here.free, task.matrix @ dx
    return (
        jnp.where(free, barrier / room.low - state.low - state.low / room.low * dx, 0.0),
        jnp.where(free, barrier / room.high - state.high + state.high / room.high * dx, 0.0),
        barrier / room.row - state.row + state.row / room.row * shift,
    )


def _fractions_to_the_boundary(
    task: Landscape, state: State, here: Point, barrier: Scalar, dx: Float[Array, "n"], duals: tuple[Array, ...]
) -> tuple[Scalar, Scalar]:
    """Longest steps that keep most of the room, and of the multipliers (19.9)."""
    keep, speed = jnp.maximum(0.99, 1.0 - barrier), jnp.concatenate([dx, -dx, -(task.matrix @ dx)])
    reach = keep * _reach(jnp.concatenate(here.room), speed)
    return reach, keep * _reach(jnp.concatenate([state.low, state.high, state.row]), jnp.concatenate(duals))


def _line_search(
    task: Landscape, state: State, here: Point, there: Lagrangian, barrier: Scalar, way: tuple[Array, Array, Scalar]
) -> tuple[Float[Array, "n"], Any, tuple[Flag, Index]]:
    """The next point and its path; whether there is one, and after how many halvings.

    The way is a step, the way downhill, and how much of the step may be taken.
    """
    dx, downhill, longest = way

    def tried(length: Scalar) -> tuple[Scalar, Any]:
        z = state.x + length * dx
        value, (_, path) = merit(task, z, there)
        return _with_barrier(task, z, value, barrier, here.free), path

    now, along = _with_barrier(task, state.x, here.value, barrier, here.free), jnp.minimum(-downhill @ dx, 0.0)
    length, halvings, path = _backtrack(tried, now, along, longest, state.path)
    moved = halvings < _HALVINGS
    path = jax.tree.map(lambda old, new: jnp.where(moved, new, old), state.path, path)
    return state.x + jnp.where(moved, length, 0.0) * dx, path, (moved, halvings)


def _with_barrier(task: Landscape, x: Array, value: Scalar, barrier: Scalar, free: Bool[Array, "n"]) -> Scalar:
    """The merit with the logarithmic barrier of all limits on doses (19.4)."""
    return value - barrier * jnp.sum(jnp.log(jnp.maximum(jnp.concatenate(gaps(task, x, free)), 1e-300)))


def _following(
    state: State,
    own: State,
    x: Float[Array, "n"],
    barrier: Scalar,
    left: Residuals,
    excesses: tuple[Times, ...],
    tries: tuple[Flag, Index],
    tighten: Flag,
    limit_tolerance: float,
    cooler: Scalar,
) -> State:
    """The next iterate: at the new point, or at the old one where a subproblem is tightened or the search has ended."""
    moved, halvings = tries
    change = jnp.where(halvings == 0, 0.1, jnp.where(halvings < 3, 1.0, 30.0))
    damping = jnp.clip(state.damping * change, 1e-10, 1e6)
    # Nothing changes any more, multipliers included, and never will.
    same = jnp.abs(own.residual - state.residual) <= 1e-12 * state.residual
    stays = (jnp.max(jnp.abs(x - state.x)) <= 1e-15) & (barrier == state.barrier)
    slow = tighten & (left.violation > jnp.maximum(0.25 * state.violation, limit_tolerance))
    pairs = zip(state.multipliers, excesses, strict=True)
    following = own._replace(
        x=jnp.where(tighten, state.x, x),
        barrier=jnp.where(tighten, jnp.maximum(barrier, 1e-7), barrier),
        damping=jnp.where(tighten, 1e-8, damping),
        multipliers=tuple(jnp.where(tighten, _updated(m, e, state.penalty), m) for m, e in pairs),
        penalty=jnp.where(slow, jnp.minimum(state.penalty * 4.0, 1e8), state.penalty),
        temperature=jnp.where(tighten, cooler, state.temperature),
        violation=jnp.where(tighten, left.violation, state.violation),
        stuck=(~moved & (state.damping > 1e5)) | (same & stays & moved & ~own.done & ~tighten),
    )
    ended = state.done | state.stuck
    stay = state._replace(
        value=own.value, residual=own.residual, scale=own.scale, violation=left.violation, done=own.done
    )
    stay = jax.tree.map(lambda a, b: jnp.where(ended, a, b), state, stay)
    finished = ended | own.done
    return jax.tree.map(lambda a, b: jnp.where(finished, a, b), stay, following)


def _backtrack(function: Any, now: Scalar, slope: Scalar, longest: Scalar, path: Any) -> tuple[Scalar, Index, Any]:
    """First of longest / 2^j that satisfies Armijo's condition, j (the limit of halvings when none does), and its path.

    `function` gives value and path; `path` is any one, for its shapes. No step at all is taken as it is.
    """

    def tried(carry: Any) -> Any:
        length, halvings, *_ = carry
        value, path = function(length)
        # The last term lets a step through whose gain is below rounding.
        good = jnp.isfinite(value) & (value <= now + _ARMIJO * length * slope + 1e-13 * jnp.abs(now))
        good = good | (longest == 0.0)
        return jnp.where(good, length, 0.5 * length), halvings + jnp.where(good, 0, 1), good, path

    first = (longest, jnp.zeros((), int), jnp.asarray(False), path)
    length, halvings, _, path = jax.lax.while_loop(lambda c: ~c[2] & (c[1] < _HALVINGS), tried, first)
    return length, halvings, path


def _updated(multiplier: Times, excess: Times, penalty: Scalar) -> Times:
    return jnp.maximum(multiplier + penalty * excess, 0.0)


def _reach(room: Array, speed: Array) -> Scalar:
    """Longest step that keeps all room positive."""
    return jnp.min(jnp.where(speed < 0, -room / jnp.where(speed < 0, speed, -1.0), jnp.inf), initial=jnp.inf)


def _guard(multiplier: Array, barrier: Scalar, room: Array, free: Array) -> Array:
    """Keep a multiplier within a wide band around barrier / room, and at zero for fixed unknowns."""
    center = barrier / room
    return jnp.where(free, jnp.clip(multiplier, 1e-8 * center, 1e10 * center), 0.0)
