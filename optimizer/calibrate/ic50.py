"""Tables of half-maximal concentrations turned into clones: EC50s with their error and the fold of resistance."""

import numpy as np

from optimizer.calibrate import fragment
from optimizer.calibrate.fit import Settings
from optimizer.calibrate.posterior import Draws
from optimizer.calibrate.report import Entry, FitReport, quantiles, quantity
from optimizer.calibrate.tables import Table
from optimizer.files.faults import DataError

ASSUMED_SD_OF_LOG = 0.3
"""Spread of the logarithm where the table gives no standard deviation (about 30 %); such rows are flagged."""


def ic50_report(table: Table, settings: Settings) -> FitReport:
    """Each row is a clone; nothing is fitted, so there is no sum of squares.

    Draws are log-normal: median IC50, sd of the logarithm sqrt(log(1 + (sd / IC50)^2)). The fold of resistance of a
    line is IC50 resistant / IC50 sensitive where the table has both.
    """
    if settings.bayes or settings.method != "direct":
        raise DataError("ic50: wanted method direct without bayes (nothing is fitted); got another")
    names = _names(table)
    ic50, unit = table["ic50"], table.units["ic50"]
    spread, assumed = _spread(table)
    normal = np.random.default_rng(settings.seed).standard_normal((settings.chains, settings.draws, len(names)))
    values = ic50 * np.exp(spread * normal)
    fold, unpaired = _fold(table, ic50)
    said = "log-normal around the table's values; no fit and no MCMC was run"
    parameters = [
        Entry(f"ec50[{name}]", float(x), quantiles(own, settings.level), unit, "half-effect concentration")
        for name, x, own in zip(names, ic50, np.moveaxis(values, -1, 0), strict=True)
    ]
    return FitReport(
        kind="ic50",
        method="direct",
        rows=len(table),
        sse=None,
        sse_unit=unit,
        objective="none: the table's values are taken as they are",
        parameters=tuple(parameters),
        derived={"fold_resistance": fold},
        starts=0,
        starts_at_optimum=0,
        warnings=_warnings(names, assumed, fold, unpaired),
        level=settings.level,
        draws=Draws({"ec50": values}, {"ec50": unit}, said, groups={"ec50": ("clone", tuple(names))}),
        fragment=fragment.none("half-maximal concentrations tell neither a growth rate nor a largest effect"),
        observed=ic50,
        fitted=ic50,
        extra={"clones": [{"name": n, "ec50": quantity(x, unit)} for n, x in zip(names, ic50, strict=True)]},
    )


def _warnings(names: list[str], assumed: np.ndarray, fold: dict[str, float], unpaired: list[str]) -> tuple[str, ...]:
    spread = f"has no standard deviation: {ASSUMED_SD_OF_LOG:g} of the logarithm is assumed, not measured"
    return (
        *(f"{name} {spread}" for name, unknown in zip(names, assumed, strict=True) if unknown),
        *(f"{line} is resistant and has no sensitive partner in this table" for line in unpaired),
        *(f"{line}: resistant IC50 is below the sensitive one (fold {x:.3g})" for line, x in fold.items() if x < 1),
    )


def _names(table: Table) -> list[str]:
    """What the rows are called, each once."""
    names = [f"{line} {status}" for line, status in zip(table["line"], table["status"], strict=True)]
    for row, name in enumerate(names):
        if name in names[:row]:
            raise DataError([table.fault(row, "line", "each line and status once", repr(name))])
    return names


def _spread(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """sd of log IC50 by row, and which rows had none."""
    sd = table["ic50_sd"] if "ic50_sd" in table else np.full(len(table), np.nan)
    if "ic50_sd" in table:
        sd = sd * table.factor("ic50_sd", "concentration") / table.factor("ic50", "concentration")
    assumed = np.isnan(sd)
    relative = np.where(assumed, 0.0, sd) / table["ic50"]
    return np.where(assumed, ASSUMED_SD_OF_LOG, np.sqrt(np.log1p(relative**2))), assumed


def _fold(table: Table, ic50: np.ndarray) -> tuple[dict[str, float], list[str]]:
    """IC50 resistant over IC50 sensitive of the lines that have both, and the lines without a sensitive one."""
    by = {(line, status): x for line, status, x in zip(table["line"], table["status"], ic50, strict=True)}
    lines = dict.fromkeys(table["line"].tolist())
    both = [line for line in lines if (line, "resistant") in by and (line, "sensitive") in by]
    unpaired = [line for line in lines if (line, "sensitive") not in by]
    return {line: float(by[line, "resistant"] / by[line, "sensitive"]) for line in both}, unpaired
