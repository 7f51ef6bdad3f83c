"""Growth factor secreted by stromal cells: against drug (one maximum a cell line and day), or against time.

    Gbar = Gmax[line, day] / (1 + exp(-s (D - Dhat)))          against drug
    G(t) = Gss[line, day] (1 - exp(-lambda t))                 after a change of medium

Residuals against drug are relative to the fit, (y - Gbar) / Gbar, with one maximum a line and day: of absolute,
logarithmic and both relative residuals, one maximum a day, a line or in all, raw or for each cell, this is the
combination whose optimum is the published s = 65.7, Dhat = 0.0049 and mean maximum 27.1
(doi 10.1038/s41540-025-00495-0). A curve that is too high costs less there than one that is too low; `deviation`
chooses another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from optimizer.calibrate.columns import written
from optimizer.calibrate.curves import plateau, secretion
from optimizer.calibrate.multistart import Fit, multistart, outcome, robust
from optimizer.calibrate.predictive import band, curve, sample_fit
from optimizer.calibrate.problem import Deviation, make_problem
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
from optimizer.calibrate.uncertainty import Uncertainty, uncertainty
from optimizer.files.faults import DataError

DOCS = {
    "secretion_slope": "steepness of the rise of the growth factor with the drug",
    "secretion_midpoint": "drug concentration at half of the maximum",
    "growth_factor_max": "mean over cell lines and days of the maximum at endless drug",
    "growth_factor_turnover": "rate at which the growth factor approaches its plateau",
}
"""Meaning of each parameter."""


def groups_of(table: Table) -> tuple[tuple[str, ...], np.ndarray]:
    """Labels `line day` of the groups and the group of each row [rows]."""
    labels = [f"{line} {day}".strip() for line, day in zip(table["line"], _days(table), strict=True)]
    names, group = np.unique(labels, return_inverse=True)
    return tuple(map(str, names)), group


def _days(table: Table) -> np.ndarray:
    return table["day"] if "day" in table else np.full(len(table), "")


def fit_secretion(table: Table, options: Options) -> tuple[Fit, tuple[str, ...]]:
    """The fit against drug; theta is (slope, midpoint, maximum of each group)."""
    names, group = groups_of(table)
    drug, y = table["drug"], table["growth_factor"]
    if len(np.unique(drug)) < 3:
        raise DataError([table.fault(0, "drug", "at least 3 different doses", str(len(np.unique(drug))))])
    if np.all(y <= 0):
        raise DataError([table.fault(0, "growth_factor", "some growth factor above 0", "0 in every row")])
    unit, span = written(table.units["drug"]), float(drug.max())
    small = float(drug[drug > 0].min())
    box = (
        Parameter("secretion_slope", f"{unit.split('/')[1]}/{unit.split('/')[0]}", 0.5 / span, 50.0 / small, log=True),
        Parameter("secretion_midpoint", unit, -span / 5, span / 5),
        *_maxima("growth_factor_max", table, names, group),
    )
    deviation = cast(Deviation, options.deviation or "relative_to_fit")
    problem = make_problem(secretion, (drug, group), y, box, deviation=deviation)
    fit = multistart(problem, box, starts=options.starts, seed=options.seed)
    if options.loss != "linear":
        fit = robust(fit, options.loss, starts=options.starts, seed=options.seed)
    return fit, names


def fit_plateau(table: Table, options: Options) -> tuple[Fit, tuple[str, ...]]:
    """The fit against time; theta is (turnover, plateau of each group)."""
    names, group = groups_of(table)
    time, y = table["time"], table["growth_factor"]
    if len(np.unique(time)) < 3:
        raise DataError([table.fault(0, "time", "at least 3 different times", str(len(np.unique(time))))])
    first = float(time[time > 0].min())
    unit = f"1/{written(table.units['time'])}"
    box = (
        Parameter("growth_factor_turnover", unit, 0.01 / float(time.max()), 10.0 / first, log=True),
        *_maxima("growth_factor_plateau", table, names, group),
    )
    deviation = cast(Deviation, options.deviation or "absolute")
    problem = make_problem(plateau, (time, group), y, box, deviation=deviation)
    return multistart(problem, box, starts=options.starts, seed=options.seed), names


def _maxima(stem: str, table: Table, names: tuple[str, ...], group: np.ndarray) -> tuple[Parameter, ...]:
    unit = written(table.units["growth_factor"])
    top = max(float(table["growth_factor"].max()), 1e-9)
    return tuple(Parameter(f"{stem}[{name}]", unit, top * 1e-3, top * 20, log=True) for name in names)


def secretion_report(table: Table, options: Options) -> FitReport:
    """Fit a secretion table: against drug if it has doses, otherwise against time."""
    if options.method != "direct":
        raise DataError(f"method: wanted direct for a secretion table, got {options.method!r}")
    against_drug = "drug" in table
    if not against_drug and "time" not in table:
        raise DataError(f"{table.path.name}:1: column drug: wanted doses or times, got neither")
    fit, names = (fit_secretion if against_drug else fit_plateau)(table, options)
    doubt = uncertainty(fit, options.level)
    shared = 2 if against_drug else 1
    pooled = np.arange(shared, len(fit.theta))[None] if options.hierarchical else None
    sampled, flat, sigma = sample_fit(fit, doubt, options, pooled)
    mean = _mean_entry(
        fit, flat, shared, options.level, "growth_factor_max" if against_drug else "growth_factor_plateau"
    )
    panels = _panels(table, fit, flat, sigma, names, options.level, "drug" if against_drug else "time")
    mean_line = {**{p.name: quantity(v, p.unit) for p, v in zip(fit.parameters[:shared], fit.theta, strict=False)}}
    return FitReport(
        kind="secretion",
        method="direct",
        rows=len(table),
        sse=fit.sse,
        sse_unit=written(table.units["growth_factor"]),
        objective=f"residuals {fit.problem.deviation}" + loss_in_words(options),
        parameters=(*entries(fit, doubt, DOCS)[:shared], mean, *entries(fit, doubt, DOCS)[shared:]),
        derived={"objective_at_optimum": fit.objective},
        starts=fit.starts,
        starts_at_optimum=fit.starts_at_optimum,
        warnings=(*doubt.warnings, *_unlike(doubt, fit), *sampling_warnings(sampled)),
        level=options.level,
        draws=_grouped(sampled, flat, names, shared, mean),
        fragment=mean_line | {mean.name: quantity(mean.value, mean.unit)},
        observed=table["growth_factor"],
        fitted=fit.predicted(),
        criteria=doubt.criteria,
        correlation=doubt.correlation,
        profiles=doubt.profiles,
        panels=panels,
        extra=_cells(table),
    )


def _mean_entry(fit: Fit, flat: np.ndarray, shared: int, level: float, name: str) -> Entry:
    interval = quantiles(flat[:, shared:].mean(axis=1), level)
    unit, doc = fit.parameters[shared].unit, DOCS["growth_factor_max"]
    return Entry(name, float(fit.theta[shared:].mean()), interval, unit, doc)


def _grouped(sampled: Draws, flat: np.ndarray, names: tuple[str, ...], shared: int, mean: Entry) -> Draws:
    """Draws under the scenario's names: the shared parameters, the mean maximum, and the maxima by group."""
    keys = list(sampled.values)
    shape = sampled.values[keys[0]].shape
    by_group = flat[:, shared:].reshape(*shape, len(names))
    values = {key: sampled.values[key] for key in keys[:shared]}
    values[mean.name] = by_group.mean(axis=-1)
    values[f"{mean.name}_by_group"] = by_group
    units = {key: sampled.units[key] for key in keys[:shared]}
    units |= {mean.name: mean.unit, f"{mean.name}_by_group": mean.unit}
    return replace(sampled, values=values, units=units, groups={f"{mean.name}_by_group": ("group", names)})


