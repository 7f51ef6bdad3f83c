"""Dosing tables: events read from and written to CSV and Parquet with the columns of NONMEM.

A table has the columns of NONMEM, in any case and order; a unit may stand in the header of any, as in `TIME [h]`:

====== ============ ======================================================================= =========
column field        meaning                                                                 if absent
====== ============ ======================================================================= =========
ID     `id`         number of the patient                                                   1
TIME   `time`       time of the first dose [day]                                            refused
EVID                0 an observation, 1 a dose, 2 neither, 3 a reset, 4 a reset and a dose  1
CMT                 number of the drug in the list of drugs, read when there is no DRUG     1
AMT    `amount`     amount of one dose [unit of the drug's dose]                            refused
RATE   `rate`       rate of an infusion [that unit per time], 0 a bolus, -2 see DUR         0
DUR               . duration of an infusion, also called TINF; RATE follows from it         none
II     `interval`   time between repeated doses [day]                                       0
ADDL   `additional` how many doses follow the first at that interval                        0
SS     `steady`     1 for a first dose that finds a steady state of the same, at II         0
DRUG   `drug`       name of the drug                                                        see CMT
====== ============ ======================================================================= =========

Rows may come in any order and are sorted on reading. Two doses at one time add up, which is said. RATE and II without
a unit count in that of TIME. A reset (EVID 3, 4) stands before a patient's first dose or is refused.
"""

import csv
import io
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.files.cells import protected
from optimizer.files.dose_rows import ANY, DOSE_COLUMNS, KEPT, added_up, dose_events, drug_of, patients_of
from optimizer.files.events import DoseEvent, compress, from_grid, order_of, to_mixed_grid, unroll, within
from optimizer.files.faults import DataError, TableWarning
from optimizer.files.prescriptions import Form, as_decided, as_given
from optimizer.files.run_directory import DirectoryError, write_whole
from optimizer.files.tables import Column, Schema, Table, looks_like_hours, read

COLUMNS = ("ID", "TIME", "EVID", "CMT", "AMT", "RATE", "II", "ADDL", "DRUG")
_SCHEMA = Schema(
    "a dosing table",
    (
        Column("id", ("id",), **KEPT, low=ANY),
        *(Column(**{**vars(c), "required": True}) if c.role == "amount" else c for c in DOSE_COLUMNS),
        Column("cmt", ("cmt",), **KEPT, low=ANY),
        Column("drug", ("drug",), "text", **KEPT),
        Column("value", ("dv",), "text", **KEPT),
        Column("mdv", ("mdv",), **KEPT, low=ANY),
    ),
)


@dataclass(frozen=True)
class Target:
    """What a table of doses is read for."""

    drugs: Sequence[str]  #: names of the drugs [N]
    routes: Mapping[str, str]  #: "bolus" or "infusion" by drug
    horizon: float  #: end of the simulation [day]
    edges: Sequence[float] | np.ndarray = ()  #: of the decisions [day]
    #: of an amount, by drug, such as "mg"; "1" where the dose is the level itself
    units: Mapping[str, str] | None = None
    #: weight [kg] and surface [m^2] of the patient, None where unknown
    body: tuple[float | None, float | None] = (None, None)
    forms: Mapping[str, Form] = field(default_factory=dict)  #: how doses are given, by drug


def read_schedule(
    path: str | os.PathLike[str], target: Target, time_unit: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[DoseEvent]]:
    """A dosing table as edges, doses by each drug's own route and by the other (`to_mixed_grid`), and its events.

    What was left out, added up, cut at the horizon or looks like another unit is a `TableWarning`.
    Raises DataError as `read_events` and `to_mixed_grid` do.
    """
    table, found = _read(path, target.drugs, time_unit, target.units, target.body)
    events = sorted((event for _, event in found), key=order_of)
    given = np.array([[e.time, e.interval] for e in events]).reshape(-1, 2)
    hours = "; where the table counts hours, --time-unit h or the header TIME [h] says so"
    is_doubtful = "time" in table.assumed and looks_like_hours(given[:, 0], given[:, 1])
    if is_doubtful:
        warnings.warn(f"{path}: times are read as days and look like hours{hours}", TableWarning, stacklevel=2)
    late = next((event for event in events if event.time >= target.horizon), None)
    if late is not None:
        hint = hours if "time" in table.assumed else ""
        wanted = f"doses before the horizon, day {target.horizon:g}"
        raise DataError(f"{path}: column {table.names['time']}: wanted {wanted}; got day {late.time:g}{hint}")
    events, cut = within(events, target.horizon)
    if cut:
        said = f"{path}: {cut} doses are cut or left out, as they reach beyond the horizon, day {target.horizon:g}"
        warnings.warn(said, TableWarning, stacklevel=2)
    decided = as_decided(events, target.forms)
    return *to_mixed_grid(decided, target.drugs, target.horizon, target.routes, target.edges), events


