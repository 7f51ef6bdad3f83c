"""When doses arrive that wait for a lag: a queue outside the kinetics, for doses that overtake each other's lag."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from optimizer.axes import Doses
from optimizer.pharmacology.base import AbstractPK
from optimizer.simulate.forms import AbstractForm, Boluses, Infusions
from optimizer.simulate.rollout import Grid, System

# Times closer than this are one [day].
_SAME = 1e-10


class Arrivals(NamedTuple):
    """What reaches the body of a patient: doses when their lag has passed."""

    edges: Float[np.ndarray, "edges"]  #: times between which nothing jumps [E + 1, day]
    amounts: Float[np.ndarray, "E N"]  #: boluses at the start of each interval [E, N]
    rates: Float[np.ndarray, "E N"]  #: infusion rates in it [E, N]


def arrivals(system: System, doses: Doses, grid: Grid) -> Arrivals:
    """The doses of a system's drugs by `given_at`."""
    return given_at(system.pharmacokinetics, system.routes, doses, grid)


def given_at(kinetics: Sequence[AbstractPK], routes: Sequence[str], doses: Doses, grid: Grid) -> Arrivals:
    """When doses [K, N] that are given on a grid arrive; those that arrive after the horizon are left out.

    A dose, or the beginning and the end of an infusion, arrives by its drug's lag after it was given.
    """
    given, table = np.asarray(grid.edges), np.asarray(doses)
    lags = [_lag(pk) for pk in kinetics]
    late = [given + lag for lag in lags if lag > 0.0]
    boluses, infusions = [], []
    for own, (part, each) in enumerate(by_route(routes, table, grid)):
        for j, (pk, lag, route) in enumerate(zip(kinetics, lags, each, strict=True)):
            pieces = _as_listed(route, given, part[:, j])
            if own == 0 and isinstance(pk, AbstractForm):
                pieces = pk.given(given[:-1], given[1:], part[:, j])
            (times, sizes), (starts, ends, speeds) = pieces
            boluses.append((j, times + lag, sizes))
            infusions.append((j, starts + lag, ends + lag, speeds))
            late += [times + lag, starts + lag, ends + lag]
    times = np.sort(np.concatenate([given, *(t[t < given[-1] - _SAME] for t in late)]))
    edges = times[np.r_[True, np.diff(times) > _SAME]]
    amounts, rates = (np.zeros((len(edges) - 1, len(lags))) for _ in range(2))
    for j, starts, sizes in boluses:
        at = np.searchsorted(edges, starts - _SAME)
        np.add.at(amounts[:, j], at[at < len(amounts)], sizes[at < len(amounts)])
    for j, starts, ends, speeds in infusions:
        first, last = np.searchsorted(edges, starts - _SAME), np.searchsorted(edges, ends - _SAME)
        for begin, end, speed in zip(first, last, speeds, strict=True):
            rates[begin:end, j] += speed
    return Arrivals(edges, amounts, rates)


def _as_listed(route: str, edges: np.ndarray, doses: np.ndarray) -> tuple[Boluses, Infusions]:
    """Doses [K] that are given at once, or all through their intervals."""
    none, is_given = np.zeros(0), doses != 0.0
    starts, ends, sizes = edges[:-1][is_given], edges[1:][is_given], doses[is_given]
    return ((starts, sizes), (none, none, none)) if route == "bolus" else ((none, none), (starts, ends, sizes))


def by_route(
    routes: Sequence[str], doses: Float[np.ndarray, "K N"], grid: Grid
) -> list[tuple[Float[np.ndarray, "K N"], tuple[str, ...]]]:
    """Doses [K, N] by each drug's own route; and by the other, where the grid has any; each with those routes."""
    out = [(np.asarray(doses), tuple(routes))]
    if grid.other is not None:
        out.append((np.asarray(grid.other), tuple("bolus" if r == "infusion" else "infusion" for r in routes)))
    return out


def _lag(kinetics: AbstractPK) -> float:
    delay = kinetics.delay()
    return 0.0 if delay is None or kinetics.undelayed() is kinetics else float(delay)


def undelayed(system: System) -> System:
    """The same system with doses that do not wait, given as boluses and infusions alone."""
    own = system.pharmacokinetics
    free = eqx.tree_at(lambda s: s.pharmacokinetics, system, tuple(pk.undelayed() for pk in own))
    if system.primed is None or not any(isinstance(pk, AbstractForm) for pk in own):
        return free
    pairs = zip(own, system.primed, strict=True)
    primed = tuple(pk.to_inner(state) if isinstance(pk, AbstractForm) else state for pk, state in pairs)
    return eqx.tree_at(lambda s: s.primed, free, primed)


def overtakes(system: System, doses: Doses, grid: Grid) -> bool:
    """Whether the kinetics themselves cannot keep what waits: a dose or a rate comes within the lag of another.

    Doses by another route than the drug's own count as such.
    """
    if grid.other is not None and any(_lag(pk) > 0.0 for pk in system.pharmacokinetics):
        return True
    edges, table = np.asarray(grid.edges), np.asarray(doses)
    for j, pk in enumerate(system.pharmacokinetics):
        if not (table[:, j] > 0.0).any():
            continue
        if (np.diff(edges) < _lag(pk)).any() or (isinstance(pk, AbstractForm) and not pk.holds(edges, table[:, j])):
            return True
    return False
