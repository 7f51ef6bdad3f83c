"""Measurements in: CSV or Parquet tables read strictly, every faulty cell named by file, line and column."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.calibrate.columns import COLUMNS, KINDS, UNITS, Column, factor, split_header
from optimizer.files.faults import DataError, Fault, refuse

NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
MOST_ROWS = 20_000_000


@dataclass(frozen=True)
class Table:
    """A checked table: one array a role, in the units of its own header.

    | field | meaning |
    |---|---|
    | `columns` | role -> values [rows]; numbers float64 (NaN where a cell may be empty), text as strings |
    | `units` | role -> unit as written in the header, such as `ug_per_ml` |
    | `names` | role -> the header itself |
    | `lines` | line of the file each row came from [rows] |
    | `flags` | what was noticed and kept |
    """

    path: Path
    kind: str
    columns: dict[str, np.ndarray]
    units: dict[str, str]
    names: dict[str, str]
    lines: np.ndarray
    flags: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def __contains__(self, role: str) -> bool:
        return role in self.columns

    def __getitem__(self, role: str) -> np.ndarray:
        return self.columns[role]

    def factor(self, role: str, dimension: str) -> float:
        """From the header's unit to the base unit of the dimension (ug/mL, pg/mL, 1/day, day, mg)."""
        return factor(self.units[role], dimension)

    def fault(self, row: int | np.integer, role: str, wanted: str, got: Any) -> Fault:
        """A fault of one cell of this table."""
        return Fault(self.path.name, int(self.lines[row]), self.names.get(role, role), wanted, str(got))


def read_table(path: str | Path, kind: str) -> Table:
    """Read and check a table of one kind.

    Raises `DataError` with every fault it found. Reads `.csv` (UTF-8, comma, first line the header, lines starting with
    `#` are comments) and `.parquet`.

    >>> table = read_table("data/lapatinib_ic50.csv", "ic50")
    >>> len(table), table.units["ic50"]
    (4, 'umol_per_l')
    """
    path = Path(path)
    if kind not in KINDS:
        raise DataError(f"kind: wanted one of {', '.join(KINDS)}, got {kind!r}")
    if not path.is_file():
        raise DataError(f"{path.name}: wanted a file, got nothing of that name")
    header, cells, lines = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    if len(lines) == 0:
        raise refuse(path, 1, "header", "at least one row of data below the header", "none")
    columns, units, names = {}, {}, {}
    faults: list[Fault] = []
    for column, index, unit in _assign(path, header, kind):
        values, wrong = _convert(path, header[index], cells[index], lines, column, unit)
        faults += wrong
        columns[column.role], units[column.role], names[column.role] = values, unit, header[index]
    if faults:
        raise DataError(sorted(faults, key=lambda fault: fault.line))
    return Table(path, kind, columns, units, names, np.asarray(lines))


def _read_csv(path: Path) -> tuple[list[str], list[Any], list[int]]:
    """Header, cells by column and the line of each row; ragged rows and repeated headers are refused."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle, strict=True)
            rows, lines = [], []
            for row in reader:
                if row and not row[0].lstrip().startswith("#"):
                    rows.append(row)
                    lines.append(reader.line_num)
                if len(rows) > MOST_ROWS:
                    raise refuse(path, reader.line_num, "header", f"at most {MOST_ROWS} rows", "more")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: wanted UTF-8 text, got byte {error.object[error.start]:#04x}") from None
    except csv.Error as error:
        raise DataError(f"{path.name}: wanted comma-separated text, got: {error}") from None
    if not rows:
        raise refuse(path, 1, "header", "a header of column names", "an empty file")
    header = _checked_header(path, [name.strip() for name in rows[0]])
    width = len(header)
    ragged = [
        Fault(path.name, line, "(all)", f"{width} cells, as in the header", f"{len(row)} ({','.join(row)[:60]})")
        for row, line in zip(rows[1:], lines[1:], strict=True)
        if len(row) != width
    ]
    if ragged:
        raise DataError(ragged)
    return header, list(zip(*rows[1:], strict=True)), lines[1:]


def _read_parquet(path: Path) -> tuple[list[str], list[Any], list[int]]:
    """As `_read_csv`; a row's line is its number plus one, as if the header were line 1."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path.name}: wanted a Parquet table, got: {str(error)[:120]}") from None
    header = _checked_header(path, [str(name) for name in table.column_names])
    cells: list[Any] = []
    for column in table.columns:
        kind = column.type
        if pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind):
            cells.append(column.cast(pyarrow.float64()).to_numpy())
        else:
            cells.append(tuple("" if cell is None else str(cell) for cell in column.to_pylist()))
    return header, cells, list(range(2, table.num_rows + 2))


