"""Drug use: how much is given."""

from typing import ClassVar

from optimizer.axes import Scalar
from optimizer.objectives.base import AbstractTerm, Scene


class DrugUse(AbstractTerm):
    """Mean over decisions and drugs of dose / largest dose."""

    kind: ClassVar[str] = "drug_use"
    is_linear: ClassVar[bool] = True

    def evaluate(self, scene: Scene) -> Scalar:
        return scene.mean_over_decisions(scene.shares)
