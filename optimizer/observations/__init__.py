"""What is measured of a patient, and how likely a measurement is: one quantity a file.

| to | call |
|---|---|
| say what an assay shows of a trajectory | `Channel(quantity, assay).expected(system, trajectory)` |
| weigh measurements against a trajectory | `log_likelihood(channels, system, trajectory, record)` |
| draw what would be measured | `draw_errors(channels, key, days)`, `measure(...)` |
"""

from optimizer.observations.base import AbstractQuantity as AbstractQuantity, Assay as Assay, Channel as Channel
from optimizer.observations.record import (
    BELOW as BELOW,
    MEASURED as MEASURED,
    MISSING as MISSING,
    OVER as OVER,
    UNDER as UNDER,
    Record as Record,
    log_likelihood as log_likelihood,
)
