"""Mean burden: how many cancer cells there are on average, for those at the start."""

from typing import ClassVar

from optimizer.axes import Scalar
from optimizer.objectives.base import AbstractTerm, Scene


class MeanBurden(AbstractTerm):
    """Time average of N / N(0), N all cancer cells; `burden` averages the logarithm."""

    kind: ClassVar[str] = "mean_burden"
    is_sum: ClassVar[bool] = True

    def evaluate(self, scene: Scene) -> Scalar:
        return scene.average(scene.trajectory.burden) / scene.first_burden
