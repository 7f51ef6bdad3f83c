"""Measurements in: tables read by the schema of their kind, plates in the shapes that readers and others export."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from optimizer.calibrate.plate import read_plate
from optimizer.files.cells import ABOVE, BELOW, EXACT, MISSING
from optimizer.files.dose_rows import DOSE_COLUMNS
from optimizer.files.faults import DataError, refuse, show
from optimizer.files.sheets import read_sheet
from optimizer.files.tables import Column, Schema, Table as Table, interpret, looks_like_hours, plain

_OF_BURDEN = "volume, psa, ctdna, diameter, variant_fraction or burden with its unit, or one named dv"


def read_table(path: str | Path, kind: str, time_unit: str | None = None) -> Table:
    """Read and check a table of one kind.

    Raises `DataError` with every fault it found. Reads `.csv` and `.parquet`; what is left out, understood or assumed
    is in the table's notes.

    >>> table = read_table("data/lapatinib_ic50.csv", "ic50")
    >>> len(table), table.units["ic50"]
    (4, 'umol/L')
    """
    if kind not in KINDS:
        raise DataError(f"kind: wanted one of {', '.join(KINDS)}; got {kind!r}")
    sheet = (read_plate if kind == "plate" else read_sheet)(Path(path))
    if len(sheet.lines) == 0:
        raise refuse(path, sheet.header_line, "", "at least one row of data below the header", "none")
    table = interpret(sheet, SCHEMAS[kind], time_unit)
    table = {"plate": _plate, "timeseries": _series}.get(kind, lambda same: same)(table)
    notes = [f"{path}: {note}" for note in _assumed(table)]
    return replace(table, notes=(*table.notes, *notes))


def _assumed(table: Table) -> list[str]:
    """What units were taken for granted, and whether that looks wrong."""
    silent = ("rate", "signal", "viability", "control", "time_zero", "cells", "duration", "interval")
    told = [role for role in table.assumed if role in table.columns and role not in silent]
    out = [f"column {table.names[role]} has no unit: {table.units[role]} is assumed" for role in told]
    if "time" in table.assumed:
        gaps = table.get("interval", 0.0)
        if looks_like_hours(table["time"], gaps):
            out.append("times are read as days and look like hours: --time-unit h or the header TIME [h] says so")
    return out


# --- plates -----------------------------------------------------------------------------------------------------------


def _plate(table: Table) -> Table:
    """A plate with the roles that its kind of table needs; the name of the drug is part of the condition."""
    given = [role for role in ("signal", "viability") if role in table]
    if len(given) != 1:
        wanted = "one column of signal (absorbance, luminescence, cell_count) or of viability"
        got = ", ".join(table.names[role] for role in given) or f"the columns {', '.join(table.names.values())}"
        raise refuse(table.path, 1, "signal", wanted, got)
    wells = [role for role in ("well", "content") if role not in table]
    if wells and "signal" in table and "control" not in table and not np.any(table["drug"] == 0.0):
        wanted = "columns named well and role (sample, vehicle, blank), or dose 0 for the control"
        raise refuse(table.path, 1, ", ".join(wells), wanted, f"the columns {', '.join(table.names.values())}")
    return _of_agents(table) if "agent" in table else table


def _of_agents(table: Table) -> Table:
    """The role of a well by the name of its drug where nothing else says it; several drugs are conditions of their own.

    They are refused where they would share wells without drug, of which only a column of roles or doses tells.
    """
    agents, columns = table["agent"], dict(table.columns)
    if "content" not in table:
        words = {word: role for role, others in ROLES.items() for word in (role, *others) if role != "sample"}
        columns["content"] = np.array([words.get(plain(agent), "sample") for agent in agents])
    names = sorted(
        {str(a) for a, content in zip(agents, columns["content"], strict=True) if content == "sample"} - {""}
    )
    if len(names) > 1 and "signal" in table and "control" not in table:
        wanted = "one drug in a table of signals, as wells without drug belong to no one of several"
        raise refuse(table.path, 1, table.names["agent"], wanted, ", ".join(names)[:100])
    if len(names) > 1:
        old = columns.get("culture", np.full(len(table), ""))
        columns["culture"] = np.array([", ".join(filter(None, pair)) for pair in zip(old, agents, strict=True)])
    return replace(table, columns=columns)


# --- time series ------------------------------------------------------------------------------------------------------


def _series(table: Table) -> Table:
    """Doses and measurements: what is measured, under one role, and what of it is censored."""
    if "burden" not in table and "value" not in table:
        got = f"the columns {', '.join(table.names.values())}"
        raise refuse(table.path, 1, "burden", f"a column named {_OF_BURDEN}", got)
    if "burden" not in table:
        parts = {name: dict(getattr(table, name)) for name in ("columns", "units", "scales", "names", "censored")}
        for values in parts.values():
            values["burden"] = values.pop("value")
        assumed = tuple("burden" if role == "value" else role for role in table.assumed)
        table = replace(table, **parts, assumed=assumed)
    values, signs = table["burden"].copy(), table.censored["burden"].copy()
    values[table.get("mdv", 0.0) == 1.0] = np.nan
    for mark, sign in ((1.0, BELOW), (-1.0, ABOVE)):
        signs[(table.get("cens", 0.0) == mark) & (signs == EXACT)] = sign
    columns, censored = {**table.columns, "burden": values}, {**table.censored, "burden": signs}
    if "treatment" in table:
        columns["treatment"] = held(table)
    return replace(table, columns=columns, censored=censored)


def held(table: Table) -> np.ndarray:
    """Whether a patient is treated from each row on, 1 or 0, NaN where nothing is said; refused beside doses [rows]."""
    words = {word: float(level) for level, others in HELD.items() for word in (level, *others)}
    words |= dict.fromkeys((word.lower() for word in MISSING), np.nan)
    text = [str(cell).lower() for cell in table["treatment"]]
    faults = [
        table.fault(i, "treatment", "1 (on) or 0 (off), which holds until the next row", show(table["treatment"][i]))
        for i in range(len(table))
        if text[i] not in words
    ]
    given = np.flatnonzero(table.get("amount", 0.0) > 0.0)
    if given.size:
        faults.append(table.fault(given[0], "amount", "doses, or whether treatment is on; not both", "an amount"))
    DataError.stop(faults)
    return np.array([words[word] for word in text])


# --- schemas ----------------------------------------------------------------------------------------------------------


KINDS = ("rates", "secretion", "plate", "ic50", "timeseries")
_DOSED = "the doses as a column of concentrations with a unit, 0 where there is no drug"
_GIVEN = (
    "the doses as rows of their own with EVID 1 and AMT (and RATE or DUR, II, ADDL), or a column treatment that is 1 "
    "while the patient is treated, else 0"
)

_FACTORS = ("egf", "growth_factor", "hgf", "fgf", "fgf2", "igf1", "nrg1", "tgfb")
_LINES = ("caf_line", "cell_line", "line", "cell", "cellline")
_LINE = Column("line", _LINES, "text")
_DRUG = Column("drug", ("drug", "dose", "conc", "concentration", "*"), "concentration", high=1e5)
_MARKERS = ("tumor_volume", "volume", "psa", "ctdna", "diameter", "sld", "variant_fraction", "vaf", "burden")
TREATED = ("treatment", "on_treatment", "treated", "is_treated", "therapy", "on")
_SECOND = ("drug2", "drug_2", "dose2", "conc2", "concentration2", "drug2_conc", "conc_c", "second_drug")
_FIRST = ("drug1", "drug_1", "dose1", "conc1", "concentration1", "drug1_conc", "conc_r")
ROLES = {
    "sample": ("treated", "test", "compound", "drug", "unknown"),
    "vehicle": (
        "dmso",
        "control",
        "ctrl",
        "untreated",
        "neg",
        "negative",
        "negative_control",
        "solvent",
        "neg_control",
    ),
    "blank": ("background", "bg", "empty", "medium", "media", "no_cells"),
    "time_zero": ("t0", "time0", "day0", "start", "time_0", "day_0"),
}
HELD = {"1": ("1.0", "on", "yes", "true", "treated", "y"), "0": ("0.0", "off", "no", "false", "untreated", "n", "none")}
_KEPT: dict = {"required": False, "empty": "kept"}

SCHEMAS: dict[str, Schema] = {
    "rates": Schema(
        "a table of rates",
        (
            Column("growth_factor", _FACTORS, "growth_factor", required=False, high=1e6),
            Column("birth", ("birth_rate",), "rate", required=False, high=12.0),
            Column("death", ("death_rate",), "rate", required=False, high=12.0),
            Column("net", ("net_rate", "net_growth_rate", "net_growth"), "rate", required=False, low=-12.0, high=12.0),
            Column("weight", ("weight",), required=False),
            _DRUG,
        ),
        _DOSED,
    ),
    "secretion": Schema(
        "a table of secretion",
        (
            _LINE,
            Column("day", ("experiment_date", "day", "date"), "text", required=False),
            Column("growth_factor", _FACTORS, "growth_factor", high=1e6),
            Column(
                "cells", ("caf_cells", "cells", "stromal_cells"), "count", required=False, low=1.0, high=1e12, unit="1"
            ),
            Column("time", ("time",), "time", required=False, high=3650.0),
            Column("drug", _DRUG.names, "concentration", required=False, high=1e5),
        ),
        _DOSED,
    ),
    "plate": Schema(
        "a plate",
        (
            Column("plate", ("plate", "plate_id", "barcode"), "text", required=False),
            Column("well", ("well", "well_id", "position"), "text", required=False),
            Column("content", ("role", "content", "well_type", "type"), "text", required=False, choices=ROLES),
            Column("line", _LINES, "text", required=False),
            Column("culture", ("culture", "coculture", "condition", "medium"), "text", **_KEPT),
            Column("growth_factor", _FACTORS, "growth_factor", **_KEPT, high=1e6),
            Column("antibody", ("antibody", "blocker"), "concentration", **_KEPT, high=1e5),
            Column("control", ("cell_count__ctrl", "cell_count_ctrl", "control"), "signal", **_KEPT, unit="1"),
            Column("time_zero", ("cell_count__time0", "cell_count_time0", "time_zero"), "signal", **_KEPT, unit="1"),
            Column(
                "signal",
                (
                    "signal",
                    "absorbance",
                    "luminescence",
                    "fluorescence",
                    "cell_count",
                    "count",
                    "counts",
                    "raw",
                    "od",
                    "rlu",
                    "rfu",
                ),
                "signal",
                **_KEPT,
                unit="1",
            ),
            Column(
                "viability",
                ("viability", "relative_viability", "survival", "effect", "response", "fraction_alive"),
                "share",
                **_KEPT,
                low=float("-inf"),
                high=5.0,
                unit="1",
            ),
            Column("second_drug", _SECOND, "concentration", **_KEPT, high=1e5, unit="umol/L"),
            Column(
                "drug",
                (*_FIRST, "concentration", "conc", "dose", "*"),
                "concentration",
                empty="kept",
                high=1e5,
                unit="umol/L",
            ),
            Column("agent", ("agent", "compound", "drug_name", "drug", "inhibitor", "treatment"), "text", **_KEPT),
        ),
    ),
    "ic50": Schema(
        "a table of half-maximal concentrations",
        (
            _LINE,
            Column("status", ("status",), "text", choices={"sensitive": ("s", "parental"), "resistant": ("r",)}),
            Column("ic50", ("ic50", "ec50"), "concentration", low=1e-9, high=1e5),
            Column("ic50_sd", ("ic50_sd", "ec50_sd"), "concentration", **_KEPT, high=1e5),
        ),
    ),
    "timeseries": Schema(
        "a table of doses and measurements",
        (
            Column("patient", ("patient", "id", "subject", "subject_id", "patient_id", "usubjid"), "text"),
            *DOSE_COLUMNS,
            Column("burden", _MARKERS, "burden", **_KEPT, censored=True),
            Column("value", ("dv", "cells"), "burden", **_KEPT, censored=True, unit="relative"),
            Column("mdv", ("mdv",), **_KEPT),
            Column("cens", ("cens", "blq"), **_KEPT, low=-1.0, high=1.0),
            Column("treatment", TREATED, "text", **_KEPT),
        ),
        _GIVEN,
    ),
}
