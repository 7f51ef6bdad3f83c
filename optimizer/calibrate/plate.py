"""Raw plates to viabilities: wells checked, blanks subtracted, vehicle set to 1, odd, dead or missing wells flagged.

    viability = (signal - median blank) / (median vehicle - median blank)        for each plate and condition

A condition is a cell line, culture, growth factor, antibody and dose of a second drug; its vehicle wells stand on the
same plate, or are its sample wells of dose 0 where it has no others. Viabilities that are already normalized, and
counts beside those of the control (and at time zero), are taken as they are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from optimizer.calibrate.replicates import outlying, unequal
from optimizer.files.faults import DataError, Fault, refuse
from optimizer.files.headers import split_header
from optimizer.files.sheets import Sheet, read_rows, read_sheet
from optimizer.files.tables import Table, plain

WELL = re.compile(r"([A-Pa-p])0*([1-9]\d?)")
DEAD = 0.1


@dataclass(frozen=True)
class Wells:
    """Sample wells of a table in the order of its rows, and the levels they are measured against; arrays [wells]."""

    conditions: tuple[str, ...]  #: their labels
    condition: np.ndarray  #: which of them each well has
    drug: np.ndarray  #: dose in the table's unit
    viability: np.ndarray  #: part of vehicle
    start: np.ndarray  #: signal at time zero as a part of vehicle; NaN where there is none
    kept: np.ndarray  #: wells that are fitted: neither missing nor outlying
    row: np.ndarray  #: of the table, from which each well came
    names: np.ndarray  #: how each is called
    flags: tuple[str, ...]

    @property
    def group(self) -> np.ndarray:
        """Number of the condition and dose of each well [wells]; wells of one group are replicates."""
        return np.unique(np.rec.fromarrays((self.condition, self.drug)), return_inverse=True)[1]


def plate_wells(table: Table, outliers: str = "auto") -> Wells:
    """Check a plate table and normalize it.

    `outliers`: `drop` (flagged and left out), `keep` (flagged only), `off`; `auto` drops among at least four replicates
    and looks at no others.

    Raises `DataError` for impossible or doubled wells, conditions without vehicle, and vehicle wells no brighter than
    the blanks.
    """
    flags: list[str] = []
    labels, content = _conditions(table), _content(table)
    if "viability" in table:
        viability, start = table.internal("viability"), np.full(len(table), np.nan)
    elif "control" in table:
        zero = table["time_zero"] if "time_zero" in table else np.full(len(table), np.nan)
        viability, start = table["signal"] / table["control"], zero / table["control"]
    else:
        viability, start = _normalized(table, labels, content, flags)
    missing = np.isnan(table.columns.get("signal", viability))
    places = np.array([f"line {line}" for line in table.lines], dtype=object)
    if "well" in table:
        wells = zip(_plates(table), table["well"], strict=True)
        places = np.array([f"plate {plate} well {well}" for plate, well in wells], dtype=object)
    flags += [f"{places[i]} has no signal: left out" for i in np.flatnonzero(missing)]
    sample = np.flatnonzero(content == "sample")
    names, condition = np.unique(labels[sample], return_inverse=True)
    parts = table["drug"][sample], viability[sample], start[sample], ~missing[sample], sample, places[sample]
    return _flagged(Wells(tuple(map(str, names)), condition, *parts, tuple(flags)), outliers)


def _content(table: Table) -> np.ndarray:
    """What each row holds; where no vehicle of a condition is named, its samples of dose 0 are it."""
    content = table.columns.get("content", np.full(len(table), "sample")).astype("<U9")
    faults = [
        table.fault(i, "drug", "a dose in a sample well", "an empty cell")
        for i in np.flatnonzero((content == "sample") & np.isnan(table["drug"]))
    ]
    DataError.stop(faults)
    return content


def _normalized(
    table: Table, labels: np.ndarray, content: np.ndarray, flags: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Viability and level at time zero of each row; adds what is to be said to `flags`, marks vehicle in `content`."""
    plates = _plates(table)
    _check_wells(table, plates)
    signal = table["signal"]
    missing = np.isnan(signal)
    viability, start = np.full(len(table), np.nan), np.full(len(table), np.nan)
    if not (content == "blank").any():
        flags.append("no well is blank: signals are taken as they are")
    for plate in np.unique(plates):
        here = (plates == plate) & ~missing
        dark = here & (content == "blank")
        blank = 0.0
        if (content == "blank").any():
            blank = _level(table, dark, f"a blank well on plate {plate}", plates == plate)
        noise = _spread(signal[dark])
        for label in np.unique(labels[here & (content == "sample")]):
            mine = here & (labels == label)
            if not (mine & (content == "vehicle")).any():
                content[mine & (content == "sample") & (table["drug"] == 0)] = "vehicle"
            wanted = f"a vehicle well of {label or 'the condition'} on plate {plate}"
            vehicle = _level(table, mine & (content == "vehicle"), wanted, mine)
            if vehicle - blank <= 3 * noise or vehicle <= blank:
                row = int(np.flatnonzero(mine & (content == "vehicle"))[0])
                got = f"{vehicle:g} against {blank:g}: nothing grew on plate {plate}"
                raise DataError([table.fault(row, "signal", "vehicle wells brighter than the blanks", got)])
            viability[mine] = (signal[mine] - blank) / (vehicle - blank)
            zero = here & (content == "time_zero") & ((labels == label) | (labels == ""))
            start[mine] = (np.median(signal[zero]) - blank) / (vehicle - blank) if zero.any() else np.nan
    return viability, start


