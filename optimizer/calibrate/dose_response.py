"""Four-parameter log-logistic curves of several conditions: apart, with shifted EC50s, or one for all; and GR metrics.

    viability = lower + (upper - lower) / (1 + (D / EC50)^hill)

`lower` is what is left at endless dose (Emax of the effect is upper - lower); the shift of a condition is the ratio of
its EC50 to the reference's where lower, upper and hill are shared. Growth-rate inhibition does not depend on how fast a
line divides (Hafner, Niepel, Chung, Sorger 2016, doi 10.1038/nmeth.3853):

    GR(D) = 2^(log2(x(D) / x0) / log2(x_vehicle / x0)) - 1
    GR = GRinf + (1 - GRinf) / (1 + (D / GEC50)^h)          GR50 = GEC50 ((1 - GRinf) / (0.5 - GRinf) - 1)^(1/h)

What the simulator itself would show after an assay of length T is another curve, `fit_kill`: the share that a Hill
kill rate leaves, upper exp(-Emax T (1 - 1 / (1 + (D / EC50)^hill))).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optimizer.calibrate.curves import curves, gr_curve, kill_curve
from optimizer.calibrate.fit import Fit, Settings, least_squares
from optimizer.calibrate.problem import FitProblem, Predict, collapse, make_problem, padded
from optimizer.calibrate.report import Entry, entries, quantiles
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.uncertainty import draws, uncertainty

DOCS = {
    "lower": "what is left at endless dose, as a part of vehicle",
    "upper": "level without drug, as a part of vehicle",
    "ec50": "dose of half the effect",
    "hill": "slope",
}
DIMMEST = 1e-3


@dataclass(frozen=True)
class Curve:
    """Responses to doses, replicates collapsed: doses and means [d], counts [d], sum of squares inside.

    Where rows are weighted, each stands for itself.
    """

    drug: np.ndarray
    mean: np.ndarray
    counts: np.ndarray
    within: float
    weights: np.ndarray | None = None

    def problem(self, predict: Predict, design: Any, parameters: tuple[Parameter, ...], rows: int = 0) -> FitProblem:
        """The least squares of these responses under a curve, filled with weightless rows up to `rows`."""
        more = {"weights": self.weights, "counts": self.counts, "within": self.within}
        return make_problem(predict, design, self.mean, parameters, **more, rows=rows)


def curve_data(drug: np.ndarray, response: np.ndarray, weights: np.ndarray | None = None) -> Curve:
    """Replicates of each dose become their mean, where no well has a weight of its own."""
    if weights is not None:
        return Curve(drug, response, np.ones_like(response), 0.0, weights)
    first, means, counts, within = collapse((drug,), response)
    return Curve(drug[first], means, counts, within)


def joined(data: Sequence[Curve]) -> tuple[Curve, np.ndarray]:
    """The rows of several curves as one, and which each is of [d]."""
    drug, mean, counts = (np.concatenate([getattr(d, name) for d in data]) for name in ("drug", "mean", "counts"))
    each = [d.weights for d in data if d.weights is not None]
    whole = Curve(drug, mean, counts, sum(d.within for d in data), np.concatenate(each) if each else None)
    return whole, np.repeat(np.arange(len(data)), [len(d.drug) for d in data])


def box(drug: np.ndarray, response: np.ndarray, unit: str) -> tuple[Parameter, ...]:
    """Bounds of (lower, upper, EC50, hill): ten spans around the responses, a hundred times around the doses.

    >>> [p.name for p in box(np.array([0.0, 1.0]), np.array([1.0, 0.0]), "ug/mL")]
    ['lower', 'upper', 'ec50', 'hill']
    """
    positive = drug[drug > 0]
    span = max(float(np.ptp(response)), 1e-6)
    low, high = float(response.min()), float(response.max())
    return (
        Parameter("lower", "1", low - 10 * span, high),
        Parameter("upper", "1", low, high + 10 * span),
        Parameter("ec50", unit, float(positive.min()) / 100, float(positive.max()) * 100, log=True),
        Parameter("hill", "1", 0.1, 15.0, log=True),
    )


def fit_curve(data: Curve, parameters: tuple[Parameter, ...], settings: Settings, rows: int = 0) -> Fit:
    """One curve; `rows` pads with weightless rows, so that conditions with fewer doses share a compilation.

    >>> x = np.array([0.0, 0.1, 0.3, 1.0, 3.0, 10.0])
    >>> y = 0.1 + 0.9 / (1 + x**1.5)
    >>> fit = fit_curve(curve_data(x, y), box(x, y, "ug/mL"), Settings(starts=16))
    >>> fit.theta.round(4).tolist()
    [0.1, 1.0, 1.0, 1.5]
    """
    size = max(rows, len(data.drug))
    design = (padded(data.drug, size), np.zeros(size, int), np.array([[0, 1, 2, 3]]))
    return least_squares(data.problem(curves, design, parameters, size), parameters, settings, "curves")


def fit_shared(
    data: Curve,
    group: np.ndarray,
    names: Sequence[str],
    parameters: tuple[Parameter, ...],
    settings: Settings,
    what: str,
) -> Fit:
    """Curves with shared lower, upper and hill, and for each `group` [d] an EC50 of its own name."""
    lower, upper, ec50, hill = parameters
    every = (lower, upper, hill, *(replace(ec50, name=name) for name in names))
    places = np.array([[0, 1, 3 + i, 2] for i in range(len(names))])
    return least_squares(data.problem(curves, (data.drug, group, places), every), every, settings, what)


def fit_kill(data: Curve, parameters: tuple[Parameter, ...], settings: Settings) -> Fit:
    """The simulator's own dose response: theta is (upper, emax_by_assay, ec50, hill), emax_by_assay = Emax T."""
    _, upper, ec50, hill = parameters
    every = (upper, Parameter("emax_by_assay", "1", 1e-3, 50.0, log=True), ec50, hill)
    return least_squares(data.problem(kill_curve, data.drug, every), every, settings, "the simulator's curve")


