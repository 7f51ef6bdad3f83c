"""Final share: what the tumor is made of at the end."""

from typing import ClassVar

from optimizer.axes import Scalar
from optimizer.fields import setting
from optimizer.objectives.base import AbstractTerm, Scene


class FinalShare(AbstractTerm):
    """C / (N + floor) at the horizon, C the cells of one clone, or all resistant cells."""

    kind: ClassVar[str] = "final_share"
    clone: int | None = setting(doc="name of the clone; all resistant cells when left out", default=None)

    def evaluate(self, scene: Scene) -> Scalar:
        end = scene.trajectory
        own = end.resistant[-1] if self.clone is None else end.cells[-1, self.clone]
        return own / (end.burden[-1] + scene.floor)
