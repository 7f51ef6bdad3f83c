"""Panel edges where the equations of an interval are continuous but not smooth."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer import mesh as _mesh
from optimizer.axes import Flag, Nodes, Scalar
from optimizer.models.base import AbstractModel
from optimizer.pharmacology.base import AbstractPK


def with_switching_levels(
    tau: Nodes,
    model: AbstractModel,
    pharmacokinetics: Sequence[AbstractPK],
    states: tuple[Any, ...],
    rates: Float[Array, "N"],
) -> Nodes:
    """Nodes of an interval with a panel edge wherever a concentration crosses a level with a kink in the equations.

    The same where a drug's own kinetics have one, such as the end of a lag.
    """
    for kinetics in pharmacokinetics:
        delay = kinetics.delay()
        if delay is not None:
            tau = _mesh.snap(tau, delay, (delay > 0.0) & (delay < tau[-1]))
    for drug, level in model.switching_levels():
        kinetics, state, rate = pharmacokinetics[drug], states[drug], rates[drug]

        def above(t: Scalar, kinetics=kinetics, state=state, rate=rate, level=level) -> Scalar:
            return kinetics.concentration(kinetics.evolve(state, rate, t), rate) - level

        tau = _mesh.snap(tau, *_crossing(above, tau[::2]))
    return tau


def _crossing(function: Callable[[Scalar], Scalar], edges: Array) -> tuple[Scalar, Flag]:
    """First time at which a function changes sign between edges, exact derivatives of two orders; and if it does.

    Around the root t* the function is f(t*) + f' s + f'' s^2 / 2, zero at s = -r (1 + q r / 2) with r = f(t*) / f' and
    q = f'' / f'. At the root r is zero while its derivatives are not, so that those of q are not needed.
    """
    values = jax.lax.stop_gradient(jax.vmap(function)(edges))
    changes = values[:-1] * values[1:] < 0.0
    # A touch without a slope is no crossing worth an edge.
    present, first = jnp.any(changes), jnp.argmax(changes)
    low, high = edges[first], edges[first + 1]

    def slope(t: Scalar) -> tuple[Scalar, Scalar]:
        value, change = jax.jvp(function, (t,), (jnp.ones_like(t),))
        return jnp.where(present, value, 0.0), jnp.where(present, change, 1.0)

    drop = jnp.where(present, values[first] - values[first + 1], 1.0)
    time = low + (high - low) * jnp.clip(values[first] / drop, 0.0, 1.0)
    for _ in range(4):
        value, change = slope(time)
        time = jax.lax.stop_gradient(jnp.clip(time - value / change, low, high))
    _, (_, bend) = jax.jvp(slope, (time,), (jnp.ones_like(time),))
    value, change = slope(time)
    ratio = value / change
    return time - ratio * (1.0 + 0.5 * jax.lax.stop_gradient(bend / change) * ratio), present
