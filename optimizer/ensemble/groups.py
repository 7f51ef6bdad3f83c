"""Patients whose model is a quadrature, a group at a time: their searches side by side in the batch slots of a core."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.ensemble.ensemble import with_system
from optimizer.ensemble.evaluate import Numbers
from optimizer.ensemble.slots import through_slots
from optimizer.search.interior_point import step
from optimizer.search.iterate import State, start
from optimizer.search.multistart import SEARCH_TOLERANCE
from optimizer.search.quadrature import QuadratureProgram
from optimizer.simulate import System

# Searches side by side on a core: more would fall out of its cache. Patients to a call.
_SLOTS, GROUP = 16, 64


class Solved(NamedTuple):
    """The best of the restarts of a patient.

    Attributes:
        shares: doses as shares of the largest [n].
        converged: restarts that reached the tolerance within the limits on states.
        iterations: of the best one.
        residual: its KKT residual, relative to the gradient at its start.
        done: whether it reached the tolerance.
    """

    shares: Float[Numbers, "n"]
    converged: Numbers
    iterations: Numbers
    residual: Numbers
    done: Numbers


class End(NamedTuple):
    """Where a restart ended: the few numbers of its `State` that are asked for."""

    x: Float[Numbers, "n"]
    residual: Numbers
    iterations: Numbers
    done: Numbers


def end_of(state: State) -> End:
    """What is kept of a restart."""
    return End(state.x, state.residual, state.iterations, state.done)


def solve_group(
    quick: QuadratureProgram, systems: System, points: Array, live: Array, tolerance: Array
) -> tuple[Solved, Array]:
    """The best restart of the first `live` patients of a group, and its objective, where the model is a quadrature."""
    patients, restarts = jax.tree.leaves(systems)[0].shape[0], points.shape[0]

    def own(job: Array) -> QuadratureProgram:
        system = jax.tree.map(lambda leaf: leaf[job // restarts], systems)
        return eqx.tree_at(lambda q: q.task, quick, with_system(quick.task, system))

    ends, _ = through_slots(
        lambda job: start(own(job), points[job % restarts]),
        lambda job, state: step(own(job), state, tolerance, SEARCH_TOLERANCE),
        lambda state: (end_of(state), jnp.where(jnp.isfinite(state.value), state.value, jnp.inf)),
        patients * restarts,
        _SLOTS,
        live * restarts,
    )
    ends, values = jax.tree.map(lambda leaf: leaf.reshape(patients, restarts, *leaf.shape[1:]), ends)

    def best(end: End, value: Array) -> tuple[Solved, Array]:
        i = jnp.argmin(value)
        return Solved(end.x[i], jnp.sum(end.done), end.iterations[i], end.residual[i], end.done[i]), value[i]

    return jax.vmap(best)(ends, values)
