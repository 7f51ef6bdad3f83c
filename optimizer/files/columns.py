"""Which column of a file plays which role of a schema, and in which unit; what is left out, by name."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from optimizer.files.faults import DataError, Fault, refuse, show
from optimizer.files.headers import LIKE_UNIT, Unit, measure, read_unit, split_bracket, split_header
from optimizer.files.sheets import Sheet

_TREATMENT = ("treatment", "treated", "therapy", "trt", "tx", "medication", "medicated", "arm", "on", "drug", "dose")
_TREATMENT += ("dosing", "regimen")
# What may stand beside such a word and change nothing of it.
_BESIDE = ("is", "group", "status", "code", "name", "level", "actual", "planned", "mg", "")
_EXAMPLES = {"time": "h or day", "concentration": "ug/mL or nM", "growth_factor": "pg/mL", "rate": "1/h or 1/day"}
_EXAMPLES |= {"amount": "mg", "burden": "mm3, ug/L or mm", "signal": "od or rlu", "amount_rate": "mg/h"}


@dataclass(frozen=True)
class Column:
    """A column that a kind of table may have."""

    role: str  #: what it is called in the program
    names: tuple[str, ...]  #: what it may be called in a file, in lower case; "*" is any column with a unit of its kind
    kind: str = "number"  #: "text", "number", or what is measured (`headers.measure`), which then needs a unit
    required: bool = True  #: whether a table without it is refused
    empty: Literal["refused", "kept"] = "refused"  #: whether a cell may be missing
    low: float = 0.0  #: least plausible value, in day, mg, L, umol, cell (growth factors: pg/mL)
    high: float = float("inf")  #: largest plausible value, likewise
    #: words of a text column, and what stands for each
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    censored: bool = False  #: whether `<x` and `>x` are values
    unit: str = ""  #: assumed where the header has none; none is assumed when ""
    is_finite: bool = True  #: whether nan and inf are refused; else whoever reads the table deals with them


@dataclass(frozen=True)
class Schema:
    """The columns of a kind of table, and whether a further column that looks like treatment is refused."""

    what: str
    columns: tuple[Column, ...]
    treatment: str = ""
    """What to do instead, where it is refused."""


@dataclass(frozen=True)
class Found:
    """A column of the file with its role."""

    column: Column
    index: int
    unit: Unit | None
    assumed: bool = False


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
        raise refuse(sheet.path, sheet.header_line, sheet.header[twice], wanted, got)


def assigned(sheet: Sheet, schema: Schema) -> list[Found]:
    """Which column of the file plays which role; refuses missing and doubled ones by name."""
    check_header(sheet)
    found: list[Found] = []
    missing: list[Column] = []
    for column in schema.columns:
        taken = {one.index for one in found}
        ranked = sorted(_hits(sheet, column, taken), key=lambda hit: hit[0])
        best = [one for rank, one in ranked if rank == ranked[0][0] or column.kind in ("concentration", "amount")]
        if len(best) > 1:
            got = ", ".join(sheet.header[one.index] for one in best)
            raise refuse(sheet.path, sheet.header_line, column.role, f"one column for {column.role}", got)
        found += best
        if column.required and not best:
            missing.append(column)
    if missing:
        raise DataError([_missing(sheet, missing)])
    return found


def _hits(sheet: Sheet, column: Column, taken: set[int]) -> list[tuple[int, Found]]:
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
            hits.append((column.names.index(name), Found(column, index, unit)))
        elif "*" in column.names and unit is not None:
            hits.append((len(column.names), Found(column, index, unit)))
    return hits


def _is_unitless(sheet: Sheet, header: str, name: str, column: Column) -> bool:
    """Whether a column of a role's name is that role without a unit; refused where it should have one."""
    written = split_bracket(header)[1]
    if measure(column.kind) is None or (column.unit and written is None):
        return True
    examples = _EXAMPLES.get(column.kind, column.kind.removeprefix("in "))
    wanted = f"a unit in the header, such as {name} [{examples.split(',')[0].split(' or ')[0]}] ({examples})"
    raise refuse(sheet.path, sheet.header_line, header, wanted, show(written))


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


def with_units(sheet: Sheet, found: list[Found], time_unit: str | None) -> list[Found]:
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


def left_out(sheet: Sheet, schema: Schema, found: Sequence[Found]) -> list[str]:
    """The columns that are not read, by name in one line; refuses one that looks like treatment where doses decide."""
    taken = {one.index for one in found}
    extra = [i for i, name in enumerate(sheet.header) if name and i not in taken and (i or name != "C")]
    treated = [sheet.header[i] for i in extra if _is_treatment(sheet.header[i])]
    if treated and schema.treatment:
        got = f"{show(treated[0])}, which looks like treatment and has no meaning in {schema.what}"
        raise refuse(sheet.path, sheet.header_line, treated[0], schema.treatment, got)
    absent = [name for c in schema.columns if c.role not in {o.column.role for o in found} for name in c.names[:1]]
    for i in extra:
        _refuse_unit(
            sheet, sheet.header[i], [c for c in schema.columns if c.names[0] in absent and measure(c.kind) is not None]
        )
    named = ", ".join(sheet.header[i] for i in extra)
    looks = f" ({', '.join(treated)}: looks like treatment)" if treated else ""
    return [f"columns that are not read: {named}{looks}"] if extra else []


def _is_treatment(header: str) -> bool:
    """Whether a header is made of words for treatment, before a unit of any dose: `arm`, `drug2`, `treatment_group`."""
    name = next((n for n, unit in (split_header(header, k) for k in ("amount", "concentration")) if unit), header)
    words = [word.rstrip("0123456789") for word in plain(name).split("_")]
    return any(word in _TREATMENT for word in words) and all(word in (*_TREATMENT, *_BESIDE) for word in words)


def _refuse_unit(sheet: Sheet, header: str, columns: Sequence[Column]) -> None:
    """A column that is there by name, with something for a unit that is none, is a fault and no absence."""
    name, bracket = split_bracket(header)
    for column in columns:
        stem = next((n for n in column.names if plain(name) == n or plain(name).startswith(f"{n}_")), None)
        said = bracket if bracket is not None else name[len(stem or "") + 1 :]
        if stem is not None and LIKE_UNIT.fullmatch(said):
            wanted = f"one of the units of {column.role} in the header, such as {_EXAMPLES.get(column.kind, '1')}"
            raise refuse(sheet.path, sheet.header_line, header, wanted, show(said))
