"""Signs of the net growth over concentrations: brackets on a logarithmic grid, roots by SciPy's Brent."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

# Concentrations that are looked at, besides none at all, in the unit of the level.
LOWEST, HIGHEST = 1e-9, 1e6
_PER_DECADE = 200
# Relative width of a root; the rounding of the rate itself is what is left.
_WIDTH = 1e-13
# Differences below this share of the rate, and of that without drug, are rounding.
_ROUNDING = 1e-12

# Net growth rates [C, M, 1/day] of M clones at C concentrations.
Growth = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interval:
    """Concentrations between which a clone's net growth keeps its sign."""

    start: float  #: from here on; 0 for the first
    end: float  #: up to here; inf for the last, of which concentrations to `HIGHEST` were looked at
    sign: int  #: -1 the clone shrinks, 1 it grows, 0 it does neither

    @property
    def word(self) -> str:
        """What the clone does."""
        return {-1: "shrinks", 0: "holds", 1: "grows"}[self.sign]

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON; no end is null."""
        return {"from": self.start, "to": self.end if math.isfinite(self.end) else None, "clone": self.word}


@dataclass(frozen=True)
class Rise:
    """The largest rise of a net growth rate that falls elsewhere: more drug is worse from `start` to `end`."""

    start: float  #: concentration at which the rate is lowest before it
    end: float  #: concentration at which it is highest after it
    by: float  #: rise [1/day]

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"from": self.start, "to": self.end, "by_per_day": self.by}


@dataclass(frozen=True)
class Response:
    """One clone under a held concentration."""

    clone: str  #: its name
    intervals: tuple[Interval, ...]  #: from no drug on, without gaps
    rise: Rise | None  #: None where the net growth is monotone

    @property
    def crossings(self) -> tuple[float, ...]:
        """Concentrations at which the net growth is zero."""
        return tuple(interval.end for interval in self.intervals[:-1])

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"clone": self.clone, "crossings": self.crossings, "intervals": self.intervals, "rise": self.rise}


def responses(growth: Growth, names: Sequence[str]) -> tuple[Response, ...]:
    """Intervals of each clone, and where its response is not monotone.

    Raises:
        FloatingPointError: a rate is not a finite number.
    """
    count = round(_PER_DECADE * math.log10(HIGHEST / LOWEST)) + 1
    grid = np.concatenate([[0.0], np.geomspace(LOWEST, HIGHEST, count)])
    rates = growth(grid)
    if not np.all(np.isfinite(rates)):
        c, m = np.argwhere(~np.isfinite(rates))[0]
        raise FloatingPointError(f"clone {names[m]}: net growth is {rates[c, m]} at a held level of {grid[c]:g}")
    found = []
    for m, name in enumerate(names):

        def alone(conc: float, m: int = m) -> float:
            return float(growth(np.array([conc]))[0, m])

        found.append(_response(name, grid, rates[:, m], alone))
    return tuple(found)


def _response(name: str, grid: np.ndarray, rates: np.ndarray, alone: Callable[[float], float]) -> Response:
    """One clone; turning points join the grid, so that a rate which only dips through zero is seen."""
    extra = [_turn(grid[i - 1 : i + 2], sign, alone) for sign in (1, -1) for i in _turns(sign * rates)]
    if extra:
        conc = np.concatenate([grid, extra])
        values = np.concatenate([rates, [alone(c) for c in extra]])
        order = np.argsort(conc, kind="stable")
        grid, rates = conc[order], values[order]
    signs = _signs(rates)
    changes = np.flatnonzero(signs[1:] != signs[:-1])
    roots = [root(alone, float(grid[i]), float(grid[i + 1])) for i in changes]
    of = [int(signs[0]), *(int(signs[i + 1]) for i in changes)]
    pairs = zip([0.0, *roots], [*roots, math.inf], of, strict=True)
    return Response(name, tuple(Interval(a, b, s) for a, b, s in pairs), _rise(grid, rates))


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Zero of a function between two places where its sign differs, or is lost in rounding."""
    first, last = function(low), function(high)
    if first * last < 0.0:
        return float(scipy.optimize.brentq(function, low, high, xtol=1e-300, rtol=_WIDTH, maxiter=500))  # type: ignore[arg-type]
    return low if abs(first) < abs(last) else high


def _rounding(rates: np.ndarray) -> np.ndarray:
    return _ROUNDING * (np.abs(rates) + abs(rates[0]))


def _turns(rates: np.ndarray) -> np.ndarray:
    """Indices of the maxima between two neighbors that are lower by more than rounding."""
    middle, noise = rates[1:-1], _rounding(rates)[1:-1]
    return 1 + np.flatnonzero((middle - rates[:-2] > noise) & (middle - rates[2:] > noise))


def _turn(around: np.ndarray, sign: int, alone: Callable[[float], float]) -> float:
    """Concentration of the maximum (`sign` 1) or minimum (-1) inside."""
    low, high = math.log(max(around[0], 1e-3 * around[1])), math.log(around[2])
    found: Any = scipy.optimize.minimize_scalar(
        lambda x: -sign * alone(math.exp(x)), bounds=(low, high), method="bounded"
    )
    return math.exp(float(found.x))


def _signs(rates: np.ndarray) -> np.ndarray:
    """Signs; zeros belong to what follows them, the last ones to what comes before."""
    signs = np.sign(rates).astype(int)
    known = np.flatnonzero(signs)
    following = np.minimum(np.searchsorted(known, np.arange(signs.size)), known.size - 1)
    return signs[known[following]] if known.size else signs


def _rise(grid: np.ndarray, rates: np.ndarray) -> Rise | None:
    """The largest rise, where there are both rises and falls."""
    least = 1e3 * _rounding(rates)
    rises = rates - np.minimum.accumulate(rates)
    falls = np.maximum.accumulate(rates) - rates
    if not (np.any(rises > least) and np.any(falls > least)):
        return None
    end = int(np.argmax(np.where(rises > least, rises, 0.0)))
    start = int(np.argmin(rates[: end + 1]))
    return Rise(float(grid[start]), float(grid[end]), float(rises[end]))
