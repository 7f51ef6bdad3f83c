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
