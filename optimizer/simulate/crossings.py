"""Crossings and peaks of what was simulated, read between the saved times by root finding."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

# Saved values that a polynomial goes through.
_POINTS = 8

Curve: TypeAlias = Callable[[Any], Any]


def first_above(times: Float[np.ndarray, "T"], values: Float[np.ndarray, "T"], level: float) -> float | None:
    """First time [day] at which the values exceed a level: a root of the polynomial through the saved ones around it.

    Args:
        times: not decreasing; where one is there twice the curve may have a corner.
        values: at these times.
        level: to be exceeded.

    Returns:
        None where it never is.

    Example:
        >>> t = np.linspace(0.0, 4.0, 9)
        >>> round(first_above(t, np.sin(t), 0.5), 4)
        0.5236
    """
    above = np.flatnonzero(values > level)
    stop = int(above[0]) if above.size else len(values)
    for i, low, high in _tops(times, values):
        # Between two saved values below the level there may be one above it.
        if low < stop and level - values[i] <= 2.0 * (values[i] - min(values[low], values[high])):
            curve = _polynomial(times, values, low, high)
            top, most = _highest(curve, times, low, high)
            if most > level:
                return _root(curve, level, times[low], top)
    if stop == len(values):
        return None
    if stop == 0 or times[stop] == times[stop - 1]:
        return float(times[stop])
    return _root(_polynomial(times, values, stop - 1, stop), level, times[stop - 1], times[stop])


def peak(times: Float[np.ndarray, "T"], values: Float[np.ndarray, "T"]) -> float:
    """The largest value at any time, saved or in between; arguments as of `first_above`.

    Example:
        >>> t = np.linspace(0.0, 4.0, 9)
        >>> round(peak(t, np.sin(t)), 4)
        1.0
    """
    most = float(np.max(values))
    for i, low, high in _tops(times, values):
        if most - values[i] <= 2.0 * (values[i] - min(values[low], values[high])):
            most = max(most, _highest(_polynomial(times, values, low, high), times, low, high)[1])
    return most


def _tops(times: np.ndarray, values: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Saved values that are not below their neighbors on one smooth stretch, in order: itself and both neighbors."""
    inner = (times[1:-1] > times[:-2]) & (times[2:] > times[1:-1])
    top = inner & (values[1:-1] >= values[:-2]) & (values[1:-1] > values[2:])
    # At a corner the neighbor on one side may still lie below a peak between the two.
    for i in np.flatnonzero(top) + 1:
        yield int(i), int(i) - 1, int(i) + 1


def _polynomial(times: np.ndarray, values: np.ndarray, low: int, high: int) -> Curve:
    """Through the saved values nearest to those from `low` to `high`, on the same smooth stretch."""
    first, last = low, high
    while last - first < _POINTS - 1:
        left = first > 0 and times[first - 1] < times[first]
        right = last + 1 < len(times) and times[last + 1] > times[last]
        if not (left or right):
            break
        goes_left = left and (not right or times[low] - times[first - 1] <= times[last + 1] - times[high])
        first, last = (first - 1, last) if goes_left else (first, last + 1)
    from scipy.interpolate import BarycentricInterpolator  # 0.3 s, and nothing where nothing is simulated

    # It weighs the points in an order that it draws.
    return BarycentricInterpolator(times[first : last + 1], values[first : last + 1], rng=0)


def _highest(curve: Curve, times: np.ndarray, low: int, high: int) -> tuple[float, float]:
    """Where between two saved times a curve is highest, and how high."""
    from scipy.optimize import minimize_scalar

    ends, how = (times[low], times[high]), {"xatol": 1e-9 * float(times[high] - times[low])}
    found: Any = minimize_scalar(lambda t: -float(curve(t)), bounds=ends, method="bounded", options=how)
    return float(found.x), -float(found.fun)


def _root(curve: Curve, level: float, low: float, high: float) -> float:
    """Where a curve that rises through a level does so."""
    from scipy.optimize import brentq

    ends = float(curve(low)) - level, float(curve(high)) - level
    if not ends[0] < 0.0 < ends[1]:
        return float(low if ends[0] >= 0.0 else high)
    found: Any = brentq(lambda t: float(curve(t)) - level, low, high, xtol=1e-12)
    return float(found)
