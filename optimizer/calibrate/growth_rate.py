"""Growth-rate inhibition (GR) metrics, which do not depend on how fast a line divides.

    GR(D) = 2^(log2(x(D) / x0) / log2(x_vehicle / x0)) - 1
    GR = GRinf + (1 - GRinf) / (1 + (D / GEC50)^h)          GR50 = GEC50 ((1 - GRinf) / (0.5 - GRinf) - 1)^(1/h)

Source: Hafner, Niepel, Chung, Sorger 2016, doi 10.1038/nmeth.3853.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizer.calibrate.curves import gr_curve
from optimizer.calibrate.multistart import multistart
from optimizer.calibrate.problem import collapse, make_problem, with_replicates
from optimizer.calibrate.report import Entry, Options, quantiles
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.uncertainty import draws, uncertainty

DIMMEST = 1e-3


def gr_values(viability: np.ndarray, start: np.ndarray) -> np.ndarray:
    """GR of viabilities (parts of vehicle) whose signal at time zero was `start` (a part of vehicle) [wells].

    Viabilities are floored at 0.001, as GR is not defined at or below the blank.

    >>> gr_values(np.array([1.0, 0.25, 0.125]), np.array([0.25, 0.25, 0.25])).round(4).tolist()
    [1.0, 0.0, -0.2929]
    """
    level = np.maximum(viability, DIMMEST)
    return 2.0 ** (np.log2(level / start) / np.log2(1.0 / start)) - 1.0


def gr_metrics(
    drug: np.ndarray, viability: np.ndarray, start: np.ndarray, unit: str, options: Options
) -> tuple[dict[str, Any], list[str]]:
    """GR50, GRmax, GRinf, GEC50, slope and area over the curve of one condition, with warnings.

    GRmax is the mean GR at the highest dose; the area over the curve is the mean of 1 - GR over log dose.
    """
    if not np.all((start > 0) & (start < 1)):
        return {}, ["GR metrics need vehicle wells brighter than those at time zero: left out"]
    gr = gr_values(viability, start)
    first, means, counts, within = collapse((drug,), gr)
    doses = drug[first]
    positive = doses[doses > 0]
    box = (
        Parameter("gr_inf", "1", -1.0, 1.0),
        Parameter("gec50", unit, float(positive.min()) / 100, float(positive.max()) * 100, log=True),
        Parameter("gr_hill", "1", 0.1, 15.0, log=True),
    )
    problem = with_replicates(make_problem(gr_curve, doses, means, box), counts, within)
    fit = multistart(problem, box, starts=options.starts, seed=options.seed)
    doubt = uncertainty(fit, options.level)
    flat = draws(fit, options.chains * options.draws, options.seed)
    out: dict[str, Any] = {
        p.name: Entry(p.name, float(v), doubt.interval(p.name), p.unit) for p, v in zip(box, fit.theta, strict=True)
    }
    spread = gr50(*flat.T)
    finite = np.isfinite(spread).mean() > (1 + options.level) / 2
    interval = quantiles(spread[np.isfinite(spread)], options.level) if finite else (None, None)
    out["gr50"] = Entry("gr50", float(gr50(*fit.theta)), interval, unit)
    out["gr_max"] = float(means[np.argmax(doses)])
    out["gr_aoc"] = _area_over(doses[doses > 0], means[doses > 0])
    return out, [f"GR: {sentence}" for sentence in doubt.warnings]


def gr50(gr_inf: np.ndarray | float, gec50: np.ndarray | float, hill: np.ndarray | float) -> np.ndarray:
    """The dose of GR = 0.5; infinite where GRinf >= 0.5.

    >>> float(gr50(0.0, 3.0, 2.0))
    3.0
    """
    low = np.asarray(gr_inf, dtype=float)
    reached = low < 0.5
    ratio = np.where(reached, (1 - low) / np.where(reached, 0.5 - low, 1.0) - 1.0, 1.0)
    return np.where(reached, np.asarray(gec50) * ratio ** (1.0 / np.asarray(hill)), np.inf)


def _area_over(dose: np.ndarray, gr: np.ndarray) -> float:
    if len(dose) < 2:
        return float("nan")
    x = np.log10(dose)
    return float(np.trapezoid(1.0 - gr, x) / (x[-1] - x[0]))
