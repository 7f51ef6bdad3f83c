"""Mean observable: whatever the model reports, on average; the running cost of a model of one's own."""

from typing import ClassVar

from optimizer.axes import Scalar
from optimizer.fields import setting
from optimizer.objectives.base import AbstractTerm, Scene


class MeanObservable(AbstractTerm):
    """Time average of a quantity that the model reports; with the horizon as weight it is the integral."""

    kind: ClassVar[str] = "mean_observable"
    is_sum: ClassVar[bool] = True
    observable: str = setting(doc="name of the quantity, one of the model's observables")

    def evaluate(self, scene: Scene) -> Scalar:
        return scene.average(scene.trajectory.observables[self.observable])
