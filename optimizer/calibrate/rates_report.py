"""The report of a rates table: parameters, critical concentrations, nested models, draws, figures' curves, fragment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from optimizer.calibrate.columns import written
from optimizer.calibrate.curves import zero_growth
from optimizer.calibrate.multistart import Fit, outcome
from optimizer.calibrate.predictive import LAPLACE, band, curve, sample_fit
from optimizer.calibrate.presets import PUBLISHED_GROWTH_FACTOR_MAX
from optimizer.calibrate.rates import (
    DOCS,
    MOST_LEVELS,
    RateData,
    check_levels,
    direct_problem,
    fit_direct,
    fit_two_stage,
    rate_data,
    shared_curves,
    stromal_box,
    two_stage_draws,
)
from optimizer.calibrate.report import (
    Draws,
    Entry,
    FitReport,
    Options,
    Panel,
    entries,
    loss_in_words,
    quantiles,
    quantity,
    sampling_warnings,
)
from optimizer.calibrate.tables import Table
from optimizer.calibrate.uncertainty import criteria, uncertainty
from optimizer.files.faults import DataError


def rates_report(table: Table, options: Options) -> FitReport:
    """Fit a rates table by `options.method`; one growth-factor level gives a single Hill curve.

    Raises `DataError` for tables with too few doses or levels.
    """
    data = rate_data(table)
    units = _units(table)
    if not check_levels(data):
        return _hill_report(data, options, units)
    box = stromal_box(data, *units)
    if options.method == "two-stage":
        return _two_stage_report(data, box, options)
    if options.method != "direct":
        raise DataError(f"method: wanted direct or two-stage, got {options.method!r}")
    return _direct_report(data, box, options)


def _units(table: Table) -> tuple[str, str, str]:
    rate = table.units.get("net", table.units.get("birth", ""))
    return written(rate), written(table.units["drug"]), written(table.units.get("growth_factor", ""))


def _direct_report(data: RateData, box: tuple, options: Options) -> FitReport:
    fit = fit_direct(data, box, options)
    doubt = uncertainty(fit, options.level)
    sampled, flat, sigma = sample_fit(fit, doubt, options)
    derived = critical(data.table, fit.theta, flat, options.level)
    warnings = [*data.flags, *doubt.warnings, *_useless(data, fit), *sampling_warnings(sampled)]
    return FitReport(
        kind="rates",
        method="direct",
        rows=len(data.table),
        sse=fit.sse,
        sse_unit=box[3].unit,
        objective="absolute residuals of the net growth rate" + loss_in_words(options),
        parameters=entries(fit, doubt, DOCS),
        derived=derived,
        starts=fit.starts,
        starts_at_optimum=fit.starts_at_optimum,
        warnings=tuple(warnings),
        level=options.level,
        draws=sampled,
        fragment={p.name: quantity(v, p.unit) for p, v in zip(box, fit.theta, strict=True)},
        observed=data.net,
        fitted=fit.predicted(),
        criteria=doubt.criteria,
        comparisons=nested(data, box, fit, options),
        correlation=doubt.correlation,
        profiles=doubt.profiles,
        panels=_panels(data, fit, flat, sigma, options.level),
    )


def _two_stage_report(data: RateData, box: tuple, options: Options) -> FitReport:
    if options.bayes:
        raise DataError("bayes: wanted method direct (the two-stage objective is no likelihood), got two-stage")
    stages = fit_two_stage(data, box, options)
    doubt = uncertainty(stages.first, options.level)
    flat = two_stage_draws(stages, options.chains * options.draws, options.seed)
    problem = direct_problem(data, box)
    sse = outcome(problem, stages.theta).sse
    named = [
        Entry(p.name, float(v), quantiles(flat[:, i], options.level), p.unit, DOCS[p.name])
        for i, (p, v) in enumerate(zip(box, stages.theta, strict=True))
    ]
    shape = (options.chains, options.draws)
    source = f"{LAPLACE}; stage one, each draw carried through stage two"
    values = {p.name: flat[:, i].reshape(shape) for i, p in enumerate(box)}
    sampled = Draws(values, {p.name: p.unit for p in box}, source)
    composed = Fit(problem, box, stages.theta, sse, sse, stages.second.objectives, stages.second.thetas)
    sigma = np.full(len(flat), doubt.sigma)
    stage_one = {
        "sse": stages.first.sse,
        "ec50_by_level": {f"{g:g}": float(v) for g, v in zip(data.levels, stages.first.theta[3:], strict=True)},
        "ec50_interval_by_level": {f"{g:g}": doubt.interval(f"ec50[{g:g}]") for g in data.levels},
        "stage_two_sse": stages.second.sse,
    }
    note = "two-stage intervals carry the error of stage one only, not the misfit of the logistic in stage two"
    return FitReport(
        kind="rates",
        method="two-stage",
        rows=len(data.table),
        sse=sse,
        sse_unit=box[3].unit,
        objective="one D50 for each growth-factor level, then the logistic through those D50s" + loss_in_words(options),
        parameters=tuple(named),
        derived=critical(data.table, stages.theta, flat, options.level),
        starts=stages.first.starts,
        starts_at_optimum=min(stages.first.starts_at_optimum, stages.second.starts_at_optimum),
        warnings=(*data.flags, *doubt.warnings, note),
        level=options.level,
        draws=sampled,
        fragment={p.name: quantity(v, p.unit) for p, v in zip(box, stages.theta, strict=True)},
        observed=data.net,
        fitted=composed.predicted(),
        criteria=doubt.criteria,
        correlation=doubt.correlation,
        profiles=doubt.profiles,
        panels=_panels(data, composed, flat, sigma, options.level),
        extra={"stage_one": stage_one},
    )


def _hill_report(data: RateData, options: Options, units: tuple[str, str, str]) -> FitReport:
    """One curve: net_growth_max, net_growth_min, hill, ec50."""
    box = stromal_box(replace(data, growth_factor=np.ones_like(data.net)), units[0], units[1], "1")
    fit = shared_curves(data, box, options, split=False)
    doubt = uncertainty(fit, options.level)
    sampled, flat, sigma = sample_fit(fit, doubt, options)
    low, high, hill, ec50 = flat.T
    crossing = zero_growth((2 * ec50, 0 * ec50, 0 * ec50, high, low, hill), 0.0)
    grid = _dose_grid(data.drug)
    design = (grid, np.zeros(len(grid), int), np.array([[0, 1, 3, 2]]))
    line = curve(fit, design)
    limits = band(fit, flat, sigma, design, options.level)
    panel = Panel(
        "net growth rate", f"drug, {units[1]}", f"net growth, {units[0]}", data.drug, data.net, grid, line, limits
    )
    return FitReport(
        kind="rates",
        method=options.method,
        rows=len(data.table),
        sse=fit.sse,
        sse_unit=units[0],
        objective="absolute residuals of the net growth rate" + loss_in_words(options),
        parameters=entries(fit, doubt, DOCS),
        derived={
            "zero_growth_concentration": Entry(
                "", float(np.median(crossing)), quantiles(crossing, options.level), units[1]
            )
        },
        starts=fit.starts,
        starts_at_optimum=fit.starts_at_optimum,
        warnings=(*data.flags, *doubt.warnings, *_useless(data, fit), *sampling_warnings(sampled)),
        level=options.level,
        draws=sampled,
        fragment={p.name: quantity(v, p.unit) for p, v in zip(fit.parameters, fit.theta, strict=True)},
        observed=data.net,
        fitted=fit.predicted(),
        criteria=doubt.criteria,
        correlation=doubt.correlation,
        profiles=doubt.profiles,
        panels=(panel,),
    )


def nested(data: RateData, box: tuple, fit: Fit, options: Options) -> dict[str, dict[str, float]]:
    """Criteria of the stromal model and of simpler ones: hill = 1, no effect of the growth factor, no effect at all."""
    if len(data.levels) > MOST_LEVELS:
        return {"stromal": criteria(fit) | {"sse": fit.sse}}
    quick = replace(options, starts=min(options.starts, 64))
    constant = float(np.average(data.net, weights=data.counts * (1.0 if data.weights is None else data.weights)))
    models = {
        "stromal": fit,
        "stromal, hill = 1": fit_direct(data, box, options, hill=1.0),
        "no effect of the growth factor": shared_curves(data, box, quick, split=False),
        "one half-effect concentration a level": shared_curves(data, box, quick, split=True),
    }
    out = {name: criteria(model) | {"sse": model.sse} for name, model in models.items()}
    flat = fit_constant(fit, constant)
    return out | {"no effect": flat}


def fit_constant(fit: Fit, value: float) -> dict[str, float]:
    """Criteria of a constant rate on the same rows."""
    problem = fit.problem
    weight = np.asarray(problem.weights * problem.counts)
    n = float(problem.n)
    difference = np.asarray(problem.observed) - value
    q = float(np.sum(weight * difference**2) + float(problem.within))
    jacobian = 0.5 * float(np.sum(np.asarray(problem.counts) * np.log(np.asarray(problem.weights))))
    log_likelihood = -0.5 * n * (np.log(2 * np.pi * max(q, 1e-300) / n) + 1) + jacobian
    return {
        "n": n,
        "k": 2,
        "log_likelihood": log_likelihood,
        "aic": 4 - 2 * log_likelihood,
        "bic": 2 * np.log(n) - 2 * log_likelihood,
        "sse": float(np.sum(np.asarray(problem.counts) * difference**2) + float(problem.within)),
    }


def critical(table: Table, theta: np.ndarray, flat: np.ndarray, level: float) -> dict[str, Any]:
    """Critical concentrations in ug/mL without growth factor and at the published EGF maximum; None for molar doses."""
    if not table.units["drug"].endswith(("g_per_ml", "g_per_l")):
        return {"critical_concentration_ug_per_ml": None}
    drug = table.factor("drug", "concentration")
    maximum = PUBLISHED_GROWTH_FACTOR_MAX / table.factor("growth_factor", "growth_factor")
    out: dict[str, Any] = {}
    for key, g in (("critical_concentration", maximum), ("critical_concentration_without_growth_factor", 0.0)):
        point = drug * float(zero_growth(tuple(theta), g))
        spread = drug * zero_growth(tuple(flat.T), g)
        low, high = (end if np.isfinite(end) else None for end in quantiles_finite(spread, level))
        out[f"{key}_ug_per_ml"] = point
        out[f"{key}_interval_ug_per_ml"] = [low, high]
    out["growth_factor_pg_per_ml"] = PUBLISHED_GROWTH_FACTOR_MAX
    return out


def quantiles_finite(values: np.ndarray, level: float) -> tuple[float, float]:
    """Quantiles that may be infinite, without interpolation between a number and infinity."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return float(low), float(high)