def absolute_ic50(lower: np.ndarray, upper: np.ndarray, ec50: np.ndarray, hill: np.ndarray) -> np.ndarray:
    """The dose at which the response is 0.5; infinite where it never gets there, 0 where it is below from the start.

    >>> float(absolute_ic50(np.array(0.0), np.array(1.0), np.array(2.0), np.array(3.0)))
    2.0
    """
    lower, upper, ec50, hill = map(np.asarray, (lower, upper, ec50, hill))
    inside = (lower < 0.5) & (upper > 0.5)
    ratio = np.where(inside, (upper - 0.5) / np.where(inside, 0.5 - lower, 1.0), 1.0)
    return np.where(inside, ec50 * ratio ** (1 / hill), np.where(upper <= 0.5, 0.0, np.inf))


def gr_values(viability: np.ndarray, start: np.ndarray) -> np.ndarray:
    """GR of viabilities (parts of vehicle) whose signal at time zero was `start` (a part of vehicle) [wells].

    Viabilities are floored at 0.001, as GR is not defined at or below the blank.

    >>> gr_values(np.array([1.0, 0.25, 0.125]), np.array([0.25, 0.25, 0.25])).round(4).tolist()
    [1.0, 0.0, -0.2929]
    """
    level = np.maximum(viability, DIMMEST)
    return 2.0 ** (np.log2(level / start) / np.log2(1.0 / start)) - 1.0


def gr_metrics(
    drug: np.ndarray, viability: np.ndarray, start: np.ndarray, unit: str, settings: Settings
) -> tuple[dict[str, Any], list[str]]:
    """GR50, GRmax, GRinf, GEC50, slope and area over the curve of one condition, with warnings.

    GRmax is the mean GR at the highest dose; the area over the curve is the mean of 1 - GR over log dose.
    """
    if not np.all((start > 0) & (start < 1)):
        return {}, ["GR metrics need vehicle wells brighter than those at time zero: left out"]
    gr = gr_values(viability, start)
    data = curve_data(drug, gr)
    doses, means = data.drug, data.mean
    positive = doses[doses > 0]
    bounds = (
        Parameter("gr_inf", "1", -1.0, 1.0),
        Parameter("gec50", unit, float(positive.min()) / 100, float(positive.max()) * 100, log=True),
        Parameter("gr_hill", "1", 0.1, 15.0, log=True),
    )
    fit = least_squares(data.problem(gr_curve, doses, bounds), bounds, settings, "growth-rate inhibition")
    found = uncertainty(fit, settings.level)
    flat = draws(fit, settings.chains * settings.draws, settings.seed)
    out: dict[str, Any] = {entry.name: entry for entry in entries(fit, found)}
    spread = gr50(*flat.T)
    finite = np.isfinite(spread).mean() > (1 + settings.level) / 2
    interval = quantiles(spread[np.isfinite(spread)], settings.level) if finite else (None, None)
    out["gr50"] = Entry("gr50", float(gr50(*fit.theta)), interval, unit)
    out["gr_max"] = float(means[np.argmax(doses)])
    x, lost = np.log10(positive), 1.0 - means[doses > 0]
    out["gr_aoc"] = float(np.trapezoid(lost, x) / (x[-1] - x[0])) if len(x) > 1 else float("nan")
    return out, [f"GR: {sentence}" for sentence in found.warnings]


def gr50(gr_inf: np.ndarray | float, gec50: np.ndarray | float, hill: np.ndarray | float) -> np.ndarray:
    """The dose of GR = 0.5; infinite where GRinf >= 0.5.

    >>> float(gr50(0.0, 3.0, 2.0))
    3.0
    """
    low = np.asarray(gr_inf, dtype=float)
    reached = low < 0.5
    ratio = np.where(reached, (1 - low) / np.where(reached, 0.5 - low, 1.0) - 1.0, 1.0)
    return np.where(reached, np.asarray(gec50) * ratio ** (1.0 / np.asarray(hill)), np.inf)
