"""What the last days of a simulation come to: mean and peak of a series that was saved at the nodes of intervals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array

from optimizer.axes import Scalar, Times
from optimizer.mesh import DEGREE, END_WEIGHT

# Nodes of the interpolant: those of one panel.
_POINTS = DEGREE + 1
_NEWTON = 4


def last_days(times: Times, weights: Times, values: Times, begin: Scalar, nodes: int) -> tuple[Scalar, Scalar]:
    """Mean and peak of a series from `begin` to the end of the last interval.

    Between the nodes the series is the polynomial through those of its panel: `begin` need not be a node, and neither
    need the peak.

    Args:
        times: nodes of all intervals [T, day]; intervals that are padding have only the last time.
        weights: of the quadrature, zero in the padding [T, day].
        values: of the series [T].
        begin: start of the days that count [day].
        nodes: of one interval Q; T = K Q.

    Returns:
        The mean and the peak; jit- and vmappable.
    """
    end = times[-1]
    begin = jnp.clip(begin, 0.0, end)
    # The last node before which everything lies outside, and the end of the panel it lies in.
    place = jnp.clip(jnp.searchsorted(times, begin, side="right") - 1, 0, times.size - 1)
    k, q = place // nodes, place % nodes
    panel_end = k * nodes + jnp.minimum(DEGREE * (q // DEGREE) + DEGREE, nodes - 1)
    line = _quartic(_window(times, values, place, nodes), begin)
    part = jnp.maximum(times[panel_end] - begin, 0.0)
    whole = jnp.sum(jnp.where(jnp.arange(times.size) > panel_end, weights * values, 0.0))
    # A node that two panels share has the weight of both.
    shared = (panel_end % nodes > 0) & (panel_end % nodes < nodes - 1)
    after = jnp.where(shared, (times[panel_end + DEGREE] - times[panel_end]) * END_WEIGHT * values[panel_end], 0.0)
    inside = sum(c * part ** (i + 1) / (i + 1) for i, c in enumerate(line))
    return (whole + after + inside) / (end - begin), _peak(times, values, begin, line[0], nodes)


def _window(times: Times, values: Times, place: Array, nodes: int) -> tuple[Array, Array]:
    """Times and values at the nodes of the panel that begins at a place or holds it."""
    first = place // nodes * nodes
    start = first + DEGREE * jnp.minimum((place - first) // DEGREE, nodes // DEGREE - 1)
    return jax.lax.dynamic_slice(times, (start,), (_POINTS,)), jax.lax.dynamic_slice(values, (start,), (_POINTS,))


def _quartic(window: tuple[Array, Array], at: Scalar) -> list[Array]:
    """Coefficients of the polynomial through the nodes of a window in powers of the time since `at`, constant first."""
    nodes, table = window
    divided = [table[0]]
    for order in range(1, _POINTS):
        run = nodes[order:] - nodes[:-order]
        # Padding has nodes at one time only.
        table = jnp.where(run > 0.0, (table[1:] - table[:-1]) / jnp.where(run > 0.0, run, 1.0), 0.0)
        divided.append(table[0])
    out = [divided[-1]]
    for order in range(_POINTS - 2, -1, -1):
        gap = at - nodes[order]
        times_gap, times_time = [gap * c for c in out] + [0.0], [0.0, *out]
        out = [a + b for a, b in zip(times_gap, times_time, strict=True)]
        out[0] = out[0] + divided[order]
    return out


def _value(coefficients: list[Array], since: Scalar) -> Scalar:
    out = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        out = coefficient + since * out
    return out


def _peak(times: Times, values: Times, begin: Scalar, first: Scalar, nodes: int) -> Scalar:
    """The largest of the nodes, the value `first` at the start, and the tops of the quartics at the largest node."""
    late = jnp.where(times >= begin, values, -jnp.inf)
    top = jnp.argmax(late)
    found = [jnp.max(late), first]
    # The end of a panel or an interval is the start of the next one, in which the top may lie as well.
    for place in (jnp.maximum(top - 1, 0), top, jnp.minimum(top + 1, times.size - 1)):
        window = _window(times, values, place, nodes)
        low = jnp.maximum(jnp.maximum(times[jnp.maximum(place - 1, 0)], window[0][0]), begin)
        high = jnp.minimum(times[jnp.minimum(place + 1, times.size - 1)], window[0][-1])
        found.append(_top(window, times[place], low, high))
    return jnp.max(jnp.stack(found))


def _top(window: tuple[Array, Array], start: Scalar, low: Scalar, high: Scalar) -> Scalar:
    """Of the quartic between two times, by Newton's method from a node."""
    line = _quartic(window, start)
    slope = [i * c for i, c in enumerate(line)][1:]
    bend = [i * c for i, c in enumerate(slope)][1:]
    since = jnp.zeros_like(start)
    for _ in range(_NEWTON):
        second = _value(bend, since)
        step = jnp.where(second < 0.0, _value(slope, since) / jnp.where(second < 0.0, second, 1.0), 0.0)
        since = jnp.clip(since - step, low - start, jnp.maximum(high, low) - start)
    return _value(line, jnp.where(high > low, since, low - start))
