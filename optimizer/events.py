"""Doses as events: what a dosing table says, and the same on a decision grid.

A table (CSV or Parquet) has the columns of NONMEM, in any case and order, with TIME and II in days:

====== ============ ==================================================================== =========
column field        meaning                                                              if absent
====== ============ ==================================================================== =========
ID     `id`         number of the patient                                                1
TIME   `time`       time of the first dose [day]                                         refused
EVID                1 a dose, 0 an observation, which is skipped                         1
CMT                 number of the drug in the list of drugs, read when there is no DRUG  1
AMT    `amount`     amount of one dose [unit of the drug's dose]                         refused
RATE   `rate`       rate of an infusion [that unit per day], 0 for a bolus               0
II     `interval`   time between repeated doses [day]                                    0
ADDL   `additional` how many doses follow the first at that interval                     0
DRUG   `drug`       name of the drug                                                     see CMT
====== ============ ==================================================================== =========

An empty cell and "." are missing values. Rows may come in any order and are sorted on reading. Other columns
are ignored. Steady state (SS), modeled rates (RATE -1, -2) and EVID 2, 3 and 4 are refused.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

COLUMNS = ("ID", "TIME", "EVID", "CMT", "AMT", "RATE", "II", "ADDL", "DRUG")
MAX_BYTES = 16 * 2**20
MAX_DOSES = 1_000_000
TOLERANCE = 1e-10  # days below which two times are one
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WANTED = {
    "EVID": "1 for a dose or 0 for an observation, as EVID 2, 3 and 4 are not supported",
    "SS": "0, as steady-state doses (SS) are not supported",
    "RATE": "a finite number of at least 0, as RATE -1 and -2 (modeled rate, duration) are not supported",
    "ADDL": f"a whole number from 0 to {MAX_DOSES}",
    "ID": "a whole number of at least 0",
}


class EventError(ValueError):
    """A dosing table or schedule was refused; the text is one sentence for the user."""


@dataclass(frozen=True)
class DoseEvent:
    """A dose and its repetitions, checked on creation; the fields are those of the module's table.

    >>> [dose.time for dose in expand([DoseEvent(0.0, "cetuximab", 1.0, interval=7.0, additional=2)])]
    [0.0, 7.0, 14.0]
    """

    time: float
    drug: str
    amount: float
    rate: float = 0.0
    interval: float = 0.0
    additional: int = 0
    id: int = 1

    def __post_init__(self) -> None:
        for column, name in (("TIME", "time"), ("AMT", "amount"), ("RATE", "rate"), ("II", "interval")):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
                raise _refusal(column, value)
            object.__setattr__(self, name, float(value) + 0.0)  # turns -0.0 into 0.0
        for column, value, most in (("ADDL", self.additional, MAX_DOSES), ("ID", self.id, 2**53)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
                raise _refusal(column, value)
        name = self.drug
        if not isinstance(name, str) or name in ("", ".") or name != name.strip() or not name.isprintable():
            raise _refusal("DRUG", name, "a printable drug name without outer spaces")
        if self.rate > 0 and self.amount == 0:
            raise _refusal("AMT", self.amount, "more than 0 with a RATE")
        if self.additional and self.interval <= TOLERANCE:
            raise _refusal("II", self.interval, "an interval above 0 with ADDL")
        if not math.isfinite(self.time + self.additional * self.interval):
            raise _refusal("II", self.interval, "doses at finite times")


def expand(events: Iterable[DoseEvent]) -> list[DoseEvent]:
    """One event a dose, sorted by ID, TIME and DRUG: the k-th repetition is at time + k * interval.

    Raises EventError for two doses of a drug at one time and for more than `MAX_DOSES`.
    """
    listed = list(events)
    owner, times = _unroll(listed)
    single = [replace(event, interval=0.0, additional=0) for event in listed]
    pairs = zip(owner.tolist(), times.tolist(), strict=True)
    return sorted((replace(single[i], time=time) for i, time in pairs), key=_order)


def compress(events: Iterable[DoseEvent]) -> list[DoseEvent]:
    """Fold equal doses at equal distance into II and ADDL where `expand` gives back the very same times.

    >>> compress([DoseEvent(t, "a", 5.0) for t in (0.0, 7.0, 14.0)])
    [DoseEvent(time=0.0, drug='a', amount=5.0, rate=0.0, interval=7.0, additional=2, id=1)]
    """
    alike: dict[Any, list[DoseEvent]] = {}
    for event in expand(events):
        alike.setdefault((event.id, event.drug, event.amount, event.rate), []).append(event)
    folded = []
    for same in alike.values():
        start = 0
        while start < len(same):
            first, more = same[start], 1
            step = same[start + 1].time - first.time if start + 1 < len(same) else 0.0
            while start + more < len(same) and first.time + more * step == same[start + more].time:
                more += 1
            folded.append(replace(first, interval=step, additional=more - 1) if more > 1 else first)
            start += more
    return sorted(folded, key=_order)


def to_grid(
    events: Iterable[DoseEvent],
    drugs: Sequence[str],
    horizon: float,
    routes: Mapping[str, str],
    edges: Sequence[float] | np.ndarray = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Edges [K+1] [day] and doses [K, N]: amounts at interval starts (bolus), rates inside them (infusion).

    The edges are 0, `horizon`, every start and end of a dose, and the given `edges`; those within `TOLERANCE`
    are one. Overlapping infusions add. Raises EventError for another drug or patient, a route that does not
    suit the event, a dose at or after the horizon and an infusion that outlasts it.

    >>> to_grid([DoseEvent(7.0, "a", 3.0)], ["a"], 14.0, {"a": "bolus"})[1].tolist()
    [[0.0], [3.0]]
    """
    listed = list(events)
    near = _check_grid(listed, drugs, routes, horizon)
    owner, starts = _unroll(listed)
    given = np.asarray(edges, dtype=float)
    if not np.all((given >= 0) & (given <= horizon)):
        raise EventError(f"edges: wanted times from 0 to the horizon {horizon!r}, got others")
    lengths = np.array([event.amount / event.rate if event.rate else 0.0 for event in listed])[owner]
    grid, places = _merge([np.array([0.0, horizon]), given, starts, starts + lengths], near)
    first, last = places[len(places) - 2 * len(owner) :].reshape(2, -1)
    doses = np.zeros((len(grid) - 1, len(drugs)))
    amounts = np.array([event.amount for event in listed])[owner]
    column = np.array([drugs.index(event.drug) for event in listed], dtype=int)[owner]
    rates = np.array([event.rate for event in listed])[owner]
    lost = np.flatnonzero((first == len(doses)) | ((rates > 0) & (first == last)))
    if lost.size:
        event, time = listed[owner[lost[0]]], float(starts[lost[0]])
        raise _misfit(event, f"a dose more than {near:g} day before the horizon, an infusion as long", time)
    bolus = rates == 0
    np.add.at(doses, (first[bolus], column[bolus]), amounts[bolus])
    for i in np.flatnonzero(~bolus).tolist():
        doses[first[i] : last[i], column[i]] += rates[i]
    return grid, doses