def _checked_header(path: Path, header: list[str]) -> list[str]:
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise refuse(path, 1, "header", "columns separated by commas", repr(header[0][:60]))
    for name in header:
        if not name or header.count(name) > 1:
            got = f"{name!r} {header.count(name)} times" if name else "an empty name"
            raise refuse(path, 1, name or "(unnamed)", "a name that no other column has", got)
    return header


def _assign(path: Path, header: list[str], kind: str) -> list[tuple[Column, int, str]]:
    """Which column of the file plays which role; refuses missing, doubled and unitless ones by name."""
    found: list[tuple[Column, int, str]] = []
    taken: set[int] = set()
    for column in COLUMNS[kind]:
        hits = []
        for index, name in enumerate(header):
            parts = split_header(name, column.dimension)
            if index not in taken and parts and (parts[0] in column.names or "*" in column.names):
                hits.append((index, parts[1]))
        if len(hits) > 1:
            got = ", ".join(header[index] for index, _ in hits)
            raise refuse(path, 1, column.role, f"one column for {column.role}", got)
        if not hits:
            if column.required:
                raise refuse(path, 1, column.role, _wish(column), f"the columns {', '.join(header)}")
            _refuse_unitless(path, header, column, taken)
            continue
        taken.add(hits[0][0])
        found.append((column, *hits[0]))
    return found


def _wish(column: Column) -> str:
    named = [name for name in column.names if name != "*"]
    text = f"a column named {' or '.join(named[:4])}"
    if column.dimension in UNITS:
        text += f" with a unit, such as {named[0]}_{next(iter(UNITS[column.dimension]))}"
    return text


def _refuse_unitless(path: Path, header: list[str], column: Column, taken: set[int]) -> None:
    """An optional column that is there by name but without one of its units is a fault, not an absence."""
    for index, name in enumerate(header):
        stem = name in column.names or any(name.startswith(n + "_") for n in column.names if n != "*")
        if index not in taken and stem and column.dimension in UNITS:
            wanted = f"one of the units {', '.join(sorted(UNITS[column.dimension]))} at the end of the name"
            raise refuse(path, 1, name, wanted, repr(name))


def _convert(
    path: Path, name: str, cells: Any, lines: list[int], column: Column, unit: str
) -> tuple[np.ndarray, list[Fault]]:
    """One column as an array, and the faults of its cells."""
    if column.dimension == "text":
        return _convert_text(path, name, cells, lines, column)
    values, faults = _numbers(path, name, cells, lines, column)
    scale = factor(unit, column.dimension)
    with np.errstate(invalid="ignore"):
        outside = (values * scale < column.low) | (values * scale > column.high)
    wanted = f"a value of {column.low / scale:g} to {column.high / scale:g}" + (f" {unit}" if unit else "")
    faults += [Fault(path.name, lines[i], name, wanted, f"{values[i]:g}") for i in np.flatnonzero(outside)]
    return values, faults


def _convert_text(
    path: Path, name: str, cells: Any, lines: list[int], column: Column
) -> tuple[np.ndarray, list[Fault]]:
    text = [f"{cell:g}" if isinstance(cell, float) else cell.strip() for cell in cells]
    faults = []
    if column.empty == "refused" or column.choices:
        wanted = f"one of {', '.join(column.choices)}" if column.choices else "some text"
        faults = [
            Fault(path.name, line, name, wanted, repr(cell))
            for cell, line in zip(text, lines, strict=True)
            if not cell or (column.choices and cell not in column.choices)
        ]
    return np.asarray(text, dtype=str), faults


def _numbers(path: Path, name: str, cells: Any, lines: list[int], column: Column) -> tuple[np.ndarray, list[Fault]]:
    """Cells as float64: whole columns at once where they are clean, one by one where a fault is to be named."""
    if isinstance(cells, np.ndarray):
        values = np.asarray(cells, dtype=float)
        texts = None
    else:
        texts = [cell.strip() for cell in cells]
        try:
            values = np.array(texts, dtype=float)
            clean = bool(np.isfinite(values).all()) and not any("_" in text for text in texts)
        except ValueError:
            values, clean = np.empty(len(texts)), False
        if not clean:
            values = np.array([float(t) if NUMBER.fullmatch(t) else np.nan for t in texts])
    faults = []
    for i in np.flatnonzero(~np.isfinite(values)):
        cell = "" if texts is None and np.isnan(values[i]) else (texts[i] if texts is not None else str(values[i]))
        if cell == "" and column.empty == "kept":
            continue
        faults.append(Fault(path.name, lines[i], name, "a finite number", repr(cell) if cell else "an empty cell"))
    return values, faults
