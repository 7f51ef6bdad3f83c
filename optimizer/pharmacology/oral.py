"""Oral doses: first-order absorption with bioavailability and a lag."""

from typing import ClassVar

import equinox as eqx
import jax
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
    one every day: D' = F u(t - lag) - ka D.

    The state holds what waits or is absorbed of the last dose, what is absorbed of earlier doses, the amount in the
    body (all mg), the time since the last dose [day]; the rate that arrives and the one behind it [mg/day], and how
    long that still waits [day]. The lag must be shorter than the time between two doses or rates; `field` takes the
    rate that arrives. Volume and clearance are apparent ones (V / F, CL / F) where the bioavailability is left at 1.

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
        return jnp.zeros(7, self.volume.dtype)

    def bolus(self, state: Float[Array, "s"], amount: Scalar) -> Float[Array, "s"]:
        last, earlier, body, _, *rates = state
        return jnp.stack([self.bioavailability * amount, earlier + last, body, jnp.zeros_like(body), *rates])

    def evolve(self, state: Float[Array, "s"], rate: Scalar, tau: Scalar) -> Float[Array, "s"]:
        last, earlier, body, since, arriving, behind, wait = state
        k = self.elimination()
        open_for = jnp.clip(since + tau - self.lag, 0.0, tau)
        absorbed = last * divided_decay(self.absorption, k, open_for)
        absorbed += earlier * divided_decay(self.absorption, k, tau)
        # Steps of the rate, and for how long each has been arriving; what one has filled of gut and body.
        steps = self.bioavailability * jnp.stack([arriving, behind - arriving, rate - behind])
        arrived = jnp.clip(tau - jnp.stack([jnp.zeros_like(wait), wait, self.lag + 0.0 * wait]), 0.0)
        in_gut, in_body = jax.vmap(self._filled)(arrived)
        # Of two steps that wait one is kept: the lag is shorter than what has one rate.
        is_past = (tau >= wait) & (tau > 0.0)
        now = jnp.where(tau >= self.lag, rate, jnp.where(is_past, behind, arriving))
        later = jnp.where(is_past, rate, behind)
        left = jnp.where(is_past, jnp.maximum(self.lag - tau, 0.0), wait - tau)
        return jnp.stack(
            [
                last * jnp.exp(-self.absorption * open_for),
                earlier * jnp.exp(-self.absorption * tau) + jnp.sum(steps * in_gut),
                body * jnp.exp(-k * tau) + self.absorption * absorbed + jnp.sum(steps * in_body),
                since + tau,
                now,
                later,
                jnp.where(now == later, 0.0, left),
            ]
        )

    def _filled(self, tau: Scalar) -> tuple[Scalar, Scalar]:
        """What a unit rate of absorbable drug has filled of gut and body [day]."""
        in_gut, in_body = (decay_and_fill(rate, tau)[1] for rate in (self.absorption, self.elimination()))
        return in_gut, in_body - divided_decay(self.absorption, self.elimination(), tau)

    def field(self, state: Float[Array, "s"], rate: Scalar) -> Float[Array, "s"]:
        last, earlier, body, since = state[:4]
        out = jnp.where(since >= self.lag, self.absorption * last, 0.0)
        gained = out + self.absorption * earlier
        taken = self.bioavailability * rate - self.absorption * earlier
        still = jnp.zeros_like(body)
        return jnp.stack([-out, taken, gained - self.elimination() * body, jnp.ones_like(body), still, still, still])

    def concentration(self, state: Float[Array, "s"], rate: Scalar) -> Scalar:
        return state[2] / self.volume

    def exposure(self, state: Float[Array, "s"], given: Scalar) -> Scalar:
        waits = state[4] * state[6] + state[5] * (self.lag - state[6])
        return (self.bioavailability * (given - waits) - state[0] - state[1] - state[2]) / self.clearance

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
