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

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.files.cells import protected
from optimizer.files.events import MAX_DOSES, DoseEvent, doubled, order_of, to_mixed_grid, unroll, within
from optimizer.files.faults import DataError, Fault, TableWarning, show
from optimizer.files.headers import read_unit
from optimizer.files.run_directory import DirectoryError, write_whole
from optimizer.files.tables import Column, Schema, Table, looks_like_hours, read, scaled

COLUMNS = ("ID", "TIME", "EVID", "CMT", "AMT", "RATE", "II", "ADDL", "DRUG")
_KEPT: dict[str, Any] = {"required": False, "empty": "kept"}
_ANY = float("-inf")
DOSE_COLUMNS = (
    Column("time", ("time", "day", "days"), "time", low=_ANY, unit="day"),
    Column("evid", ("evid",), **_KEPT, low=_ANY),
    Column("amount", ("amt", "amount", "dose"), "amount", **_KEPT, low=_ANY, unit="mg"),
    Column("rate", ("rate",), "amount_rate", **_KEPT, low=_ANY, unit="mg/day"),
    Column("duration", ("dur", "tinf", "duration"), "time", **_KEPT, low=_ANY, unit="day"),
    Column("interval", ("ii",), "time", **_KEPT, low=_ANY, unit="day"),
    Column("additional", ("addl",), **_KEPT, low=_ANY),
    Column("steady", ("ss",), **_KEPT, low=_ANY),
)
"""The columns that doses have in every kind of table."""
_SCHEMA = Schema(
    "a dosing table",
    (
        Column("id", ("id",), **_KEPT, low=_ANY),
        *(Column(**{**vars(c), "required": True}) if c.role == "amount" else c for c in DOSE_COLUMNS),
        Column("cmt", ("cmt",), **_KEPT, low=_ANY),
        Column("drug", ("drug",), "text", **_KEPT),
        Column("value", ("dv",), "text", **_KEPT),
        Column("mdv", ("mdv",), **_KEPT, low=_ANY),
    ),
)
_EVID = "0 (observation), 1 (dose), 2 (neither), 3 (reset) or 4 (reset and dose)"
_RATE = "0, a rate, or -2 beside a column DUR (or TINF); -1, a rate to be fitted, is not known here"


@dataclass(frozen=True)
class Target:
    """What a table of doses is read for.

    Attributes:
        drugs: names of the drugs [N].
        routes: "bolus" or "infusion" by drug.
        horizon: end of the simulation [day].
        edges: of the decisions [day].
        units: of an amount, by drug, such as "mg"; "1" where the dose is the level itself.
        body: weight [kg] and surface [m^2] of the patient, None where unknown.
    """

    drugs: Sequence[str]
    routes: Mapping[str, str]
    horizon: float
    edges: Sequence[float] | np.ndarray = ()
    units: Mapping[str, str] | None = None
    body: tuple[float | None, float | None] = (None, None)


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
    return *to_mixed_grid(events, target.drugs, target.horizon, target.routes, target.edges), events


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
    table = read(path, _SCHEMA, time_unit)
    found = dose_events(table, _named(table, drugs), _ids(table), units, body)
    for note in (*table.notes, *added_up(table, found)):
        warnings.warn(note, TableWarning, stacklevel=3)
    return table, found


# --- rows to events ---------------------------------------------------------------------------------------------------


