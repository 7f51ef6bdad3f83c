"""One strict reader of tables: a schema says which columns there are, the file says the rest or is refused.

Every table has the same conventions: units in the header of any column (`headers`), missing and censored values,
thousands and decimal commas (`cells`), comments, separators and encodings (`sheets`). Columns that a schema does not
know are left out and named in one line, but never one that looks like treatment where doses decide.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.files.cells import EXACT, Marks, bare, marks_of, numbers
from optimizer.files.columns import Column, Found, Schema, assigned, left_out, plain, with_units
from optimizer.files.faults import DataError, Fault, show
from optimizer.files.headers import measure
from optimizer.files.sheets import Sheet, read_sheet

_ODD = re.compile(r"[+-]?(nan|inf(inity)?)")


@dataclass(frozen=True)
class Table:
    """A checked table: one array a role, in the units of its own header; dictionaries are by role."""

    path: Path
    columns: dict[str, np.ndarray]  #: values [rows]; numbers float64 (NaN where a cell may be missing), text as strings
    units: dict[str, str]  #: as a scenario writes them, such as `ug/mL`; "" where there is none
    scales: dict[str, float]  #: factor to day, mg, L, umol, cell, mm
    names: dict[str, str]  #: the header itself
    censored: dict[str, np.ndarray]  #: -1 below the value, 1 above it, 0 neither [rows]
    assumed: tuple[str, ...]  #: roles whose unit is not in the header
    lines: np.ndarray  #: line of the file each row came from [rows]
    notes: tuple[str, ...] = ()  #: what was left out, understood or assumed

    def __len__(self) -> int:
        return len(self.lines)

    def __contains__(self, role: str) -> bool:
        return role in self.columns

    def __getitem__(self, role: str) -> np.ndarray:
        return self.columns[role]

    def get(self, role: str, default: float) -> np.ndarray:
        """A column of numbers with a value in place of missing ones, or of the whole column [rows]."""
        values = self.columns.get(role, np.full(len(self), np.nan))
        return np.where(np.isnan(values), default, values)

    def factor(self, role: str, kind: str) -> float:
        """From the header's unit to the unit that is compared in (ug/mL or umol/L, pg/mL, 1/day, day, mg)."""
        found = measure(kind)
        return self.scales[role] * (found[1] if found else 1.0)

    def internal(self, role: str) -> np.ndarray:
        """A column in day, mg, L, umol, cell, mm [rows]."""
        return scaled(self.columns[role], self.scales[role])

    def inside(self, role: str, unit: str) -> np.ndarray:
        """A column in a unit of its dimension [rows]: each number as a scenario reads the same decimals."""
        values, factor = self.columns[role], self.factor(role, f"in {unit}")
        out, exact = scaled(values, factor), Fraction(factor)
        for way in (factor, 1.0 / factor):  # units are whole multiples or whole parts of each other
            if way > 1.0 and abs(round(way) / way - 1.0) < 1e-12:
                exact = Fraction(round(way)) if way == factor else Fraction(1, round(way))
        known = np.flatnonzero(np.isfinite(out)) if factor != 1.0 else []
        for i in known:
            out[i] = float(Fraction(repr(float(values[i]))) * exact)
        return out

    def fault(self, row: int | np.integer, role: str, wanted: str, got: Any) -> Fault:
        """A fault of one cell of this table."""
        return Fault(str(self.path), int(self.lines[row]), self.names.get(role, role), wanted, str(got))

    def place(self, row: int | np.integer) -> str:
        """FILE:LINE of a row."""
        return f"{self.path}:{self.lines[row]}"


def scaled(values: np.ndarray, scale: float) -> np.ndarray:
    """Values times a scale; divided by its inverse where that is the whole number, so that 72 h are 3 days exactly."""
    whole, inverse = round(scale), round(1.0 / scale)
    if inverse > 1 and abs(inverse * scale - 1.0) < 1e-12:
        return values / inverse
    with np.errstate(over="ignore"):  # infinite, which a column that may not be has refused
        return values * (whole if whole and abs(scale / whole - 1.0) < 1e-12 else scale)


def read(path: str | Path, schema: Schema, time_unit: str | None = None) -> Table:
    """Read a .csv or .parquet table by its schema; `time_unit` is that of times whose header has none.

    Raises:
        DataError: with every fault that was found, as "FILE:LINE: column X: wanted ...; got ...".
    """
    return interpret(read_sheet(Path(path)), schema, time_unit)


