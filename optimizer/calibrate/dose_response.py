"""Four-parameter log-logistic curves of several conditions: apart, with shifted EC50s, or one for all.

    viability = lower + (upper - lower) / (1 + (D / EC50)^hill)

`lower` is what is left at endless dose (Emax of the effect is upper - lower); the shift of a condition is the ratio of
its EC50 to the reference's where lower, upper and hill are shared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.calibrate.curves import curves
from optimizer.calibrate.multistart import Fit, multistart, robust
from optimizer.calibrate.problem import collapse, make_problem, with_replicates
from optimizer.calibrate.report import Options
from optimizer.calibrate.space import Parameter

SHAPE = ("lower", "upper", "hill")
DOCS = {
    "lower": "what is left at endless dose, as a part of vehicle",
    "upper": "level without drug, as a part of vehicle",
    "ec50": "dose of half the effect",
    "hill": "slope",
}


@dataclass(frozen=True)
class Curve:
    """The data of one condition, replicates collapsed: doses and means [d], counts [d], sum of squares inside."""

    drug: np.ndarray
    mean: np.ndarray
    counts: np.ndarray
    within: float


def curve_data(drug: np.ndarray, response: np.ndarray) -> Curve:
    """Replicates of each dose become their mean."""
    first, means, counts, within = collapse((drug,), response)
    return Curve(drug[first], means, counts, within)


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


def fit_curve(data: Curve, parameters: tuple[Parameter, ...], options: Options, rows: int | None = None) -> Fit:
    """One curve; `rows` pads with weightless rows, so that conditions with fewer doses share a compilation.

    >>> x = np.array([0.0, 0.1, 0.3, 1.0, 3.0, 10.0])
    >>> y = 0.1 + 0.9 / (1 + x**1.5)
    >>> fit = fit_curve(curve_data(x, y), box(x, y, "ug/mL"), Options(starts=16))
    >>> fit.theta.round(4).tolist()
    [0.1, 1.0, 1.0, 1.5]
    """
    extra = max((rows or 0) - len(data.drug), 0)
    drug = np.concatenate([data.drug, np.ones(extra)])
    mean = np.concatenate([data.mean, np.ones(extra)])
    weights = np.concatenate([np.ones(len(data.drug)), np.zeros(extra)])
    counts = np.concatenate([data.counts, np.ones(extra)])
    design = (drug, np.zeros(len(drug), int), np.array([[0, 1, 2, 3]]))
    problem = make_problem(curves, design, mean, parameters, weights=weights)
    problem = with_replicates(problem, counts, data.within)
    fit = multistart(problem, parameters, starts=options.starts, seed=options.seed)
    return robust(fit, options.loss, starts=options.starts, seed=options.seed) if options.loss != "linear" else fit


def fit_shared(
    data: tuple[Curve, ...], names: tuple[str, ...], parameters: tuple[Parameter, ...], options: Options, shifted: bool
) -> Fit:
    """All conditions at once with shared lower, upper and hill; an EC50 each where `shifted`, else one for all."""
    drug = np.concatenate([d.drug for d in data])
    group = np.repeat(np.arange(len(data)), [len(d.drug) for d in data])
    lower, upper, ec50, hill = parameters
    shifts = names if shifted else ("all",)
    each = tuple(Parameter(f"ec50[{name}]", ec50.unit, ec50.low, ec50.high, log=True) for name in shifts)
    places = np.array([[0, 1, 3 + (i if shifted else 0), 2] for i in range(len(data))])
    every = (lower, upper, hill, *each)
    problem = make_problem(curves, (drug, group, places), np.concatenate([d.mean for d in data]), every)
    counts = np.concatenate([d.counts for d in data])
    problem = with_replicates(problem, counts, sum(d.within for d in data))
    return multistart(problem, every, starts=options.starts, seed=options.seed)


def absolute_ic50(lower: np.ndarray, upper: np.ndarray, ec50: np.ndarray, hill: np.ndarray) -> np.ndarray:
    """The dose at which the response is 0.5; infinite where it never gets there, 0 where it is below from the start.

    >>> float(absolute_ic50(np.array(0.0), np.array(1.0), np.array(2.0), np.array(3.0)))
    2.0
    """
    lower, upper, ec50, hill = map(np.asarray, (lower, upper, ec50, hill))
    inside = (lower < 0.5) & (upper > 0.5)
    ratio = np.where(inside, (upper - 0.5) / np.where(inside, 0.5 - lower, 1.0), 1.0)
    return np.where(inside, ec50 * ratio ** (1 / hill), np.where(upper <= 0.5, 0.0, np.inf))
