"""Bytes to cells: CSV as spreadsheets, laboratories and NONMEM users write it, and Parquet."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.files.faults import DataError, Fault, refuse
from optimizer.files.run_directory import read_regular

MAX_BYTES = 32 * 2**20
MOST_ROWS = 2_000_000
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_SHEET_ERROR = re.compile(r"#(N/A|DIV/0!|REF!|VALUE!|NUM!|NAME\?|NULL!)")
# Lines among which one has several cells.
_FIRST = 100
_SINGLE = re.compile(r"[A-Za-z]")


@dataclass(frozen=True)
class Sheet:
    """A table of text: no cell is understood yet."""

    path: Path  #: the file
    header: tuple[str, ...]  #: names of the columns as they are written
    header_line: int  #: line of the file they stand on (0 in Parquet)
    cells: tuple[Any, ...]  #: one a column: text, or float64 with NaN where a number is missing
    lines: np.ndarray  #: line of the file of each row [rows]; its number in Parquet
    separator: str  #: between two cells; "" in Parquet
    notes: tuple[str, ...] = ()  #: what was left out


def read_sheet(path: Path) -> Sheet:
    """Read a .csv or .parquet file.

    Raises:
        DataError: no such file, a device or pipe, too large, or no table; the sentence names file and line.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".tsv", ".txt", ".parquet"):
        raise DataError(f'{path}: wanted a .csv or .parquet file; got "{path.suffix}"')
    return _parquet(path) if kind == ".parquet" else _csv(path)


def _bytes(path: Path, most: int = MAX_BYTES) -> bytes:
    return read_regular(path, most, name=str(path), absent="nothing of that name")


# --- CSV --------------------------------------------------------------------------------------------------------------


def _csv(path: Path) -> Sheet:
    separator, rows, lines = read_rows(path)
    header = tuple(name.strip() for name in rows[0])
    body, places, notes = _body(path, header, rows[1:], lines[1:])
    cells = tuple(zip(*body, strict=True)) if body else tuple(() for _ in header)
    return Sheet(path, header, lines[0], cells, np.asarray(places, dtype=int), separator, notes)


