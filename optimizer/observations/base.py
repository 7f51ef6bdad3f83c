"""The protocol of a measured quantity, and the assay that measures it."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from equinox import AbstractClassVar, AbstractVar
from jaxtyping import Array, Float

from optimizer.axes import Numbers, Scalar, Times
from optimizer.fields import parameter, setting
from optimizer.simulate import System, Trajectory

# Shares this near to 0 or 1 have no logit worth the name.
_EDGE = 1e-12


class AbstractQuantity(eqx.Module):
    """Something of the tumor that an assay shows."""

    kind: AbstractClassVar[str]
    # Unit of a measured value.
    unit: AbstractClassVar[str]
    # A share between 0 and 1 is compared by its logit, everything else by its logarithm.
    is_share: ClassVar[bool] = False
    # Whether it follows the cells with a delay of its own, as what the blood clears; else the cells of the day tell it.
    follows: ClassVar[bool] = False
    # Below this an assay says no more than that it is below; 0 where it shows everything.
    detection_limit: AbstractVar[Scalar]

    @abstractmethod
    def expected(self, system: System, trajectory: Trajectory) -> Times:
        """What an assay without error shows at the saved times [T], in `unit`."""

    def label(self) -> str:
        """Its column in a table of measurements."""
        return self.kind


class Assay(eqx.Module):
    """How well, how late and how often a quantity is measured.

    y = f^-1(f(x) + noise e), f the logarithm (the logit of a share), e standard normal with the correlation
    exp(-|t - t'| / correlation_time) between two measurements.

    | symbol | field | unit | meaning |
    |---|---|---|---|
    | noise | noise | 1 | standard deviation of the logarithm, or of the logit of a share |
    | | correlation_time | day | time in which errors become unlike; 0 where each is its own |
    | | delay | day | time from the sample to its result |
    | | missing | 1 | share of the visits at which there is no result |
    """

    noise: Scalar = parameter(
        unit="1", doc="sd of the logarithm of a measurement (of the logit of a share)", default=0.1, minimum=0.0
    )
    correlation_time: Scalar = parameter(
        unit="day", doc="time in which errors become unlike; 0: each is its own", default=0.0, minimum=0.0
    )
    delay: Scalar = parameter(unit="day", doc="time from the sample to its result", default=0.0, minimum=0.0)
    missing: Scalar = parameter(unit="1", doc="share of visits without a result", default=0.0, minimum=0.0, maximum=0.9)
    every: float = setting(unit="day", doc="time between visits; 0: at every decision", default=0.0, minimum=0.0)
    days: tuple[float, ...] = setting(unit="day", doc="days of the visits, in place of every", default=(), ndim=1)


class Channel(eqx.Module):
    """A quantity and the assay that measures it.

    Example:
        >>> from optimizer.observations.burden import Burden
        >>> float(Channel(Burden(), Assay()).shown(1e8))
        18.42068...
    """

    quantity: AbstractQuantity  #: what is measured
    assay: Assay  #: how

    def label(self) -> str:
        """Its column in a table of measurements."""
        return self.quantity.label()

    def shown(self, value: Numbers) -> Array:
        """The scale on which errors add: logarithm, or logit of a share."""
        if self.quantity.is_share:
            share = jnp.clip(value, _EDGE, 1.0 - _EDGE)
            return jnp.log(share) - jnp.log1p(-share)
        return jnp.log(jnp.maximum(value, 1e-300))

    def value(self, shown: Numbers) -> Array:
        """The measured value that stands at a place of that scale."""
        return jax.nn.sigmoid(shown) if self.quantity.is_share else jnp.exp(shown)

    def expected(self, system: System, trajectory: Trajectory, days: Float[Array, "L"]) -> Float[Array, "L"]:
        """What would be shown without error on these days [L], on the scale on which errors add.

        Between saved times it is linear on that scale.
        """
        return jnp.interp(days, trajectory.times, self.shown(self.quantity.expected(system, trajectory)))

    def limit(self) -> Scalar:
        """The detection limit on the scale on which errors add; minus infinity where there is none."""
        limit = jnp.asarray(self.quantity.detection_limit)
        return jnp.where(limit > 0.0, self.shown(jnp.where(limit > 0.0, limit, 0.5)), -jnp.inf)