def _merge(parts: Sequence[np.ndarray], near: float) -> tuple[np.ndarray, np.ndarray]:
    """The distinct times of the parts, and where each time is among them; earlier parts stand for later ones."""
    points, rank = np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    by_time = np.argsort(points, kind="stable")
    label = np.empty(len(points), dtype=int)
    label[by_time] = np.cumsum(np.diff(points[by_time], prepend=points.min()) > near)
    by_rank = np.lexsort((points, rank, label))
    return points[by_rank[np.unique(label[by_rank], return_index=True)[1]]], label


def from_grid(
    edges: Sequence[float] | np.ndarray,
    doses: Sequence[Sequence[float]] | np.ndarray,
    drugs: Sequence[str],
    routes: Mapping[str, str],
) -> list[DoseEvent]:
    """Events of the doses [K, N] on the edges [K+1] that are not 0; of an infusion, RATE is exact.

    `to_grid` with the same `edges` gives back the very same doses where these begin at 0. Raises EventError
    for another shape, edges that do not increase, and doses that are negative or not finite.
    """
    times, table = np.asarray(edges, dtype=float), np.asarray(doses, dtype=float)
    if times.ndim != 1 or len(times) < 2 or table.shape != (len(times) - 1, len(drugs)):
        shapes = f"doses {table.shape} on edges {times.shape}"
        raise EventError(f"doses: wanted [K, {len(drugs)}] on edges [K+1], got {shapes}")
    near = _check_grid([], drugs, routes, float(times[-1]))
    lengths = np.diff(times)
    if not (times[0] >= 0 and np.all(lengths > 2 * near)):
        raise EventError(f"edges: wanted times from 0 on, more than {2 * near:g} day apart, got others")
    events = []
    for k, n in np.argwhere(table != 0).tolist():
        time, dose, length = float(times[k]), float(table[k, n]), float(lengths[k])
        if routes[drugs[n]] == "bolus":
            events.append(DoseEvent(time, drugs[n], dose))
        else:
            events.append(DoseEvent(time, drugs[n], dose * length, rate=dose))
            if abs(dose * length / dose - length) > near / 2:
                raise _misfit(events[-1], "a rate within the range of floats", dose)
    return events


