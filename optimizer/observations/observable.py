"""Whatever the model reports."""

from typing import ClassVar

from optimizer.axes import Scalar, Times
from optimizer.fields import parameter, setting
from optimizer.observations.base import AbstractQuantity
from optimizer.simulate import System, Trajectory


class Observable(AbstractQuantity):
    """A quantity of a model of one's own, in the unit that its equations have."""

    kind: ClassVar[str] = "observable"
    unit: ClassVar[str] = "1"
    observable: str = setting(doc="name of the quantity, one of the model's observables")
    detection_limit: Scalar = parameter(unit="1", doc="least that is seen", default=0.0, minimum=0.0)

    def expected(self, system: System, trajectory: Trajectory) -> Times:
        return trajectory.observables[self.observable]

    def label(self) -> str:
        return f"{self.kind}.{self.observable}"
