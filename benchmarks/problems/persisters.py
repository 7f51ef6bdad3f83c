"""Drug-tolerant persisters under osimertinib and a drug that resensitizes them; rates illustrative.

    S' = (g1 (1 - N/K) - kill(c) - k1(c)) S + k2 rho(e) P        P' = (g2 (1 - N/K) - k2 rho(e)) P + k1(c) S
    R' = g3 (1 - N/K) R + mu g2 P        kill and k1 rise with c by Hill curves, rho = 1 + 4 e / (0.3 + e)
    D' = u - ka D        A' = ka D - (CL / V) A        c = A / V

Reversible tolerance: doi 10.1016/j.cell.2010.02.027.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.problems.base import Maths

CAPACITY, MUTATION = 1e11, 1e-5
CELLS = (1e9, 3e6, 0.0)
GROWTH = (0.03, 0.002, 0.02)  # 1/day
EC50, HILL = 0.05, 1.5  # mg/L
SWITCH, SATURATED = 1e-5, 0.004  # 1/day
RISE, HALF = 4.0, 0.3
VOLUME, ABSORPTION = 918.0, 0.63 * 24.0  # L, 1/day
RESISTANCE = 0.3


@dataclass(frozen=True)
class Persisters:
    """State: ln(cells + 1) of the three clones, mg in the gut and in the body; patients differ in the return rate k2
    and the clearance."""

    typical: tuple[float, ...] = (0.02, 343.2)
    boluses: tuple[int | None, ...] = (None, None)
    least: tuple[float | None, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def first(self, p: Sequence[Any], maths: Maths) -> list[Any]:
        return [math.log(c + 1.0) for c in CELLS] + [0.0, 0.0]

    def cells_slope(self, maths: Maths, y: Sequence[Any], conc: Any, helper: Any, p: Sequence[Any]) -> list[Any]:
        """Derivative of the three logarithms [1/day] at the levels of the two drugs."""
        plus = [maths.exp(x) for x in y[:3]]
        cells = [c - 1.0 for c in plus]
        room = 1.0 - sum(cells) / CAPACITY
        raised = maths.base(conc / EC50) ** HILL
        kill = 0.15 * raised / (1.0 + raised)
        leaving = SWITCH + (SATURATED - SWITCH) * conc / (EC50 + conc)
        back = p[0] * (1.0 + RISE * helper / (HALF + helper))
        sensitive = (GROWTH[0] * room - kill - leaving) * cells[0] + back * cells[1]
        persister = (GROWTH[1] * room - back) * cells[1] + leaving * cells[0]
        resistant = GROWTH[2] * room * cells[2] + MUTATION * GROWTH[1] * cells[1]
        return [d / c for d, c in zip((sensitive, persister, resistant), plus, strict=True)]

    def slope(self, maths: Maths, y: Sequence[Any], rate: Sequence[Any], p: Sequence[Any]) -> list[Any]:
        out = self.cells_slope(maths, y, y[4] / VOLUME, rate[1], p)
        return [*out, rate[0] - ABSORPTION * y[3], ABSORPTION * y[3] - p[1] / VOLUME * y[4]]

    def cost(self, maths: Maths, y: Sequence[Any], p: Sequence[Any]) -> Any:
        plus = [maths.exp(y[i]) for i in range(3)]
        return maths.log10(sum(plus) - 2.0) + RESISTANCE * maths.log10(plus[1] + plus[2] - 1.0)
