"""Growth factor secreted by stromal cells: against drug (one maximum a cell line and day), or against time.

    Gbar = Gmax[line, day] / (1 + exp(-s (D - Dhat)))          against drug
    G(t) = Gss[line, day] (1 - exp(-lambda t))                 after a change of medium

Residuals against drug are relative to the fit, (y - Gbar) / Gbar, with one maximum a line and day: of absolute,
logarithmic and both relative residuals, one maximum a day, a line or in all, raw or for each cell, this is the
combination whose optimum is the published s = 65.7, Dhat = 0.0049 and mean maximum 27.1
(doi 10.1038/s41540-025-00495-0). A curve that is too high costs less there than one that is too low; `deviation`
chooses another.
"""

from dataclasses import replace
from typing import Any, cast

import numpy as np

from optimizer.calibrate import fragment
from optimizer.calibrate.curves import plateau, secretion
from optimizer.calibrate.fit import Fit, Settings, least_squares, outcome
from optimizer.calibrate.posterior import Draws
from optimizer.calibrate.problem import Deviation, Predict, make_problem
from optimizer.calibrate.report import Entry, FitReport, Panel, Part, compose, part, quantiles
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.tables import Table
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
    days = table["day"] if "day" in table else np.full(len(table), "")
    labels = [f"{line} {day}".strip() for line, day in zip(table["line"], days, strict=True)]
    names, group = np.unique(labels, return_inverse=True)
    return tuple(map(str, names)), group


def fit_secretion(table: Table, settings: Settings) -> tuple[Fit, tuple[str, ...]]:
    """The fit against drug; theta is (slope, midpoint, maximum of each group)."""
    drug = _enough(table, "drug", "doses")
    if np.all(table["growth_factor"] <= 0):
        raise DataError([table.fault(0, "growth_factor", "some growth factor above 0", "0 in every row")])
    unit, span, small = table.units["drug"], float(drug.max()), float(drug[drug > 0].min())
    inverse = f"{unit.split('/')[1]}/{unit.split('/')[0]}"
    shared = (
        Parameter("secretion_slope", inverse, 0.5 / span, 50.0 / small, log=True),
        Parameter("secretion_midpoint", unit, -span / 5, span / 5),
    )
    return _fit(table, "drug", secretion, shared, ("growth_factor_max", "relative_to_fit", "secretion"), settings)


def fit_plateau(table: Table, settings: Settings) -> tuple[Fit, tuple[str, ...]]:
    """The fit against time; theta is (turnover, plateau of each group)."""
    time = _enough(table, "time", "times")
    fastest = 10.0 / float(time[time > 0].min())
    rate = f"1/{table.units['time']}"
    shared = (Parameter("growth_factor_turnover", rate, 0.01 / float(time.max()), fastest, log=True),)
    words = "growth_factor_plateau", "absolute", "the rise to a plateau"
    return _fit(table, "time", plateau, shared, words, settings)


def _enough(table: Table, role: str, what: str) -> np.ndarray:
    values = table[role]
    if len(np.unique(values)) < 3:
        raise DataError([table.fault(0, role, f"at least 3 different {what}", str(len(np.unique(values))))])
    return values


def _fit(
    table: Table,
    role: str,
    predict: Predict,
    shared: tuple[Parameter, ...],
    words: tuple[str, str, str],
    settings: Settings,
) -> tuple[Fit, tuple[str, ...]]:
    """Shared parameters and one more a group; `words` are its name, the usual deviation, and what is told."""
    (names, group), (stem, usual, what) = groups_of(table), words
    y, unit = table["growth_factor"], table.units["growth_factor"]
    top = max(float(y.max()), 1e-9)
    box = (*shared, *(Parameter(f"{stem}[{name}]", unit, top * 1e-3, top * 20, log=True) for name in names))
    deviation = cast(Deviation, settings.deviation or usual)
    problem = make_problem(predict, (table[role], group), y, box, deviation=deviation)
    return least_squares(problem, box, settings, what), names


def secretion_report(table: Table, settings: Settings) -> FitReport:
    """Fit a secretion table: against drug if it has doses, otherwise against time."""
    against_drug = "drug" in table
    if not against_drug and "time" not in table:
        raise DataError(f"{table.path.name}:1: column drug: wanted doses or times; got neither")
    fit, names = (fit_secretion if against_drug else fit_plateau)(table, settings)
    shared = 2 if against_drug else 1
    pooled = np.arange(shared, len(fit.theta))[None] if settings.hierarchical else None
    whole = part(fit, settings, DOCS, pooled=pooled)
    name = "growth_factor_max" if against_drug else "growth_factor_plateau"
    spread = quantiles(whole.theta[:, shared:].mean(axis=1), settings.level)
    unit = fit.parameters[shared].unit
    mean = Entry(name, float(fit.theta[shared:].mean()), spread, unit, DOCS["growth_factor_max"])
    values = {p.name: (float(v), p.unit) for p, v in zip(fit.parameters[:shared], fit.theta, strict=False)}
    found = fragment.none("growth_factor_turnover is decay and secretion together, which a scenario wants apart")
    if against_drug:
        found = fragment.stromal(table, values | {mean.name: (mean.value, mean.unit)})
    e = outcome(fit.problem, fit.theta).deviations / max(whole.uncertainty.sigma, 1e-300)
    far = [(i, f"lies {e[i]:+.1f} standard deviations off the curve") for i in np.flatnonzero(abs(e) > 3)]
    return compose(
        "secretion",
        table,
        [whole],
        settings,
        sse_unit=table.units["growth_factor"],
        objective=f"residuals {fit.problem.deviation}",
        parameters=(*whole.entries[:shared], mean, *whole.entries[shared:]),
        derived={"objective_at_optimum": fit.objective},
        warnings=(*whole.warnings, *(f"row {i + 1} of the data {off}" for i, off in far)),
        draws=_grouped(whole.draws, whole.theta, names, shared, mean),
        fragment=found,
        panels=_panels(table, whole, names, "drug" if against_drug else "time"),
        extra=_cells(table),
    )


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


def _panels(table: Table, whole: Part, names: tuple[str, ...], role: str) -> tuple[Panel, ...]:
    """One panel a cell line and day."""
    x, y, (_, group) = table[role], table["growth_factor"], groups_of(table)
    grid = np.linspace(0, x.max() * 1.05, 120)
    if role == "drug":
        grid = np.geomspace(x[x > 0].min() / 10, x.max() * 1.2, 120)
    labels = f"{role}, {table.units[role]}", f"growth factor, {table.units['growth_factor']}"
    seen = [(x[group == i], y[group == i]) for i in range(len(names))]
    designs = [(grid, np.full(len(grid), i)) for i in range(len(names))]
    return tuple(
        whole.panel(name, labels, s, d, log_x=role == "drug") for name, s, d in zip(names, seen, designs, strict=True)
    )
