"""Cancer antigen 125."""

from typing import ClassVar

from optimizer.axes import Scalar, Times
from optimizer.fields import parameter
from optimizer.observations.base import AbstractQuantity
from optimizer.observations.psa import secreted
from optimizer.simulate import System, Trajectory


class Ca125(AbstractQuantity):
    """Cancer antigen 125, C, that all cancer cells N make and the blood clears.

    C' = production N - decay C, C(0) = production N(0) / decay

    The half-life was 15.8 days in the median of 631 patients under induction chemotherapy, the tumor's own shrinking
    included (Riedinger et al. 2006, doi 10.1093/annonc/mdl120).
    """

    kind: ClassVar[str] = "ca125"
    unit: ClassVar[str] = "U/mL"
    follows: ClassVar[bool] = True
    production: Scalar = parameter(unit="U/mL/cell/day", doc="antigen that a cell makes", positive=True)
    decay: Scalar = parameter(unit="1/day", doc="clearance of the antigen", positive=True)
    detection_limit: Scalar = parameter(unit="U/mL", doc="least that is seen", default=0.0, minimum=0.0)

    def expected(self, system: System, trajectory: Trajectory) -> Times:
        return secreted(trajectory, self.production, self.decay)
