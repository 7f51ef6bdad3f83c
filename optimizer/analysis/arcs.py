"""The structure of a schedule in the words of optimal control: full dose, no dose, singular arc, containment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from optimizer.simulate import Grid, Trajectory

# Shares of the largest dose that count as none and as full.
_NONE, _FULL = 1e-3, 1.0 - 1e-3
# An interval contains the tumor when the logarithm of the burden changes by less than this in it.
_LEVEL = 0.02


@dataclass(frozen=True)
class Arc:
    """A stretch of intervals in which a drug is given in one way."""

    drug: str  #: its name
    #: "full", "none", "containment" (between them, the burden held) or "intermediate" (between them: singular)
    kind: str
    start_day: float  #: start of the first interval
    end_day: float  #: end of the last


def arcs(
    trajectory: Trajectory, grid: Grid, drugs: Sequence[str], largest: np.ndarray, routes: Sequence[str] = ()
) -> list[Arc]:
    """Name the arcs of each drug, of which the largest doses [N] are given.

    An infusion that goes from full to none, or back, in one interval between them has a switch inside that interval: it
    is put where the full rate, given up to there, is the same dose. So it is where `routes` says "infusion" [N].
    """
    edges, doses = np.asarray(grid.edges), np.asarray(trajectory.doses)
    logs = np.log(np.maximum(np.asarray(trajectory.burden), 1e-300))
    # An edge is saved twice, as the end of one interval and the start of the next.
    times = np.asarray(trajectory.times)
    first, last = np.searchsorted(times, edges[:-1] + 1e-9) - 1, np.searchsorted(times, edges[1:] - 1e-9)
    held = np.array([np.ptp(logs[a : b + 1]) < _LEVEL for a, b in zip(np.maximum(first, 0), last, strict=True)])
    found: list[Arc] = []
    for j, drug in enumerate(drugs):
        own: list[Arc] = []
        shares = doses[:, j] / (largest[j] if largest[j] > 0.0 else 1.0)
        kinds = np.where(held, "containment", "intermediate")
        kinds = np.where(shares <= _NONE, "none", np.where(shares >= _FULL, "full", kinds))
        for kind, group in groupby(range(len(kinds)), key=kinds.__getitem__):
            members = list(group)
            own.append(Arc(drug, str(kind), float(edges[members[0]]), float(edges[members[-1] + 1])))
        is_infusion = bool(routes) and routes[j] == "infusion"
        found += _switched(own, edges, shares) if is_infusion else own
    return found


def _switched(own: Sequence[Arc], edges: np.ndarray, shares: np.ndarray) -> list[Arc]:
    """Arcs with an interval between full and none made the time of a switch."""
    out = list(own)
    for i in range(1, len(out) - 1):
        before, here, after = out[i - 1 : i + 2]
        k = int(np.searchsorted(edges, here.start_day))
        if {before.kind, after.kind} != {"full", "none"} or here.end_day != edges[k + 1]:
            continue
        length = (here.end_day - here.start_day) * float(shares[k])
        day = here.start_day + length if before.kind == "full" else here.end_day - length
        out[i - 1], out[i] = replace(before, end_day=day), replace(here, start_day=day, end_day=day)
        out[i + 1] = replace(after, start_day=day)
    return [arc for arc in out if arc.end_day > arc.start_day]
