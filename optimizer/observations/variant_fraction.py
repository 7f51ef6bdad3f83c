"""The share of a clone's variant in the circulating DNA."""

from typing import ClassVar

from optimizer.axes import Scalar, Times
from optimizer.fields import parameter, setting
from optimizer.observations.base import AbstractQuantity
from optimizer.simulate import System, Trajectory


class VariantFraction(AbstractQuantity):
    """Share of the circulating DNA at a gene that carries the variant of one clone.

    v_i = C_i / 2 / (N + background): the variant is on one of two copies, and healthy cells shed as much DNA as
    `background` cancer cells would. It shows a resistant clone before a scan does.
    """

    kind: ClassVar[str] = "variant_fraction"
    unit: ClassVar[str] = "1"
    is_share: ClassVar[bool] = True
    clone: str = setting(doc="name of the clone")
    background: Scalar = parameter(
        unit="cell", doc="cancer cells that would shed as much DNA as healthy cells do", default=0.0, minimum=0.0
    )
    detection_limit: Scalar = parameter(unit="1", doc="least share that is seen", default=0.0, minimum=0.0, maximum=0.5)

    def expected(self, system: System, trajectory: Trajectory) -> Times:
        own = trajectory.cells[:, system.model.clone_names().index(self.clone)]
        return 0.5 * own / (trajectory.burden + self.background)

    def label(self) -> str:
        return f"{self.kind}.{self.clone}"
