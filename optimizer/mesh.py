"""Nodes of one decision interval and the quadrature and Runge-Kutta rules that live on them.

An interval is cut into panels; each panel has a node at its start, middle and end, shared with its neighbors, so an
interval of `panels` panels has Q = 2 panels + 1 nodes. After a dose a fast factor relaxes within hours while nothing
else happens for days (the boundary layer of the growth factor): such a layer has panels of its own, which grow
quadratically; the rest of the interval is cut evenly.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Flag, Nodes, Scalar

# Extent of a boundary layer, in units of its time constant: exp(-12) of the jump is left at its end.
_LAYER_SPAN = 12.0


def _number(value: Scalar) -> Array:
    return jnp.asarray(value, dtype=float)


class Mesh(eqx.Module):
    """Panels of every decision interval: `layer` of them in the boundary layer after a dose, `uniform` in the rest.

    Attributes:
        layer_rate: rate of the boundary layer [1/day]; unused when `layer` is 0.
    """

    uniform: int = eqx.field(static=True)
    layer: int = eqx.field(static=True, default=0)
    layer_rate: Scalar = eqx.field(converter=_number, default=0.0)

    @property
    def panels(self) -> int:
        """Panels of an interval."""
        return self.uniform + self.layer

    @property
    def size(self) -> int:
        """Nodes Q of an interval."""
        return 2 * self.panels + 1

    def nodes(self, length: Scalar) -> Nodes:
        """Node times [day] from 0 to `length`."""
        # In the precision of the length, whatever is switched on.
        kind = jnp.result_type(float if isinstance(length, float) else length)
        edges = jnp.arange(self.uniform + 1, dtype=kind) / self.uniform
        if self.layer:
            span = jnp.minimum(_LAYER_SPAN / self.layer_rate / length, 0.5)
            ladder = span * (jnp.arange(self.layer, dtype=kind) / self.layer) ** 2
            edges = jnp.concatenate([ladder, span + (1.0 - span) * edges])
        edges = length * edges
        middles = 0.5 * (edges[1:] + edges[:-1])
        return jnp.concatenate([jnp.stack([edges[:-1], middles], -1).ravel(), edges[-1:]])


def snap(tau: Nodes, time: Scalar, present: Flag) -> Nodes:
    """Nodes with the panel edge nearest to `time` moved onto it where `present`; a kink at an edge costs no digits."""
    count = tau.shape[0]
    if count < 5:
        return tau
    edges = tau[::2]
    nearest = 2 + 2 * jnp.argmin(jnp.abs(edges[1:-1] - time))
    away = jnp.abs(jnp.arange(count) - nearest)
    # The middles of the two panels beside the edge move half as far.
    moved = jnp.where(away == 0, time, tau + 0.5 * (time - tau[nearest]))
    return jnp.where(present & (away <= 1), moved, tau)


def panel_lengths(tau: Nodes) -> Float[Array, "panels"]:
    """Length of each panel [day]."""
    return tau[2::2] - tau[:-2:2]


def panel_values(values: Float[Array, "Q ..."]) -> tuple[Array, Array, Array]:
    """Values at the start, middle and end of each panel, each [panels, ...]."""
    return values[:-2:2], values[1::2], values[2::2]


def weights(tau: Nodes) -> Nodes:
    """Simpson weights [day]: the sum of weights times values is the integral over the interval."""
    h = panel_lengths(tau) / 6.0
    inner = jnp.stack([jnp.zeros_like(h), 4.0 * h], -1).ravel()
    out = jnp.concatenate([inner, jnp.zeros_like(inner[:1])])
    return out.at[:-2:2].add(h).at[2::2].add(h)


def cumulative(tau: Nodes, rate: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
    """Integral of `rate` from the start of the interval to each node (quadratic through the nodes of a panel)."""
    start, middle, end = panel_values(rate)
    h = panel_lengths(tau).reshape((-1,) + (1,) * (rate.ndim - 1))
    half = h * (5.0 * start + 8.0 * middle - end) / 24.0
    full = h * (start + 4.0 * middle + end) / 6.0
    before = jnp.concatenate([jnp.zeros_like(full[:1]), jnp.cumsum(full, axis=0)])
    return interleave(before, before[:-1] + half)


def interleave(edges: Float[Array, "edges ..."], middles: Float[Array, "panels ..."]) -> Array:
    """Values at panel edges and middles put into node order [Q, ...]."""
    pairs = jnp.stack([edges[:-1], middles], axis=1).reshape((-1, *edges.shape[1:]))
    return jnp.concatenate([pairs, edges[-1:]])


def relax(
    tau: Nodes,
    target: Nodes,
    rate: Nodes,
    start: Scalar,
    fallback_rate: Scalar,
) -> Nodes:
    """Solve g' = max(rate (target - g), -fallback_rate g) on the nodes, g(0) = start.

    On each panel the target is the quadratic through its three nodes and the rate its value in the middle; the linear
    equation is then solved exactly, however long the panel is against 1/rate. Both flows start from the same g, and
    while one field is the larger its flow is the larger, so the larger end value is the solution; only in the panel in
    which the fields change places it falls short, by the square of what the panel spans.
    """
    h = panel_lengths(tau)
    first, middle, last = panel_values(target)
    z = panel_values(rate)[1] * h
    curve = 2.0 * (first + last) - 4.0 * middle
    slope = 4.0 * middle - 3.0 * first - last - 2.0 * curve / z
    level = first - slope / z
    at_middle = level + 0.5 * slope + 0.25 * curve
    at_end = level + slope + curve
    decay = fallback_rate * h

    def panel(g: Scalar, inputs: Any) -> tuple[Scalar, tuple[Scalar, Scalar]]:
        level, at_middle, at_end, left_half, left, free_half, free = inputs
        middle = jnp.maximum(at_middle + (g - level) * left_half, g * free_half)
        end = jnp.maximum(at_end + (g - level) * left, g * free)
        return end, (middle, end)

    left_half, free_half = jnp.exp(-0.5 * z), jnp.exp(-0.5 * decay)
    inputs = (level, at_middle, at_end, left_half, left_half**2, free_half, free_half**2)
    _, (middles, ends) = jax.lax.scan(panel, jnp.asarray(start), inputs)
    return interleave(jnp.concatenate([jnp.asarray(start)[None], ends]), middles)


def runge_kutta(
    tau: Nodes,
    field: Callable[[Any, Any], Any],
    drive: Any,
    start: Any,
    growth: Callable[[Any, Any], Any] | None = None,
) -> Any:
    """Classical fourth-order Runge-Kutta, one step a panel, for y' = field(y, drive).

    With `growth` the step is taken in z = y exp(-growth s), s the time since the panel began (Lawson 1967, doi
    10.1137/0704033): where y only grows or declines at a constant rate the step is exact, and a compartment that is
    filled from outside is integrated as it is, not as a logarithm.

    Args:
        tau: nodes [Q].
        field: time derivative from the state and the drive at that node; both any pytrees.
        drive: pytree of arrays [Q, ...], known beforehand at every node.
        start: state at the first node.
        growth: rates [1/day] from the state and the drive at the start of a panel, a pytree like the state.

    Returns:
        The state at every node [Q, ...]; at the middles by the cubic Hermite interpolant, which keeps the order.
    """
    h = panel_lengths(tau)
    parts = jax.tree.map(lambda d: jnp.stack(panel_values(d), axis=1), drive)

    def combine(y: Any, *terms: tuple[Any, Any]) -> Any:
        out = y
        for factor, slope in terms:
            out = jax.tree.map(lambda a, b, c=factor: a + c * b, out, slope)
        return out

    def panel(y: Any, inputs: Any) -> tuple[Any, tuple[Any, Any]]:
        h, part = inputs
        first, middle, last = (jax.tree.map(lambda d, i=i: d[i], part) for i in range(3))
        grown, slope = _lawson(field, None if growth is None else growth(y, first), h)
        k1 = slope(y, 0.0, first)
        k2 = slope(combine(y, (0.5 * h, k1)), 0.5, middle)
        k3 = slope(combine(y, (0.5 * h, k2)), 0.5, middle)
        k4 = slope(combine(y, (h, k3)), 1.0, last)
        end = combine(y, (h / 6.0, k1), (h / 3.0, k2), (h / 3.0, k3), (h / 6.0, k4))
        slope_end = slope(end, 1.0, last)
        mid = jax.tree.map(lambda a, b, s, e: 0.5 * (a + b) + h / 8.0 * (s - e), y, end, k1, slope_end)
        mid, end = grown(mid, 0.5), grown(end, 1.0)
        return end, (mid, end)

    # Reverse mode takes a panel again rather than keep all that happens in it: it is the traffic that costs.
    _, (middles, ends) = jax.lax.scan(jax.checkpoint(panel, prevent_cse=False), start, (h, parts))
    return jax.tree.map(lambda s, e, m: interleave(jnp.concatenate([s[None], e]), m), start, ends, middles)


def _lawson(field: Callable[[Any, Any], Any], rates: Any, h: Scalar) -> tuple[Any, Any]:
    """The state y from z at a share of the panel, and the slope of z; y is z where there are no rates."""
    if rates is None:
        return lambda z, share: z, lambda z, share, drive: field(z, drive)
    # exp(30) is far beyond what one panel should see; it keeps the factors finite in single precision.
    powers = jax.tree.map(lambda r: jnp.clip(r * h, -30.0, 30.0), rates)

    def grown(z: Any, share: float) -> Any:
        return jax.tree.map(lambda a, p: a * jnp.exp(share * p), z, powers)

    def slope(z: Any, share: float, drive: Any) -> Any:
        y = grown(z, share)
        return jax.tree.map(lambda f, a, p: (f - p / h * a) * jnp.exp(-share * p), field(y, drive), y, powers)

    return grown, slope
