"""The report of time series: parameters of each patient, or of the population they come from."""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizer.calibrate.hierarchical import (
    Population,
    new_individuals,
    pool,
    population_entries,
    population_json,
)
from optimizer.calibrate.multistart import Fit
from optimizer.calibrate.predictive import LAPLACE, band, curve, sample_fit
from optimizer.calibrate.report import (
    Draws,
    Entry,
    FitReport,
    Options,
    Panel,
    entries,
    loss_in_words,
    quantity,
    sampling_warnings,
)
from optimizer.calibrate.tables import Table
from optimizer.calibrate.timeseries import (
    HALF_LIFE,
    Series,
    TimeSeriesModel,
    builtin,
    burden_unit,
    fit_series,
    patient_series,
)
from optimizer.calibrate.uncertainty import criteria, uncertainty
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


def timeseries_report(table: Table, options: Options) -> FitReport:
    """Fit patients' series by `options.settings["model"]` (a `TimeSeriesModel`) or a built-in one.

    `options.hierarchical` pools at least three patients; otherwise each is fitted on its own.
    """
    series = patient_series(table)
    _check(table, series, options)
    model = options.settings.get("model") or builtin(series, burden_unit(table), options.settings)
    fits = fit_series(series, model, options)
    parts = [_one(fit, one, options, burden_unit(table)) for fit, one in zip(fits, series, strict=True)]
    several = len(series) > 1
    named = [
        Entry(f"{e.name}[{one.patient}]" if several else e.name, e.value, e.interval, e.unit, e.doc)
        for part, one in zip(parts, series, strict=True)
        for e in part["entries"]
    ]
    population = pool(fits) if options.hierarchical else None
    front = population_entries(population, fits[0], options.level, DOCS) if population else []
    warnings = [
        f"patient {s.patient}: {w}" if several else w
        for part, s in zip(parts, series, strict=True)
        for w in part["warnings"]
    ]
    if "elimination_rate" in model.fixed and "elimination_rate" not in options.settings:
        warnings.append(f"the drug's half-life is not in the table: {HALF_LIFE:g} d is assumed (elimination_rate)")
    if population is not None and not population.converged:
        warnings.append("the population's mean and spread had not settled after 200 rounds")
    comparisons = {} if "model" in options.settings else _compare(series, fits, model, options, burden_unit(table))
    return FitReport(
        kind="timeseries",
        method="direct",
        rows=len(table),
        sse=sum(fit.sse for fit in fits),
        sse_unit=burden_unit(table),
        objective=f"residuals {fits[0].problem.deviation} of {model.name}" + loss_in_words(options),
        parameters=(*front, *named),
        derived={"residual_sd": {s.patient: p["sigma"] for s, p in zip(series, parts, strict=True)}},
        starts=options.starts,
        starts_at_optimum=min(fit.starts_at_optimum for fit in fits),
        warnings=tuple(dict.fromkeys(warnings)),
        level=options.level,
        draws=_draws(parts, series, population, fits, options),
        fragment={e.name: quantity(e.value, e.unit) for e in (front or named) if several is False or front},
        observed=np.concatenate([s.values for s in series]),
        fitted=np.concatenate([fit.predicted()[: len(s.values)] for fit, s in zip(fits, series, strict=True)]),
        criteria=_total(fits),
        comparisons=comparisons,
        correlation=parts[0]["correlation"] if not several else None,
        profiles=tuple(p for part in parts for p in part["profiles"]),
        panels=tuple(part["panel"] for part in parts),
        extra={"model": model.name, "fixed": dict(model.fixed)} | population_json(population),
    )


def _check(table: Table, series: tuple[Series, ...], options: Options) -> None:
    for one in series:
        first = int(np.flatnonzero(table["patient"] == one.patient)[0])
        if len(np.unique(one.times)) < 4:
            wanted = f"at least 4 observation times of patient {one.patient}"
            raise DataError([table.fault(first, "time", wanted, str(len(np.unique(one.times))))])
    if (options.deviation or "log") == "log":
        faults = [
            table.fault(
                i, "burden", "a value above 0 (residuals are logarithmic; set another deviation otherwise)", "0"
            )
            for i in np.flatnonzero(table["burden"] == 0)
        ]
        if faults:
            raise DataError(faults)
    if options.hierarchical and len(series) < 3:
        raise DataError(f"hierarchical: wanted at least 3 patients, got {len(series)}")
    if options.hierarchical and options.bayes:
        raise DataError("hierarchical: wanted least squares (pooling by EM) for time series, got bayes")


