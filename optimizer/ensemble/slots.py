"""Searches in the batch slots of one program, with refill: a slot that is free takes the next search that waits."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from optimizer.axes import Index
from optimizer.ensemble.evaluate import Numbers
from optimizer.search.interior_point import step
from optimizer.search.iterate import State, start
from optimizer.search.landscape import Landscape
from optimizer.search.multistart import MOST_ITERATIONS, SEARCH_TOLERANCE
from optimizer.simulate import System

# Slots are filled again once this share of them is empty: to begin a search costs as much as a sixth of a step.
_EMPTY = 8


class Slots(NamedTuple):
    """Searches under way."""

    job: Int[Array, "L"]  #: number of the search in each slot; that of none where a slot is empty [L]
    states: State  #: of the searches [L, ...]
    next: Index  #: the first search that waits
    ends: Any  #: what has been found, one row a search, and one for what nobody asks for [jobs + 1, ...]


def through_slots(
    begin: Callable[[Index], State],
    step: Callable[[Index, State], State],
    keep: Callable[[State], Any],
    jobs: int,
    slots: int,
    live: Index | None = None,
) -> tuple[Any, Index]:
    """Take every search to its end, in the order in which slots become free.

    Args:
        begin: the first state of a search, by its number.
        step: one iteration of a search that has not ended.
        keep: what is asked of the last state.
        jobs: searches.
        slots: searches under way at a time.
        live: how many of the searches are asked for, the first ones; all of them when left out.

    Returns:
        What is kept of every search [jobs, ...], and how often the slots were stepped.
    """
    slots = min(slots, jobs)
    live = jnp.asarray(jobs) if live is None else live
    first = jnp.where(jnp.arange(slots) < live, jnp.arange(slots), jobs)
    states = jax.vmap(begin)(jnp.minimum(first, jobs - 1))
    like = jax.eval_shape(lambda s: jax.vmap(keep)(s), states)
    ends = jax.tree.map(lambda a: jnp.zeros((jobs + 1, *a.shape[1:]), a.dtype), like)

    def turn(carry: tuple[Slots, Index]) -> tuple[Slots, Index]:
        at, turns = carry
        states = jax.vmap(step)(jnp.minimum(at.job, jobs - 1), at.states)
        over = (at.job < jobs) & (states.done | states.stuck | (states.iterations >= MOST_ITERATIONS))
        rows = jnp.where(over, at.job, jobs)
        ends = jax.tree.map(lambda all_, own: all_.at[rows].set(own), at.ends, jax.vmap(keep)(states))
        after = Slots(jnp.where(over, jobs, at.job), states, at.next, ends)
        waiting = after.next < live
        enough = jnp.sum(after.job == jobs) >= max(1, slots // _EMPTY)
        return jax.lax.cond(waiting & enough, _filled, lambda at: at, after), turns + 1

    def _filled(at: Slots) -> Slots:
        empty = at.job == jobs
        waiting = at.next + jnp.cumsum(empty) - 1
        job = jnp.where(empty, jnp.where(waiting < live, waiting, jobs), at.job)
        fresh = jax.vmap(begin)(jnp.minimum(job, jobs - 1))
        states = jax.tree.map(
            lambda new, old: jnp.where(empty.reshape(-1, *[1] * (new.ndim - 1)), new, old), fresh, at.states
        )
        return Slots(job, states, jnp.max(jnp.where(job < jobs, job + 1, at.next)), at.ends)

    start = Slots(first, states, jnp.asarray(slots), ends), jnp.zeros((), int)
    done, turns = jax.lax.while_loop(lambda carry: jnp.any(carry[0].job < jobs), turn, start)
    return jax.tree.map(lambda a: a[:jobs], done.ends), turns


class Solved(NamedTuple):
    """The best of the restarts of a patient."""

    shares: Float[Numbers, "n"]  #: doses as shares of the largest [n]
    converged: Numbers  #: restarts that reached the tolerance within the limits on states
    iterations: Numbers  #: of the best one
    residual: Numbers  #: its KKT residual, relative to the gradient at its start
    done: Numbers  #: whether it reached the tolerance
    value: Numbers  #: its objective as searched


class End(NamedTuple):
    """Where a restart ended: the few numbers of its `State` that are asked for; arrays [R, ...] for all restarts."""

    x: Float[Numbers, "n"]
    residual: Numbers
    iterations: Numbers
    done: Numbers
    value: Numbers

    @classmethod
    def of(cls, state: State) -> "End":
        """What is kept of a restart."""
        return cls(state.x, state.residual, state.iterations, state.done, state.value)

    def chosen(self, i: Index, converged: Index) -> Solved:
        """One of the restarts, of which so many converged."""
        return Solved(self.x[i], converged, self.iterations[i], self.residual[i], self.done[i], self.value[i])


def side_by_side(
    of: Callable[[System], Landscape],
    best: Callable[[System, End], Solved],
    systems: System,
    points: Float[Array, "R n"],
    tolerance: Array,
    slots: int,
    live: Index | None = None,
) -> Solved:
    """The best restart of every patient, all restarts of all patients in the slots of one program.

    Args:
        of: what is searched of a patient.
        best: chooses among the ends of a patient's restarts.
        systems: of P patients, each leaf with a leading axis [P].
        points: where everybody's restarts begin.
        tolerance: KKT residual to reach, relative to the gradient at the start.
        slots: searches under way at a time.
        live: how many of the patients are asked for, the first ones; all of them when left out.
    """
    patients, restarts = jax.tree.leaves(systems)[0].shape[0], points.shape[0]

    def own(job: Index) -> Landscape:
        return of(jax.tree.map(lambda leaf: leaf[job // restarts], systems))

    ends, _ = through_slots(
        lambda job: start(own(job), points[job % restarts]),
        lambda job, state: step(own(job), state, tolerance, SEARCH_TOLERANCE),
        End.of,
        patients * restarts,
        slots,
        None if live is None else live * restarts,
    )
    return jax.vmap(best)(systems, jax.tree.map(lambda leaf: leaf.reshape(patients, restarts, *leaf.shape[1:]), ends))
