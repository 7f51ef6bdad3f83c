"""One strict reader of tables: a schema says which columns there are, the file says the rest or is refused.

Every table has the same conventions: units in the header of any column (`headers`), missing and censored values,
thousands and decimal commas (`cells`), comments, separators and encodings (`sheets`). Columns that a schema does not
know are left out and named in one line, but never one that looks like treatment where doses decide.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from optimizer.files.cells import EXACT, Marks, bare, marks_of, numbers
from optimizer.files.faults import DataError, Fault, show
from optimizer.files.headers import Unit, is_like_unit, measure, read_unit, split_bracket, split_header
from optimizer.files.sheets import Sheet, read_sheet

_TREATMENT = re.compile(
    r"(on_|is_)?(treatment|treated|therapy|trt|tx|medication|medicated|arm|on|drug|dose|dosing|regimen)_?\d*"
)
_ODD = re.compile(r"[+-]?(nan|inf(inity)?)")
_EXAMPLES = {"time": "h or day", "concentration": "ug/mL or nM", "growth_factor": "pg/mL", "rate": "1/h or 1/day"}
_EXAMPLES |= {"amount": "mg", "burden": "mm3, ug/L or mm", "signal": "od or rlu", "amount_rate": "mg/h"}


@dataclass(frozen=True)
class Column:
    """A column that a kind of table may have.

    Attributes:
        role: what it is called in the program.
        names: what it may be called in a file, in lower case; "*" is any column with a unit of its kind.
        kind: "text", "number", or what is measured (`headers.measure`), which then needs a unit.
        required: whether a table without it is refused.
        empty: whether a cell may be missing.
        low: least plausible value, in day, mg, L, umol, cell (growth factors: pg/mL).
        high: largest plausible value, likewise.
        choices: words of a text column, and what stands for each.
        censored: whether `<x` and `>x` are values.
        unit: assumed where the header has none; none is assumed when "".
        is_finite: whether nan and inf are refused; else whoever reads the table deals with them.
    """

    role: str
    names: tuple[str, ...]
    kind: str = "number"
    required: bool = True
    empty: Literal["refused", "kept"] = "refused"
    low: float = 0.0
    high: float = float("inf")
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    censored: bool = False
    unit: str = ""
    is_finite: bool = True


@dataclass(frozen=True)
class Schema:
    """The columns of a kind of table, and whether a further column that looks like treatment is refused."""

    what: str
    columns: tuple[Column, ...]
    treatment: str = ""
    """What to do instead, where it is refused."""


@dataclass(frozen=True)
class Table:
    """A checked table: one array a role, in the units of its own header.

    | field | meaning |
    |---|---|
    | `columns` | role -> values [rows]; numbers float64 (NaN where a cell may be missing), text as strings |
    | `units` | role -> unit as a scenario writes it, such as `ug/mL`; "" where there is none |
    | `scales` | role -> factor to day, mg, L, umol, cell, mm |
    | `names` | role -> the header itself |
    | `censored` | role -> -1 below the value, 1 above it, 0 neither [rows] |
    | `assumed` | roles whose unit is not in the header |
    | `lines` | line of the file each row came from [rows] |
    | `notes` | what was left out, understood or assumed |
    """

    path: Path
    columns: dict[str, np.ndarray]
    units: dict[str, str]
    scales: dict[str, float]
    names: dict[str, str]
    censored: dict[str, np.ndarray]
    assumed: tuple[str, ...]
    lines: np.ndarray
    notes: tuple[str, ...] = ()

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
        """A column in a unit of its dimension [rows]."""
        return scaled(self.columns[role], self.factor(role, f"in {unit}"))

    def fault(self, row: int | np.integer, role: str, wanted: str, got: Any) -> Fault:
        """A fault of one cell of this table."""
        return Fault(str(self.path), int(self.lines[row]), self.names.get(role, role), wanted, str(got))

    def place(self, row: int | np.integer) -> str:
        """FILE:LINE of a row."""
        return f"{self.path}:{self.lines[row]}"

    def noted(self, *notes: str) -> Table:
        """The table with more to say."""
        return replace(self, notes=(*self.notes, *notes))


def scaled(values: np.ndarray, scale: float) -> np.ndarray:
    """Values times a scale; divided by its inverse where that is the whole number, so that 72 h are 3 days exactly."""
    whole, inverse = round(scale), round(1.0 / scale)
    if inverse > 1 and abs(inverse * scale - 1.0) < 1e-12:
        return values / inverse
    return values * (whole if whole and abs(scale / whole - 1.0) < 1e-12 else scale)


def read(path: str | Path, schema: Schema, time_unit: str | None = None) -> Table:
    """Read a table by its schema.

    Args:
        path: a .csv or .parquet file.
        schema: of the columns.
        time_unit: of times whose header has no unit.

    Raises:
        DataError: with every fault that was found, as "FILE:LINE: column X: wanted ...; got ...".
    """
    return interpret(read_sheet(Path(path)), schema, time_unit)


@dataclass(frozen=True)
class _Found:
    """A column of the file with its role."""

    column: Column
    index: int
    unit: Unit | None
    assumed: bool = False


def interpret(sheet: Sheet, schema: Schema, time_unit: str | None = None) -> Table:
    """A sheet's cells as a schema means them; raises as `read` does."""
    found = _with_units(sheet, _assigned(sheet, schema), time_unit)
    notes = [*sheet.notes, *_left_out(sheet, schema, found)]
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


