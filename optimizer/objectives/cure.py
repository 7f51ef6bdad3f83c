"""Cure: the probability that no cancer cell is left."""

from typing import ClassVar

import jax.numpy as jnp

from optimizer.axes import Clones, Scalar
from optimizer.objectives.extinction import AbstractExtinction, hazard_at


class Cure(AbstractExtinction):
    """Minus the probability that no cancer cell is alive at the horizon (doi 10.1214/aoms/1177730285)."""

    kind: ClassVar[str] = "cure"

    def counted(self, is_resistant: Clones) -> Clones:
        return jnp.ones_like(is_resistant)

    def of_hazard(self, hazard: Scalar) -> Scalar:
        return -jnp.exp(-hazard)

    def hazard_at(self, value: Scalar) -> Scalar:
        return hazard_at(1.0 + value)
