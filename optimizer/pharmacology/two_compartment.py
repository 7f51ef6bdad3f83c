"""Two compartments: a plasma that exchanges drug with a periphery."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.pharmacology.base import AbstractPK
from optimizer.pharmacology.first_order import divided_decay

_ROWLAND = "Rowland and Tozer, Clinical Pharmacokinetics and Pharmacodynamics, 4th edition, chapter 19"


class TwoCompartment(AbstractPK):
    """Doses in mg into the plasma, which exchanges with a periphery.

        A1' = u - (k10 + k12) A1 + k21 A2      A2' = k12 A1 - k21 A2      c = A1 / V1
        k10 = CL / V1    k12 = Q / V1    k21 = Q / V2

    The closed form is exp(M t) from the two eigenvalues -alpha and -beta of the matrix M.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | V1 | volume | L | volume of the plasma compartment | the drug's label or paper |
    | CL | clearance | L/day | clearance from the plasma | same |
    | V2 | peripheral_volume | L | volume of the periphery | same |
    | Q | exchange | L/day | clearance between plasma and periphery | same |

    Equations: Rowland and Tozer, Clinical Pharmacokinetics and Pharmacodynamics, 4th edition, chapter 19.

    Example:
        >>> pk = TwoCompartment(volume=5.0, clearance=0.5, peripheral_volume=10.0, exchange=2.0)
        >>> float(pk.concentration(pk.bolus(pk.initial(), 10.0), 0.0))
        2.0
    """

    kind: ClassVar[str] = "two_compartment"
    dose_unit: ClassVar[str] = "mg"
    is_linear: ClassVar[bool] = True
    volume: Scalar = parameter(unit="L", doc="volume of the plasma compartment", source=_ROWLAND, positive=True)
    clearance: Scalar = parameter(unit="L/day", doc="clearance from the plasma", source=_ROWLAND, positive=True)
    peripheral_volume: Scalar = parameter(unit="L", doc="volume of the periphery", source=_ROWLAND, positive=True)
    exchange: Scalar = parameter(
        unit="L/day", doc="clearance between plasma and periphery", source=_ROWLAND, positive=True
    )

    def initial(self) -> Float[Array, "s"]:
        return jnp.zeros(2, self.volume.dtype)

    def _rates(self) -> tuple[Scalar, Scalar, Scalar]:
        """k10, k12, k21 [1/day]."""
        return self.clearance / self.volume, self.exchange / self.volume, self.exchange / self.peripheral_volume

    def _eigenvalues(self) -> tuple[Scalar, Scalar]:
        """beta and alpha [1/day], the slow and the fast rate of decline."""
        k10, k12, k21 = self._rates()
        total = k10 + k12 + k21
        # The square of the difference of the roots, as a sum of positive terms.
        alpha = 0.5 * (total + jnp.sqrt((k10 + k12 - k21) ** 2 + 4.0 * k12 * k21))
        return k10 * k21 / alpha, alpha

    def evolve(self, state: Float[Array, "s"], rate: Scalar, tau: Scalar) -> Float[Array, "s"]:
        # With a constant infusion the state relaxes to its steady level: A1 = u / k10 and as much per volume outside.
        k10, k12, k21 = self._rates()
        beta, _ = self._eigenvalues()
        steady = rate / k10 * jnp.stack([jnp.ones_like(k12), k12 / k21])
        away = state - steady
        spread = divided_decay(*self._eigenvalues(), tau)
        flow = jnp.stack([-(k10 + k12 - beta) * away[0] + k21 * away[1], k12 * away[0] - (k21 - beta) * away[1]])
        return steady + jnp.exp(-beta * tau) * away + spread * flow

    def field(self, state: Float[Array, "s"], rate: Scalar) -> Float[Array, "s"]:
        k10, k12, k21 = self._rates()
        exchanged = k12 * state[0] - k21 * state[1]
        return jnp.stack([rate - k10 * state[0] - exchanged, exchanged])

    def concentration(self, state: Float[Array, "s"], rate: Scalar) -> Scalar:
        return state[0] / self.volume

    def exposure(self, state: Float[Array, "s"], given: Scalar) -> Scalar:
        return (given - state[0] - state[1]) / self.clearance

    def elimination_rate(self) -> Scalar:
        return self._eigenvalues()[0]

    def transient_rate(self) -> Scalar:
        return self._eigenvalues()[1]
