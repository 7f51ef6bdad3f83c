"""Stroma-induced resistance, Kraut et al. 2025, doi 10.1038/s41540-025-00495-0.

    (log C_i)' = Rmin + (Rmax_i - Rmin) / (1 + (D / D50_i(G_eff))^k) - Rmax_i N / K        D' = -dD D, B' = -dB B
    D50_i(G) = D50max_i / (1 + exp(-kG (G - Ghat)))        G_eff = G max(1 - B, 0)
    G' = (dG + bG S) (Gbar(D) - G)                         Gbar = Gmax / (1 + exp(-s (D - Dhat)))

The last line is the paper's for a constant stroma, where its clamp does not act.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.problems.base import Maths

DAY = 24.0  # hour
CAF = {
    "cells": 1e8,
    "ec50_max": 7.34,  # mg/L
    "net_growth_max": 0.0147 * DAY,  # 1/day
    "net_growth_min": -0.0079 * DAY,
    "hill": 0.93,
    "shift_slope": 0.0078,  # mL/pg
    "shift_midpoint": 379.4,  # pg/mL
    "growth_factor_max": 27.1,
    "secretion_slope": 65.7,  # L/mg
    "secretion_midpoint": 0.0049,  # mg/L
    "relaxation": (5.0 + 0.001 * 1000.0) * DAY,  # dG + bG S, 1/day
    "elimination": 0.006 * DAY,
    "blocker_elimination": 0.004 * DAY,
}
GENERAL = {
    "cells": 1e8,
    "ec50_max": 10.0,
    "net_growth_max": 0.015 * DAY,
    "net_growth_min": -0.005 * DAY,
    "hill": 2.0,
    "shift_slope": 0.03,
    "shift_midpoint": 300.0,
    "growth_factor_max": 350.0,
    "secretion_slope": 5.0,
    "secretion_midpoint": 0.7,
    "relaxation": (5.0 + 0.0001 * 1000.0) * DAY,
    "elimination": 0.03 * DAY,
}


@dataclass(frozen=True)
class Stromal:
    """State: log cells of each clone, D, B where there is a blocker, G where it is not at its steady level.

    Attributes:
        numbers: of the first clone, the stroma and the drugs.
        vary: names of the numbers in which patients differ.
        second: numbers of a second, resistant clone where they differ from the first one's.
        capacity: K [cell].
        resistance: weight of the second clone's mean log10(C + 1).
        blocker: whether there is one.
        full: whether the growth factor is a state.
    """

    numbers: Mapping[str, float]
    vary: tuple[str, ...]
    second: Mapping[str, float] | None = None
    capacity: float | None = None
    resistance: float = 0.0
    blocker: bool = False
    full: bool = False

    @property
    def typical(self) -> tuple[float, ...]:
        return tuple(self.numbers[name] for name in self.vary)

    @property
    def clones(self) -> int:
        """Number of clones."""
        return 1 if self.second is None else 2

    @property
    def boluses(self) -> tuple[int | None, ...]:
        return (self.clones, self.clones + 1) if self.blocker else (self.clones,)

    @property
    def least(self) -> tuple[float | None, ...]:
        return (None,) * self.clones + (0.0,) * (1 + self.blocker + self.full)

    def of(self, p: Sequence[Any]) -> list[dict[str, Any]]:
        """Numbers of a patient, by clone."""
        own = {**self.numbers, **dict(zip(self.vary, p, strict=True))}
        return [own] if self.second is None else [own, {**own, **self.second}]

    def first(self, p: Sequence[Any], maths: Maths) -> list[Any]:
        logs = [math.log(clone["cells"]) for clone in self.of(p)]
        return logs + [0.0] * (1 + self.blocker + self.full)

    def steady(self, maths: Maths, drug: Any, p: Sequence[Any]) -> Any:
        """Gbar [pg/mL]."""
        k = self.of(p)[0]
        return k["growth_factor_max"] / (1.0 + maths.exp(-k["secretion_slope"] * (drug - k["secretion_midpoint"])))

    def growth(self, maths: Maths, drug: Any, factor: Any, p: Sequence[Any]) -> list[Any]:
        """Net growth of each clone [1/day] without a capacity."""
        out = []
        for k in self.of(p):
            shift = 1.0 + maths.exp(-k["shift_slope"] * (factor - k["shift_midpoint"]))
            effect = maths.base(drug * shift / k["ec50_max"]) ** k["hill"]
            out.append(k["net_growth_min"] + (k["net_growth_max"] - k["net_growth_min"]) / (1.0 + effect))
        return out

    def crowded(self, maths: Maths, growth: Sequence[Any], logs: Sequence[Any], p: Sequence[Any]) -> list[Any]:
        """Net growth of each clone [1/day] with the capacity."""
        if self.capacity is None:
            return list(growth)
        crowd = sum(maths.exp(x) for x in logs) / self.capacity
        return [g - k["net_growth_max"] * crowd for g, k in zip(growth, self.of(p), strict=True)]

    def slope(self, maths: Maths, y: Sequence[Any], rate: Sequence[Any], p: Sequence[Any]) -> list[Any]:
        k, m = self.of(p)[0], self.clones
        drug, steady = y[m], self.steady(maths, y[m], p)
        factor = y[m + 1 + self.blocker] if self.full else steady
        free = maths.ramp(1.0 - y[m + 1]) if self.blocker else 1.0
        out = self.crowded(maths, self.growth(maths, drug, factor * free, p), y[:m], p)
        out.append(-k["elimination"] * drug)
        if self.blocker:
            out.append(-k["blocker_elimination"] * y[m + 1])
        return [*out, k["relaxation"] * (steady - factor)] if self.full else out

    def cost(self, maths: Maths, y: Sequence[Any], p: Sequence[Any]) -> Any:
        cells = [maths.exp(y[i]) for i in range(self.clones)]
        total = maths.log10(sum(cells) + 1.0)
        return total + self.resistance * maths.log10(cells[1] + 1.0) if self.resistance else total