def _check_grid(events: list[DoseEvent], drugs: Sequence[str], routes: Mapping[str, str], horizon: float) -> float:
    """Refuse what a grid cannot hold; returns how close two of its times may be [day]."""
    near = max(TOLERANCE, 8 * math.ulp(abs(horizon)))
    if not near < horizon < math.inf:
        raise EventError(f"horizon: wanted a finite time above 0, got {horizon!r}")
    for drug in drugs:
        if routes.get(drug) not in ("bolus", "infusion"):
            got = _shown(routes.get(drug))
            raise EventError(f'routes: wanted "bolus" or "infusion" for {drug}, got {got}')
    for event in events:
        if event.drug not in drugs:
            raise _misfit(event, f"one of {', '.join(drugs)}", event.drug)
        if event.id != events[0].id:
            raise _misfit(event, f"one patient, ID {events[0].id}", event.id)
        last = event.time + event.additional * event.interval
        if last >= horizon - near:
            raise _misfit(event, f"doses before the horizon {horizon!r}", last)
        if event.amount and (event.rate > 0) != (routes[event.drug] == "infusion"):
            wanted = "RATE 0, as its route is bolus" if event.rate else "a RATE, as its route is infusion"
            raise _misfit(event, wanted, event.rate)
        if event.rate and last + event.amount / event.rate > horizon + near:
            end = last + event.amount / event.rate
            raise _misfit(event, f"an infusion that ends by the horizon {horizon!r}", end)
    return near


def _misfit(event: DoseEvent, wanted: str, got: object) -> EventError:
    return EventError(f"dose of {event.drug} at day {event.time!r}: wanted {wanted}, got {_shown(got)}")


def _refusal(column: str, got: object, wanted: str = "") -> EventError:
    wanted = wanted or _WANTED.get(column, "a finite number of at least 0")
    return EventError(f"column {column}: wanted {wanted}, got {_shown(got)}")


def _shown(value: object) -> str:
    """The value in an error message, short and printable."""
    if value is None:
        return "nothing"
    if isinstance(value, int) and abs(value) > 2**64:
        return "a larger whole number"
    text = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _order(event: DoseEvent) -> tuple[int, float, str]:
    return event.id, event.time, event.drug


