"""When doses arrive that wait for a lag: a queue outside the kinetics, for doses that overtake each other's lag."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from optimizer.axes import Doses
from optimizer.pharmacology.base import AbstractPK
from optimizer.simulate.rollout import Grid, System

# Times closer than this are one [day].
_SAME = 1e-10


class Arrivals(NamedTuple):
    """What reaches the body of a patient: doses when their lag has passed.

    Attributes:
        edges: times between which nothing jumps [E + 1, day].
        amounts: boluses at the start of each interval [E, N].
        rates: infusion rates in it [E, N].
    """

    edges: Float[np.ndarray, "edges"]
    amounts: Float[np.ndarray, "E N"]
    rates: Float[np.ndarray, "E N"]


def arrivals(system: System, doses: Doses, grid: Grid) -> Arrivals:
    """When doses [K, N] that are given on a grid arrive; those that arrive after the horizon are left out.

    A dose, or the beginning and the end of an infusion, arrives by its drug's lag after it was given.
    """
    given, table = np.asarray(grid.edges), np.asarray(doses)
    lags = [_lag(pk) for pk in system.pharmacokinetics]
    late = [given + lag for lag in lags if lag > 0.0]
    times = np.sort(np.concatenate([given, *(t[t < given[-1] - _SAME] for t in late)]))
    edges = times[np.r_[True, np.diff(times) > _SAME]]
    amounts, rates = (np.zeros((len(edges) - 1, len(lags))) for _ in range(2))
    for part, routes in by_route(system.routes, table, grid):
        for j, (lag, route) in enumerate(zip(lags, routes, strict=True)):
            at = np.searchsorted(edges, given[:-1] + lag - _SAME)
            here = at < len(edges) - 1
            if route == "bolus":
                np.add.at(amounts[:, j], at[here], part[here, j])
            else:
                own = np.searchsorted(given, edges[:-1] - lag + _SAME, side="right") - 1
                rates[:, j] += np.where(own >= 0, part[np.maximum(own, 0), j], 0.0)
    return Arrivals(edges, amounts, rates)


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
    """The same system with doses that do not wait."""
    return eqx.tree_at(lambda s: s.pharmacokinetics, system, tuple(pk.undelayed() for pk in system.pharmacokinetics))


def overtakes(system: System, doses: Doses, grid: Grid) -> bool:
    """Whether the kinetics themselves cannot keep what waits: a dose or a rate comes within the lag of another.

    Doses by another route than the drug's own count as such.
    """
    if grid.other is not None and any(_lag(pk) > 0.0 for pk in system.pharmacokinetics):
        return True
    starts, table = np.asarray(grid.edges)[:-1], np.asarray(doses)
    for j, pk in enumerate(system.pharmacokinetics):
        given, lag = starts[table[:, j] > 0.0], _lag(pk)
        if given.size and (np.diff(np.asarray(grid.edges)) < lag).any():
            return True
    return False
