"""Mean burden: how many cancer cells there are on average, for those at the start."""

from typing import ClassVar

from optimizer.axes import Scalar
from optimizer.objectives.base import AbstractTerm, Scene


class MeanBurden(AbstractTerm):
    """Time average of N / N(0), N all cancer cells; `burden` averages the logarithm."""

    kind: ClassVar[str] = "mean_burden"

    def evaluate(self, scene: Scene) -> Scalar:
        burden = scene.trajectory.burden
        return scene.average(burden) / burden[0]
