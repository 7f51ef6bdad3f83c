"""One compartment that empties into another: the difference of two exponentials, finite where their rates are equal."""

import jax.numpy as jnp

from optimizer.axes import Scalar

# Below this argument the quotient is a power series, whose derivatives do not cancel.
_SMALL = 0.02


def decayed_share(z: Scalar) -> Scalar:
    """(1 - exp(-z)) / z for z >= 0, with exact derivatives at z = 0."""
    small = z < _SMALL
    safe = jnp.where(small, 1.0, z)
    series = 1.0 - z / 2.0 * (1.0 - z / 3.0 * (1.0 - z / 4.0 * (1.0 - z / 5.0 * (1.0 - z / 6.0 * (1.0 - z / 7.0)))))
    return jnp.where(small, series, -jnp.expm1(-safe) / safe)


def divided_decay(first: Scalar, second: Scalar, tau: Scalar) -> Scalar:
    """(exp(-a tau) - exp(-b tau)) / (b - a) [day], symmetric in the rates a and b [1/day]; tau exp(-a tau) where equal.

    Times a it is what a compartment holds at tau when another, emptying into it at rate a, began with one unit.

    Example:
        >>> float(divided_decay(0.5, 0.5, 2.0)).__round__(6)
        0.735759
    """
    slow, fast = jnp.minimum(first, second), jnp.maximum(first, second)
    return tau * jnp.exp(-slow * tau) * decayed_share((fast - slow) * tau)