def _one(fit: Fit, series: Series, options: Options, unit: str) -> dict[str, Any]:
    """Everything about one patient."""
    doubt = uncertainty(fit, options.level)
    sampled, flat, sigma = sample_fit(fit, doubt, options)
    grid = np.linspace(0.0, float(series.times.max()) * 1.05 + 1e-9, 200)
    given = (np.asarray(part) for part in fit.problem.design[1:3])
    design = (grid, *given, np.full(len(grid), -np.inf), np.full(len(grid), np.inf))
    limits = band(fit, flat, sigma, design, options.level)
    panel = Panel(
        f"patient {series.patient}", "time, d", f"burden, {unit}", series.times, series.values, grid,
        curve(fit, design), limits, log_x=False,
    )  # fmt: skip
    return {
        "entries": [e for e in entries(fit, doubt, DOCS) if e.name not in fit.fixed],
        "warnings": [*doubt.warnings, *sampling_warnings(sampled)],
        "draws": sampled,
        "profiles": doubt.profiles,
        "panel": panel,
        "sigma": doubt.sigma,
        "correlation": doubt.correlation,
    }


def _draws(
    parts: list[dict[str, Any]],
    series: tuple[Series, ...],
    population: Population | None,
    fits: tuple[Fit, ...],
    options: Options,
) -> Draws:
    """Draws of one patient, of several along a dimension `patient`, or of patients yet unseen where pooled."""
    first: Draws = parts[0]["draws"]
    if len(parts) == 1:
        return first
    patients = ("patient", tuple(s.patient for s in series))
    by_name = {name: np.stack([part["draws"].values[name] for part in parts], axis=-1) for name in first.values}
    if population is None:
        diagnostics = {
            f"{name}[{one.patient}]": d
            for part, one in zip(parts, series, strict=True)
            for name, d in part["draws"].diagnostics.items()
        }
        return Draws(
            by_name, first.units, first.source, first.priors, dict.fromkeys(by_name, patients), diagnostics=diagnostics
        )
    flat = new_individuals(population, fits[0], options.chains * options.draws, options.seed)
    values = {name: flat[:, i].reshape(options.chains, options.draws) for i, name in enumerate(fits[0].names)}
    own = {f"{name}_by_patient": value for name, value in by_name.items()}
    units = first.units | {f"{name}_by_patient": unit for name, unit in first.units.items()}
    source = f"patients yet unseen, from the pooled population (EM, Laplace); by_patient: {LAPLACE}"
    return Draws(values | own, units, source, {}, dict.fromkeys(own, patients))


def _total(fits: tuple[Fit, ...]) -> dict[str, float]:
    """Criteria summed over patients fitted on their own."""
    each = [criteria(fit) for fit in fits]
    return {key: float(sum(c[key] for c in each)) for key in each[0]}


def _compare(
    series: tuple[Series, ...], fits: tuple[Fit, ...], model: TimeSeriesModel, options: Options, unit: str
) -> dict[str, dict[str, float]]:
    """Criteria of the fitted model, the other growth law, and growth without drug effect (patients on their own)."""
    out = {model.name: _total(fits)}
    other = "logistic" if options.settings.get("growth", "exponential") == "exponential" else "exponential"
    rival = builtin(series, unit, {**options.settings, "growth": other})
    out[rival.name] = _total(fit_series(series, rival, options))
    if "drug_effect" not in model.fixed:
        fixed = {**model.fixed, "drug_effect": model.parameters[3].low, "ec50": model.parameters[4].high}
        idle = TimeSeriesModel("no drug effect", model.predict, model.parameters, fixed)
        out["no drug effect"] = _total(fit_series(series, idle, options))
    return out