def interpret(sheet: Sheet, schema: Schema, time_unit: str | None = None) -> Table:
    """A sheet's cells as a schema means them; raises as `read` does."""
    found = with_units(sheet, assigned(sheet, schema), time_unit)
    notes = [*sheet.notes, *left_out(sheet, schema, found)]
    marks = _marks(sheet, found)
    if marks.comma:
        notes.append(marks.sentence)
    columns, censored, faults = {}, {}, []
    for one in found:
        values, signs, wrong = _converted(sheet, one, marks)
        columns[one.column.role], censored[one.column.role] = values, signs
        faults += wrong
    if faults:
        raise DataError(sorted(faults, key=lambda fault: fault.line))
    return Table(
        path=sheet.path,
        columns=columns,
        units={one.column.role: one.unit.text if one.unit else "" for one in found},
        scales={one.column.role: one.unit.scale if one.unit else 1.0 for one in found},
        names={one.column.role: sheet.header[one.index] for one in found},
        censored=censored,
        assumed=tuple(one.column.role for one in found if one.assumed),
        lines=sheet.lines,
        notes=tuple(f"{sheet.path}: {note}" for note in notes),
    )


def _marks(sheet: Sheet, found: Sequence[Found]) -> Marks:
    marks = marks_of((sheet.cells[one.index] for one in found if one.column.kind != "text"), sheet.separator)
    if marks.comma == "ambiguous":
        raise DataError(f"{sheet.path}: wanted {marks.example}")
    return marks


def _converted(sheet: Sheet, one: Found, marks: Marks) -> tuple[np.ndarray, np.ndarray, list[Fault]]:
    """One column as an array, what of it is censored, and the faults of its cells."""
    cells, column = sheet.cells[one.index], one.column
    if column.kind == "text":
        values, wrong = _texts(cells, column)
        return values, np.zeros(len(values), np.int8), [_fault(sheet, one, i, wanted) for i, wanted in wrong]
    values, signs, wrong = numbers(cells, marks)
    if not column.is_finite:
        for i in np.flatnonzero(wrong):
            word = str(cells[i]).strip().lower()
            values[i], wrong[i] = (float(word), False) if _ODD.fullmatch(word) else (values[i], wrong[i])
    faults = [_fault(sheet, one, i, "a finite number") for i in np.flatnonzero(wrong)]
    if column.empty == "refused":
        faults += [_fault(sheet, one, i, "a finite number") for i in np.flatnonzero(np.isnan(values) & ~wrong)]
    if not column.censored:
        limits = "a number (here a value below or above a limit says too little)"
        faults += [_fault(sheet, one, i, limits) for i in np.flatnonzero((signs != EXACT) & ~wrong)]
    base = measure(column.kind)
    scale, unit = (one.unit.scale * base[1], f" {one.unit.text}") if one.unit and base else (1.0, "")
    with np.errstate(invalid="ignore", over="ignore"):
        inside = values * scale
        outside = (inside < column.low) | (inside > column.high)
    if column.is_finite:
        wanted = "a number that is finite in the units of the simulation, too"
        faults += [_fault(sheet, one, i, wanted) for i in np.flatnonzero(np.isinf(inside) & ~wrong)]
    wanted = f"a value of {column.low / scale:g} to {column.high / scale:g}{unit}"
    return values, signs, faults + [_fault(sheet, one, i, wanted) for i in np.flatnonzero(outside & ~wrong)]


def _fault(sheet: Sheet, one: Found, row: int | np.integer, wanted: str) -> Fault:
    cell = sheet.cells[one.index][row]
    got = show(cell if isinstance(cell, str) else None if np.isnan(cell) else float(cell))
    return Fault(str(sheet.path), int(sheet.lines[row]), sheet.header[one.index], wanted, got)


def _texts(cells: Any, column: Column) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """A column of text, and which cells are no word of it."""
    text = [("" if np.isnan(c) else f"{c:.15g}") if isinstance(c, float) else bare(c.strip()) for c in cells]
    if column.choices:
        words = {word: choice for choice, others in column.choices.items() for word in (choice, *others)}
        text = [words.get(plain(cell), cell) for cell in text]
    wanted = f"one of {', '.join(column.choices)}" if column.choices else "some text"
    is_refused = column.empty == "refused" or bool(column.choices)
    known = column.choices or text
    wrong = [i for i, cell in enumerate(text) if is_refused and (not cell or cell not in known)]
    return np.asarray(text, dtype=str), [(i, wanted) for i in wrong]


def looks_like_hours(times: np.ndarray, intervals: np.ndarray = np.zeros(0)) -> bool:
    """Whether times that are read as days look like hours: all in steps of 24, or repeated every 6, 8, 12 or 24.

    >>> bool(looks_like_hours(np.array([0.0, 24.0, 48.0]))), bool(looks_like_hours(np.array([0.0, 7.0, 24.0])))
    (True, False)
    """
    apart = intervals[intervals > 0.0]
    steps = np.unique(np.concatenate([times[times > 0.0], apart]))
    if len(apart) and np.isin(apart, (6.0, 8.0, 12.0, 24.0)).all():
        return True
    return len(steps) >= 2 and bool(np.all(steps % 24.0 == 0.0))
