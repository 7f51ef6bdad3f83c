"""Prostate-specific antigen."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from optimizer.axes import Scalar, Times
from optimizer.fields import parameter
from optimizer.observations.base import AbstractQuantity
from optimizer.simulate import System, Trajectory


class Psa(AbstractQuantity):
    """Prostate-specific antigen P that all cancer cells N make and the blood clears.

    P' = production N - decay P, P(0) = production N(0) / decay

    The form of Brady-Nicholls et al. 2020 (doi 10.1038/s41467-020-15424-4). It is solved exactly for an N that is
    linear between the saved times.
    """

    kind: ClassVar[str] = "psa"
    unit: ClassVar[str] = "ug/L"
    follows: ClassVar[bool] = True
    production: Scalar = parameter(unit="ug/L/cell/day", doc="antigen that a cell makes", positive=True)
    decay: Scalar = parameter(unit="1/day", doc="clearance of the antigen", positive=True)
    detection_limit: Scalar = parameter(unit="ug/L", doc="least that is seen", default=0.0, minimum=0.0)

    def expected(self, system: System, trajectory: Trajectory) -> Times:
        return secreted(trajectory, self.production, self.decay)


def secreted(trajectory: Trajectory, production: Scalar, decay: Scalar) -> Times:
    """The level P' = production N - decay P, in balance at first, at the saved times [T]."""
    made = production * trajectory.burden
    steps = decay * jnp.diff(trajectory.times)
    left = jnp.exp(-steps)
    # Shares of the end's and of the start's production that are still there: int of e^-s times a straight line.
    gone = -jnp.expm1(-steps)
    short = steps < 1e-4
    safe = jnp.where(short, 1.0, steps)
    late = jnp.where(short, 0.5 * steps - steps**2 / 6.0, 1.0 - gone / safe)
    gain = (late * made[1:] + (gone - late) * made[:-1]) / decay

    def step(level: Scalar, inputs: Any) -> tuple[Scalar, Scalar]:
        factor, added = inputs
        level = factor * level + added
        return level, level

    start = made[0] / decay
    _, rest = jax.lax.scan(step, start, (left, gain))
    return jnp.concatenate([start[None], rest])
