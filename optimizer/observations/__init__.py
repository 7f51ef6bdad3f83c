"""What is measured of a patient, and how likely a measurement is: one quantity a file.

| to | call |
|---|---|
| say what an assay shows of a trajectory | `Channel(quantity, assay).expected(system, trajectory)` |
| weigh measurements against a trajectory | `log_likelihood(channels, system, trajectory, record)` |
| draw what would be measured | `draw_errors(channels, key, days)`, `measure(...)` |
"""

from optimizer.observations.base import AbstractQuantity as AbstractQuantity
from optimizer.observations.base import Assay as Assay
from optimizer.observations.base import Channel as Channel
from optimizer.observations.record import BELOW as BELOW
from optimizer.observations.record import MEASURED as MEASURED
from optimizer.observations.record import MISSING as MISSING
from optimizer.observations.record import OVER as OVER
from optimizer.observations.record import UNDER as UNDER
from optimizer.observations.record import Record as Record
from optimizer.observations.record import log_likelihood as log_likelihood
