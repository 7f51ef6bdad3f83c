"""Raw plates to viabilities: wells checked, blanks subtracted, vehicle set to 1, odd, dead or missing wells flagged.

    viability = (signal - median blank) / (median vehicle - median blank)        for each plate and condition

A condition is a cell line, culture, growth factor and antibody; its vehicle wells stand on the same plate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from optimizer.calibrate.columns import written
from optimizer.calibrate.tables import Table
from optimizer.files.faults import DataError, Fault

WELL = re.compile(r"([A-Pa-p])0*([1-9]\d?)")
OUTLIER = 5.0
DEAD = 0.1
LEAST_SPREAD = 0.01


@dataclass(frozen=True)
class Wells:
    """Sample wells of a table in the order of its rows, and the levels they are measured against.

    | field | meaning |
    |---|---|
    | `condition`, `conditions` | condition of each well [wells], its label |
    | `drug`, `viability` | dose in the table's unit, part of vehicle [wells] |
    | `start` | signal at time zero as a part of vehicle [wells]; NaN where there is none |
    | `kept` | wells that are fitted: neither missing nor outlying [wells] |
    | `row` | row of the table each well came from [wells] |
    """

    conditions: tuple[str, ...]
    condition: np.ndarray
    drug: np.ndarray
    viability: np.ndarray
    start: np.ndarray
    kept: np.ndarray
    row: np.ndarray
    flags: tuple[str, ...]


def plate_wells(table: Table, outliers: str = "drop") -> Wells:
    """Check a plate table and normalize it; `outliers` is `drop` (flagged and left out) or `keep` (flagged only).

    Raises `DataError` for impossible or doubled wells, plates without blanks, conditions without vehicle, and vehicle
    wells no brighter than the blanks.
    """
    if outliers not in ("drop", "keep"):
        raise DataError(f"outliers: wanted drop or keep, got {outliers!r}")
    plates = table["plate"] if "plate" in table else np.full(len(table), "1")
    flags = _check_wells(table, plates)
    labels = _conditions(table)
    content, signal = table["content"], table["signal"].copy()
    missing = np.isnan(signal)
    flags += [f"{_place(table, plates, i)} has no signal: left out" for i in np.flatnonzero(missing)]
    _check_doses(table)
    viability, start = np.full(len(table), np.nan), np.full(len(table), np.nan)
    for plate in np.unique(plates):
        here = (plates == plate) & ~missing
        blank = _level(table, here & (content == "blank"), f"a blank well on plate {plate}", plates == plate)
        noise = _spread(signal[here & (content == "blank")])
        for label in np.unique(labels[here & (content == "sample")]):
            mine = here & (labels == label)
            wanted = f"a vehicle well of {label or 'the condition'} on plate {plate}"
            vehicle = _level(table, mine & (content == "vehicle"), wanted, mine)
            if vehicle - blank <= 3 * noise or vehicle <= blank:
                row = int(np.flatnonzero(mine & (content == "vehicle"))[0])
                got = f"{vehicle:g} against {blank:g}: nothing grew on plate {plate}"
                raise DataError([table.fault(row, "signal", "vehicle wells brighter than the blanks", got)])
            viability[mine] = (signal[mine] - blank) / (vehicle - blank)
            zero = here & (content == "time_zero") & ((labels == label) | (labels == ""))
            start[mine] = (np.median(signal[zero]) - blank) / (vehicle - blank) if zero.any() else np.nan
    sample = np.flatnonzero(content == "sample")
    names, condition = np.unique(labels[sample], return_inverse=True)
    wells = Wells(
        tuple(map(str, names)),
        condition,
        table["drug"][sample],
        viability[sample],
        start[sample],
        ~missing[sample],
        sample,
        (),
    )
    return _flagged(table, plates, wells, flags, outliers)


def _check_wells(table: Table, plates: np.ndarray) -> list[str]:
    """Names of wells are possible and used once; returns nothing to flag."""
    faults: list[Fault] = []
    seen: dict[tuple[str, str, int], int] = {}
    for i, (plate, well) in enumerate(zip(plates, table["well"], strict=True)):
        match = WELL.fullmatch(well)
        if match is None or int(match[2]) > 24:
            faults.append(table.fault(i, "well", "a well of a 96- or 384-well plate, A1 to P24", repr(str(well))))
            continue
        key = (str(plate), match[1].upper(), int(match[2]))
        if key in seen:
            first = f"{well} again (first on line {table.lines[seen[key]]})"
            faults.append(table.fault(i, "well", f"each well of plate {plate} once", first))
        seen.setdefault(key, i)
    if faults:
        raise DataError(faults)
    return []


def _check_doses(table: Table) -> None:
    """Sample wells need a dose; others may leave it empty."""
    faults = [
        table.fault(i, "drug", "a dose in a sample well", "an empty cell")
        for i in np.flatnonzero((table["content"] == "sample") & np.isnan(table["drug"]))
    ]
    if faults:
        raise DataError(faults)


def _conditions(table: Table) -> np.ndarray:
    """A label a row: what is known of line, culture, growth factor and antibody; blanks have none."""
    parts: list[np.ndarray] = []
    for role in ("line", "culture"):
        if role in table:
            parts.append(table[role])
    for role in ("growth_factor", "antibody"):
        if role in table:
            unit = written(table.units[role])
            name = role.replace("_", " ")
            parts.append(np.array([f"{name} {x:g} {unit}" if x > 0 else "" for x in np.nan_to_num(table[role])]))
    labels = (
        [", ".join(str(word) for word in words if word) for words in zip(*parts, strict=True)]
        if parts
        else [""] * len(table)
    )
    return np.where(table["content"] == "blank", "", np.array(labels, dtype=object)).astype(str)


def _level(table: Table, chosen: np.ndarray, wanted: str, near: np.ndarray) -> float:
    if not chosen.any():
        raise DataError([table.fault(int(np.flatnonzero(near)[0]), "content", wanted, "none with a signal")])
    return float(np.median(table["signal"][chosen]))


def _spread(values: np.ndarray) -> float:
    """1.4826 times the median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0


