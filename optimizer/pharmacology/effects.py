"""What a concentration does to a clone: a share of its growth inhibited, and cells killed."""

import math
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from optimizer.axes import Numbers, Scalar
from optimizer.fields import parameter

# Places on the rise of a Hill curve, in its own widths, between which it is smooth.
_RISE = (10.0, 7.0, 4.5, 3.0, 1.5, 0.0, -1.5, -3.0, -4.5, -7.0, -10.0)

# Stated by every effect, for `cure`, `resistance_probability` and `adose stochastic`; the course does not read it.
_SPLIT = "share of the effect that takes births (cytostatic); the rest adds deaths (cytotoxic)"


def _cytostatic(default: float) -> Any:
    return parameter(unit="1", doc=_SPLIT, default=default, minimum=0.0, maximum=1.0)


# Below this many half-maximal concentrations the power is continued by its secant: x^k with k < 1 has an infinite
# slope at zero, and a schedule with no drug must still have a finite gradient. The value changes by less than 1e-11.
_SECANT = 1e-12


def power(x: Numbers, exponent: Numbers) -> Numbers:
    """x^k for x >= 0 with a finite derivative at x = 0 (the secant slope over [0, 1e-12])."""
    inside = x > _SECANT
    safe = jnp.where(inside, x, 1.0)
    # In place of safe**exponent, which no processor computes side by side, and whose derivatives are further powers.
    return jnp.where(inside, jnp.exp(exponent * jnp.log(safe)), x * _SECANT ** (exponent - 1.0))


def hill(x: Numbers, exponent: Numbers) -> Numbers:
    """x^k / (1 + x^k), x in half-maximal concentrations."""
    raised = power(x, exponent)
    return raised / (1.0 + raised)


class Action(NamedTuple):
    """Effect of one drug on one clone."""

    inhibition: Float[Array, "..."]  #: share of the growth rate taken away [1] (Norton-Simon; may exceed one)
    kill: Float[Array, "..."]  #: rate of loss [1/day]


class AbstractEffect(eqx.Module):
    """The law by which one drug acts on one clone."""

    kind: AbstractClassVar[str]

    @property
    def cytostatic(self) -> Scalar:
        """Share of the effect that takes births; the rest adds deaths. Zero for a law that has no such key."""
        return jnp.zeros(())

    @abstractmethod
    def __call__(self, conc: Numbers, shift: Numbers) -> Action:
        """Effect at concentration `conc` [mg/L] when the potency is shifted by the factor `shift` on its EC50."""

    def largest_kill(self) -> Scalar:
        """Largest kill rate of the curve [1/day]; zero where there is none, which sets steps, not results."""
        return jnp.zeros(())

    def steepness(self) -> Scalar:
        """Steepness of the curve in the logarithm of the concentration [1]; zero where there is no curve."""
        return jnp.zeros(())

    def switching_levels(self) -> list[Scalar]:
        """Concentrations that part the steep rise of the curve into smooth pieces [mg/L]."""
        return []

    def potency_at(self, kill: Numbers, shift: Numbers) -> Numbers:
        """One over the concentration that alone kills at the rate `kill` > 0 [L/mg]; 0 where none does."""
        return jnp.zeros_like(kill)


class Hill(AbstractEffect):
    """Net growth falls from its maximum by emax (c / ec50)^k / (1 + (c / ec50)^k).

    With emax = Rmax - Rmin this is the net growth of Kraut et al. 2025: Rmin + (Rmax - Rmin) / (1 + (c / ec50)^k).

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | Emax | emax | 1/day | largest fall of the net growth rate | doi 10.1038/s41540-025-00495-0 |
    | D50 | ec50 | mg/L | half-maximal concentration (at a shift of one) | same |
    | k | hill | 1 | steepness | same |

    Example:
        >>> float(Hill(emax=0.5, ec50=1.0, hill=1.0)(1.0, 1.0).kill)
        0.25
    """

    kind: ClassVar[str] = "hill"
    emax: Scalar = parameter(unit="1/day", doc="largest fall of the net growth rate", minimum=0.0)
    ec50: Scalar = parameter(unit="mg/L", doc="half-maximal concentration", positive=True)
    hill: Scalar = parameter(unit="1", doc="steepness of the curve", default=1.0, positive=True)
    cytostatic: Scalar = _cytostatic(0.0)

    def __call__(self, conc: Numbers, shift: Numbers) -> Action:
        share = hill(conc / (self.ec50 * shift), self.hill)
        return Action(jnp.zeros_like(share), self.emax * share)

    def largest_kill(self) -> Scalar:
        return self.emax

    def steepness(self) -> Scalar:
        return self.hill

    def switching_levels(self) -> list[Scalar]:
        return [self.ec50 * jnp.exp(place / self.hill) for place in _RISE]

    def potency_at(self, kill: Numbers, shift: Numbers) -> Numbers:
        left = self.emax / kill - 1.0
        reached = left > 0.0
        needed = jnp.where(reached, left, 1.0) ** (1.0 / self.hill) / (self.ec50 * shift)
        return jnp.where(reached, needed, 0.0)


class NortonSimon(AbstractEffect):
    """Kill proportional to growth: the growth rate is multiplied by (1 - strength c).

    Norton and Simon 1977; as used by Strobl et al. 2021, doi 10.1158/0008-5472.CAN-20-0806.
    """

    kind: ClassVar[str] = "norton_simon"
    strength: Scalar = parameter(unit="L/mg", doc="share of growth lost per concentration", minimum=0.0)
    cytostatic: Scalar = _cytostatic(1.0)

    def __call__(self, conc: Numbers, shift: Numbers) -> Action:
        share = self.strength * conc / shift
        return Action(share, jnp.zeros_like(share))


class Linear(AbstractEffect):
    """The net growth rate falls in proportion to the concentration: kill = strength c."""

    kind: ClassVar[str] = "linear"
    strength: Scalar = parameter(unit="L/mg/day", doc="kill rate per concentration", minimum=0.0)
    cytostatic: Scalar = _cytostatic(0.0)

    def __call__(self, conc: Numbers, shift: Numbers) -> Action:
        kill = self.strength * conc / shift
        return Action(jnp.zeros_like(kill), kill)

    def potency_at(self, kill: Numbers, shift: Numbers) -> Numbers:
        return self.strength / (kill * shift)


class LogKill(AbstractEffect):
    """An exposure kills a share of the cells, however many they are: kill = ln(10) decades c.

    Over an exposure AUC (the integral of c) the cells fall by decades x AUC powers of ten, besides their growth
    (Skipper, Schabel and Wilcox 1964, Cancer Chemother Rep 35:1-111).

    Example:
        >>> float(LogKill(decades=1.0)(1.0, 1.0).kill).__round__(3)
        2.303
    """

    kind: ClassVar[str] = "log_kill"
    decades: Scalar = parameter(unit="L/mg/day", doc="powers of ten killed per exposure (AUC)", minimum=0.0)
    cytostatic: Scalar = _cytostatic(0.0)

    def __call__(self, conc: Numbers, shift: Numbers) -> Action:
        kill = math.log(10.0) * self.decades * conc / shift
        return Action(jnp.zeros_like(kill), kill)

    def potency_at(self, kill: Numbers, shift: Numbers) -> Numbers:
        return math.log(10.0) * self.decades / (kill * shift)
