"""The columns of each kind of table: what they may be called, in which units, and what is plausible.

A header is `NAME_UNIT`, such as `cetuximab_ug_per_ml` or `time_day`; a column of text has no unit. Units come from the
allow-list below and are never evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KINDS = ("rates", "secretion", "plate", "ic50", "timeseries")

_MASS = {"pg": 1e-6, "ng": 1e-3, "ug": 1.0, "mg": 1e3}
_MOLE = {"pmol": 1e-6, "nmol": 1e-3, "umol": 1.0, "mmol": 1e3}
CONCENTRATION = {f"{m}_per_ml": f for m, f in _MASS.items()} | {f"{m}_per_l": f * 1e-3 for m, f in _MASS.items()}
MOLAR = {f"{m}_per_l": f for m, f in _MOLE.items()}
UNITS: dict[str, dict[str, float]] = {
    "concentration": CONCENTRATION | MOLAR,
    "growth_factor": {unit: factor * 1e6 for unit, factor in CONCENTRATION.items()},
    "rate": {"per_hour": 24.0, "per_day": 1.0},
    "time": {"hour": 1.0 / 24.0, "day": 1.0, "week": 7.0},
    "amount": {"mg": 1.0, "ug": 1e-3, "g": 1e3},
    "signal": {"au": 1.0, "od": 1.0, "rlu": 1.0, "rfu": 1.0},
    "burden": {"mm3": 1.0, "cm3": 1.0, "ng_per_ml": 1.0, "copies_per_ml": 1.0, "cells": 1.0, "relative": 1.0},
}
"""Allowed units of each dimension and the factor to ug/mL (or umol/L), pg/mL, 1/day, day and mg."""

WRITTEN = {"per_hour": "1/h", "per_day": "1/d", "hour": "h", "day": "d", "week": "week", "": "1", "od": "1", "au": "1"}


@dataclass(frozen=True)
class Column:
    """One column a kind of table has; `low` and `high` are what is plausible in the dimension's base unit."""

    role: str
    names: tuple[str, ...]
    dimension: str
    required: bool = True
    empty: Literal["refused", "kept"] = "refused"
    low: float = 0.0
    high: float = float("inf")
    choices: tuple[str, ...] = ()


_FACTORS = ("egf", "growth_factor", "hgf", "fgf", "fgf2", "igf1", "nrg1", "tgfb")
_LINE = Column("line", ("caf_line", "cell_line", "line"), "text")
_DRUG = Column("drug", ("drug", "dose", "conc", "concentration", "*"), "concentration", high=1e5)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "rates": (
        Column("growth_factor", _FACTORS, "growth_factor", required=False, high=1e6),
        Column("birth", ("birth_rate",), "rate", required=False, high=12.0),
        Column("death", ("death_rate",), "rate", required=False, high=12.0),
        Column("net", ("net_rate", "net_growth_rate", "net_growth"), "rate", required=False, low=-12.0, high=12.0),
        Column("weight", ("weight",), "number", required=False),
        _DRUG,
    ),
    "secretion": (
        _LINE,
        Column("day", ("experiment_date", "day", "date"), "text", required=False),
        Column("growth_factor", _FACTORS, "growth_factor", high=1e6),
        Column("cells", ("caf_cells", "cells", "stromal_cells"), "number", required=False, low=1.0, high=1e12),
        Column("time", ("time",), "time", required=False, high=3650.0),
        Column("drug", _DRUG.names, "concentration", required=False, high=1e5),
    ),
    "plate": (
        Column("plate", ("plate",), "text", required=False),
        Column("well", ("well",), "text"),
        Column("content", ("role", "content"), "text", choices=("sample", "vehicle", "blank", "time_zero")),
        Column("line", ("cell_line", "line"), "text", required=False),
        Column("culture", ("culture", "coculture", "condition", "medium"), "text", required=False, empty="kept"),
        Column("growth_factor", _FACTORS, "growth_factor", required=False, empty="kept", high=1e6),
        Column("antibody", ("antibody", "blocker"), "concentration", required=False, empty="kept", high=1e5),
        Column("signal", ("signal", "absorbance", "luminescence", "fluorescence"), "signal", empty="kept"),
        Column("drug", _DRUG.names, "concentration", empty="kept", high=1e5),
    ),
    "ic50": (
        _LINE,
        Column("status", ("status",), "text", choices=("sensitive", "resistant")),
        Column("ic50", ("ic50", "ec50"), "concentration", low=1e-9, high=1e5),
        Column("ic50_sd", ("ic50_sd", "ec50_sd"), "concentration", required=False, empty="kept", high=1e5),
    ),
    "timeseries": (
        Column("patient", ("patient", "id"), "text"),
        Column("time", ("time",), "time", high=36500.0),
        Column("evid", ("evid",), "number", required=False, high=4.0),
        Column("amount", ("amt", "amount", "dose"), "amount", required=False, empty="kept"),
        Column("rate", ("rate",), "number", required=False, empty="kept", low=-2.0),
        Column("interval", ("ii",), "time", required=False, empty="kept"),
        Column("additional", ("addl",), "number", required=False, empty="kept", high=1e5),
        Column("steady", ("ss",), "number", required=False, empty="kept"),
        Column("burden", ("volume", "psa", "ctdna", "burden", "dv"), "burden", empty="kept"),
    ),
}


def split_header(header: str, dimension: str) -> tuple[str, str] | None:
    """`(name, unit)` of a header under a dimension, or None where its ending is no unit of that dimension.

    >>> split_header("cetuximab_ug_per_ml", "concentration")
    ('cetuximab', 'ug_per_ml')
    """
    if dimension in ("text", "number"):
        return header, ""
    for unit in sorted(UNITS[dimension], key=len, reverse=True):
        if header.endswith("_" + unit):
            return header[: -len(unit) - 1], unit
    return None


def written(unit: str) -> str:
    """A header's unit as a scenario writes it.

    >>> written("ug_per_ml"), written("per_hour")
    ('ug/mL', '1/h')
    """
    if unit in WRITTEN:
        return WRITTEN[unit]
    return unit.replace("_per_", "/").replace("/ml", "/mL").replace("/l", "/L")


def factor(unit: str, dimension: str) -> float:
    """From a header's unit to the dimension's base unit: x[base] = factor * x[unit]."""
    return UNITS[dimension].get(unit, 1.0) if dimension in UNITS else 1.0
