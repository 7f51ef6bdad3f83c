"""One compartment: an amount in a volume."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.pharmacology.base import AbstractPK
from optimizer.pharmacology.first_order import decay_and_fill, decay_time


class OneCompartment(AbstractPK):
    """Doses in mg into a volume V, cleared at CL: dA/dt = u - (CL / V) A, c = A / V.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | V | volume | L | volume of distribution | the drug's label or paper |
    | CL | clearance | L/day | clearance | the drug's label or paper |

    Example:
        >>> pk = OneCompartment(volume=5.0, clearance=0.5)
        >>> float(pk.concentration(pk.bolus(pk.initial(), 10.0), 0.0))
        2.0
    """

    kind: ClassVar[str] = "one_compartment"
    dose_unit: ClassVar[str] = "mg"
    half_life_of: ClassVar[str] = "clearance"
    is_linear: ClassVar[bool] = True
    volume: Scalar = parameter(unit="L", doc="volume of distribution", positive=True)
    clearance: Scalar = parameter(unit="L/day", doc="clearance", positive=True)

    def initial(self) -> Float[Array, "s"]:
        return jnp.zeros_like(self.volume)[None]

    def bolus(self, state: Float[Array, "s"], amount: Scalar) -> Float[Array, "s"]:
        return state + amount

    def evolve(self, state: Float[Array, "s"], rate: Scalar, tau: Scalar) -> Float[Array, "s"]:
        left, fill = decay_and_fill(self.elimination_rate(), tau)
        return state * left + rate * fill

    def field(self, state: Float[Array, "s"], rate: Scalar) -> Float[Array, "s"]:
        return rate - self.elimination_rate() * state

    def concentration(self, state: Float[Array, "s"], rate: Scalar) -> Scalar:
        return state[0] / self.volume

    def exposure(self, state: Float[Array, "s"], given: Scalar) -> Scalar:
        return (given - state[0]) / self.clearance

    def elimination_rate(self) -> Scalar:
        return self.clearance / self.volume

    def crossings(self, state: Float[Array, "s"], rate: Scalar, level: Scalar) -> tuple[Scalar, ...]:
        return (decay_time(state[0] / self.volume, rate / self.clearance, level, self.elimination_rate()),)
