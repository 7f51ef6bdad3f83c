"""Dosing tables: events read from and written to CSV and Parquet with the columns of NONMEM.

A table has the columns of NONMEM, in any case and order, with TIME and II in days:

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from optimizer.files.events import MAX_DOSES, DoseEvent, EventError, order_of, refusal, shown, unroll

COLUMNS = ("ID", "TIME", "EVID", "CMT", "AMT", "RATE", "II", "ADDL", "DRUG")
MAX_BYTES = 16 * 2**20
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


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
    unroll(events, [place for _, place in found])
    return sorted(events, key=order_of)


def write_events(path: str | os.PathLike[str], events: Iterable[DoseEvent], drugs: Sequence[str] | None = None) -> None:
    """Write a dosing table that `read_events` reads back to the same events, whole or not at all.

    CMT numbers the drugs as in `drugs`, else by first appearance. Raises EventError where reading would.
    """
    kind = _suffix(path)
    rows = sorted(events, key=order_of)
    unroll(rows)
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
        raise EventError(f"{path}: wanted a .csv or .parquet file, got {shown(suffix)}")
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
            raise EventError(f"{place}: column {close[0]}: wanted this name, or another column, got {shown(name)}")
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
        raise refusal(column, cell)
    return value


def _whole(row: Mapping[str, Any], column: str, default: int | None) -> Any:
    value = _number(row, column, default)
    return int(value) if math.isfinite(value) and value == int(value) else value


def _event(row: Mapping[str, Any], drugs: Sequence[str] | None) -> DoseEvent | None:
    """The dose of a row, None for an observation."""
    kind = _number(row, "EVID", None if "EVID" in row else 1)
    if kind not in (0, 1):
        raise refusal("EVID", row["EVID"])
    if _number(row, "SS", 0) != 0:
        raise refusal("SS", row["SS"])
    if kind == 0:
        if _number(row, "AMT", 0) != 0:
            raise refusal("AMT", row["AMT"], '0 or "." in an observation (EVID 0)')
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


def _drug(row: Mapping[str, Any], drugs: Sequence[str] | None) -> Any:
    if "DRUG" in row:
        if drugs is not None and row["DRUG"] not in drugs:
            raise refusal("DRUG", row["DRUG"], f"one of {', '.join(drugs)}")
        return row["DRUG"]
    if not drugs:
        raise EventError("column DRUG: wanted the name of the drug, got no such column")
    number = _whole(row, "CMT", 1 if len(drugs) == 1 else None)
    if number not in range(1, len(drugs) + 1):
        raise refusal("CMT", row.get("CMT"), f"the number of a drug from 1 to {len(drugs)}, as there is no DRUG")
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
