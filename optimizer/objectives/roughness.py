"""Roughness: how much the dose jumps from one decision to the next."""

from typing import ClassVar

from optimizer.axes import Scalar
from optimizer.objectives.base import AbstractTerm, Scene


class Roughness(AbstractTerm):
    """Mean squared change of dose / largest dose between neighboring decisions; zero for a single decision."""

    kind: ClassVar[str] = "roughness"

    def evaluate(self, scene: Scene) -> Scalar:
        change = scene.shares[1:] - scene.shares[:-1]
        return scene.mean_over_decisions(change**2)