def _plates(table: Table) -> np.ndarray:
    return table["plate"] if "plate" in table else np.full(len(table), "1")


def _check_wells(table: Table, plates: np.ndarray) -> None:
    """Names of wells, where there are any, are possible and used once."""
    faults: list[Fault] = []
    seen: dict[tuple[str, str, int], int] = {}
    for i, (plate, well) in enumerate(zip(plates, table.columns.get("well", ()), strict="well" in table)):
        match = WELL.fullmatch(well)
        if match is None or int(match[2]) > 24:
            faults.append(table.fault(i, "well", "a well of a 96- or 384-well plate, A1 to P24", repr(str(well))))
            continue
        key = (str(plate), match[1].upper(), int(match[2]))
        if key in seen:
            first = f"{well} again (first on line {table.lines[seen[key]]})"
            faults.append(table.fault(i, "well", f"each well of plate {plate} once", first))
        seen.setdefault(key, i)
    DataError.stop(faults)


def _conditions(table: Table) -> np.ndarray:
    """A label a row: what is known of line, culture, growth factor and antibody; blanks have none."""
    parts: list[np.ndarray] = []
    for role in ("line", "culture"):
        if role in table:
            parts.append(table[role])
    for role in ("growth_factor", "antibody", "second_drug"):
        if role in table:
            unit = table.units[role]
            name = role.replace("_", " ")
            parts.append(np.array([f"{name} {x:g} {unit}" if x > 0 else "" for x in np.nan_to_num(table[role])]))
    labels = (
        [", ".join(str(word) for word in words if word) for words in zip(*parts, strict=True)]
        if parts
        else [""] * len(table)
    )
    return np.where(
        table["content"] == "blank" if "content" in table else False, "", np.array(labels, dtype=object)
    ).astype(str)


def _level(table: Table, chosen: np.ndarray, wanted: str, near: np.ndarray) -> float:
    if not chosen.any():
        raise DataError([table.fault(int(np.flatnonzero(near)[0]), "content", wanted, "none with a signal")])
    return float(np.median(table["signal"][chosen]))


