"""No kinetics: the dose rate is the effect-site level, at once."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.pharmacology.base import AbstractPK


class Direct(AbstractPK):
    """The level equals the dose of the interval: c = u.

    Example:
        >>> pk = Direct()
        >>> float(pk.concentration(pk.initial(), 0.5))
        0.5
    """

    kind: ClassVar[str] = "direct"
    dose_unit: ClassVar[str] = "1"
    is_linear: ClassVar[bool] = True
    routes: ClassVar[tuple[str, ...]] = ("infusion",)

    def initial(self) -> Float[Array, "s"]:
        return jnp.zeros(0)

    def bolus(self, state: Float[Array, "s"], amount: Scalar) -> Float[Array, "s"]:
        return state

    def evolve(self, state: Float[Array, "s"], rate: Scalar, tau: Scalar) -> Float[Array, "s"]:
        return state

    def field(self, state: Float[Array, "s"], rate: Scalar) -> Float[Array, "s"]:
        return state

    def concentration(self, state: Float[Array, "s"], rate: Scalar) -> Scalar:
        return jnp.asarray(rate)

    def exposure(self, state: Float[Array, "s"], given: Scalar) -> Scalar:
        return jnp.asarray(given)

    def elimination_rate(self) -> Scalar:
        return jnp.zeros(())

    def crossings(self, state: Float[Array, "s"], rate: Scalar, level: Scalar) -> tuple[Scalar, ...]:
        return ()