def dose_events(
    table: Table,
    drug: Callable[[int], str],
    ids: np.ndarray,
    units: Mapping[str, str] | None = None,
    body: tuple[float | None, float | None] = (None, None),
) -> list[tuple[int, DoseEvent]]:
    """The doses of a table with `DOSE_COLUMNS`, each with its row.

    Args:
        table: of doses, and of observations where it has any.
        drug: name of the drug of a row.
        ids: number of the patient of each row [rows].
        units: of an amount, by drug.
        body: weight [kg] and surface [m^2] of the patient.

    Raises:
        DataError: with the fault of every row.
    """
    faults, found = [], []
    is_dose = dose_rows(table, ids)
    times, spans = table.internal("time"), {role: _days(table, role) for role in ("duration", "interval")}
    rates = _rates(table)
    for i in np.flatnonzero(is_dose).tolist():
        try:
            name = drug(i)
            size = _size(table, units.get(name, "mg") if units else None, body)
            amount = _amount(table, i) * size
            found.append((i, _event(table, i, name, (float(times[i]), amount, rates[i] * size), spans, int(ids[i]))))
        except _Refused as error:
            faults.append(table.fault(i, error.role, error.wanted, error.got))
        except DataError as error:
            faults.append(Fault(str(table.path), int(table.lines[i]), *_parts(str(error))))
    if faults:
        raise DataError(faults)
    unroll([event for _, event in found], [table.place(i) for i, _ in found])
    return found


class _Refused(Exception):
    """A cell that says something else than a dose."""

    def __init__(self, role: str, wanted: str, got: object):
        self.role, self.wanted, self.got = role, wanted, show(got)
        super().__init__(role)


def _parts(sentence: str) -> tuple[str, str, str]:
    """Column, wanted and got of an event's own refusal."""
    column, _, rest = sentence.removeprefix("column ").partition(": wanted ")
    wanted, _, got = rest.partition("; got ")
    return column, wanted, got


def dose_rows(table: Table, ids: np.ndarray) -> np.ndarray:
    """Which rows are doses; refuses other kinds of events, and observations with an amount [rows]."""
    amount = table.get("amount", 0.0)
    if "evid" not in table:
        seen = [role for role in ("value", "mdv", "burden") if role in table]
        return amount > 0 if seen else np.ones(len(table), bool)
    evid, faults = table["evid"], []
    times = table.internal("time")
    for i, kind in enumerate(evid):
        if kind not in (0, 1, 2, 3, 4):
            faults.append(table.fault(i, "evid", _EVID, show(None if np.isnan(kind) else float(kind))))
        elif kind in (0, 2, 3) and amount[i] != 0.0:
            wanted = f"0 or nothing beside EVID {kind:g}, which is no dose"
            faults.append(table.fault(i, "amount", wanted, f"{amount[i]:g}"))
        elif kind in (3, 4):
            before = (ids == ids[i]) & np.isin(evid, (1, 4)) & (times <= times[i]) & (np.arange(len(table)) != i)
            if before.any():
                wanted = "a reset (EVID 3, 4) before the first dose, as a tumor does not begin anew in the midst of it"
                faults.append(table.fault(i, "evid", wanted, f"{kind:g} after line {table.lines[np.argmax(before)]}"))
    if faults:
        raise DataError(faults)
    return np.isin(evid, (1, 4))


def _event(
    table: Table, i: int, name: str, dose: tuple[float, float, float], spans: Mapping[str, np.ndarray], number: int
) -> DoseEvent:
    """The dose of a row: its time, amount and rate, and how it repeats."""
    (time, amount, rate), duration = dose, float(spans["duration"][i])
    steady, more = table.get("steady", 0.0)[i], table.get("additional", 0.0)[i]
    if duration < 0.0:
        raise _Refused("duration", "a duration of at least 0", duration)
    if steady not in (0.0, 1.0):
        raise _Refused(
            "steady", "0, or 1 for a first dose that finds a steady state (SS 2 adds to others)", float(steady)
        )
    if more != np.floor(more) or not 0 <= more <= MAX_DOSES:
        raise _Refused("additional", f"a whole number from 0 to {MAX_DOSES}", float(more))
    if rate < 0.0 and not (table["rate"][i] == -2.0 and duration > 0.0):
        raise _Refused("rate", _RATE, float(table["rate"][i]))
    if rate > 0.0 and duration > 0.0 and abs(amount / rate - duration) > 1e-6 * duration:
        raise _Refused("duration", f"AMT / RATE, {amount / rate:g} day, or no duration", f"{duration:g} day")
    if duration > 0.0 and rate <= 0.0:
        rate = amount / duration
    every = float(spans["interval"][i])
    return DoseEvent(time, name, amount, rate, every, int(more), number, bool(steady))


