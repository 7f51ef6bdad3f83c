"""The diameter of the tumor."""

from typing import ClassVar

import jax.numpy as jnp

from optimizer.axes import Scalar, Times
from optimizer.fields import parameter
from optimizer.observations.base import AbstractQuantity
from optimizer.observations.volume import DENSITY_SOURCE
from optimizer.simulate import System, Trajectory

_MM = 10.0  # mm a cm
_SIXTH = 3.141592653589793 / 6.0


class Diameter(AbstractQuantity):
    """Diameter of a ball of the tumor's volume, d = (6 V / pi)^(1/3), V = N / density.

    The longest diameter is what RECIST adds up over lesions (Eisenhauer et al. 2009, doi 10.1016/j.ejca.2008.10.026).
    """

    kind: ClassVar[str] = "diameter"
    unit: ClassVar[str] = "mm"
    density: Scalar = parameter(
        unit="cell/mL", doc="cells in a volume of tumor", source=DENSITY_SOURCE, default=1e8, positive=True
    )
    detection_limit: Scalar = parameter(unit="mm", doc="smallest diameter that is seen", default=0.0, minimum=0.0)

    def expected(self, system: System, trajectory: Trajectory) -> Times:
        return _MM * jnp.cbrt(trajectory.burden / self.density / _SIXTH)
