"""Two competing clones, Strobl et al. 2021, doi 10.1158/0008-5472.CAN-20-0806, and their time to progression.

    (log S)' = r (1 - S - R)(1 - 1.5 u)        (log R)' = r (1 - S - R)        u in [0, 1]

Progression is N > 1.2 N(0). It has no gradient where it is not reached, so that a solver is given the mean of the
survival S = exp(-H), H' = 20 / T / temperature * softplus(log10(N / 1.2 N(0)) / (0.05 temperature)), at falling
temperatures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.problems.base import Maths

SENSITIVE, STRENGTH, FACTOR, HORIZON = 0.2475, 1.5, 1.2, 364.0


@dataclass(frozen=True)
class Clones:
    """State: log S, log R, H; patients differ in the growth rate of S and in R(0).

    Attributes:
        resistant_rate: growth rate of the resistant clone [1/day].
        typical: growth rate of the sensitive clone [1/day], R(0), temperature.
    """

    resistant_rate: float = 0.027
    typical: tuple[float, ...] = (0.027, 0.0025, 0.01)
    boluses: tuple[int | None, ...] = (None,)
    least: tuple[float | None, ...] = (None, None, None)

    def first(self, p: Sequence[Any], maths: Maths) -> list[Any]:
        return [math.log(SENSITIVE), maths.log10(p[1]) * math.log(10.0), 0.0]

    def slope(self, maths: Maths, y: Sequence[Any], rate: Sequence[Any], p: Sequence[Any]) -> list[Any]:
        cells = maths.exp(y[0]) + maths.exp(y[1])
        room, temperature = 1.0 - cells, p[2]
        above = maths.log10(cells / (FACTOR * (SENSITIVE + p[1]))) / (0.05 * temperature)
        hazard = 20.0 / temperature * maths.softplus(above) / HORIZON
        return [p[0] * room * (1.0 - STRENGTH * rate[0]), self.resistant_rate * room, hazard]

    def cost(self, maths: Maths, y: Sequence[Any], p: Sequence[Any]) -> Any:
        return -maths.exp(-y[2])

    def excess(self, maths: Maths, y: Sequence[Any], p: Sequence[Any]) -> Any:
        """Log of the cells over those of progression."""
        return math.log(10.0) * maths.log10((maths.exp(y[0]) + maths.exp(y[1])) / (FACTOR * (SENSITIVE + p[1])))
