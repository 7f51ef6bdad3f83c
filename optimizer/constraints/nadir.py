"""Lowest neutrophil count."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar, Times
from optimizer.constraints.base import AbstractStateLimit, Reading
from optimizer.fields import parameter
from optimizer.objectives.base import Scene


class Nadir(AbstractStateLimit):
    """Neutrophils(t) >= limit at all times, as the mechanism `myelosuppression` predicts them.

    The excess is ln(limit / neutrophils): 0.1 is about a tenth too few. A lowest count is that of the quartic through
    five saved ones, and so does not hang on when they are saved. Severe neutropenia (grade 4) is below 0.5e9 cells/L,
    grade 3 below 1e9 (NCI Common Terminology Criteria for Adverse Events, version 5).
    """

    kind: ClassVar[str] = "nadir"
    is_local: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("neutrophils",)
    limit: Scalar = parameter(unit="cell/L", doc="lowest allowed neutrophil count", positive=True)

    def read(self, scene: Scene) -> Reading:
        trajectory = scene.trajectory
        logs = _bottoms(trajectory.times, jnp.log(trajectory.observables["neutrophils"]))
        return Reading(jnp.log(self.limit) - logs, jnp.exp(jnp.min(logs)), self.limit)


def _bottoms(times: Times, values: Times) -> Times:
    """The values, each that is lower than its neighbors replaced by the bottom of the quartic through five of them."""
    count = times.size - 4
    if count < 1:
        return values
    x = jnp.stack([times[k : k + count] for k in range(5)], -1) - times[2:-2, None]
    y = jnp.stack([values[k : k + count] for k in range(5)], -1)
    # A dose edge is saved twice: beside it a value stands as it is.
    smooth = jnp.all(x[:, 1:] - x[:, :-1] > 1e-9, axis=-1)
    lowest = smooth & (y[:, 2] < y[:, 1]) & (y[:, 2] < y[:, 3])
    plain = jnp.arange(-2.0, 3.0)
    x, y = jnp.where(lowest[:, None], x, plain), jnp.where(lowest[:, None], y, plain**2)
    return values.at[2:-2].add(jnp.where(lowest, jax.vmap(_bottom)(x, y) - y[:, 2], 0.0))


def _bottom(x: Float[Array, "points"], y: Float[Array, "points"]) -> Scalar:
    """Least value, near the middle one, of the polynomial through five points (Newton's form)."""
    nodes = [x[k] for k in range(5)]
    level, terms = [y[k] for k in range(5)], [y[0]]
    for order in range(1, 5):
        level = [(level[k + 1] - level[k]) / (nodes[k + order] - nodes[k]) for k in range(5 - order)]
        terms.append(level[0])

    def polynomial(s: Scalar) -> Scalar:
        value = terms[4]
        for k in (3, 2, 1, 0):
            value = terms[k] + value * (s - nodes[k])
        return value

    def slope(s: Scalar) -> Scalar:
        return jax.jvp(polynomial, (s,), (jnp.ones_like(s),))[1]

    # At the bottom the slope is zero: where it lies does not change the value, to first order.
    low, high = jax.lax.stop_gradient((nodes[1], nodes[3]))
    at = jnp.zeros_like(low)
    for _ in range(4):
        first, second = jax.jvp(slope, (at,), (jnp.ones_like(at),))
        at = jnp.clip(at - first / jnp.where(second > 0.0, second, jnp.inf), low, high)
    return polynomial(jax.lax.stop_gradient(at))