def _useless(data: RateData, fit: Fit) -> list[str]:
    """A flag where the curve is no better than a constant: an unresponsive line or an all-dead plate."""
    flat = fit_constant(fit, float(np.average(data.net, weights=data.counts)))
    full = criteria(fit)
    if flat["bic"] <= full["bic"]:
        return ["no response: a constant rate describes these data as well (lower BIC); the parameters mean nothing"]
    explained = 1.0 - fit.sse / flat["sse"]
    if explained < 0.5:
        return [f"the fit explains only {100 * explained:.0f} % of the variance: check columns and units"]
    return []


def _dose_grid(drug: np.ndarray, points: int = 120) -> np.ndarray:
    positive = drug[drug > 0]
    return np.geomspace(positive.min() / 10, positive.max() * 3, points)


def _panels(data: RateData, fit: Fit, flat: np.ndarray, sigma: np.ndarray, level: float) -> tuple[Panel, ...]:
    """One panel a growth-factor level."""
    rate, drug, factor = _units(data.table)
    grid = _dose_grid(data.drug)
    out = []
    for g in data.levels if len(data.levels) <= MOST_LEVELS else ():
        design = (grid, np.full(len(grid), g))
        line = curve(fit, design)
        here = data.growth_factor == g
        limits = band(fit, flat, sigma, design, level)
        title = f"growth factor {g:g} {factor}"
        out.append(
            Panel(title, f"drug, {drug}", f"net growth, {rate}", data.drug[here], data.net[here], grid, line, limits)
        )
    return tuple(out)
