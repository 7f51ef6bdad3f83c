"""Resistance: how many resistant cells, on average."""

from typing import ClassVar

import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.objectives.base import AbstractTerm, Scene


class Resistance(AbstractTerm):
    """Time average of log10(R + floor), R the cells of the clones flagged resistant."""

    kind: ClassVar[str] = "resistance"
    is_sum: ClassVar[bool] = True

    def evaluate(self, scene: Scene) -> Scalar:
        return scene.average(jnp.log10(scene.trajectory.resistant + scene.floor))
