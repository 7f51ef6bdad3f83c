"""First-order kinetics of a concentration."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.pharmacology.base import AbstractPK


def decay_and_fill(rate_constant: Scalar, tau: Scalar) -> tuple[Scalar, Scalar]:
    """exp(-k tau) and (1 - exp(-k tau)) / k [day]: what is left, and what a unit infusion has filled."""
    left = jnp.exp(-rate_constant * tau)
    return left, -jnp.expm1(-rate_constant * tau) / rate_constant


def decay_time(first: Scalar, steady: Scalar, level: Scalar, rate_constant: Scalar) -> Scalar:
    """Time [day] at which steady + (first - steady) exp(-k t) crosses a level; 0 where it never does."""
    away = jnp.asarray(level - steady)
    ratio = (first - steady) / jnp.where(away == 0.0, 1.0, away)
    happens = (away != 0.0) & (ratio > 1.0)
    return jnp.where(happens, jnp.log(jnp.where(happens, ratio, 1.0)) / rate_constant, 0.0)


class FirstOrder(AbstractPK):
    """A dose is a jump of the concentration, which decays at a constant rate: dc/dt = u - k c.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | k | elimination | 1/day | elimination rate | doi 10.1038/s41540-025-00495-0 |

    Example:
        >>> pk = FirstOrder(elimination=0.144)
        >>> float(pk.evolve(pk.bolus(pk.initial(), 1.0), 0.0, 1.0)[0]) < 0.87
        True
    """

    kind: ClassVar[str] = "first_order"
    dose_unit: ClassVar[str] = "mg/L"
    half_life_of: ClassVar[str] = "elimination"
    is_linear: ClassVar[bool] = True
    elimination: Scalar = parameter(unit="1/day", doc="elimination rate", positive=True)

    def initial(self) -> Float[Array, "s"]:
        return jnp.zeros_like(self.elimination)[None]

    def bolus(self, state: Float[Array, "s"], amount: Scalar) -> Float[Array, "s"]:
        return state + amount

    def evolve(self, state: Float[Array, "s"], rate: Scalar, tau: Scalar) -> Float[Array, "s"]:
        left, fill = decay_and_fill(self.elimination, tau)
        return state * left + rate * fill

    def field(self, state: Float[Array, "s"], rate: Scalar) -> Float[Array, "s"]:
        return rate - self.elimination * state

    def concentration(self, state: Float[Array, "s"], rate: Scalar) -> Scalar:
        return state[0]

    def exposure(self, state: Float[Array, "s"], given: Scalar) -> Scalar:
        return (given - state[0]) / self.elimination

    def elimination_rate(self) -> Scalar:
        return self.elimination

    def crossings(self, state: Float[Array, "s"], rate: Scalar, level: Scalar) -> tuple[Scalar, ...]:
        return (decay_time(state[0], rate / self.elimination, level, self.elimination_rate()),)


# --- two compartments, the first emptying into the second -------------------------------------------------------------


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
