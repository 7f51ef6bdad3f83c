"""The report of plates: a curve a condition, shifts between conditions, GR metrics, and every flagged well."""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizer.calibrate.columns import written
from optimizer.calibrate.dose_response import (
    DOCS,
    Curve,
    absolute_ic50,
    box,
    curve_data,
    fit_curve,
    fit_shared,
)
from optimizer.calibrate.growth_rate import gr_metrics
from optimizer.calibrate.hierarchical import pool, population_entries, population_json
from optimizer.calibrate.multistart import Fit
from optimizer.calibrate.plate import Wells, plate_wells
from optimizer.calibrate.predictive import band, curve, sample_fit
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
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.tables import Table
from optimizer.calibrate.uncertainty import draws, gaussian_criteria, uncertainty
from optimizer.files.faults import DataError

NAMES = ("lower", "upper", "ec50", "hill")


def plate_report(table: Table, options: Options) -> FitReport:
    """Viability curves of every condition on the plates; conditions with an unresponsive line are flagged.

    `options.settings`: `outliers` (`drop` or `keep`), `reference` (label of the condition shifts are measured from).
    """
    wells = plate_wells(table, options.settings.get("outliers", "drop"))
    unit = written(table.units["drug"])
    if options.hierarchical and len(wells.conditions) < 3:
        raise DataError(f"hierarchical: wanted at least 3 conditions, got {len(wells.conditions)}")
    data = tuple(_condition(table, wells, i) for i in range(len(wells.conditions)))
    bounds = box(wells.drug[wells.kept], wells.viability[wells.kept], unit)
    rows = max(len(d.drug) for d in data)
    fits = [fit_curve(d, bounds, options, rows) for d in data]
    parts = [_one(fit, d, name, options, unit) for fit, d, name in zip(fits, data, wells.conditions, strict=True)]
    comparisons, shifts, flat_warnings = _shifts(data, wells.conditions, bounds, fits, options)
    metrics, gr_warnings = _growth(wells, unit, options)
    warnings = [*wells.flags, *(w for part in parts for w in part["warnings"]), *flat_warnings, *gr_warnings]
    sse = sum(fit.sse for fit in fits)
    population = pool(tuple(fits)) if options.hierarchical else None
    front = population_entries(population, fits[0], options.level, DOCS) if population else []
    return FitReport(
        kind="plate",
        method="direct",
        rows=len(table),
        sse=sse,
        sse_unit="1",
        objective="absolute residuals of viability, a curve a condition" + loss_in_words(options),
        parameters=(*front, *(entry for part in parts for entry in part["entries"])),
        derived={"ic50_absolute": {part["label"]: part["ic50"] for part in parts}, "ec50_shift": shifts},
        starts=options.starts,
        starts_at_optimum=min(fit.starts_at_optimum for fit in fits),
        warnings=tuple(dict.fromkeys(warnings)),
        level=options.level,
        draws=_stacked([part["draws"] for part in parts], wells.conditions, unit),
        fragment={"ec50": quantity(fits[0].value("ec50"), unit), "hill": fits[0].value("hill")}
        if len(fits) == 1
        else {},
        observed=np.concatenate([d.mean for d in data]),
        fitted=np.concatenate([fit.predicted()[: len(d.mean)] for fit, d in zip(fits, data, strict=True)]),
        criteria=comparisons["a curve a condition"],
        comparisons=comparisons,
        profiles=tuple(p for part in parts for p in part["profiles"]),
        panels=tuple(part["panel"] for part in parts),
        extra={
            "growth_rate_inhibition": metrics,
            "correlation_by_condition": {part["label"]: part["correlation"] for part in parts},
        }
        | population_json(population),
        tables={"wells": _well_rows(table, wells)},
    )


def _condition(table: Table, wells: Wells, i: int) -> Curve:
    here = wells.kept & (wells.condition == i)
    doses = np.unique(wells.drug[here])
    if len(doses) < 5:
        row = int(wells.row[np.flatnonzero(wells.condition == i)[0]])
        name = wells.conditions[i] or "the plate"
        wanted = f"at least 5 different doses of {name} for a four-parameter curve"
        got = f"{len(doses)} ({', '.join(f'{d:g}' for d in doses)})"
        raise DataError([table.fault(row, "drug", wanted, got)])
    return curve_data(wells.drug[here], wells.viability[here])


