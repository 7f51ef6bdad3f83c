"""First and second derivatives of all intervals at once, each by the few numbers at its start."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Numbers at an interval's start up to which second derivatives are pushed forward twice, by every pair of them; with
# more they are pushed through the way back. Measured with 3, 4, 5 (3 times as fast), 12 (half as fast) and 19.
_FEW = 8

# Of an interval, from the numbers at its start and whatever else it is at: the numbers at its end, its part of the
# merit, and what is read at its nodes; and numbers of which no derivatives are taken.
Stage = Callable[[Array, Any], tuple[tuple[Array, Array, list[Array]], Any]]
# From the adjoints of the numbers at the ends [K, d] and of what is read to second derivatives [K, m, m].
Weighted = Callable[[Array, list[Array]], Array]


def second_derivatives(stage: Stage, starts: Float[Array, "K m"], at: Any) -> tuple[Any, Any, Any, Weighted]:
    """What intervals give, the numbers without derivatives, first derivatives, a last axis [m] more, and second ones.

    Args:
        stage: an interval as a function of the numbers at its start.
        starts: the numbers.
        at: what else `stage` takes, leading axis K.
    """
    way = _twice_forward if starts.shape[1] <= _FEW else _forward_over_reverse
    return way(stage, starts, at)


def _twice_forward(stage: Stage, starts: Array, at: Any) -> tuple[Any, Any, Any, Weighted]:
    """By all pairs of numbers at once: the values are computed once, and no way back is kept."""

    def one(start: Array, at: Any) -> Any:
        def slopes(start: Array) -> Any:
            first, values = jax.jacfwd(lambda s: (lambda out: (out[0], out))(stage(s, at)), has_aux=True)(start)
            return first, (first, *values)

        return jax.jacfwd(slopes, has_aux=True)(start)

    (end, cost, nodes), (first, found, others) = jax.vmap(one)(starts, at)

    def weighted(ends: Array, cotangents: list[Array]) -> Array:
        pairs = zip([ends, *cotangents], [end, *nodes], strict=True)
        return cost + sum(jnp.einsum("kq...,kq...mn->kmn", weight, second) for weight, second in pairs)

    return found, others, first, weighted


def _forward_over_reverse(stage: Stage, starts: Array, at: Any) -> tuple[Any, Any, Any, Weighted]:
    """By one push for each number through the way back."""

    def one(start: Array, at: Any) -> Any:
        def there_and_back(start: Array) -> Any:
            given, back, others = jax.vjp(lambda s: stage(s, at), start, has_aux=True)
            numbers, rest = eqx.partition(back, eqx.is_inexact_array)
            return (given, numbers), (rest, others)

        def push(v: Array) -> Any:
            return jax.jvp(there_and_back, (start,), (v,), has_aux=True)

        return jax.vmap(push, out_axes=(None, -1, None))(jnp.eye(start.size, dtype=start.dtype))

    (found, numbers), (first, slopes), (rest, others) = jax.vmap(one)(starts, at)

    def weighted(back: Any, slopes: Any, end: Array, cotangent: list[Array]) -> Array:
        numbers, rest = eqx.partition(back, eqx.is_inexact_array)

        def slope(numbers: Any) -> Array:
            return eqx.combine(numbers, rest)((end, jnp.ones_like(end[0]), cotangent))[0]

        return jax.vmap(lambda v: jax.jvp(slope, (numbers,), (v,))[1], -1, -1)(slopes)

    return found, others, first, partial(jax.vmap(weighted), eqx.combine(numbers, rest), slopes)
