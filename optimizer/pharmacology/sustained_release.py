"""Sustained release: a carrier that frees the drug at a rate of its own."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.pharmacology.base import AbstractPK
from optimizer.pharmacology.first_order import decay_and_fill, divided_decay

_CARRIER = "doi 10.2165/00003088-200342050-00002"


class SustainedRelease(AbstractPK):
    """Doses in mg of drug in a carrier (depot, liposome, nanoparticle); what acts is the drug that it has freed.

        B' = u - (kr + kb) B      A' = kr B - (CL / V) A      c = A / V

    B is the drug still in the carrier, of which kb B a day is cleared with it and never freed.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | kr | release | 1/day | rate at which the carrier frees the drug | the carrier's label or paper |
    | V | volume | L | volume of distribution of free drug | same |
    | CL | clearance | L/day | clearance of free drug | same |
    | kb | carrier_loss | 1/day | rate at which loaded carrier is cleared | same |

    Liposomes as carriers: Gabizon et al. 2003, doi 10.2165/00003088-200342050-00002.

    Example:
        >>> pk = SustainedRelease(release=0.1, volume=20.0, clearance=40.0)
        >>> float(pk.concentration(pk.bolus(pk.initial(), 10.0), 0.0))
        0.0
    """

    kind: ClassVar[str] = "sustained_release"
    dose_unit: ClassVar[str] = "mg"
    half_life_of: ClassVar[str] = "clearance"
    release: Scalar = parameter(
        unit="1/day", doc="rate at which the carrier frees the drug", source=_CARRIER, positive=True
    )
    volume: Scalar = parameter(unit="L", doc="volume of distribution of free drug", positive=True)
    clearance: Scalar = parameter(unit="L/day", doc="clearance of free drug", positive=True)
    carrier_loss: Scalar = parameter(
        unit="1/day", doc="rate at which loaded carrier is cleared", source=_CARRIER, default=0.0, minimum=0.0
    )

    def initial(self) -> Float[Array, "s"]:
        return jnp.zeros(2, self.volume.dtype)

    def _rates(self) -> tuple[Scalar, Scalar]:
        """Rates at which the carrier and the free drug are lost [1/day]."""
        return self.release + self.carrier_loss, self.clearance / self.volume

    def evolve(self, state: Float[Array, "s"], rate: Scalar, tau: Scalar) -> Float[Array, "s"]:
        leaving, k = self._rates()
        left, fill = decay_and_fill(leaving, tau)
        away = state[0] - rate / leaving
        freed, filled = decay_and_fill(k, tau)
        # A steady carrier frees at a constant rate; what it holds beyond that empties like a bolus.
        steady = self.release * rate / leaving * filled
        body = state[1] * freed + steady + self.release * away * divided_decay(leaving, k, tau)
        return jnp.stack([state[0] * left + rate * fill, body])

    def field(self, state: Float[Array, "s"], rate: Scalar) -> Float[Array, "s"]:
        leaving, k = self._rates()
        return jnp.stack([rate - leaving * state[0], self.release * state[0] - k * state[1]])

    def concentration(self, state: Float[Array, "s"], rate: Scalar) -> Scalar:
        return state[1] / self.volume

    def exposure(self, state: Float[Array, "s"], given: Scalar) -> Scalar:
        leaving, _ = self._rates()
        freed = self.release * (given - state[0]) / leaving
        return (freed - state[1]) / self.clearance

    def elimination_rate(self) -> Scalar:
        return jnp.minimum(*self._rates())

    def transient_rate(self) -> Scalar:
        return jnp.maximum(*self._rates())
