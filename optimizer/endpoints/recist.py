"""Progression and response of target lesions by RECIST 1.1."""

from typing import Any, ClassVar

from optimizer.endpoints.base import AbstractEndpoint, Values
from optimizer.fields import setting
from optimizer.observations.base import AbstractQuantity, Channel
from optimizer.observations.diameter import Diameter

_SOURCE = "doi 10.1016/j.ejca.2008.10.026"


class Recist(AbstractEndpoint):
    """Diameter at least 20 % and 5 mm above its nadir, the first scan included.

    Eisenhauer et al. 2009, doi 10.1016/j.ejca.2008.10.026; response is at least 30 % below the first scan. One ball
    stands for the target lesions: new lesions, nodes and lesions that are not measured are outside the model.
    Progression needs no confirmation.
    """

    kind: ClassVar[str] = "recist"
    reads: ClassVar[tuple[str, ...]] = ("diameter",)
    responds: ClassVar[float] = 0.7
    rise: float = setting(unit="1", doc=f"relative rise above the nadir ({_SOURCE})", default=0.2, minimum=0.0)
    least: float = setting(unit="mm", doc=f"least rise above the nadir ({_SOURCE})", default=5.0, minimum=0.0)
    confirm: float = setting(unit="day", doc="time after which it is confirmed", default=0.0, minimum=0.0)
    every: float = setting(unit="day", doc="time between scans; 0: the observation's", default=0.0, minimum=0.0)
    channel: Channel | None = None

    def level(self, first: Any, nadir: Values) -> Values:
        return nadir.__array_namespace__().maximum((1.0 + self.rise) * nadir, nadir + self.least)

    @classmethod
    def standard(cls) -> AbstractQuantity:
        return Diameter()
