"""Probability of resistance: whether any resistant cell is left."""

from typing import ClassVar

import jax.numpy as jnp

from optimizer.axes import Clones, Scalar
from optimizer.objectives.extinction import AbstractExtinction, hazard_at


class ResistanceProbability(AbstractExtinction):
    """Probability that a cell of a clone flagged resistant, there from the start or born since, is alive at the end."""

    kind: ClassVar[str] = "resistance_probability"

    def counted(self, is_resistant: Clones) -> Clones:
        return is_resistant

    def of_hazard(self, hazard: Scalar) -> Scalar:
        return -jnp.expm1(-hazard)

    def hazard_at(self, value: Scalar) -> Scalar:
        return hazard_at(value)