def _unlike(doubt: Uncertainty, fit: Fit) -> list[str]:
    """Rows far from the curve, by line: standardized deviations beyond 3."""
    e = outcome(fit.problem, fit.theta).deviations / max(doubt.sigma, 1e-300)
    return [
        f"row {i + 1} of the data lies {e[i]:+.1f} standard deviations off the curve"
        for i in np.flatnonzero(abs(e) > 3)
    ]


def _cells(table: Table) -> dict[str, Any]:
    """Growth factor for each thousand cells, where cells were counted: a description, not part of the fit."""
    if "cells" not in table:
        return {}
    per = table["growth_factor"] / table["cells"] * 1e3
    return {
        "growth_factor_per_1000_cells": {
            "mean": float(per.mean()),
            "sd": float(per.std(ddof=1)) if len(per) > 1 else None,
        }
    }


def _panels(
    table: Table, fit: Fit, flat: np.ndarray, sigma: np.ndarray, names: tuple[str, ...], level: float, role: str
) -> tuple[Panel, ...]:
    """One panel a cell line and day."""
    x, (_, group) = table[role], groups_of(table)
    grid = (
        np.geomspace(x[x > 0].min() / 10, x.max() * 1.2, 120) if role == "drug" else np.linspace(0, x.max() * 1.05, 120)
    )
    labels = f"{role}, {written(table.units[role])}", f"growth factor, {written(table.units['growth_factor'])}"
    out = []
    for i, name in enumerate(names):
        design = (grid, np.full(len(grid), i))
        line = curve(fit, design)
        limits = band(fit, flat, sigma, design, level)
        here = group == i
        out.append(Panel(name, *labels, x[here], table["growth_factor"][here], grid, line, limits, role == "drug"))
    return tuple(out)