def _unroll(events: Sequence[DoseEvent], places: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """The number of its event and the time of each dose; refuses too many, and two of a drug at one time."""
    places = places or [f"event {i}" for i in range(1, len(events) + 1)]
    counts = np.array([1 + event.additional for event in events], dtype=int)
    if len(events) and counts.sum() > MAX_DOSES:
        most = int(np.argmax(counts))
        raise EventError(f"{places[most]}: column ADDL: wanted {MAX_DOSES} doses at most, got {counts.sum()} in all")
    owner = np.repeat(np.arange(len(events)), counts)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    times = np.array([e.time for e in events])[owner] + step * np.array([e.interval for e in events])[owner]
    groups: dict[tuple[int, str], int] = {}
    group = np.array([groups.setdefault((e.id, e.drug), len(groups)) for e in events], dtype=int)[owner]
    order = np.lexsort((times, group))
    twice = (np.diff(times[order]) <= TOLERANCE) & (np.diff(group[order]) == 0)
    if twice.any():
        at = int(np.argmax(twice))
        one, two = sorted(owner[order[at : at + 2]].tolist())
        what = f"one dose of {events[two].drug} at a time, got one at day {times[order[at]]!s}"
        raise EventError(f"{places[two]}: column TIME: wanted {what} that {places[one]} gives too")
    return owner, times


def read_events(path: str | os.PathLike[str], drugs: Sequence[str] | None = None) -> list[DoseEvent]:
    """Read a dosing table (.csv or .parquet), sorted by ID, TIME and DRUG; `drugs` are the names allowed.

    Raises EventError, as "FILE:LINE: column X: wanted ..., got ...", for anything that is not such a table,
    for two doses of a drug at one time, and for more than `MAX_BYTES` or `MAX_DOSES`. In Parquet, LINE is the
    number of the row.
    """
    rows = (_parquet_rows if _suffix(path) == ".parquet" else _csv_rows)(Path(path))
    line, names = next(rows, (1, []))
    columns = _header(f"{path}:{line}", names)
    found: list[tuple[DoseEvent, str]] = []
    for count, (line, cells) in enumerate(rows, start=1):
        place = f"{path}:{line}"
        values = [_cell(cell) for cell in cells]
        if all(value is None for value in values):
            continue
        if len(values) != len(columns):
            raise EventError(f"{place}: wanted {len(columns)} cells as in the header, got {len(values)}")
        if count > MAX_DOSES:
            raise EventError(f"{place}: wanted at most {MAX_DOSES} rows, got more")
        try:
            event = _event(dict(zip(columns, values, strict=True)), drugs)
        except EventError as error:
            raise EventError(f"{place}: {error}") from None
        if event is not None:
            found.append((event, place))
    events = [event for event, _ in found]
    _unroll(events, [place for _, place in found])
    return sorted(events, key=_order)


def write_events(path: str | os.PathLike[str], events: Iterable[DoseEvent], drugs: Sequence[str] | None = None) -> None:
    """Write a dosing table that `read_events` reads back to the same events, whole or not at all.

    CMT numbers the drugs as in `drugs`, else by first appearance. Raises EventError where reading would.
    """
    kind = _suffix(path)
    rows = sorted(events, key=_order)
    _unroll(rows)
    number = {name: i for i, name in enumerate(dict.fromkeys([*(drugs or ()), *(e.drug for e in rows)]), 1)}
    table = [(e.id, e.time, 1, number[e.drug], e.amount, e.rate, e.interval, e.additional, e.drug) for e in rows]
    target = Path(path)
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as handle:
            (_write_parquet if kind == ".parquet" else _write_csv)(handle, table)
        os.replace(temporary, target)
    except OSError as error:
        raise EventError(f"{path}: wanted a place for a dosing table, got {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise EventError(f"{path}: wanted a .csv or .parquet file, got {_shown(suffix)}")
    return suffix


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise EventError(f"{path}: wanted a file, got {'a folder' if path.is_dir() else 'nothing there'}")
        with open(path, "rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise EventError(f"{path}: wanted a readable file, got {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise EventError(f"{path}: wanted at most {MAX_BYTES} bytes, got more")
    return data


def _csv_rows(path: Path) -> Iterator[tuple[int, list[Any]]]:
    data = _bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise EventError(f"{path}:{line}: wanted UTF-8 text, got the byte {data[error.start]:#04x}") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        for cells in reader:
            yield reader.line_num, list(cells)
    except csv.Error as error:
        raise EventError(f"{path}:{reader.line_num}: wanted comma-separated cells, got {error}") from None


def _parquet_rows(path: Path) -> Iterator[tuple[int, list[Any]]]:
    import pyarrow.parquet as pq

    data = io.BytesIO(_bytes(path))
    try:
        file = pq.ParquetFile(data)
        meta = file.metadata
        size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
        if meta.num_rows > MAX_DOSES or size > 16 * MAX_BYTES:
            raise EventError(f"{path}: wanted at most {MAX_DOSES} rows, got {meta.num_rows} rows, {size} bytes")
        yield 0, list(file.schema_arrow.names)
        line = 0
        for batch in file.iter_batches():
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                line += 1
                yield line, list(cells)
    except EventError:
        raise
    except Exception as error:  # whatever a damaged file makes the library raise
        raise EventError(f"{path}: wanted a Parquet table, got {type(error).__name__} on reading it") from None


def _header(place: str, names: Sequence[Any]) -> list[str]:
    columns = [str(name).strip().upper() for name in names]
    for column in (*COLUMNS, "SS"):
        if columns.count(column) > 1:
            raise EventError(f"{place}: column {column}: wanted it once, got it {columns.count(column)} times")
    for column in ("TIME", "AMT"):
        if column not in columns:
            raise EventError(f"{place}: column {column}: wanted a comma-separated header with it, got none")
    absent = [column for column in COLUMNS if len(column) > 2 and column not in columns]
    for name in columns:
        if name not in COLUMNS and (close := difflib.get_close_matches(name, absent, n=1, cutoff=0.75)):
            raise EventError(f"{place}: column {close[0]}: wanted this name, or another column, got {_shown(name)}")
    return columns


def _cell(cell: Any) -> Any:
    """The cell as a number, a text, or None where it is missing."""
    if not isinstance(cell, str):
        return cell
    text = cell.strip()
    return None if text in ("", ".") else text


def _number(row: Mapping[str, Any], column: str, default: float | None) -> float | int:
    """The number in a cell; its range is checked by DoseEvent."""
    cell = row.get(column)
    value = default if cell is None else cell
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refusal(column, cell)
    return value


def _whole(row: Mapping[str, Any], column: str, default: int | None) -> Any:
    value = _number(row, column, default)
    return int(value) if math.isfinite(value) and value == int(value) else value


def _event(row: Mapping[str, Any], drugs: Sequence[str] | None) -> DoseEvent | None:
    """The dose of a row, None for an observation."""
    kind = _number(row, "EVID", None if "EVID" in row else 1)
    if kind not in (0, 1):
        raise _refusal("EVID", row["EVID"])
    if _number(row, "SS", 0) != 0:
        raise _refusal("SS", row["SS"])
    if kind == 0:
        if _number(row, "AMT", 0) != 0:
            raise _refusal("AMT", row["AMT"], '0 or "." in an observation (EVID 0)')
        return None
    return DoseEvent(
        time=_number(row, "TIME", None),
        drug=_drug(row, drugs),
        amount=_number(row, "AMT", None),
        rate=_number(row, "RATE", 0.0),
        interval=_number(row, "II", 0.0),
        additional=_whole(row, "ADDL", 0),
        id=_whole(row, "ID", 1),
    )


def _drug(row: Mapping[str, Any], drugs: Sequence[str] | None) -> str:
    if "DRUG" in row:
        if drugs is not None and row["DRUG"] not in drugs:
            raise _refusal("DRUG", row["DRUG"], f"one of {', '.join(drugs)}")
        return row["DRUG"]
    if not drugs:
        raise EventError("column DRUG: wanted the name of the drug, got no such column")
    number = _whole(row, "CMT", 1 if len(drugs) == 1 else None)
    if number not in range(1, len(drugs) + 1):
        raise _refusal("CMT", row.get("CMT"), f"the number of a drug from 1 to {len(drugs)}, as there is no DRUG")
    return drugs[int(number) - 1]


def _write_csv(handle: BinaryIO, rows: Sequence[tuple[Any, ...]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    handle.write(text.getvalue().encode())


def _write_parquet(handle: BinaryIO, rows: Sequence[tuple[Any, ...]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole, real = pa.int64(), pa.float64()
    types = (whole, real, whole, whole, real, real, real, whole, pa.string())
    arrays = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(types)]
    table = pa.Table.from_arrays(arrays, names=list(COLUMNS))
    pq.write_table(table.replace_schema_metadata({"adose_events": "1", "time_unit": "day"}), handle)
