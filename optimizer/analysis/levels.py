"""How long a schedule keeps a drug's concentration in each interval, and where the troughs lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from optimizer.analysis.intervals import Interval, Response, root
from optimizer.axes import Scalar
from optimizer.pharmacology.base import AbstractPK

# Where an interval between two dose edges is looked at for a level that is crossed, as shares of its length: even ones,
# and some close to its start, where an absorbed dose rises.
_NODES = np.unique(np.concatenate([np.linspace(0.0, 1.0, 129), np.geomspace(1e-4, 1e-2, 33)]))


@dataclass(frozen=True)
class Profile:
    """Concentrations of one drug under a schedule.

    Attributes:
        pk: its kinetics.
        edges: [K + 1, day].
        rates: infusion rate of each interval [K].
        states: state of the kinetics at the start of each interval, after its bolus [K, s].
        conc: concentrations at the nodes of each interval [K, Q].
        starts: numbers of the intervals that begin with a dose, or that an infusion fills.
    """

    pk: AbstractPK
    edges: np.ndarray
    rates: np.ndarray
    states: np.ndarray
    conc: np.ndarray
    starts: np.ndarray

    def at(self, k: int, tau: float) -> float:
        """Concentration `tau` [day] after the start of interval k."""
        return float(_level(self.pk, jnp.asarray(self.states[k]), jnp.asarray(self.rates[k]), jnp.asarray(tau)))

    @property
    def troughs(self) -> np.ndarray:
        """Concentrations just before each dose but the first [D - 1]."""
        return self.conc[self.starts[1:] - 1, -1]

    @property
    def peaks(self) -> np.ndarray:
        """Highest concentration between each dose and the next [D - 1]."""
        return np.array([self.conc[a:b].max() for a, b in pairwise(self.starts)])


@eqx.filter_jit
def _level(pk: AbstractPK, state: jax.Array, rate: jax.Array, tau: jax.Array) -> Scalar:
    return pk.concentration(pk.evolve(state, rate, tau), rate)


@eqx.filter_jit
def _course(pk: AbstractPK, boluses: jax.Array, rates: jax.Array, lengths: jax.Array) -> Any:
    def interval(state: jax.Array, inputs: Any) -> Any:
        amount, rate, length = inputs
        state = pk.bolus(state, amount)
        levels = jax.vmap(lambda share: _level(pk, state, rate, share * length))(jnp.asarray(_NODES))
        return pk.evolve(state, rate, length), (state, levels)

    return jax.lax.scan(interval, pk.initial(), (boluses, rates, lengths))[1]


def profile(pk: AbstractPK, route: str, edges: np.ndarray, doses: np.ndarray) -> Profile:
    """Concentrations under doses [K] on edges [K + 1, day], in closed form.

    Args:
        pk: kinetics of the drug.
        route: "bolus" or "infusion".
        edges: of the intervals.
        doses: amounts at their starts, or rates inside them.
    """
    none = np.zeros_like(doses)
    boluses, rates = (doses, none) if route == "bolus" else (none, doses)
    states, conc = _course(pk, jnp.asarray(boluses), jnp.asarray(rates), jnp.asarray(np.diff(edges)))
    return Profile(pk, edges, rates, np.asarray(states), np.asarray(conc), np.flatnonzero(doses > 0.0))


def time_shares(given: Profile, intervals: Sequence[Interval]) -> np.ndarray:
    """Share of the time that the concentration spends in each interval; they add up to 1."""
    limits = np.array([interval.end for interval in intervals[:-1]])
    lengths = np.diff(given.edges)
    times = np.zeros(len(intervals))
    for k, length in enumerate(lengths):
        cuts = [0.0, *sorted(tau for limit in limits for tau in _crossings(given, k, length, limit)), length]
        for start, end in pairwise(cuts):
            level = given.at(k, 0.5 * (start + end)) if len(cuts) > 2 else given.conc[k, len(_NODES) // 2]
            times[np.searchsorted(limits, level, side="right")] += end - start
    return times / lengths.sum()


def _crossings(given: Profile, k: int, length: float, limit: float) -> list[float]:
    """Times after the start of interval k at which the concentration crosses the limit."""
    above = given.conc[k] > limit
    changes = np.flatnonzero(above[1:] != above[:-1])
    return [root(lambda t: given.at(k, t) - limit, _NODES[i] * length, _NODES[i + 1] * length) for i in changes]


def warnings(given: Profile, response: Response, drug: str, unit: str) -> list[str]:
    """A sentence where troughs lie in an interval in which the clone grows, or levels fall through one.

    None for a clone that no level makes shrink: its intervals say that already.
    """
    troughs, peaks = given.troughs, given.peaks
    said: list[str] = []
    if not any(interval.sign < 0 for interval in response.intervals):
        return said
    for interval in response.intervals:
        if interval.sign <= 0 or not troughs.size:
            continue
        end = "any higher level" if math.isinf(interval.end) else f"{interval.end:.4g} {unit}"
        where = f"where the clone grows, from {interval.start:.4g} to {end}"
        inside = int(np.sum((troughs >= interval.start) & (troughs < interval.end)))
        through = int(np.sum((troughs < interval.start) & (peaks >= interval.end)))
        if inside:
            said.append(f"{response.clone}: {inside} of {troughs.size} troughs of {drug} lie {where}")
        if through:
            said.append(
                f"{response.clone}: after {through} of {troughs.size} doses {drug} falls through levels {where}"
            )
    return said