def plain(name: str) -> str:
    """A name as it is compared: lower case, words joined by underscores."""
    return re.sub(r"[\s.\-]+", "_", name.strip().lower())


def check_header(sheet: Sheet) -> None:
    """Refuse two columns of one name."""
    names = [plain(name) for name in sheet.header]
    twice = next((i for i, name in enumerate(names) if name and name in names[:i]), None)
    if twice is not None:
        got = f"{names.count(names[twice])}"
        wanted = "one column of that name"
        raise DataError([Fault(str(sheet.path), sheet.header_line, sheet.header[twice], wanted, got)])


def _assigned(sheet: Sheet, schema: Schema) -> list[_Found]:
    """Which column of the file plays which role; refuses missing and doubled ones by name."""
    check_header(sheet)
    found: list[_Found] = []
    missing: list[Column] = []
    for column in schema.columns:
        taken = {one.index for one in found}
        ranked = sorted(_hits(sheet, column, taken), key=lambda hit: hit[0])
        best = [one for rank, one in ranked if rank == ranked[0][0] or column.kind in ("concentration", "amount")]
        if len(best) > 1:
            got = ", ".join(sheet.header[one.index] for one in best)
            raise DataError(
                [Fault(str(sheet.path), sheet.header_line, column.role, f"one column for {column.role}", got)]
            )
        found += best
        if column.required and not best:
            missing.append(column)
    if missing:
        raise DataError([_missing(sheet, missing)])
    return found


def _hits(sheet: Sheet, column: Column, taken: set[int]) -> list[tuple[int, _Found]]:
    """Columns of the file that a role may mean, each with its place among the role's names."""
    hits = []
    for index, header in enumerate(sheet.header):
        if index in taken or not header:
            continue
        name, unit = split_header(header, column.kind)
        name = plain(name)
        if plain(header) in column.names:  # a name of its own may end like a unit
            name, unit = plain(header), None
        if name in column.names and (unit is not None or _is_unitless(sheet, header, name, column)):
            hits.append((column.names.index(name), _Found(column, index, unit)))
        elif "*" in column.names and unit is not None:
            hits.append((len(column.names), _Found(column, index, unit)))
    return hits


def _is_unitless(sheet: Sheet, header: str, name: str, column: Column) -> bool:
    """Whether a column of a role's name is that role without a unit; refused where it should have one."""
    written = split_bracket(header)[1]
    if measure(column.kind) is None or (column.unit and written is None):
        return True
    examples = _EXAMPLES.get(column.kind, column.kind.removeprefix("in "))
    wanted = f"a unit in the header, such as {name} [{examples.split(',')[0].split(' or ')[0]}] ({examples})"
    raise DataError([Fault(str(sheet.path), sheet.header_line, header, wanted, show(written))])


