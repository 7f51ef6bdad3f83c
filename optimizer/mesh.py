"""Nodes of one decision interval, and the quadrature and Runge-Kutta rules that live on them.

An interval is cut into panels; each has the five nodes of Lobatto's rule, its two ends shared with its neighbors, so
that an interval of `panels` panels has Q = 4 panels + 1 nodes. After a dose a fast factor relaxes within hours while
nothing else happens for days (the boundary layer of the growth factor): such a layer has panels of its own, which grow
geometrically; the rest is cut evenly, and again where a concentration crosses a switching level.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial import legendre, polynomial

from optimizer.axes import Nodes, Scalar

# Extent of a boundary layer, in units of its time constant: exp(-12) of the jump is left at its end.
_LAYER_SPAN = 12.0
# Degree of the polynomial through the nodes of a panel.
DEGREE = 4


def _lobatto() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lobatto's nodes on [0, 1], their weights, integrals from 0 to each node, and values to powers of the place."""
    inner = legendre.legroots(legendre.legder([0.0] * DEGREE + [1.0]))
    places = 0.5 + 0.5 * np.r_[-1.0, inner, 1.0]
    powers = np.linalg.inv(np.vander(places, increasing=True))
    integrals = np.array([polynomial.polyval(places, polynomial.polyint(row)) for row in powers.T]).T
    return places, integrals[-1], integrals, powers


# Abramowitz and Stegun 1964, 25.4.32: exact for polynomials of degree seven.
PLACES, _WEIGHTS, _INTEGRALS, POWERS = _lobatto()

# Weight of a panel's first or last node, as a share of its length.
END_WEIGHT = float(_WEIGHTS[0])

# Dormand and Prince 1980 (doi 10.1016/0771-050X(80)90013-3), and Shampine's continuous extension of order four
# (1986, doi 10.1090/S0025-5718-1986-0815836-3).
_STAGES = np.array([0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0])
_TABLEAU = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_EXTENSION = np.array(
    [
        [1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432],
        [0.0, 0.0, 0.0, 0.0],
        [0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799],
        [0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072],
        [0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632],
        [0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844],
        [0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423],
    ]
)
# Values at a panel's nodes to those at the stages of a step, and slopes at the stages to the state inside.
_TO_STAGES = np.vander(_STAGES, DEGREE + 1, increasing=True) @ POWERS
_INSIDE = PLACES[1:-1, None] * (np.vander(PLACES[1:-1], 4, increasing=True) @ _EXTENSION.T)


def _number(value: Scalar) -> Array:
    return jnp.asarray(value, dtype=float)


def _like(values: Array, table: np.ndarray) -> Array:
    """A table in the precision of values: NumPy's numbers would promote single precision."""
    return jnp.asarray(table, values.dtype)


def _combine(table: np.ndarray, values: Float[Array, "panels nodes ..."]) -> Float[Array, "panels rows ..."]:
    """A small table times the values at the nodes of each panel.

    Written out as sums: what a matrix product gives for one patient may depend, in its last bit, on who else is there.
    """
    columns = _like(values, table).T.reshape((table.shape[1], -1) + (1,) * (values.ndim - 2))
    total = columns[0] * values[:, 0, None]
    for r in range(1, table.shape[1]):
        total = total + columns[r] * values[:, r, None]
    return total


class Mesh(eqx.Module):
    """Panels of every decision interval: `layer` of them in the boundary layer after a dose, `uniform` in the rest."""

    uniform: int = eqx.field(static=True)
    layer: int = eqx.field(static=True, default=0)
    #: rate of the slowest boundary layer [1/day]; unused when `layer` is 0
    layer_rate: Scalar = eqx.field(converter=_number, default=0.0)
    #: length of the last panel of the layers over that of the first
    grading: Scalar = eqx.field(converter=_number, default=4.0)
    #: panel edges at each of the model's switching levels
    switched: tuple[int, ...] = eqx.field(static=True, default=())

    @property
    def panels(self) -> int:
        """Panels of an interval."""
        return self.uniform + self.layer + sum(self.switched)

    @property
    def size(self) -> int:
        """Nodes Q of an interval."""
        return DEGREE * self.panels + 1

    def edges(self, length: Scalar) -> Float[Array, "panels_and_one"]:
        """Panel edges [day] from 0 to `length`."""
        # In the precision of the length, whatever is switched on.
        kind = jnp.result_type(float if isinstance(length, float) else length)
        edges = jnp.arange(self.uniform + 1, dtype=kind) / self.uniform
        if self.layer:
            span = jnp.minimum(_LAYER_SPAN / self.layer_rate / length, 0.5)
            # Each panel is longer than the one before by the same factor.
            growth = jnp.log(self.grading) / max(self.layer - 1, 1)
            steps = jnp.expm1(growth * jnp.arange(self.layer, dtype=kind))
            ladder = span * steps / jnp.expm1(growth * self.layer)
            edges = jnp.concatenate([ladder, span + (1.0 - span) * edges])
        return length * edges

    def nodes(self, length: Scalar, crossings: Array | Sequence[Scalar] = ()) -> Nodes:
        """Node times [day] from 0 to `length`, with panel edges at further times; one outside is an empty panel."""
        edges = self.edges(length)
        if len(crossings):
            edges = jnp.sort(jnp.concatenate([edges, jnp.clip(jnp.asarray(crossings), 0.0, length)]))
        inner = edges[:-1, None] + jnp.diff(edges)[:, None] * _like(edges, PLACES[:-1])
        return jnp.concatenate([inner.ravel(), edges[-1:]])


