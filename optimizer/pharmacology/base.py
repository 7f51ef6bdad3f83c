"""The protocol of a drug's pharmacokinetics."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from optimizer.axes import Flag, Index, Scalar

# Places on the way to a distant time between which a crossing is looked for, finer after a dose.
_PLACES = np.expm1(np.linspace(0.0, 6.0, 33)) / np.expm1(6.0)


class SwitchingLevel(NamedTuple):
    """A concentration at which the equations switch."""

    drug: int  #: its number
    level: Scalar  #: the concentration [mg/L]
    steepness: Scalar | float = 0.0  #: of the response around it, in the logarithm of the concentration
    is_kink: bool = False  #: whether the equations are not smooth there


class AbstractPaced(eqx.Module):
    """Equations that say how quickly they answer to a dose; by default there is nothing that fixed steps would miss."""

    def layer(self) -> tuple[Scalar | float, Scalar | float]:
        """Boundary layer after a dose: its rate [1/day] (0: there is none) and how steep the response in it is [1]."""
        return 0.0, 1.0

    def sharpness(self, decline: Scalar) -> Scalar | float:
        """Rate [1/day] at which a response sweeps through its transition while a drug declines at `decline` [1/day]."""
        return 0.0

    def switching_levels(self) -> tuple[SwitchingLevel, ...]:
        """Concentrations between which a response changes quickly, or at which it has a kink."""
        return ()


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
    # Field in whose place a scenario may give the half-life; empty where it may not.
    half_life_of: ClassVar[str] = ""
    # Whether the state is linear in doses and rates, with nothing that waits; lets the search work with levels.
    is_linear: ClassVar[bool] = False

    @abstractmethod
    def initial(self) -> Float[Array, "s"]:
        """State of a patient who has had no drug."""

    def bolus(self, state: Float[Array, "s"], amount: Scalar) -> Float[Array, "s"]:
        """State just after a dose `amount` [dose_unit] given at once, into the first compartment unless said."""
        return state.at[0].add(amount)

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

    def jumps(self) -> tuple[Scalar, ...]:
        """Times since the start of an interval at which nodes have further panel edges [day]."""
        delay = self.delay()
        return () if delay is None else (delay,)

    def transient_rate(self) -> Scalar:
        """Rate of a faster phase after a dose [1/day], which has panels of its own; 0 where there is none."""
        return jnp.zeros(())

    def delay(self) -> Scalar | None:
        """Time after a dose at which the slope of the state jumps [day]; none where it never does."""
        return None

    def crossings(self, state: Float[Array, "s"], rate: Scalar, level: Scalar) -> tuple[Scalar, ...]:
        """Times at which the concentration crosses a level [day], two times differentiable; 0 for what never happens.

        By default the first and the last time that is found between places on the way to the end of the decline.
        """

        def above(t: Scalar) -> Scalar:
            return self.concentration(self.evolve(state, rate, t), rate) - level

        places = 40.0 / jnp.maximum(self.elimination_rate(), 1e-6) * _PLACES
        changes = jax.lax.stop_gradient(jax.vmap(above)(places))
        changes = changes[:-1] * changes[1:] < 0.0
        first, last = jnp.argmax(changes), changes.size - 1 - jnp.argmax(changes[::-1])
        times = [_root(above, places[i], places[i + 1], jnp.any(changes)) for i in (first, last)]
        return times[0], jnp.where(first == last, 0.0, times[1])


def _root(function: Callable[[Scalar], Scalar], low: Scalar, high: Scalar, present: Flag) -> Scalar:
    """Where a function changes sign between two times, exact derivatives of two orders; 0 where it is not present.

    Around the root t* the function is f(t*) + f' s + f'' s^2 / 2, zero at s = -r (1 + q r / 2) with r = f(t*) / f' and
    q = f'' / f'. At the root r is zero while its derivatives are not, so that those of q are not needed.
    """
    begin = jax.lax.stop_gradient(function(low))

    def halved(_: Index, bounds: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        left, right = bounds
        middle = 0.5 * (left + right)
        same = function(middle) * begin > 0.0
        return jnp.where(same, middle, left), jnp.where(same, right, middle)

    bounds = jax.lax.fori_loop(0, 12, halved, jax.lax.stop_gradient((low, high)))

    def slope(t: Scalar) -> tuple[Scalar, Scalar]:
        value, change = jax.jvp(function, (t,), (jnp.ones_like(t),))
        return jnp.where(present, value, 0.0), jnp.where(present & (change != 0.0), change, 1.0)

    time = jax.lax.stop_gradient(0.5 * (bounds[0] + bounds[1]))
    for _ in range(3):
        value, change = slope(time)
        time = jax.lax.stop_gradient(jnp.clip(time - value / change, low, high))
    _, (_, bend) = jax.jvp(slope, (time,), (jnp.ones_like(time),))
    value, change = slope(time)
    ratio = value / change
    root = time - ratio * (1.0 + 0.5 * jax.lax.stop_gradient(bend / change) * ratio)
    return jnp.where(present, root, 0.0)
