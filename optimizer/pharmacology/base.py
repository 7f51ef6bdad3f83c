"""The protocol of a drug's pharmacokinetics."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from optimizer.axes import Scalar


class AbstractPK(eqx.Module):
    """Doses in, concentration out, in closed form.

    The state is a vector of amounts or concentrations, one per compartment. `evolve` is the closed form that the
    search uses, `field` the same as an ordinary differential equation, which the audit integrates: each checks the
    other.
    """

    kind: AbstractClassVar[str]
    # Unit of a bolus; an infusion's dose is this per day, unless the level itself is the dose ("direct").
    dose_unit: AbstractClassVar[str]
    # Routes this PK can be given by.
    routes: ClassVar[tuple[str, ...]] = ("bolus", "infusion")

    @abstractmethod
    def initial(self) -> Float[Array, "s"]:
        """State of a patient who has had no drug."""

    @abstractmethod
    def bolus(self, state: Float[Array, "s"], amount: Scalar) -> Float[Array, "s"]:
        """State just after a dose `amount` [dose_unit] given at once."""

    @abstractmethod
    def evolve(self, state: Float[Array, "s"], rate: Scalar, tau: Scalar) -> Float[Array, "s"]:
        """State `tau` [day] later under a constant infusion `rate` [dose_unit/day]."""

    @abstractmethod
    def field(self, state: Float[Array, "s"], rate: Scalar) -> Float[Array, "s"]:
        """Time derivative of the state [1/day]."""

    @abstractmethod
    def concentration(self, state: Float[Array, "s"], rate: Scalar) -> Scalar:
        """Concentration at the effect site [mg/L] ("direct": in the unit of the dose)."""

    @abstractmethod
    def exposure(self, state: Float[Array, "s"], given: Scalar) -> Scalar:
        """Integral of the concentration so far [mg/L day], exact: the mass balance of what was given and what is left.

        Args:
            state: of a patient who had no drug at first.
            given: the sum of all doses, and of rates times their length [dose_unit].
        """

    @abstractmethod
    def elimination_rate(self) -> Scalar:
        """Rate constant of the slowest visible decline after a dose [1/day]; sets time scales, not results."""

    def undelayed(self) -> "AbstractPK":
        """The same kinetics with doses that do not wait; whoever asks keeps those that do for `delay` himself."""
        return self

    def transient_rate(self) -> Scalar:
        """Rate of a faster phase after a dose [1/day], which has panels of its own; 0 where there is none."""
        return jnp.zeros(())

    def delay(self) -> Scalar | None:
        """Time after a dose at which the slope of the state jumps [day]; none where it never does."""
        return None
