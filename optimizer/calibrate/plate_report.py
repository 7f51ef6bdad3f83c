"""The report of plates: a curve a condition, shifts between conditions, GR metrics, the scenario, flagged wells."""

from dataclasses import replace
from typing import Any

import numpy as np

from optimizer.calibrate import dose_response, fragment
from optimizer.calibrate.fit import Fit, Settings
from optimizer.calibrate.hierarchical import pool, population_entries, population_json
from optimizer.calibrate.plate import Wells, plate_wells
from optimizer.calibrate.rates_report import dose_grid
from optimizer.calibrate.replicates import weights
from optimizer.calibrate.report import Entry, FitReport, Fragment, Part, along, compose, part, quantiles
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.tables import Table
from optimizer.calibrate.uncertainty import constant_criteria, draws, gaussian_criteria
from optimizer.files.faults import DataError

ASSAY_TIME, DOUBLING_TIME = 72.0, 24.0
"""Hours: assumed for the scenario alone where nobody says how long an assay was and how fast vehicle wells doubled."""


def plate_report(table: Table, settings: Settings) -> FitReport:
    """Viability curves of every condition on the plates; conditions with an unresponsive line are flagged."""
    wells = plate_wells(table, settings.outliers)
    unit, names = table.units["drug"], wells.conditions
    if settings.hierarchical and len(names) < 3:
        raise DataError(f"hierarchical: wanted at least 3 conditions; got {len(names)}")
    if settings.reference is not None and settings.reference not in names:
        raise DataError(f"reference: wanted one of {'; '.join(names)}; got {settings.reference!r}")
    data = _data(table, wells, settings)
    bounds = dose_response.box(wells.drug[wells.kept], wells.viability[wells.kept], unit)
    rows = max(len(d.drug) for d in data)
    fits = tuple(dose_response.fit_curve(d, bounds, settings, rows) for d in data)
    parts = [_condition(fit, d, name, settings, unit) for fit, d, name in zip(fits, data, names, strict=True)]
    comparisons, shifts, best = _shifts(data, names, bounds, fits, settings)
    metrics, gr_warnings = _growth(wells, unit, settings)
    population = pool(fits) if settings.hierarchical else None
    front = population_entries(population, fits[0], settings.level, dose_response.DOCS) if population else ()
    known = [p.label or "all" for p in parts]
    return compose(
        "plate",
        table,
        parts,
        settings,
        sse_unit="1",
        objective="absolute residuals of viability, a curve a condition",
        parameters=(*front, *(entry for p in parts for entry in p.entries)),
        derived={"ic50_absolute": {name: _ic50(p, unit) for name, p in zip(known, parts, strict=True)}}
        | {"ec50_shift": shifts},
        warnings=(*wells.flags, *(warning for p in parts for warning in p.warnings), *best, *gr_warnings),
        draws=along(parts, "condition", known),
        fragment=_fragment(table, wells, data, bounds, settings),
        criteria=comparisons["a curve a condition"],
        comparisons=comparisons,
        correlation=None,
        extra={
            "growth_rate_inhibition": metrics,
            "correlation_by_condition": {name: p.uncertainty.correlation for name, p in zip(known, parts, strict=True)},
        }
        | population_json(population),
        tables={"wells": _well_rows(table, wells)},
    )


def _data(table: Table, wells: Wells, settings: Settings) -> tuple[dose_response.Curve, ...]:
    """The wells that are fitted, by condition."""
    share = np.ones(len(wells.drug))
    if settings.weights == "variance":
        share[wells.kept] = weights(wells.viability[wells.kept], wells.group[wells.kept])
    out = []
    for i, name in enumerate(wells.conditions):
        here = wells.kept & (wells.condition == i)
        doses = np.unique(wells.drug[here])
        if len(doses) < 5:
            row = int(wells.row[np.flatnonzero(wells.condition == i)[0]])
            wanted = f"at least 5 different doses of {name or 'the plate'} for a four-parameter curve"
            got = f"{len(doses)} ({', '.join(f'{d:g}' for d in doses)})"
            raise DataError([table.fault(row, "drug", wanted, got)])
        own = share[here] if settings.weights == "variance" else None
        out.append(dose_response.curve_data(wells.drug[here], wells.viability[here], own))
    return tuple(out)


def _condition(fit: Fit, data: dose_response.Curve, label: str, settings: Settings, unit: str) -> Part:
    """One condition with its figure."""
    one = part(fit, settings, dose_response.DOCS, label=label, who=label, size=len(data.drug))
    grid = dose_grid(data.drug)
    design = (grid, np.zeros(len(grid), int), np.array([[0, 1, 2, 3]]))
    panel = one.panel(label, (f"drug, {unit}", "viability"), (data.drug, data.mean), design)
    notes = [f"{label}: {note}" if label else note for note in _response(fit, data, one.uncertainty.criteria)]
    return replace(one, panels=(panel,), warnings=(*one.warnings, *notes))


def _ic50(one: Part, unit: str) -> Entry:
    """The dose of half the vehicle's level; an end is None where a draw never gets there."""
    low, high = quantiles(dose_response.absolute_ic50(*one.theta.T), one.uncertainty.level, nearest=True)
    ends = [x if np.isfinite(x) and x > 0 else None for x in (low, high)]
    return Entry("ic50", float(dose_response.absolute_ic50(*one.fit.theta)), (ends[0], ends[1]), unit)