def read_grid(
    path: str | os.PathLike[str], target: Target, time_unit: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As `read_schedule`, edges and doses, for what knows each drug by its own route alone.

    Raises DataError for a dose by the other route, too.
    """
    edges, doses, other, _ = read_schedule(path, target, time_unit)
    if np.any(other):
        drug = target.drugs[int(np.argmax(np.any(other != 0.0, axis=0)))]
        wanted = f"doses of {drug} by its route, {target.routes[drug]}, alone (simulate takes both)"
        raise DataError(f"{path}: wanted {wanted}; got some by the other one")
    return edges, doses


def read_events(
    path: str | os.PathLike[str], drugs: Sequence[str] | None = None, time_unit: str | None = None
) -> list[DoseEvent]:
    """Read a dosing table (.csv or .parquet), sorted by ID, TIME and DRUG; `drugs` are the names allowed.

    Raises DataError, as "FILE:LINE: column X: wanted ...; got ...", for anything that is not such a table. In Parquet,
    LINE is the number of the row. Warns (`TableWarning`) of what is left out or added up.
    """
    return sorted((event for _, event in _read(path, drugs, time_unit)[1]), key=order_of)


def _read(
    path: str | os.PathLike[str],
    drugs: Sequence[str] | None,
    time_unit: str | None,
    units: Mapping[str, str] | None = None,
    body: tuple[float | None, float | None] = (None, None),
) -> tuple[Table, list[tuple[int, DoseEvent]]]:
    table = read(Path(path), _SCHEMA, time_unit)
    found = dose_events(table, drug_of(table, drugs), patients_of(table), units, body)
    for note in (*table.notes, *added_up(table, found)):
        warnings.warn(note, TableWarning, stacklevel=3)
    return table, found


# --- writing ----------------------------------------------------------------------------------------------------------


def write_events(path: str | os.PathLike[str], events: Iterable[DoseEvent], drugs: Sequence[str] | None = None) -> None:
    """Write a dosing table that `read_events` reads back to the same events, whole or not at all.

    CMT numbers the drugs as in `drugs`, else by first appearance. Raises DataError for another kind of file, for too
    many doses, and where the place cannot be written.
    """
    target, rows = Path(path), sorted(events, key=order_of)
    if target.suffix.lower() not in (".csv", ".parquet"):
        raise DataError(f'{path}: wanted a .csv or .parquet file; got "{target.suffix}"')
    unroll(rows)
    number = {name: i for i, name in enumerate(dict.fromkeys([*(drugs or ()), *(e.drug for e in rows)]), 1)}
    table = [(e.id, e.time, 1, number[e.drug], e.amount, e.rate, e.interval, e.additional, e.drug) for e in rows]
    if any(event.steady for event in rows):
        raise DataError(f"{path}: wanted doses without a steady state before them; got SS 1")
    try:
        write_whole(target, (_parquet_of if target.suffix.lower() == ".parquet" else csv_of)(COLUMNS, table))
    except DirectoryError as error:
        raise DataError(str(error)) from None


def write_schedule(path: Path, target: Target, edges: Any, doses: Any, other: Any = None) -> None:
    """Write the doses [K, N] on edges [K + 1], and those by the `other` route, as a dosing table of few rows."""
    more = None if other is None else np.asarray(other)
    events = from_grid(np.asarray(edges), np.asarray(doses), target.drugs, target.routes, more)
    write_events(path, compress(as_given(events, target.forms)), target.drugs)


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A CSV table as bytes; text that a spreadsheet would take for a formula is protected."""
    text = io.StringIO(newline="")
    safe = ([protected(cell) for cell in row] for row in rows)
    csv.writer(text, lineterminator="\n").writerows([[protected(name) for name in columns], *safe])
    return text.getvalue().encode()


def _parquet_of(columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole, real = pa.int64(), pa.float64()
    types = (whole, real, whole, whole, real, real, real, whole, pa.string())
    arrays = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(types)]
    table = pa.Table.from_arrays(arrays, names=list(columns))
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"adose_events": "1", "time_unit": "day"}), out)
    return out.getvalue()
