"""The report of time series: parameters of each patient, or of the population they come from."""

from dataclasses import replace

import numpy as np

from optimizer.calibrate import fragment
from optimizer.calibrate.fit import Fit, Settings
from optimizer.calibrate.growth import PARAMETERS
from optimizer.calibrate.hierarchical import Population, new_individuals, pool, population_entries, population_json
from optimizer.calibrate.posterior import LAPLACE, Draws
from optimizer.calibrate.report import FitReport, Fragment, Part, along, compose, part
from optimizer.calibrate.tables import Table
from optimizer.calibrate.timeseries import (
    HALF_LIFE,
    Series,
    TimeSeriesModel,
    builtin,
    burden,
    fit_series,
    patient_series,
)
from optimizer.calibrate.uncertainty import criteria
from optimizer.files.faults import DataError

DOCS = {
    "initial_burden": "burden at the first record",
    "growth_rate": "growth rate without drug",
    "capacity": "largest burden",
    "drug_effect": "effect of the drug at endless dose",
    "ec50": "amount of drug in the body at half effect",
    "elimination_rate": "elimination rate of the drug",
    "hill": "slope of the drug effect",
}


def timeseries_report(table: Table, settings: Settings) -> FitReport:
    """Fit patients' series by `settings.model` or one of the simulator's own tumors.

    `settings.hierarchical` pools at least three patients; otherwise each is fitted on its own.
    """
    series, unit = patient_series(table), burden(table)[1]
    _check(table, series, settings)
    model = settings.model or builtin(series, unit, settings)
    fits = fit_series(series, model, settings)
    parts = [_patient(fit, one, settings, unit, len(series) > 1) for fit, one in zip(fits, series, strict=True)]
    population = pool(fits) if settings.hierarchical else None
    front = population_entries(population, fits[0], settings.level, DOCS) if population else []
    warnings = [warning for p in parts for warning in p.warnings]
    if "elimination_rate" in model.fixed and settings.elimination_rate is None and not series[0].held:
        warnings.append(f"the drug's half-life is not in the table: {HALF_LIFE:g} d is assumed (elimination_rate)")
    if unit != table.units["burden"]:
        warnings.append(f"diameters are fitted as volumes of spheres, in {unit}")
    if population is not None and not population.converged:
        warnings.append("the population's mean and spread had not settled after 200 rounds")
    drawn = _draws(parts, series, population, settings)
    return compose(
        "timeseries",
        table,
        parts,
        settings,
        sse_unit=unit,
        objective=f"residuals {fits[0].problem.deviation} of {model.name}",
        parameters=(*front, *(entry for p in parts for entry in p.entries)),
        derived={"residual_sd": {s.patient: p.uncertainty.sigma for s, p in zip(series, parts, strict=True)}},
        warnings=warnings,
        draws=drawn,
        fragment=_fragment(table, series, fits[0], population, drawn, settings),
        criteria=_total(fits),
        comparisons={} if settings.model else _compare(series, fits, model, settings, unit),
        extra={"model": model.name, "fixed": dict(model.fixed)} | population_json(population),
    )


def _check(table: Table, series: tuple[Series, ...], settings: Settings) -> None:
    for one in series:
        first = int(np.flatnonzero(table["patient"] == one.patient)[0])
        if len(np.unique(one.times)) < 4:
            wanted = f"at least 4 observation times of patient {one.patient}"
            raise DataError([table.fault(first, "time", wanted, str(len(np.unique(one.times))))])
    if (settings.deviation or "log") == "log":
        faults = [
            table.fault(i, "burden", "a value above 0 (residuals are logarithmic; --deviation chooses others)", "0")
            for i in np.flatnonzero(table["burden"] == 0)
        ]
        DataError.stop(faults)
    if settings.hierarchical and len(series) < 3:
        raise DataError(f"hierarchical: wanted at least 3 patients; got {len(series)}")
    if settings.hierarchical and settings.bayes:
        raise DataError("hierarchical: wanted least squares (pooling by EM) for time series; got bayes")


