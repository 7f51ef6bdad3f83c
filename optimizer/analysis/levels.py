"""How long a schedule keeps a drug's concentration in each interval, and where the troughs lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.analysis.intervals import Interval, Response, root
from optimizer.axes import Edges, Index, Scalar
from optimizer.pharmacology.base import AbstractPK
from optimizer.simulate import Grid
from optimizer.simulate.arrivals import given_at
from optimizer.simulate.forms import AbstractForm

# Where an interval between two dose edges is looked at for a level that is crossed, as shares of its length: even ones,
# and some close to its start, where an absorbed dose rises.
_NODES = np.unique(np.concatenate([np.linspace(0.0, 1.0, 129), np.geomspace(1e-4, 1e-2, 33)]))


@dataclass(frozen=True)
class Profile:
    """Concentrations of one drug under a schedule."""

    pk: AbstractPK  #: its kinetics
    edges: np.ndarray  #: [K + 1, day]
    rates: np.ndarray  #: infusion rate of each interval [K]
    states: np.ndarray  #: state of the kinetics at the start of each interval, after its bolus [K, s]
    conc: np.ndarray  #: concentrations at the nodes of each interval [K, Q]
    starts: np.ndarray  #: numbers of the intervals that begin with a dose, or that an infusion fills

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
def _course(pk: AbstractPK, first: jax.Array, boluses: jax.Array, rates: jax.Array, lengths: jax.Array) -> Any:
    def interval(state: jax.Array, inputs: Any) -> Any:
        amount, rate, length = inputs
        state = pk.bolus(state, amount)
        levels = jax.vmap(lambda share: _level(pk, state, rate, share * length))(jnp.asarray(_NODES))
        return pk.evolve(state, rate, length), (state, levels)

    return jax.lax.scan(interval, first, (boluses, rates, lengths))[1]


def profile(
    pk: AbstractPK, route: str, edges: np.ndarray, doses: np.ndarray, first: jax.Array | None = None
) -> Profile:
    """Concentrations under doses [K] on edges [K + 1, day], amounts or rates by the route, in closed form.

    `first` is the state at the start; that of a patient without drug when left out.
    """
    first, none = pk.initial() if first is None else first, np.zeros_like(doses)
    boluses, rates = (doses, none) if route == "bolus" else (none, doses)
    if isinstance(pk, AbstractForm):
        # Tablets and short infusions have intervals of their own.
        due = given_at((pk,), (route,), jnp.asarray(doses)[:, None], Grid(jnp.asarray(edges)))
        edges, boluses, rates = due.edges, due.amounts[:, 0], due.rates[:, 0]
        pk, first = pk.undelayed(), pk.to_inner(first)
    states, conc = _course(pk, first, jnp.asarray(boluses), jnp.asarray(rates), jnp.asarray(np.diff(edges)))
    return Profile(pk, edges, rates, np.asarray(states), np.asarray(conc), np.flatnonzero(boluses + rates > 0.0))


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


# --- the dose that gives a mean concentration -------------------------------------------------------------------------


# A last sliver that is only rounding is not an interval.
_SLIVER = 1e-9


def dose_times(every: float, horizon: float, delay: float = 0.0) -> np.ndarray:
    """Times of doses every so many days from `delay` on, before the horizon [day]; none where the delay reaches it.

    Example:
        >>> dose_times(7.0, 30.0, 2.0).tolist()
        [2.0, 9.0, 16.0, 23.0]
    """
    count = max(0, int(np.ceil((horizon - delay) / every - _SLIVER)))
    return delay + every * np.arange(count)


def mean_concentration(
    pk: AbstractPK, route: str, edges: Edges, doses: Float[Array, "K"], count: Index | int | None = None
) -> Scalar:
    """Mean concentration over the horizon of a patient who had no drug before, in closed form.

        mean = exposure(state at the end, all that was given) / horizon

    Kinetics are linear and the drug leaves by one way at a constant clearance, so that the integral of the
    concentration is what has left, divided by it.

    Args:
        pk: kinetics of the drug.
        route: "bolus" or "infusion".
        edges: of the intervals, from 0 [K + 1, day].
        doses: amounts at their starts, or rates inside them [K].
        count: intervals that count, the last one ending at the horizon; those after it are padding. All when left out.

    Returns:
        The mean [mg/L], in the unit of the dose where the level is the dose. jit-, vmap- and differentiable.

    Example:
        >>> from optimizer.pharmacology.direct import Direct
        >>> float(mean_concentration(Direct(), "infusion", jnp.array([0.0, 1.0, 4.0]), jnp.array([2.0, 0.0])))
        0.5
    """
    count = len(doses) if count is None else count
    infused = route == "infusion"

    def interval(carry: tuple[Array, Scalar], inputs: tuple[Array, ...]) -> tuple[tuple[Array, Scalar], None]:
        state, given = carry
        k, dose, length = inputs
        rate = dose if infused else jnp.zeros_like(dose)
        after = pk.evolve(state if infused else pk.bolus(state, dose), rate, length)
        real = k < count
        return (jnp.where(real, after, state), given + jnp.where(real, dose * (length if infused else 1.0), 0.0)), None

    none = (pk.initial(), jnp.zeros((), edges.dtype))
    (state, given), _ = jax.lax.scan(interval, none, (jnp.arange(len(doses)), doses, jnp.diff(edges)))
    return pk.exposure(state, given) / edges[count]


def dose_for_mean(
    pk: AbstractPK, mean: float, every: float, horizon: float, delay: float = 0.0, route: str = "bolus"
) -> float:
    """The dose that, given every so many days, makes the mean concentration over the horizon a wanted one.

    Concentrations are linear in the dose, so it is the wanted mean over that of a unit dose. Nothing is taken for
    periodic: the build-up of the first doses counts, and of the last one what it does before the horizon.

    Args:
        pk: kinetics of the drug.
        mean: mean concentration over the whole horizon, the days before the first dose included [mg/L].
        every: days between two doses; of an infusion, which is constant, it has no meaning.
        horizon: end of the time that counts [day].
        delay: time of the first dose, or of the start of the infusion [day].
        route: "bolus" or "infusion".

    Returns:
        The dose [dose_unit], or the rate of the infusion [dose_unit/day].

    Raises:
        ValueError: no dose falls before the horizon.

    Example:
        >>> from optimizer.pharmacology.first_order import FirstOrder
        >>> dose = dose_for_mean(FirstOrder(elimination=0.144), 1.0, every=7.0, horizon=180.0)
        >>> round(dose, 4)
        1.0272
    """
    times = np.array([delay]) if route == "infusion" else dose_times(every, horizon, delay)
    if not (times.size and times[0] < horizon):
        raise ValueError(f"delay: wanted a first dose before the horizon, {horizon:g} day; got {delay:g} day")
    edges = np.unique(np.concatenate([[0.0], times, [horizon]]))
    unit = np.isin(edges[:-1], times).astype(float)
    return mean / float(mean_concentration(pk, route, jnp.asarray(edges), jnp.asarray(unit)))