def read_rows(path: Path) -> tuple[str, list[list[str]], list[int]]:
    """The separator of a text file, and its rows that are neither empty nor comments, each with its line.

    Raises:
        DataError: as `read_sheet` does.
    """
    separator, text = _separator(path, _text(path, _bytes(path)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    commented: tuple[int, list[str]] | None = None
    last = 0
    try:
        for row in reader:
            line, last = last + 1, reader.line_num
            if row and row[0].startswith("#") and not _SHEET_ERROR.match(row[0]):
                commented = commented if rows else (line, [row[0][1:], *row[1:]])
            elif any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(line)
            if len(rows) > MOST_ROWS:
                raise refuse(path, line, "", f"at most {MOST_ROWS} rows", "more")
    except csv.Error as error:
        raise refuse(path, reader.line_num, "", f"cells separated by {_SEPARATORS[separator]}", str(error)) from None
    if rows and commented is not None and _is_header(commented[1], rows[0]):
        rows, lines = [commented[1], *rows], [commented[0], *lines]
    if not rows:
        raise refuse(path, 1, "", "a header with the names of the columns", "an empty file")
    return separator, rows, lines


def _text(path: Path, data: bytes) -> str:
    """Decoded by its byte order mark, else as UTF-8; every line ends with a newline character."""
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if not wide and b"\0" in data[:64]:
        raise refuse(path, 1, "", "UTF-8 text, or UTF-16 with a byte order mark", "bytes that are 0")
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 if wide else error.object.count(b"\n", 0, error.start) + 1
        wanted = "UTF-16 text" if wide else "UTF-8 text (as spreadsheets save it by the name CSV UTF-8)"
        raise refuse(path, line, "", wanted, f"the byte {error.object[error.start]:#04x}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _separator(path: Path, text: str) -> tuple[str, str]:
    """What stands between two cells of the first line that has several: the commonest of comma, semicolon and tab."""
    named = re.match(r"\ufeff?\"?sep=([,;\t])\"?\n", text)
    if named:
        return named[1], f"#{text}"
    kept = [re.sub(r'"[^"]*"', "", line) for line in text.split("\n")[:_FIRST] if not line.startswith("#")]
    lines = [line for line in kept if line.strip()] or [""]
    first = next((line for line in lines if re.search(r"[,;\t]", line)), lines[0])
    most = max(_SEPARATORS, key=first.count)
    if not first.count(most) and len(first.split()) > 2 and "[" not in first:
        wanted = "columns separated by commas, semicolons or tabs"
        raise refuse(path, text[: text.find(first)].count("\n") + 1, "", wanted, "spaces")
    return most, text


def _is_header(row: list[str], below: list[str]) -> bool:
    """Whether a commented line is the header: as many cells as the first row, which begins with a number."""
    return len(row) == len(below) and len(row) > 1 and all(row) and bool(re.match(r"[-+]?\d", below[0].strip()))


def _body(
    path: Path, header: tuple[str, ...], rows: list[list[str]], lines: list[int]
) -> tuple[list[list[str]], list[int], tuple[str, ...]]:
    """Rows of one length without NONMEM's comments, which begin with a C."""
    width = len(header)
    marked = _commented(header, rows)
    kept = [i for i, out in enumerate(marked) if not out]
    faults = []
    for i in kept:
        extra = rows[i][width:]
        if len(rows[i]) < width or any(cell.strip() for cell in extra):
            got = f"{len(rows[i])} ({','.join(rows[i])[:60]})"
            faults.append(Fault(str(path), lines[i], "", f"{width} cells, as in the header", got))
        elif extra:
            rows[i] = rows[i][:width]
    DataError.stop(faults)
    out = [str(lines[i]) for i, is_out in enumerate(marked) if is_out]
    notes = (f"left out as comments, by the C that they begin with: line {', '.join(out[:8])}",) if out else ()
    return [rows[i] for i in kept], [lines[i] for i in kept], notes


def _commented(header: tuple[str, ...], rows: list[list[str]]) -> list[bool]:
    """Which rows NONMEM's IGNORE=C leaves out; a C among names of one letter is a name."""
    marks = [row[0].strip() == "C" for row in rows]
    if header[0].upper() == "C" or not any(marks):
        return marks
    others = {row[0].strip() for row in rows} - {"C"}
    known = {name.upper() for name in header} & {"TIME", "EVID", "AMT", "DV", "MDV"}
    named = any(_SINGLE.fullmatch(other) for other in others)
    longer = [mark and len(row) > len(header) for mark, row in zip(marks, rows, strict=True)]
    return marks if known and not named else longer


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(path: Path) -> Sheet:
    import pyarrow.parquet as pq

    data = io.BytesIO(_bytes(path, 16 * MAX_BYTES))
    try:
        file = pq.ParquetFile(data)
        meta = file.metadata
        size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
        if meta.num_rows > MOST_ROWS or size > 16 * MAX_BYTES:
            raise DataError(f"{path}: wanted at most {MOST_ROWS} rows; got {meta.num_rows} rows, {size} bytes")
        table = file.read()
        header = tuple(str(name).strip() for name in table.column_names)
        cells = tuple(_arrow(column) for column in table.columns)
    except DataError:
        raise
    except Exception as error:  # whatever a damaged file makes the library raise
        raise DataError(f"{path}: wanted a Parquet table; got {type(error).__name__} on reading it") from None
    return Sheet(path, header, 0, cells, np.arange(1, table.num_rows + 1), "")


def _arrow(column: Any) -> Any:
    """Numbers as float64, NaN where there is none; everything else as text."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.float64(), safe=False).to_numpy()
    return tuple("" if value is None else str(value) for value in column.to_pylist())
