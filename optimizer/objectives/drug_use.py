"""Drug use: how much is given."""

from typing import ClassVar

import jax.numpy as jnp

from optimizer._axes import Scalar
from optimizer.objectives.base import AbstractTerm, Scene


class DrugUse(AbstractTerm):
    """Mean over decisions and drugs of dose / largest dose."""

    kind: ClassVar[str] = "drug_use"

    def evaluate(self, scene: Scene) -> Scalar:
        return jnp.mean(scene.shares)
