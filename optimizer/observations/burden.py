"""All cancer cells."""

from typing import ClassVar

from optimizer.axes import Scalar, Times
from optimizer.fields import parameter
from optimizer.observations.base import AbstractQuantity
from optimizer.simulate import System, Trajectory


class Burden(AbstractQuantity):
    """All cancer cells, counted."""

    kind: ClassVar[str] = "burden"
    unit: ClassVar[str] = "cell"
    detection_limit: Scalar = parameter(unit="cell", doc="fewest cells that are seen", default=0.0, minimum=0.0)

    def expected(self, system: System, trajectory: Trajectory) -> Times:
        return trajectory.burden