def _patient(fit: Fit, series: Series, settings: Settings, unit: str, several: bool) -> Part:
    """One patient with the figure; parameters that were held are not reported."""
    name = f"patient {series.patient}"
    label, who = (series.patient, name) if several else ("", "")
    one = part(fit, settings, DOCS, label=label, who=who, size=len(series.times))
    grid = np.linspace(0.0, float(series.times.max()) * 1.05 + 1e-9, 200)
    design = (grid, *(np.asarray(leaf) for leaf in fit.problem.design[1:]))
    labels, seen = ("time, d", f"burden, {unit}"), (series.times, series.values)
    panel = one.panel(name, labels, seen, design, log_x=False, censored=series.censored)
    entries = tuple(e for e, p in zip(one.entries, fit.parameters, strict=True) if p.name not in fit.fixed)
    return replace(one, entries=entries, panels=(panel,))


def _draws(parts: list[Part], series: tuple[Series, ...], population: Population | None, settings: Settings) -> Draws:
    """Draws of one patient, of several along a dimension `patient`, or of patients yet unseen where pooled."""
    if len(parts) == 1:
        return parts[0].draws
    each = along(parts, "patient", [s.patient for s in series])
    if population is None:
        return each
    shape, fit = (settings.chains, settings.draws), parts[0].fit
    flat = new_individuals(population, fit, shape[0] * shape[1], settings.seed)
    values = {name: flat[:, i].reshape(shape) for i, name in enumerate(fit.names)}
    own = {f"{name}_by_patient": value for name, value in each.values.items()}
    units = each.units | {f"{name}_by_patient": unit for name, unit in each.units.items()}
    source = f"patients yet unseen, from the pooled population (EM, Laplace); by_patient: {LAPLACE}"
    return Draws(values | own, units, source, {}, dict.fromkeys(own, ("patient", tuple(s.patient for s in series))))


def _fragment(
    table: Table, series: tuple[Series, ...], fit: Fit, population: Population | None, drawn: Draws, settings: Settings
) -> Fragment:
    """The patient, or the median of the population, under the drug of the table."""
    one, theta = series[0], fit.theta
    if settings.model is not None:
        return fragment.none("a model of one's own is a function, not a scenario's model")
    if len(series) > 1 and population is None:
        return fragment.none(f"a scenario holds one of {len(series)} patients, or their population (--hierarchical)")
    if not (one.amounts > 0).any():
        return fragment.none("no dose is in the table, and a scenario is about doses")
    if settings.effect == "norton_simon" and not one.held:
        return fragment.none("its Norton-Simon effect saturates, and a scenario's is linear (log_kill has a scenario)")
    if population is not None:
        theta = np.where(fit.free, fit.problem.space.natural(population.mean), theta)
    values = dict(zip(PARAMETERS, map(float, theta), strict=True))
    draws = {name: drawn.values[name] for name in PARAMETERS}
    return fragment.patient(table, one, values, draws, settings)


def _total(fits: tuple[Fit, ...]) -> dict[str, float]:
    """Criteria summed over patients fitted on their own."""
    each = [criteria(fit) for fit in fits]
    return {key: float(sum(c[key] for c in each)) for key in each[0]}


def _compare(
    series: tuple[Series, ...], fits: tuple[Fit, ...], model: TimeSeriesModel, settings: Settings, unit: str
) -> dict[str, dict[str, float]]:
    """Criteria of the fitted model, the other growth law, and growth without drug effect (patients on their own)."""
    out = {model.name: _total(fits)}
    other = "logistic" if settings.growth == "exponential" else "exponential"
    rival = builtin(series, unit, replace(settings, growth=other))
    out[rival.name] = _total(fit_series(series, rival, settings))
    if "drug_effect" not in model.fixed:
        fixed = {**model.fixed, "drug_effect": model.parameters[3].low, "ec50": model.parameters[4].high}
        idle = TimeSeriesModel("no drug effect", model.predict, model.parameters, fixed)
        out["no drug effect"] = _total(fit_series(series, idle, settings))
    return out