def common(meshes: Sequence[Mesh]) -> Mesh:
    """A mesh that has as many panels as each of some needs, and as fine ones."""
    switched = tuple(max(each) for each in zip(*(mesh.switched for mesh in meshes), strict=True))
    layered = [mesh for mesh in meshes if mesh.layer]
    uniform = max(mesh.uniform for mesh in meshes)
    if not layered:
        return Mesh(uniform, switched=switched)
    return Mesh(
        uniform,
        max(mesh.layer for mesh in layered),
        min(float(mesh.layer_rate) for mesh in layered),
        max(float(mesh.grading) for mesh in layered),
        switched,
    )


def panel_lengths(tau: Nodes) -> Float[Array, "panels"]:
    """Length of each panel [day]."""
    return tau[DEGREE::DEGREE] - tau[:-DEGREE:DEGREE]


def panel_values(values: Float[Array, "Q ..."]) -> Float[Array, "panels nodes ..."]:
    """Values at the nodes of each panel; a node that two panels share is in both."""
    inner = values[:-1].reshape((-1, DEGREE, *values.shape[1:]))
    return jnp.concatenate([inner, values[DEGREE::DEGREE, None]], axis=1)


def weights(tau: Nodes) -> Nodes:
    """Lobatto weights [day]: the sum of weights times values is the integral over the interval."""
    each = panel_lengths(tau)[:, None] * _like(tau, _WEIGHTS)
    inner, last = each[:, :-1], each[:, -1]
    inner = inner.at[1:, 0].add(last[:-1])
    return jnp.concatenate([inner.ravel(), last[-1:]])


def cumulative(tau: Nodes, rate: Float[Array, "Q ..."]) -> Float[Array, "Q ..."]:
    """Integral of `rate` from the start of the interval to each node (the polynomial through the nodes of a panel)."""
    h = panel_lengths(tau).reshape((-1, 1) + (1,) * (rate.ndim - 1))
    inside = h * _combine(_INTEGRALS, panel_values(rate))
    before = jnp.cumsum(inside[:, -1], axis=0)
    inside = inside.at[1:].add(before[:-1, None])
    return _joined(jnp.zeros_like(rate[0]), inside[:, 1:])


def _joined(first: Array, others: Float[Array, "panels nodes ..."]) -> Array:
    """A first node and the later nodes of each panel put into node order [Q, ...]."""
    return jnp.concatenate([first[None], others.reshape((-1, *others.shape[2:]))])


# Below this many time constants a panel's relaxation is a series in their number, above it in its inverse.
_SHORT, _TERMS = 0.5, 9
# Values at the nodes of a panel to slopes of all orders there, and to repeated integrals from its start.
_SLOPE = np.vander(PLACES, DEGREE, increasing=True) @ (np.arange(1.0, DEGREE + 1)[:, None] * POWERS[1:])
_POWERS_OF_SLOPE = np.array([np.linalg.matrix_power(_SLOPE, k) for k in range(DEGREE + 1)])
_POWERS_OF_INTEGRAL = np.array([np.linalg.matrix_power(_INTEGRALS, k + 1) for k in range(_TERMS)])


