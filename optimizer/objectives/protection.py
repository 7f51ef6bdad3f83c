"""Protection: how far the stroma shields the tumor."""

from typing import ClassVar

from optimizer.axes import Scalar
from optimizer.objectives.base import AbstractTerm, Scene


class Protection(AbstractTerm):
    """Time average of log10(D50(G) / D50(0)), the mean over the clones (doi 10.1038/s41540-025-00495-0)."""

    kind: ClassVar[str] = "protection"
    is_sum: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("protection",)

    def evaluate(self, scene: Scene) -> Scalar:
        return scene.average(scene.trajectory.observables["protection"])