def _place(table: Table, plates: np.ndarray, row: int | np.integer) -> str:
    return f"plate {plates[row]} well {table['well'][row]}"


def _flagged(table: Table, plates: np.ndarray, wells: Wells, flags: list[str], outliers: str) -> Wells:
    """Outlying replicates, negative and all-dead viabilities, each with its sentence."""
    off = _outlying(wells)
    out = [*flags]
    for i in np.flatnonzero(off):
        end = "left out" if outliers == "drop" else "kept"
        out.append(
            f"{_place(table, plates, wells.row[i])} is far from its replicates "
            f"(viability {wells.viability[i]:.3g}): {end}"
        )
    below = wells.kept & (wells.viability < 0)
    if below.any():
        out.append(
            f"{int(below.sum())} wells are darker than the blanks (lowest viability {wells.viability[below].min():.3g})"
        )
    for i, name in enumerate(wells.conditions):
        here = wells.viability[wells.kept & (wells.condition == i)]
        if len(here) and np.max(here) < DEAD:
            out.append(
                f"{name or 'the plate'}: all wells are dead at every dose; only an upper limit of the IC50 exists"
            )
    kept = wells.kept & ~off if outliers == "drop" else wells.kept
    return Wells(
        wells.conditions, wells.condition, wells.drug, wells.viability, wells.start, kept, wells.row, tuple(out)
    )


def _outlying(wells: Wells) -> np.ndarray:
    """Wells more than five pooled deviations from the median of at least three replicates [wells]."""
    off, residual = np.zeros(len(wells.drug), bool), np.full(len(wells.drug), np.nan)
    for c in range(len(wells.conditions)):
        for dose in np.unique(wells.drug[wells.condition == c]):
            here = np.flatnonzero((wells.condition == c) & (wells.drug == dose) & wells.kept)
            if len(here) >= 3:
                residual[here] = wells.viability[here] - np.median(wells.viability[here])
    known = ~np.isnan(residual)
    if known.sum() >= 6:
        spread = max(1.4826 * float(np.median(np.abs(residual[known]))), LEAST_SPREAD)
        off[known] = np.abs(residual[known]) > OUTLIER * spread
    return off
