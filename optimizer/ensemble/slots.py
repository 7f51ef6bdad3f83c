"""Searches in the batch slots of one program, with refill: a slot that is free takes the next search that waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from optimizer.axes import Index
from optimizer.search.iterate import State
from optimizer.search.multistart import MOST_ITERATIONS

# Slots are filled again once this share of them is empty: to begin a search costs as much as a sixth of a step.
_EMPTY = 8


class Slots(NamedTuple):
    """Searches under way.

    Attributes:
        job: number of the search in each slot; that of none where a slot is empty [L].
        states: of the searches [L, ...].
        next: the first search that waits.
        ends: what has been found, one row a search, and one for what nobody asks for [jobs + 1, ...].
    """

    job: Int[Array, "L"]
    states: State
    next: Index
    ends: Any


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
        states = jax.tree.map(lambda new, old: _chosen(empty, new, old), fresh, at.states)
        return Slots(job, states, jnp.max(jnp.where(job < jobs, job + 1, at.next)), at.ends)

    start = Slots(first, states, jnp.asarray(slots), ends), jnp.zeros((), int)
    done, turns = jax.lax.while_loop(lambda carry: jnp.any(carry[0].job < jobs), turn, start)
    return jax.tree.map(lambda a: a[:jobs], done.ends), turns


def _chosen(which: Bool[Array, "L"], new: Array, old: Array) -> Array:
    return jnp.where(which.reshape(-1, *[1] * (new.ndim - 1)), new, old)
