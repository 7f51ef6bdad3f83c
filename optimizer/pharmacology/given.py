"""No kinetics of its own: what was given so far, for equations that carry their own pharmacokinetics."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.pharmacology.base import AbstractPK


class Given(AbstractPK):
    """The amount given so far in a volume: c = (the sum of all doses) / V, which never falls.

    For a model whose equations say what becomes of a dose (`kind = "equations"`, its table `doses`).

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | V | volume | L | what the amount is divided by | the user's number |

    Example:
        >>> pk = Given()
        >>> float(pk.concentration(pk.evolve(pk.bolus(pk.initial(), 2.0), 0.5, 4.0), 0.5))
        4.0
    """

    kind: ClassVar[str] = "given"
    dose_unit: ClassVar[str] = "mg"

    volume: Scalar = parameter(unit="L", doc="what the amount is divided by", default=1.0, positive=True)

    def initial(self) -> Float[Array, "s"]:
        # The amount, and the integral of the concentration.
        return jnp.zeros(2)

    def evolve(self, state: Float[Array, "s"], rate: Scalar, tau: Scalar) -> Float[Array, "s"]:
        amount, area = state
        return jnp.stack([amount + rate * tau, area + tau * (amount + 0.5 * rate * tau) / self.volume])

    def field(self, state: Float[Array, "s"], rate: Scalar) -> Float[Array, "s"]:
        return jnp.stack([jnp.asarray(rate) + 0.0 * state[0], state[0] / self.volume])

    def concentration(self, state: Float[Array, "s"], rate: Scalar) -> Scalar:
        return state[0] / self.volume

    def exposure(self, state: Float[Array, "s"], given: Scalar) -> Scalar:
        return state[1]

    def elimination_rate(self) -> Scalar:
        return jnp.zeros(())

    def crossings(self, state: Float[Array, "s"], rate: Scalar, level: Scalar) -> tuple[Scalar, ...]:
        return ()
