"""A volume that is a multiple of the first one, as mice are followed."""

from typing import Any, ClassVar

from optimizer.endpoints.base import AbstractEndpoint, Values
from optimizer.fields import setting
from optimizer.observations.base import AbstractQuantity, Channel
from optimizer.observations.volume import Volume


class VolumeFactor(AbstractEndpoint):
    """V >= factor V(0) at a visit: with 2 or 4 the time to doubling or quadrupling of xenografts.

    Houghton et al. 2007, doi 10.1002/pbc.21078, count an event when a tumor has four times its first volume.
    """

    kind: ClassVar[str] = "volume_factor"
    reads: ClassVar[tuple[str, ...]] = ("volume",)
    factor: float = setting(unit="1", doc="volume at progression over the first one", default=4.0, positive=True)
    confirm: float = setting(unit="day", doc="time after which it is confirmed", default=0.0, minimum=0.0)
    every: float = setting(unit="day", doc="time between visits; 0: the observation's", default=0.0, minimum=0.0)
    channel: Channel | None = None

    def level(self, first: Any, nadir: Values) -> Values:
        return nadir.__array_namespace__().full_like(nadir, self.factor * first)

    @classmethod
    def standard(cls) -> AbstractQuantity:
        return Volume()