def relax(tau: Nodes, target: Nodes, rate: Nodes, start: Scalar, fallback_rate: Scalar) -> Nodes:
    """Solve g' = max(rate (target - g), -fallback_rate g) on the nodes, g(0) = start.

    On each panel the target is the polynomial through its nodes and the rate its value in the middle; the linear
    equation is then solved exactly, however long the panel is against 1/rate. Both flows start from the same g, and
    while one field is the larger its flow is the larger, so the larger end value is the solution; only in the panel in
    which the fields change places it falls short, by the square of what the panel spans.
    """
    h, targets = panel_lengths(tau), panel_values(target)
    z = panel_values(rate)[:, DEGREE // 2] * h
    places = _like(tau, PLACES[1:])
    steady, left = _settled(z, targets), jnp.exp(-z[:, None] * places)
    free = jnp.exp(-(fallback_rate * h)[:, None] * places)

    def panel(g: Scalar, inputs: Any) -> tuple[Scalar, Nodes]:
        from_target, left, free = inputs
        along = jnp.maximum(from_target + g * left, g * free)
        return along[-1], along

    _, others = jax.lax.scan(panel, jnp.asarray(start), (steady, left, free))
    return _joined(jnp.asarray(start), others)


def _settled(z: Float[Array, "panels"], targets: Float[Array, "panels nodes"]) -> Float[Array, "panels later_nodes"]:
    """Solution of g' = z (target - g) from g(0) = 0 at the nodes after the first, the panel's length being one."""
    long = jnp.where(z < _SHORT, 1.0, z)
    # The particular solution of a polynomial target is its alternating series of derivatives over powers of z.
    particular = _power_series(_POWERS_OF_SLOPE, targets, -1.0 / long)
    far = particular[:, 1:] - particular[:, :1] * jnp.exp(-long[:, None] * _like(z, PLACES[1:]))
    short = jnp.where(z < _SHORT, z, 0.0)
    near = short[:, None] * _power_series(_POWERS_OF_INTEGRAL, targets, -short)
    return jnp.where(z[:, None] < _SHORT, near[:, 1:], far)


def _power_series(
    tables: np.ndarray, values: Float[Array, "panels nodes"], x: Float[Array, "panels"]
) -> Float[Array, "panels nodes"]:
    """Sum over k of x^k times the k-th table times the values at the nodes of each panel."""
    terms, nodes, _ = tables.shape
    parts = _combine(tables.reshape(-1, nodes), values).reshape(-1, terms, nodes)
    total = parts[:, -1]
    for k in reversed(range(terms - 1)):
        total = parts[:, k] + x[:, None] * total
    return total


def runge_kutta(
    tau: Nodes,
    field: Callable[[Any, Any], Any],
    drive: Any,
    start: Any,
    growth: Callable[[Any, Any], Any] | None = None,
) -> Any:
    """Dormand and Prince's fifth-order Runge-Kutta method, one step a panel, for y' = field(y, drive).

    With `growth` the step is taken in z = y exp(-growth s), s the time since the panel began (Lawson 1967, doi
    10.1137/0704033): where y only grows or declines at a constant rate the step is exact, and a compartment that is
    filled from outside is integrated as it is, not as a logarithm.

    Args:
        tau: nodes [Q].
        field: time derivative from the state and the drive at that node; both any pytrees.
        drive: pytree of arrays [Q, ...], known beforehand at every node; between them a polynomial.
        start: state at the first node.
        growth: rates [1/day] from the state and the drive at the start of a panel, a pytree like the state.

    Returns:
        The state at every node [Q, ...]; inside a panel by Shampine's continuous extension.
    """
    h = panel_lengths(tau)
    stages = jax.tree.map(lambda d: _combine(_TO_STAGES, panel_values(d)), drive)

    def panel(y: Any, inputs: Any) -> tuple[Any, Any]:
        h, part = inputs
        at = [jax.tree.map(lambda d, i=i: d[i], part) for i in range(len(_STAGES))]
        grown, slope = _lawson(field, None if growth is None else growth(y, at[0]), h)
        slopes: list[Any] = []
        for share, row, drive in zip(_STAGES.tolist(), _TABLEAU, at, strict=True):
            z = _combined(y, h, row, slopes)
            slopes.append(slope(z, share, drive))
        inside = [
            grown(_combined(y, h, row, slopes), share)
            for share, row in zip(PLACES[1:-1].tolist(), _INSIDE.tolist(), strict=True)
        ]
        end = grown(z, 1.0)
        return end, jax.tree.map(lambda *parts: jnp.stack(parts), *inside, end)

    # Reverse mode takes a panel again rather than keep all that happens in it: it is the traffic that costs.
    _, others = jax.lax.scan(jax.checkpoint(panel, prevent_cse=False), start, (h, stages))
    return jax.tree.map(lambda first, rest: _joined(jnp.asarray(first), rest), start, others)


def _combined(y: Any, h: Scalar, factors: Sequence[float], slopes: Sequence[Any]) -> Any:
    """y + h times the sum of factors times slopes."""
    used = [(float(f), k) for f, k in zip(factors, slopes, strict=False) if f]
    if not used:
        return y
    parts = [k for _, k in used]
    return jax.tree.map(lambda a, *k: a + h * sum(f * each for (f, _), each in zip(used, k, strict=True)), y, *parts)


def _lawson(field: Callable[[Any, Any], Any], rates: Any, h: Scalar) -> tuple[Any, Any]:
    """The state y from z at a share of the panel, and the slope of z; y is z where there are no rates."""
    if rates is None:
        return lambda z, share: z, lambda z, share, drive: field(z, drive)
    # exp(30) is far beyond what one panel should see; it keeps the factors finite in single precision.
    most = 30.0 / jnp.maximum(h, 1e-30)
    rates = jax.tree.map(lambda r: jnp.clip(r, -most, most), rates)

    def grown(z: Any, share: float) -> Any:
        return jax.tree.map(lambda a, r: a * jnp.exp(share * h * r), z, rates)

    def slope(z: Any, share: float, drive: Any) -> Any:
        y = grown(z, share)
        return jax.tree.map(lambda f, a, r: (f - r * a) * jnp.exp(-share * h * r), field(y, drive), y, rates)

    return grown, slope