def _days(table: Table, role: str) -> np.ndarray:
    """A column of spans in days, 0 where there is none [rows]."""
    return scaled(table.get(role, 0.0), table.scales.get(role, 1.0))


def _rates(table: Table) -> np.ndarray:
    """Rates in mg/day; one without a unit counts in those of AMT and TIME [rows]."""
    rates = table.get("rate", 0.0)
    if "rate" not in table or not rates.any():
        return rates
    if "rate" in table.assumed:
        return rates * table.scales.get("amount", 1.0) / table.scales["time"]
    return scaled(rates, table.scales["rate"])


def _amount(table: Table, i: int) -> float:
    value = float(table["amount"][i]) if "amount" in table else np.nan
    if not value >= 0.0:
        raise _Refused("amount", "a finite number of at least 0", None if np.isnan(value) else value)
    return float(scaled(np.array(value), table.scales["amount"]))


def _size(table: Table, unit: str | None, body: tuple[float | None, float | None]) -> float:
    """What an amount is multiplied by: the patient's weight or surface where it is given by these."""
    said = table.units.get("amount", "mg")
    if "amount" not in table or "amount" in table.assumed:
        return 1.0
    for mark, size, key in (("kg_bw", body[0], "patient.body_weight"), ("m2_bsa", body[1], "patient.body_surface")):
        if mark in said and unit in (None, "mg"):
            if size is None:
                raise _Refused("amount", f"{key} in the scenario beside a dose in {said}", None)
            return size
    if unit is not None and read_unit(said, f"in {unit}") is None:
        wanted = "no unit, as this drug's dose is its level itself" if unit == "1" else f"a unit such as {unit}"
        raise _Refused("amount", wanted, said)
    return 1.0


def _named(table: Table, drugs: Sequence[str] | None) -> Callable[[int], str]:
    """The drug of a row: by name, else by its number in the list, else the only one."""

    def named(i: int) -> str:
        if "drug" in table:
            name = str(table["drug"][i])
            name = "" if name in (".", "NA") else name
            if drugs is not None and name not in drugs:
                raise _Refused("drug", f"one of {', '.join(drugs)}", name)
            return name
        if not drugs:
            raise _Refused("DRUG", "a column with the name of the drug", None)
        number = table["cmt"][i] if "cmt" in table else np.nan
        number = 1.0 if np.isnan(number) and len(drugs) == 1 else number
        if number not in range(1, len(drugs) + 1):
            wanted = f"the number of a drug from 1 to {len(drugs)}, as there is no column DRUG"
            raise _Refused("cmt" if "cmt" in table else "CMT", wanted, None if np.isnan(number) else float(number))
        return drugs[int(number) - 1]

    return named


def _ids(table: Table) -> np.ndarray:
    """Numbers of the patients [rows]."""
    ids = table.get("id", 1.0)
    wrong = np.flatnonzero((ids != np.floor(ids)) | (ids < 0) | (ids > 2**53))
    if wrong.size:
        raise DataError([table.fault(i, "id", "a whole number of at least 0", f"{ids[i]:g}") for i in wrong])
    return ids


def added_up(table: Table, found: Sequence[tuple[int, DoseEvent]]) -> list[str]:
    """A sentence for each pair of rows that give a drug at one time."""
    out = []
    for one, two, time in doubled([event for _, event in found]):
        drug, rows = found[two][1].drug, sorted({int(table.lines[found[one][0]]), int(table.lines[found[two][0]])})
        lines = " and ".join(map(str, rows))
        out.append(f"{table.path}: line {lines}: both give {drug} on day {time:g}: they add up")
    return out[:20]


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
    try:
        write_whole(target, (_parquet_of if target.suffix.lower() == ".parquet" else csv_of)(COLUMNS, table))
    except DirectoryError as error:
        raise DataError(str(error)) from None


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