def _spread(values: np.ndarray) -> float:
    """1.4826 times the median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0


def _flagged(wells: Wells, outliers: str) -> Wells:
    """Outlying replicates, unequal spread, negative and all-dead viabilities, each with its sentence."""
    off, out = np.zeros(len(wells.drug), bool), [*wells.flags]
    if outliers != "off":
        off[wells.kept] = outlying(wells.viability[wells.kept], wells.group[wells.kept], 4 if outliers == "auto" else 3)
    end = "kept" if outliers == "keep" else "left out"
    out += [
        f"{wells.names[i]} is far from its replicates (viability {wells.viability[i]:.3g}): {end}"
        for i in np.flatnonzero(off)
    ]
    kept = wells.kept if outliers == "keep" else wells.kept & ~off
    if unequal(wells.viability[kept], wells.group[kept]):
        out.append("replicates spread more at some doses than at others: weights by their variance suit such wells")
    below = wells.kept & (wells.viability < 0)
    if below.any():
        least = wells.viability[below].min()
        out.append(f"{int(below.sum())} wells are darker than the blanks (lowest viability {least:.3g})")
    for i, name in enumerate(wells.conditions):
        here = wells.viability[wells.kept & (wells.condition == i)]
        if len(here) and np.max(here) < DEAD:
            what = "all wells are dead at every dose; only an upper limit of the IC50 exists"
            out.append(f"{name or 'the plate'}: {what}")
    return replace(wells, kept=kept, flags=tuple(out))


# --- plates as readers show them --------------------------------------------------------------------------------------


_CORNERS = ("", "<>", "row", "well")
_ROLES = ("role", "content", "well_type", "type")
_LEAST = 3


def read_plate(path: Path) -> Sheet:
    """The cells of a plate, one row a well: as they are in the file, or from its grids:

        signal_rlu
        <>,1,2,3
        A,315,20549,8743
        B,322,21488,9054
        drug [uM]
        <>,1,2,3
        A,blank,DMSO,1
        B,blank,DMSO,1

    The line above a grid, or its corner, names it; one without a name holds signals. A word in a grid of doses is the
    role of its well.

    Raises:
        DataError: as `read_sheet` does; a grid of signals alone, which says no doses.
    """
    if path.suffix.lower() == ".parquet":
        return read_sheet(path)
    separator, rows, lines = read_rows(path)
    starts = [i for i, row in enumerate(rows) if _is_top(row)]
    if not starts:
        return read_sheet(path)
    blocks = [_block(rows, i) for i in starts]
    if len(blocks) == 1:
        wanted = "one row a well, or a grid of the wells' doses (named drug [uM], say) below that of their signals"
        raise refuse(path, lines[starts[0]], "", wanted, "a grid of signals alone, which says no doses")
    columns = _with_roles(dict(blocks))
    wells = [well for well in blocks[0][1] if any(cells.get(well, "") for cells in columns.values())]
    places = {rows[i][0].strip().upper(): lines[i] for i in range(starts[0] + 1, starts[1])}
    at = np.array([places.get(well[0], lines[starts[0]]) for well in wells], dtype=int)
    cells = (tuple(wells), *(tuple(own.get(well, "") for well in wells) for own in columns.values()))
    return Sheet(path, ("well", *columns), lines[starts[0]], cells, at, separator)


def _is_top(row: Sequence[str]) -> bool:
    """Whether a row numbers the columns of a plate."""
    numbers = [cell.strip() for cell in row[1:] if cell.strip()]
    return len(numbers) >= _LEAST and [n.lstrip("0") for n in numbers] == [str(i + 1) for i in range(len(numbers))]


def _block(rows: Sequence[Sequence[str]], top: int) -> tuple[str, dict[str, str]]:
    """Name of a grid, and the cell of each of its wells."""
    corner = rows[top][0].strip()
    above = [cell.strip() for cell in rows[top - 1] if cell.strip()] if top else []
    name = corner if plain(corner) not in _CORNERS else above[0] if len(above) == 1 else "signal"
    count = sum(bool(cell.strip()) for cell in rows[top][1:])
    cells = {}
    for row in rows[top + 1 :]:
        letter = row[0].strip().upper()
        if len(letter) != 1 or not "A" <= letter <= "P" or _is_top(row):
            break
        cells |= {f"{letter}{i}": cell.strip() for i, cell in enumerate(row[1 : count + 1], 1)}
    return name, cells


def _with_roles(columns: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """The grids, with the words among doses as roles of their wells where no grid holds these."""
    roles: dict[str, str] = {}
    known = [name for name in columns if plain(name) in _ROLES]
    dosed = [name for name in columns if split_header(name, "concentration")[1] is not None]
    for name in dosed or [name for name in list(columns)[1:] if name not in known]:
        cells = columns[name]
        words = {well: cell for well, cell in cells.items() if cell and not cell[0].isdigit() and cell[0] not in ".<>+"}
        roles |= words
        columns[name] = {well: "" if well in words else cell for well, cell in cells.items()}
    if known or not roles:
        return columns
    wells = {well for cells in columns.values() for well, cell in cells.items() if cell}
    return columns | {"role": {well: roles.get(well, "sample") for well in wells | set(roles)}}
