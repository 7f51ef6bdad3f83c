"""Oral doses: first-order absorption with bioavailability and a lag."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.pharmacology.base import AbstractPK
from optimizer.pharmacology.first_order import decay_and_fill, divided_decay

_BATEMAN = "Bateman 1910, Proc Cambridge Philos Soc 15:423"


class Oral(AbstractPK):
    """A dose waits for the lag, is absorbed at a constant rate, and is cleared from one compartment.

        D(0) = F dose    D' = -ka D after the lag    A' = ka D - (CL / V) A    c = A / V

    A rate in place of a dose (the route "infusion") stands for tablets spread evenly over the interval, such as
    one every day: D' = F u - ka D, without a lag.

    The state holds what waits or is absorbed of the last dose, what is absorbed of earlier doses, the amount in the
    body (all mg), and the time since the last dose [day]. The lag must be shorter than the time between two doses.
    Volume and clearance are apparent ones (V / F, CL / F) where the bioavailability is left at 1.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | V | volume | L | volume of distribution | the drug's label or paper |
    | CL | clearance | L/day | clearance | same |
    | ka | absorption | 1/day | rate of absorption | same |
    | F | bioavailability | 1 | share of a dose that is absorbed | same |
    | - | lag | day | time from the dose to the start of its absorption | same |

    The closed form is the one of Bateman 1910, Proc Cambridge Philos Soc 15:423; at ka = CL / V its limit is taken.

    Example:
        >>> pk = Oral(volume=50.0, clearance=10.0, absorption=20.0)
        >>> state = pk.evolve(pk.bolus(pk.initial(), 100.0), 0.0, 0.2)
        >>> 1.5 < float(pk.concentration(state, 0.0)) < 2.0
        True
    """

    kind: ClassVar[str] = "oral"
    dose_unit: ClassVar[str] = "mg"
    half_life_of: ClassVar[str] = "clearance"
    volume: Scalar = parameter(unit="L", doc="volume of distribution", positive=True)
    clearance: Scalar = parameter(unit="L/day", doc="clearance", positive=True)
    absorption: Scalar = parameter(unit="1/day", doc="rate of absorption (ka)", source=_BATEMAN, positive=True)
    bioavailability: Scalar = parameter(
        unit="1", doc="share of a dose that is absorbed (F)", default=1.0, positive=True, maximum=1.0
    )
    lag: Scalar = parameter(
        unit="day", doc="time from the dose to the start of its absorption", default=0.0, minimum=0.0, maximum=0.5
    )

    def initial(self) -> Float[Array, "s"]:
        return jnp.zeros(4, self.volume.dtype)

    def bolus(self, state: Float[Array, "s"], amount: Scalar) -> Float[Array, "s"]:
        last, earlier, body, _ = state
        return jnp.stack([self.bioavailability * amount, earlier + last, body, jnp.zeros_like(body)])

    def evolve(self, state: Float[Array, "s"], rate: Scalar, tau: Scalar) -> Float[Array, "s"]:
        last, earlier, body, since = state
        k = self.elimination()
        open_for = jnp.clip(since + tau - self.lag, 0.0, tau)
        # Tablets spread evenly hold a steady amount in the gut; what is there beyond it empties like a dose.
        steady = self.bioavailability * rate / self.absorption
        away = earlier - steady
        left, filled = decay_and_fill(k, tau)
        absorbed = last * divided_decay(self.absorption, k, open_for) + away * divided_decay(self.absorption, k, tau)
        return jnp.stack(
            [
                last * jnp.exp(-self.absorption * open_for),
                steady + away * jnp.exp(-self.absorption * tau),
                body * left + self.absorption * (steady * filled + absorbed),
                since + tau,
            ]
        )

    def field(self, state: Float[Array, "s"], rate: Scalar) -> Float[Array, "s"]:
        last, earlier, body, since = state
        out = jnp.where(since >= self.lag, self.absorption * last, 0.0)
        gained = out + self.absorption * earlier
        taken = self.bioavailability * rate - self.absorption * earlier
        return jnp.stack([-out, taken, gained - self.elimination() * body, jnp.ones_like(body)])

    def concentration(self, state: Float[Array, "s"], rate: Scalar) -> Scalar:
        return state[2] / self.volume

    def exposure(self, state: Float[Array, "s"], given: Scalar) -> Scalar:
        return (self.bioavailability * given - state[0] - state[1] - state[2]) / self.clearance

    def elimination(self) -> Scalar:
        """CL / V [1/day]."""
        return self.clearance / self.volume

    def elimination_rate(self) -> Scalar:
        return jnp.minimum(self.elimination(), self.absorption)

    def transient_rate(self) -> Scalar:
        return jnp.maximum(self.elimination(), self.absorption)

    def delay(self) -> Scalar:
        return self.lag

    def undelayed(self) -> "Oral":
        return eqx.tree_at(lambda pk: pk.lag, self, jnp.zeros_like(self.lag))
