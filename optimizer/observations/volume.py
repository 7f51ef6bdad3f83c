"""The volume of the tumor."""

from typing import ClassVar

from optimizer.axes import Scalar, Times
from optimizer.fields import parameter
from optimizer.observations.base import AbstractQuantity
from optimizer.simulate import System, Trajectory

DENSITY_SOURCE = "doi 10.4161/cc.8.3.7608"


class Volume(AbstractQuantity):
    """Cancer cells over the cells in a milliliter of tumor, V = N / density."""

    kind: ClassVar[str] = "volume"
    unit: ClassVar[str] = "mL"
    density: Scalar = parameter(
        unit="cell/mL", doc="cells in a volume of tumor", source=DENSITY_SOURCE, default=1e8, positive=True
    )
    detection_limit: Scalar = parameter(unit="mL", doc="smallest volume that is seen", default=0.0, minimum=0.0)

    def expected(self, system: System, trajectory: Trajectory) -> Times:
        return trajectory.burden / self.density