def _missing(sheet: Sheet, missing: Sequence[Column]) -> Fault:
    """All columns that are not there, in one sentence."""
    wishes = []
    for column in missing:
        named = " or ".join(name for name in column.names if name != "*")
        unit = f" with a unit such as {_EXAMPLES[column.kind]}" if column.kind in _EXAMPLES and not column.unit else ""
        wishes.append(f"a column named {named}{unit}")
    roles = ", ".join(column.names[0] for column in missing)
    got = f"the columns {', '.join(sheet.header)}"[:300]
    close = [_close(column.names[0], sheet.header) for column in missing]
    return Fault(str(sheet.path), sheet.header_line, roles, ", and ".join(wishes), got + "".join(close))


def _close(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, [plain(other) for other in known], n=1, cutoff=0.75)
    return f', is "{near[0]}" meant as {name}?' if near else ""


def _with_units(sheet: Sheet, found: list[_Found], time_unit: str | None) -> list[_Found]:
    """Units for columns without: for spans that of the times, `time_unit`, or the one that is assumed."""
    said = next((one.unit for one in found if one.column.role == "time"), None)
    if time_unit is not None:
        said = said or read_unit(time_unit, "time")
        if said is None:
            raise DataError(f'--time-unit: wanted a unit of time such as h, day or week; got "{time_unit}"')
    out = []
    for one in found:
        unit = one.unit
        if one.column.kind == "time" and unit is None and said is not None:
            out.append(replace(one, unit=said))
        elif measure(one.column.kind) is not None and unit is None:
            out.append(replace(one, unit=read_unit(one.column.unit, one.column.kind), assumed=True))
        else:
            out.append(one)
    return out


def _left_out(sheet: Sheet, schema: Schema, found: Sequence[_Found]) -> list[str]:
    """The columns that are not read, by name in one line; refuses one that looks like treatment where doses decide."""
    taken = {one.index for one in found}
    extra = [i for i, name in enumerate(sheet.header) if name and i not in taken and (i or name != "C")]
    treated = [sheet.header[i] for i in extra if _TREATMENT.fullmatch(plain(_stem(sheet.header[i])))]
    if treated and schema.treatment:
        got = f"{show(treated[0])}, which looks like treatment and has no meaning in {schema.what}"
        raise DataError([Fault(str(sheet.path), sheet.header_line, treated[0], schema.treatment, got)])
    absent = [name for c in schema.columns if c.role not in {o.column.role for o in found} for name in c.names[:1]]
    for i in extra:
        _refuse_unit(
            sheet, sheet.header[i], [c for c in schema.columns if c.names[0] in absent and measure(c.kind) is not None]
        )
    named = ", ".join(sheet.header[i] for i in extra)
    looks = f" ({', '.join(treated)}: looks like treatment)" if treated else ""
    return [f"columns that are not read: {named}{looks}"] if extra else []


def _stem(header: str) -> str:
    """A header's name without a unit of any kind of dose."""
    return next((n for n, unit in (split_header(header, k) for k in ("amount", "concentration")) if unit), header)


def _refuse_unit(sheet: Sheet, header: str, columns: Sequence[Column]) -> None:
    """A column that is there by name, with something for a unit that is none, is a fault and no absence."""
    name, bracket = split_bracket(header)
    for column in columns:
        stem = next((n for n in column.names if plain(name) == n or plain(name).startswith(f"{n}_")), None)
        said = bracket if bracket is not None else name[len(stem or "") + 1 :]
        if stem is not None and is_like_unit(said):
            wanted = f"one of the units of {column.role} in the header, such as {_EXAMPLES.get(column.kind, '1')}"
            raise DataError([Fault(str(sheet.path), sheet.header_line, header, wanted, show(said))])


def _marks(sheet: Sheet, found: Sequence[_Found]) -> Marks:
    marks = marks_of((sheet.cells[one.index] for one in found if one.column.kind != "text"), sheet.separator)
    if marks.comma == "ambiguous":
        raise DataError(f"{sheet.path}: wanted {marks.example}")
    return marks


def _converted(sheet: Sheet, one: _Found, marks: Marks) -> tuple[np.ndarray, np.ndarray, list[Fault]]:
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
        outside = (values * scale < column.low) | (values * scale > column.high)
    wanted = f"a value of {column.low / scale:g} to {column.high / scale:g}{unit}"
    return values, signs, faults + [_fault(sheet, one, i, wanted) for i in np.flatnonzero(outside & ~wrong)]


def _fault(sheet: Sheet, one: _Found, row: int | np.integer, wanted: str) -> Fault:
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
