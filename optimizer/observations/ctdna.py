"""Circulating tumor DNA, all of it."""

from typing import ClassVar

from optimizer.axes import Scalar, Times
from optimizer.fields import parameter
from optimizer.observations.base import AbstractQuantity
from optimizer.simulate import System, Trajectory


class Ctdna(AbstractQuantity):
    """Genomes of cancer cells in a volume of plasma, at every time in balance with the cells that shed them.

    Y = shedding N: the DNA is cleared within hours, the tumor changes in days (Avanzini et al. 2020,
    doi 10.1126/sciadv.abc4308).
    """

    kind: ClassVar[str] = "ctdna"
    unit: ClassVar[str] = "1/mL"
    shedding: Scalar = parameter(unit="1/mL/cell", doc="genomes in the plasma for each cancer cell", positive=True)
    detection_limit: Scalar = parameter(unit="1/mL", doc="fewest genomes that are seen", default=0.0, minimum=0.0)

    def expected(self, system: System, trajectory: Trajectory) -> Times:
        return self.shedding * trajectory.burden
