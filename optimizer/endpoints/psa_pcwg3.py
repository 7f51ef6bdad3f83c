"""Progression by prostate-specific antigen."""

from typing import Any, ClassVar

import numpy as np
from jaxtyping import Array, Bool

from optimizer.endpoints.base import AbstractEndpoint, Values
from optimizer.fields import setting
from optimizer.observations.base import Channel

_SOURCE = "doi 10.1200/JCO.2015.64.2702"


class PsaPcwg3(AbstractEndpoint):
    """PSA at least 25 % and 2 ug/L above its nadir, again 3 weeks or more later, from the twelfth week on.

    Scher et al. 2016, doi 10.1200/JCO.2015.64.2702: the date is that of the first such value. The nadir may lie in the
    weeks that are ignored; without any decline it is the first value. Every value until the confirming one has to meet
    the criterion. Response: half the first value or less, confirmed as long after.
    """

    kind: ClassVar[str] = "psa_pcwg3"
    reads: ClassVar[tuple[str, ...]] = ("psa",)
    responds: ClassVar[float] = 0.5
    response_confirm: ClassVar[float] = 21.0
    rise: float = setting(unit="1", doc=f"relative rise above the nadir ({_SOURCE})", default=0.25, minimum=0.0)
    least: float = setting(unit="ug/L", doc=f"least rise above the nadir ({_SOURCE})", default=2.0, minimum=0.0)
    ignored: float = setting(unit="day", doc=f"time of which rises are ignored ({_SOURCE})", default=84.0, minimum=0.0)
    confirm: float = setting(unit="day", doc=f"time to the confirming value ({_SOURCE})", default=21.0, minimum=0.0)
    every: float = setting(unit="day", doc="time between values; 0: the observation's", default=0.0, minimum=0.0)
    channel: Channel | None = None

    def level(self, first: Any, nadir: Values) -> Values:
        return nadir.__array_namespace__().maximum((1.0 + self.rise) * nadir, nadir + self.least)

    def counts(self, days: Values) -> Bool[np.ndarray, "V"] | Bool[Array, "V"]:
        return days >= self.ignored
