"""Simulation of single cells in the environment of a deterministic course: the judge of what `branching` computes.

Between two nodes of the course concentrations and the mechanisms' states are held; numbers of cells, and with them
crowding, are a run's own. Few cells are simulated event by event (Gillespie 1977, doi 10.1021/j100540a008), many by
leaps in which rates change by at most 3 %, and events that could empty a small clone one by one beside them (Cao,
Gillespie and Petzold 2006, doi 10.1063/1.2159468). Nothing here is differentiated.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Clones, Scalar
from optimizer.models.base import AbstractModel
from optimizer.programs import program
from optimizer.simulate.rollout import System, Trajectory

# Change of a rate in a leap; cells of a clone below which its losses are drawn one by one; events below which a leap
# does not pay.
_CHANGE, _FEW, _LEAST_EVENTS = 0.03, 10.0, 10.0
# Runs that one program takes, so that any number shares it.
_WIDTH = 1024
_EMPTY = 1e-300


class Runs(NamedTuple):
    """What became of P runs."""

    times: np.ndarray  #: at which cells were counted [T, day]
    cells: np.ndarray  #: of each clone [P, T, M]
    progression: np.ndarray  #: first day with more cells than the level [P]; infinite where there is none
    extinction: np.ndarray  #: day of the last cell's death [P]; infinite where some are alive at the end


class _Steps(NamedTuple):
    """Spans in which the environment is held, a leading axis [S]."""

    start: Any
    length: Any
    state: Any
    conc: Any


class _State(NamedTuple):
    """Runs in a span, a leading axis [P]: cells, days left, events so far, first days."""

    cells: Array
    left: Array
    count: Array
    progression: Array
    extinction: Array


def simulate_cells(system: System, trajectory: Trajectory, runs: int, seed: int, level: float) -> Runs:
    """Simulate single cells beside a deterministic course; run p depends on the seed and on p alone.

    Args:
        system: whose model says what single cells do.
        trajectory: the course, which gives the environment and the cells at the start, rounded.
        runs: P.
        seed: of the runs.
        level: cells above which a tumor has progressed.
    """
    times = np.asarray(trajectory.times)
    real = np.flatnonzero(np.diff(times) > 0.0)
    middle = jax.tree.map(
        lambda a: 0.5 * (np.asarray(a)[real] + np.asarray(a)[real + 1]), (trajectory.states, trajectory.conc)
    )
    spans = _Steps(times[real], np.diff(times)[real], *middle)
    first = jnp.round(jnp.maximum(trajectory.cells[0], 0.0))
    # Every interval's end is counted.
    ends = np.unique(np.append(np.searchsorted(times[real], times[:: trajectory.nodes][1:]) - 1, len(real) - 1))
    parts = []
    for begin in range(0, runs, _WIDTH):
        keys = jax.vmap(lambda p: jax.random.fold_in(jax.random.key(seed), p))(begin + jnp.arange(_WIDTH))
        found = jax.device_get(_simulated(system.model, spans, keys, first, jnp.asarray(level)))
        parts.append([found[0][ends], *found[1:]])
    cells = np.concatenate([np.moveaxis(part[0], 0, 1) for part in parts])[:runs]
    cells = np.concatenate([np.broadcast_to(np.asarray(first), (runs, 1, first.size)), cells], axis=1)
    progression, extinction = (np.concatenate([part[i] for part in parts])[:runs] for i in (1, 2))
    return Runs(np.append(times[0], times[real + 1][ends]), cells, progression, extinction)


def _events(clones: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Change of the clones [R, M], source [R], and whether it loses a cell [R]: births, deaths, emission, switching."""
    own, pairs = np.eye(clones), np.arange(clones**2)
    gains, losses = own[pairs % clones], own[pairs // clones]
    change = np.concatenate([own, -own, gains, gains - losses])
    source = np.concatenate([np.tile(np.arange(clones), 2), np.tile(pairs // clones, 2)])
    return change, source, change[np.arange(len(source)), source] < 0.0


@program
def _simulated(model: AbstractModel, spans: _Steps, keys: Array, first: Clones, level: Scalar) -> Any:
    """Cells at the end of each span [S, P, M], and the first days of progression and of extinction [P]."""
    never = jnp.full(keys.shape[0], jnp.inf)
    cells = jnp.broadcast_to(first, (keys.shape[0], first.size))
    start = _State(cells, never, jnp.zeros(keys.shape[0], int), never, never)

    def span(state: _State, at: _Steps) -> tuple[_State, Array]:
        state = state._replace(left=jnp.full(keys.shape[0], at.length))
        end = jax.lax.while_loop(lambda s: jnp.any(s.left > 0.0), lambda s: _advanced(model, at, keys, level, s), state)
        return end, end.cells

    end, counted = jax.lax.scan(span, start, spans)
    return counted, end.progression, end.extinction


def _rates(model: AbstractModel, at: _Steps, cells: Clones) -> Float[Array, "R"]:
    """Rate of each event [1/day] among so many cells."""
    own = jnp.maximum(model.cells(at.state), _EMPTY)
    there = model.changed(at.state, jnp.log(jnp.maximum(cells, _EMPTY)) - jnp.log(own))
    found = model.branching(there, at.conc)
    rates = jnp.concatenate([found.birth, found.death, found.emission.ravel(), found.switching.ravel()])
    source = _events(cells.size)[1]
    return jnp.where(cells[source] > 0.0, rates * cells[source], 0.0)


def _advanced(model: AbstractModel, at: _Steps, keys: Array, level: Scalar, state: _State) -> _State:
    """Each run by one event, or one leap."""
    change, source, loses = (jnp.asarray(a) for a in _events(state.cells.shape[1]))
    rates = jax.vmap(lambda c: _rates(model, at, c))(state.cells)
    single, leap = _leaps(rates, state.cells, change, loses & (state.cells[:, source] < _FEW))
    now = jax.vmap(jax.random.fold_in)(keys, state.count)
    drawn = jax.vmap(lambda k: jax.random.uniform(k, (2,)))(now)
    ones = jnp.where(single, rates, 0.0)
    total = jnp.sum(ones, 1)
    wait = jnp.where(total > 0.0, -jnp.log1p(-drawn[:, 0]) / jnp.where(total > 0.0, total, 1.0), jnp.inf)
    tau = jnp.minimum(jnp.minimum(wait, leap), state.left)
    place = jnp.cumsum(ones, 1) < (drawn[:, 1] * total)[:, None]
    event = jnp.minimum(jnp.sum(place, 1), rates.shape[1] - 1)
    moved = jnp.where((wait <= tau)[:, None], change[event], 0.0)
    means = jnp.where(single, 0.0, rates) * tau[:, None]

    def leapt(means: Array) -> Array:
        # Rates in the middle of the leap, as far as it can be foreseen (Gillespie 2001, doi 10.1063/1.1378322).
        middle = jnp.maximum(state.cells + 0.5 * means @ change, 0.0)
        there = jax.vmap(lambda c: _rates(model, at, c))(middle)
        means = jnp.where(single, 0.0, there) * tau[:, None]
        counts = jax.vmap(lambda k, m: jax.random.poisson(jax.random.fold_in(k, 1), m))(now, means)
        return counts.astype(means.dtype) @ change

    moved = moved + jax.lax.cond(jnp.any(means > 0.0), leapt, lambda m: jnp.zeros_like(state.cells), means)
    is_on = state.left > 0.0
    cells = jnp.where(is_on[:, None], jnp.maximum(state.cells + moved, 0.0), state.cells)
    left = jnp.where(is_on, state.left - tau, 0.0)
    day, burden = at.start + at.length - left, jnp.sum(cells, 1)

    def first(known: Array, happened: Array) -> Array:
        return jnp.where(happened & jnp.isinf(known), day, known)

    gone, beyond = first(state.extinction, burden == 0.0), first(state.progression, burden > level)
    return _State(cells, jnp.where(burden > 0.0, left, 0.0), state.count + is_on, beyond, gone)


def _leaps(rates: Array, cells: Array, change: Array, critical: Array) -> tuple[Array, Array]:
    """Which events are drawn one by one [P, R], and the length of a leap of the others [P, day]."""
    many = jnp.where(critical, 0.0, rates)
    mean, spread = jnp.abs(many @ change), many @ jnp.square(change)
    bound = jnp.maximum(_CHANGE * cells, 1.0)
    leap = jnp.min(jnp.minimum(bound / jnp.maximum(mean, _EMPTY), bound**2 / jnp.maximum(spread, _EMPTY)), 1)
    exact = leap * jnp.sum(rates, 1) < _LEAST_EVENTS
    return critical | exact[:, None], jnp.where(exact, jnp.inf, leap)
