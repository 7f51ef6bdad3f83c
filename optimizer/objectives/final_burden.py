"""Final burden: how many cancer cells at the end."""

from typing import ClassVar

from optimizer.axes import Scalar
from optimizer.objectives.base import AbstractTerm, Scene


class FinalBurden(AbstractTerm):
    """log10(N + floor) at the horizon."""

    kind: ClassVar[str] = "final_burden"

    def evaluate(self, scene: Scene) -> Scalar:
        return scene.log_burden[-1]
