"""The protocol of a policy, and what a policy that watches the burden needs."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from optimizer.axes import Index, Scalar
from optimizer.fields import parameter, setting


class Observation(NamedTuple):
    """What a policy may see at a decision."""

    index: Index  #: number of the decision interval that begins
    time: Scalar  #: its start [day]
    length: Scalar  #: its length [day]
    burden: Scalar  #: cancer cells now [cell]
    start_burden: Scalar  #: cancer cells at time 0 [cell]
    #: what else the model tells now, by name; nothing where a rule is asked outside a simulation
    observables: Mapping[str, Scalar] = {}


class AbstractPolicy(eqx.Module):
    """Doses from observations. Its float leaves are what a search moves."""

    kind: AbstractClassVar[str]

    @property
    def watches(self) -> bool:
        """Whether it decides by measured burdens, so that it waits for the next one."""
        return False

    def number(self, name: str) -> Any:
        """One of its numbers by name, whatever stands in its place."""
        return getattr(self, name)

    def with_numbers(self, names: tuple[str, ...], values: Float[Array, "P"]) -> "AbstractPolicy":
        """The policy with other numbers of these names."""
        return eqx.tree_at(lambda p: tuple(p.number(name) for name in names), self, tuple(values))

    @abstractmethod
    def init(self) -> Any:
        """Memory before the first decision, a pytree of arrays."""

    @abstractmethod
    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        """Doses of the interval that begins (amounts for a bolus, rates for an infusion), and the new memory."""

    def smooth(self, temperature: Scalar) -> "AbstractPolicy":
        """The policy with decisions a gradient can follow; tends to the policy as the temperature goes from 1 to 0."""
        return self


class AbstractMeasuring(AbstractPolicy):
    """A policy that decides by measured burdens: late by `delay` visits, and with multiplicative noise.

    The noise of visit k is exp(noise z_k), z_k standard normal, drawn from the seed and the number of the visit alone.
    """

    dose_max: Float[Array, "N"]
    _: KW_ONLY
    noise: Scalar = parameter(unit="1", doc="sd of the logarithm of a measured burden", default=0.0, minimum=0.0)
    delay: int = setting(doc="visits by which measurements are late", unit="1", default=0, minimum=0)
    seed: int = setting(doc="of the noise", unit="1", default=0, minimum=0)

    @property
    def watches(self) -> bool:
        return True

    @abstractmethod
    def start(self) -> Any:
        """Memory of the rule before the first visit."""

    @abstractmethod
    def rule(self, memory: Any, log_burden: Scalar, log_start: Scalar, length: Scalar) -> tuple[Any, Any]:
        """Share of the largest doses, one or [N], and new memory; of measured and first log burden, interval [day]."""

    def init(self) -> Any:
        return self.start(), jnp.zeros(self.delay + 1)

    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        own, past = memory
        key = jax.random.fold_in(jax.random.key(self.seed), observation.index)
        draw = jax.random.normal(key, dtype=past.dtype)
        log_start = jnp.log(observation.start_burden)
        measured = jnp.log(observation.burden) + self.noise * draw
        # Before there is a measurement that is late enough, the first one counts.
        past = jnp.where(observation.index == 0, measured, jnp.concatenate([past[1:], measured[None]]))
        share, own = self.rule(own, past[0], log_start, observation.length)
        return share * self.dose_max, (own, past)


class AbstractFeedback(AbstractMeasuring):
    """A policy of levels that the measured burden passes: one share for all drugs, on or off, more or less."""

    # Width of a decision in units of the logarithm of the burden; None is the hard rule.
    _: KW_ONLY
    width: Scalar | None = None

    def over(self, log_burden: Scalar, level: Scalar) -> Scalar:
        """1 where the burden is above a level, 0 below it; a sigmoid where the policy is smooth."""
        if self.width is None:
            return (log_burden > level).astype(log_burden.dtype)
        return jax.nn.sigmoid((log_burden - level) / self.width)

    def smooth(self, temperature: Scalar) -> "AbstractPolicy":
        return eqx.tree_at(lambda p: p.width, self, 0.1 * temperature, is_leaf=lambda leaf: leaf is None)


def blend(weight: Scalar, one: Scalar, other: Scalar) -> Scalar:
    """`one` with a weight, `other` with the rest."""
    return weight * one + (1.0 - weight) * other
