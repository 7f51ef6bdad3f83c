"""Burden: how many cancer cells, on average."""

from typing import ClassVar

from optimizer.axes import Scalar
from optimizer.objectives.base import AbstractTerm, Scene


class Burden(AbstractTerm):
    """Time average of log10(N + floor), N all cancer cells."""

    kind: ClassVar[str] = "burden"
    is_sum: ClassVar[bool] = True

    def evaluate(self, scene: Scene) -> Scalar:
        return scene.average(scene.log_burden)
