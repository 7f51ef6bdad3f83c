"""The report of a rates table: parameters, critical concentrations, nested models, draws, curves, the scenario."""

from dataclasses import replace
from typing import Any

import numpy as np

from optimizer.calibrate import fragment, rates
from optimizer.calibrate.audit import PUBLISHED_GROWTH_FACTOR_MAX, has_mass
from optimizer.calibrate.curves import zero_growth
from optimizer.calibrate.fit import Fit, Settings, outcome
from optimizer.calibrate.posterior import LAPLACE, Draws
from optimizer.calibrate.report import Entry, FitReport, Fragment, Part, compose, part, quantiles
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.tables import Table
from optimizer.calibrate.uncertainty import constant_criteria, criteria
from optimizer.files.faults import DataError

DOCS = {
    "ec50_max": "largest half-effect concentration of the drug, at endless growth factor",
    "shift_midpoint": "growth factor at which the half-effect concentration is half its largest",
    "shift_slope": "steepness of that shift",
    "net_growth_max": "net growth rate without drug",
    "net_growth_min": "net growth rate at endless drug",
    "hill": "slope of the drug effect",
    "ec50": "half-effect concentration of the drug",
}
OBJECTIVE = "absolute residuals of the net growth rate"


def rates_report(table: Table, settings: Settings) -> FitReport:
    """Fit a rates table by `settings.method`; one growth-factor level gives a single Hill curve.

    Raises `DataError` for tables with too few doses or levels.
    """
    data = rates.rate_data(table)
    if not rates.is_stromal(data):
        return _hill_report(data, settings)
    box = rates.stromal_box(data, *data.units)
    if settings.method == "two-stage":
        return _two_stage_report(data, box, settings)
    fit = rates.fit_direct(data, box, settings)
    whole = part(fit, settings, DOCS)
    return compose(
        "rates",
        table,
        [whole],
        settings,
        sse_unit=box[3].unit,
        objective=OBJECTIVE,
        derived=critical(table, fit.theta, whole.theta, settings.level),
        warnings=(*data.flags, *whole.warnings, *_useless(fit)),
        fragment=_fragment(table, box, fit.theta),
        comparisons=nested(data, box, fit, settings),
        panels=_panels(data, whole),
    )


def _fragment(table: Table, box: tuple[Parameter, ...], theta: np.ndarray) -> Fragment:
    return fragment.stromal(table, {p.name: (float(v), p.unit) for p, v in zip(box, theta, strict=True)})


def _two_stage_report(data: rates.RateData, box: tuple[Parameter, ...], settings: Settings) -> FitReport:
    if settings.bayes:
        raise DataError("bayes: wanted method direct (the two-stage objective is no likelihood); got two-stage")
    stages = rates.fit_two_stage(data, box, settings)
    first = part(stages.first, settings, {})
    flat = stages.draws(settings.chains * settings.draws, settings.seed)
    problem, theta = rates.direct_problem(data, box), stages.theta
    sse = outcome(problem, theta).sse
    composed = Fit(problem, box, theta, sse, sse, stages.second.objectives, stages.second.thetas)
    values = {p.name: flat[:, i].reshape(settings.chains, settings.draws) for i, p in enumerate(box)}
    sampled = Draws(values, {p.name: p.unit for p in box}, f"{LAPLACE}; stage one, each draw carried through stage two")
    named = tuple(
        Entry(p.name, float(v), quantiles(flat[:, i], settings.level), p.unit, DOCS[p.name])
        for i, (p, v) in enumerate(zip(box, theta, strict=True))
    )
    whole = replace(
        first, fit=composed, draws=sampled, theta=flat, entries=named, sigma=np.full(len(flat), first.uncertainty.sigma)
    )
    by_level = {f"{g:g}": i for i, g in enumerate(data.levels)}
    stage_one = {
        "sse": stages.first.sse,
        "ec50_by_level": {g: float(stages.first.theta[3 + i]) for g, i in by_level.items()},
        "ec50_interval_by_level": {g: first.uncertainty.interval(f"ec50[{g}]") for g in by_level},
        "stage_two_sse": stages.second.sse,
    }
    note = "two-stage intervals carry the error of stage one only, not the misfit of the logistic in stage two"
    return compose(
        "rates",
        data.table,
        [whole],
        settings,
        sse_unit=box[3].unit,
        objective="one D50 for each growth-factor level, then the logistic through those D50s",
        derived=critical(data.table, theta, flat, settings.level),
        starts_at_optimum=min(stages.first.starts_at_optimum, stages.second.starts_at_optimum),
        warnings=(*data.flags, *whole.warnings, note),
        fragment=_fragment(data.table, box, theta),
        panels=_panels(data, whole),
        extra={"stage_one": stage_one},
    )