def _one(fit: Fit, data: Curve, label: str, options: Options, unit: str) -> dict[str, Any]:
    """Everything about one condition."""
    doubt = uncertainty(fit, options.level)
    sampled, flat, sigma = sample_fit(fit, doubt, options)
    lower, upper, ec50, hill = flat.T
    spread = absolute_ic50(lower, upper, ec50, hill)
    low, high = np.quantile(spread, [(1 - options.level) / 2, (1 + options.level) / 2], method="nearest")
    ends = tuple(float(x) if np.isfinite(x) and x > 0 else None for x in (low, high))
    ic50 = Entry("ic50", float(absolute_ic50(*fit.theta)), (ends[0], ends[1]), unit)
    notes = [*doubt.warnings, *sampling_warnings(sampled), *_response(fit, data, doubt.criteria)]
    positive = data.drug[data.drug > 0]
    grid = np.geomspace(positive.min() / 10, positive.max() * 3, 120)
    design = (grid, np.zeros(120, int), np.array([[0, 1, 2, 3]]))
    limits = band(fit, flat, sigma, design, options.level)
    panel = Panel(label, f"drug, {unit}", "viability", data.drug, data.mean, grid, curve(fit, design), limits)
    suffix = f"[{label}]" if label else ""
    named = [Entry(f"{e.name}{suffix}", e.value, e.interval, e.unit, e.doc) for e in entries(fit, doubt, DOCS)]
    return {
        "label": label or "all",
        "entries": named,
        "ic50": ic50,
        "warnings": [f"{label}: {note}" if label else note for note in notes],
        "draws": sampled,
        "profiles": doubt.profiles,
        "panel": panel,
        "correlation": doubt.correlation,
    }


def _response(fit: Fit, data: Curve, full: dict[str, float]) -> list[str]:
    """Flags an unresponsive line, and an EC50 outside the doses that were tried."""
    out = []
    n = float(data.counts.sum())
    mean = float(np.average(data.mean, weights=data.counts))
    q = float(np.sum(data.counts * (data.mean - mean) ** 2) + data.within)
    if gaussian_criteria(n, 2, q)["bic"] <= full["bic"]:
        out.append("no response: a constant describes it as well (lower BIC); its EC50 means nothing")
    positive = data.drug[data.drug > 0]
    if not positive.min() <= fit.value("ec50") <= positive.max():
        out.append(
            f"EC50 {fit.value('ec50'):.3g} lies outside the doses tried ({positive.min():g} to {positive.max():g})"
        )
    return out


def _shifts(
    data: tuple[Curve, ...], names: tuple[str, ...], bounds: tuple[Parameter, ...], fits: list[Fit], options: Options
) -> tuple[dict[str, dict[str, float]], dict[str, Entry], list[str]]:
    """Nested models over all conditions, and the ratio of each EC50 to the reference's."""
    n = float(sum(d.counts.sum() for d in data))
    sse = sum(fit.sse for fit in fits)
    comparisons = {"a curve a condition": gaussian_criteria(n, 4 * len(fits) + 1, sse)}
    if len(fits) == 1:
        return comparisons, {}, []
    shifted = fit_shared(data, names, bounds, options, shifted=True)
    same = fit_shared(data, names, bounds, options, shifted=False)
    comparisons["shared shape, an EC50 a condition"] = gaussian_criteria(n, 4 + len(fits), shifted.sse)
    comparisons["one curve for all"] = gaussian_criteria(n, 5, same.sse)
    reference = options.settings.get("reference", names[0])
    if reference not in names:
        raise DataError(f"reference: wanted one of {'; '.join(names)}, got {reference!r}")
    place = 3 + names.index(reference)
    flat = draws(shifted, options.chains * options.draws, options.seed)
    out = {
        f"{name} / {reference}": Entry(
            "ec50_shift",
            float(shifted.theta[3 + i] / shifted.theta[place]),
            quantiles(flat[:, 3 + i] / flat[:, place], options.level),
            "1",
        )
        for i, name in enumerate(names)
        if name != reference
    }
    best = min(comparisons, key=lambda key: comparisons[key]["bic"])
    return comparisons, out, [f"by BIC the best of the nested models is: {best}"]


def _growth(wells: Wells, unit: str, options: Options) -> tuple[dict[str, Any], list[str]]:
    """GR metrics of the conditions that have a time zero."""
    metrics: dict[str, Any] = {}
    warnings: list[str] = []
    for i, name in enumerate(wells.conditions):
        here = wells.kept & (wells.condition == i)
        if np.isnan(wells.start[here]).any():
            continue
        metrics[name or "all"], notes = gr_metrics(
            wells.drug[here], wells.viability[here], wells.start[here], unit, options
        )
        warnings += [f"{name}: {note}" if name else note for note in notes]
    return metrics, warnings


def _stacked(parts: list[Draws], labels: tuple[str, ...], unit: str) -> Draws:
    """Draws of all conditions along one dimension `condition`."""
    values = {name: np.stack([part.values[name] for part in parts], axis=-1) for name in NAMES}
    units = dict.fromkeys(NAMES, "1") | {"ec50": unit}
    diagnostics = {
        f"{name}[{label}]": d for part, label in zip(parts, labels, strict=True) for name, d in part.diagnostics.items()
    }
    groups = {name: ("condition", tuple(label or "all" for label in labels)) for name in NAMES}
    divergent = sum(part.divergences for part in parts)
    return Draws(values, units, parts[0].source, parts[0].priors, groups, None, None, diagnostics, divergent)


def _well_rows(table: Table, wells: Wells) -> list[dict[str, Any]]:
    return [
        {
            "line": int(table.lines[row]),
            "well": str(table["well"][row]),
            "condition": wells.conditions[wells.condition[k]],
            "dose": float(wells.drug[k]),
            "viability": float(wells.viability[k]),
            "fitted": bool(wells.kept[k]),
        }
        for k, row in enumerate(wells.row)
    ]
