"""Plates as readers show them: a grid of signals, and below it grids of the same wells' doses (and roles).

    signal_rlu
    <>,1,2,3
    A,315,20549,8743
    B,322,21488,9054
    drug [uM]
    <>,1,2,3
    A,blank,DMSO,1
    B,blank,DMSO,1

The line above a grid, or its corner, names it; one without a name holds signals. A word in a grid of doses is the role
of its well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from optimizer.files.faults import refuse
from optimizer.files.headers import split_header
from optimizer.files.sheets import Sheet, read_rows, read_sheet
from optimizer.files.tables import plain

_CORNERS = ("", "<>", "row", "well")
_ROLES = ("role", "content", "well_type", "type")
_LEAST = 3


def read_plate(path: Path) -> Sheet:
    """The cells of a plate, one row a well: as they are in the file, or from its grids.

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