def _response(fit: Fit, data: dose_response.Curve, full: dict[str, float]) -> list[str]:
    """Flags an unresponsive line, and an EC50 outside the doses that were tried."""
    out = []
    if constant_criteria(fit)["bic"] <= full["bic"]:
        out.append("no response: a constant describes it as well (lower BIC); its EC50 means nothing")
    positive = data.drug[data.drug > 0]
    if not positive.min() <= fit.value("ec50") <= positive.max():
        out.append(
            f"EC50 {fit.value('ec50'):.3g} lies outside the doses tried ({positive.min():g} to {positive.max():g})"
        )
    return out


def _shifts(
    data: tuple[dose_response.Curve, ...],
    names: tuple[str, ...],
    bounds: tuple[Parameter, ...],
    fits: tuple[Fit, ...],
    settings: Settings,
) -> tuple[dict[str, dict[str, float]], dict[str, Entry], tuple[str, ...]]:
    """Nested models over all conditions, and the ratio of each EC50 to the reference's."""
    n = float(sum(d.counts.sum() for d in data))
    comparisons = {"a curve a condition": gaussian_criteria(n, 4 * len(fits) + 1, sum(fit.sse for fit in fits))}
    if len(fits) == 1:
        return comparisons, {}, ()
    every, group = dose_response.joined(data)
    shifted = dose_response.fit_shared(
        every, group, [f"ec50[{name}]" for name in names], bounds, settings, "shifted curves"
    )
    same = dose_response.fit_shared(every, 0 * group, ["ec50[all]"], bounds, settings, "one curve for all")
    comparisons["shared shape, an EC50 a condition"] = gaussian_criteria(n, 4 + len(fits), shifted.sse)
    comparisons["one curve for all"] = gaussian_criteria(n, 5, same.sse)
    reference = settings.reference or names[0]
    place = 3 + names.index(reference)
    flat = draws(shifted, settings.chains * settings.draws, settings.seed)
    out = {}
    for i, name in enumerate(names):
        if name != reference:
            ratio = float(shifted.theta[3 + i] / shifted.theta[place])
            spread = quantiles(flat[:, 3 + i] / flat[:, place], settings.level)
            out[f"{name} / {reference}"] = Entry("ec50_shift", ratio, spread, "1")
    best = min(comparisons, key=lambda key: comparisons[key]["bic"])
    return comparisons, out, (f"by BIC the best of the nested models is: {best}",)


def _growth(wells: Wells, unit: str, settings: Settings) -> tuple[dict[str, Any], list[str]]:
    """GR metrics of the conditions that have a time zero."""
    metrics: dict[str, Any] = {}
    warnings: list[str] = []
    for i, name in enumerate(wells.conditions):
        here = wells.kept & (wells.condition == i)
        if np.isnan(wells.start[here]).any():
            continue
        parts = wells.drug[here], wells.viability[here], wells.start[here]
        metrics[name or "all"], notes = dose_response.gr_metrics(*parts, unit, settings)
        warnings += [f"{name}: {note}" if name else note for note in notes]
    return metrics, warnings


def _fragment(
    table: Table, wells: Wells, data: tuple[dose_response.Curve, ...], bounds: tuple[Parameter, ...], settings: Settings
) -> Fragment:
    """One condition as cells in culture, fitted once more as the simulator itself shows an assay."""
    if len(data) > 1 and settings.reference is None:
        return fragment.none(f"a scenario holds one of {len(data)} conditions: --reference says which")
    i = wells.conditions.index(settings.reference or wells.conditions[0])
    fit = dose_response.fit_kill(data[i], bounds, settings)
    hours, notes = settings.assay_time or ASSAY_TIME, []
    if settings.assay_time is None:
        notes.append(f"The table does not say how long the assay was: {hours:g} h are assumed (--assay-time).")
    start = wells.start[wells.kept & (wells.condition == i)]
    known = np.nanmedian(start) if np.isfinite(start).any() else np.nan
    growth = np.log(2.0) / (settings.doubling_time or DOUBLING_TIME)
    if settings.doubling_time is None and 0.0 < known < 1.0:
        growth = -np.log(known) / hours
    elif settings.doubling_time is None:
        notes.append(
            f"The table does not say how fast vehicle wells grew: a doubling in {DOUBLING_TIME:g} h is assumed "
            "(--doubling-time)."
        )
    unit, most = table.units["drug"], float(data[i].drug.max())
    emax, ec50, hill = fit.value("emax_by_assay") / hours, fit.value("ec50"), fit.value("hill")
    effect = {"emax": (emax, "1/h"), "ec50": (ec50, unit), "hill": (hill, "1")}
    found = fragment.cultured((fragment.drug_of(table), most, unit), (float(growth), "1/h"), effect, *notes)
    _, by_assay, *own = draws(fit, settings.chains * settings.draws, settings.seed).T
    named = {"emax": (by_assay / hours, "1/h"), "ec50": (own[0], "1"), "hill": (own[1], "1")}
    return found._replace(draws=fragment.effect_draws(named, settings))


def _well_rows(table: Table, wells: Wells) -> list[dict[str, Any]]:
    return [
        {
            "line": int(table.lines[row]),
            "well": str(table["well"][row]) if "well" in table else "",
            "condition": wells.conditions[wells.condition[k]],
            "dose": float(wells.drug[k]),
            "viability": float(wells.viability[k]),
            "fitted": bool(wells.kept[k]),
        }
        for k, row in enumerate(wells.row)
    ]