def _hill_report(data: rates.RateData, settings: Settings) -> FitReport:
    """One curve: net_growth_max, net_growth_min, hill, ec50."""
    rate, drug, _ = data.units
    box = rates.stromal_box(replace(data, growth_factor=np.ones_like(data.net)), rate, drug, "1")
    fit = rates.shared_curves(data, box, settings, split=False)
    whole = part(fit, settings, DOCS)
    low, high, hill, ec50 = whole.theta.T
    crossing = zero_growth((2 * ec50, 0 * ec50, 0 * ec50, high, low, hill), 0.0)
    spread = quantiles(crossing, settings.level)
    grid = dose_grid(data.drug)
    design = (grid, np.zeros(len(grid), int), np.array([[0, 1, 3, 2]]))
    labels = f"drug, {drug}", f"net growth, {rate}"
    values = {name: fit.value(name) for name in fit.names}
    span = values["net_growth_max"] - values["net_growth_min"]
    effect = {"emax": (span, rate), "ec50": (values["ec50"], drug), "hill": (values["hill"], "1")}
    level = fragment.drug_of(data.table), float(data.drug.max()), drug
    found = fragment.cultured(level, (values["net_growth_max"], rate), effect)
    own = {"emax": (high - low, rate), "ec50": (ec50, "1"), "hill": (hill, "1")}
    shape = settings.chains, settings.draws
    growth = {"model.growth_rate": (high.reshape(shape), rate)}
    found = found._replace(draws=growth | fragment.effect_draws(own, settings))
    return compose(
        "rates",
        data.table,
        [whole],
        settings,
        sse_unit=rate,
        objective=OBJECTIVE,
        derived={"zero_growth_concentration": Entry("", float(np.median(crossing)), spread, drug)},
        warnings=(*data.flags, *whole.warnings, *_useless(fit)),
        fragment=found,
        panels=(whole.panel("net growth rate", labels, (data.drug, data.net), design),),
    )


def nested(
    data: rates.RateData, box: tuple[Parameter, ...], fit: Fit, settings: Settings
) -> dict[str, dict[str, float]]:
    """Criteria of the stromal model and of simpler ones: hill = 1, no effect of the growth factor, no effect at all."""
    if len(data.levels) > rates.MOST_LEVELS:
        return {"stromal": criteria(fit) | {"sse": fit.sse}}
    quick = replace(settings, starts=min(settings.starts, 64))
    models = {
        "stromal": fit,
        "stromal, hill = 1": rates.fit_direct(data, box, settings, {"hill": 1.0}),
        "no effect of the growth factor": rates.shared_curves(data, box, quick, split=False),
        "one half-effect concentration a level": rates.shared_curves(data, box, quick, split=True),
    }
    out = {name: criteria(model) | {"sse": model.sse} for name, model in models.items()}
    return out | {"no effect": constant_criteria(fit)}


def critical(table: Table, theta: np.ndarray, flat: np.ndarray, level: float) -> dict[str, Any]:
    """Critical concentrations in ug/mL without growth factor and at the published EGF maximum; None for molar doses."""
    if not has_mass(table):
        return {"critical_concentration_ug_per_ml": None}
    drug = table.factor("drug", "concentration")
    maximum = PUBLISHED_GROWTH_FACTOR_MAX / table.factor("growth_factor", "growth_factor")
    out: dict[str, Any] = {}
    for key, g in (("critical_concentration", maximum), ("critical_concentration_without_growth_factor", 0.0)):
        spread = quantiles(drug * zero_growth(tuple(flat.T), g), level, nearest=True)
        out[f"{key}_ug_per_ml"] = drug * float(zero_growth(tuple(theta), g))
        out[f"{key}_interval_ug_per_ml"] = [end if np.isfinite(end) else None for end in spread]
    out["growth_factor_pg_per_ml"] = PUBLISHED_GROWTH_FACTOR_MAX
    return out


def _useless(fit: Fit) -> list[str]:
    """A flag where the curve is no better than a constant: an unresponsive line or an all-dead plate."""
    flat = constant_criteria(fit)
    if flat["bic"] <= criteria(fit)["bic"]:
        return ["no response: a constant rate describes these data as well (lower BIC); the parameters mean nothing"]
    explained = 1.0 - fit.sse / flat["sse"]
    if explained < 0.5:
        return [f"the fit explains only {100 * explained:.0f} % of the variance: check columns and units"]
    return []


def dose_grid(drug: np.ndarray, points: int = 120) -> np.ndarray:
    """Doses at which a curve is drawn, from a tenth of the smallest to three times the largest."""
    positive = drug[drug > 0]
    return np.geomspace(positive.min() / 10, positive.max() * 3, points)


def _panels(data: rates.RateData, whole: Part) -> tuple:
    """One panel a growth-factor level."""
    rate, drug, factor = data.units
    labels, grid, out = (f"drug, {drug}", f"net growth, {rate}"), dose_grid(data.drug), []
    for g in data.levels if len(data.levels) <= rates.MOST_LEVELS else ():
        here = data.growth_factor == g
        seen = data.drug[here], data.net[here]
        out.append(whole.panel(f"growth factor {g:g} {factor}", labels, seen, (grid, np.full(len(grid), g))))
    return tuple(out)
