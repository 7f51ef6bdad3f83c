"""Progression by cancer antigen 125."""

from typing import Any, ClassVar

from optimizer.endpoints.base import AbstractEndpoint, Values
from optimizer.fields import setting
from optimizer.observations.base import Channel

_SOURCE = "doi 10.1097/IGC.0b013e3182070f17"


class Ca125Gcig(AbstractEndpoint):
    """CA-125 at twice the upper limit of normal or twice its nadir, whichever is more, again a week or more later.

    Rustin et al. 2011, doi 10.1097/IGC.0b013e3182070f17: patients whose level is or becomes normal progress at twice
    the upper limit of normal, others at twice the nadir; the date is that of the first such value. Response: half the
    first value or less, confirmed 28 days later.
    """

    kind: ClassVar[str] = "ca125_gcig"
    reads: ClassVar[tuple[str, ...]] = ("ca125",)
    responds: ClassVar[float] = 0.5
    response_confirm: ClassVar[float] = 28.0
    upper_limit: float = setting(unit="U/mL", doc="upper limit of normal", default=35.0, positive=True)
    rise: float = setting(unit="1", doc=f"multiple of limit or nadir ({_SOURCE})", default=2.0, positive=True)
    confirm: float = setting(unit="day", doc=f"time to the confirming value ({_SOURCE})", default=7.0, minimum=0.0)
    every: float = setting(unit="day", doc="time between values; 0: the observation's", default=0.0, minimum=0.0)
    channel: Channel | None = None

    def level(self, first: Any, nadir: Values) -> Values:
        return self.rise * nadir.__array_namespace__().maximum(nadir, self.upper_limit)
