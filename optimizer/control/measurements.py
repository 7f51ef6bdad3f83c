"""A table of measurements: one row a visit, one column a quantity.

====== =====================================================================================
column meaning
====== =====================================================================================
day    of the sample, from the start of treatment (also time); rows in increasing order
others label of a quantity of the scenario with its unit, such as `burden [cell]`,
       `psa [ng/mL]` or `variant_fraction.resistant [1]`; `DV` where there is one alone
====== =====================================================================================

The conventions are those of all tables (`files.tables`). "<0.1" is below 0.1, ">50" above 50. Of rows with EVID,
those of 0 are measurements.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from optimizer.files.cells import BELOW as LESS, EXACT
from optimizer.files.faults import DataError, Fault, TableWarning
from optimizer.files.tables import Column, Schema, Table, looks_like_hours, plain, read
from optimizer.observations import BELOW, MEASURED, MISSING, OVER, UNDER, Channel, Record

_DOSES = "no such column without --given, whose event table says what was given"


@dataclass(frozen=True)
class Measurements:
    """Visits with C channels, as they were written."""

    days: Float[np.ndarray, "L"]  #: of the visits [L]
    #: in the units of the quantities; NaN where there is none, the limit where it was below or above [L, C]
    values: Float[np.ndarray, "L C"]
    seen: Int[np.ndarray, "L C"]  #: MISSING, MEASURED, BELOW, UNDER or OVER [L, C]

    def record(self, channels: Sequence[Channel]) -> Record:
        """On the scales on which errors add."""
        safe = np.where(self.seen == MISSING, 0.5, self.values)
        shown = jnp.stack([c.shown(jnp.asarray(safe[:, i])) for i, c in enumerate(channels)], -1)
        return Record(jnp.asarray(self.days), shown, jnp.asarray(self.seen))


def none_measured(channels: Sequence[Channel]) -> Measurements:
    """Before the first visit."""
    empty = np.zeros((0, len(channels)))
    return Measurements(np.zeros(0), empty, empty.astype(int))


def read_measurements(
    path: Path, channels: Sequence[Channel], time_unit: str | None = None, is_treated: bool = True
) -> Measurements:
    """Read a table (.csv or .parquet).

    Args:
        path: the file.
        channels: quantities that the scenario names; those without a column are missing.
        time_unit: of days whose header has no unit.
        is_treated: whether doses are known from elsewhere; else a column that looks like treatment is refused.

    Raises:
        DataError: with every fault that was found, as "FILE:LINE: column X: wanted ...; got ...".
    """
    table = read(path, _schema(channels, is_treated), time_unit)
    if not any(channel.label() in table for channel in channels):
        wanted = f"at least one of {', '.join(f'{c.label()} [{c.quantity.unit}]' for c in channels)}"
        got = f"the columns {', '.join(table.names.values())}"
        raise DataError([Fault(str(path), 1, channels[0].label(), wanted, got)])
    for note in table.notes:
        warnings.warn(note, TableWarning, stacklevel=2)
    rows = np.flatnonzero(table.get("evid", 0.0) == 0.0)
    _check_days(table, rows)
    values, seen = np.full((len(rows), len(channels)), np.nan), np.full((len(rows), len(channels)), MISSING)
    faults: list[Fault] = []
    for i, channel in enumerate(channels):
        if channel.label() in table:
            values[:, i], seen[:, i], wrong = _measured(table, rows, channel)
            faults += wrong
    DataError.stop(faults)
    return Measurements(table.internal("day")[rows], values, seen)


def _schema(channels: Sequence[Channel], is_treated: bool) -> Schema:
    """The columns of a table of these quantities."""
    columns = [
        Column("day", ("day", "days", "time"), "time", low=-math.inf, unit="day"),
        Column("id", ("id", "patient", "subject"), "text", required=False, empty="kept"),
        Column("evid", ("evid",), required=False, empty="kept"),
    ]
    for channel in channels:
        names = (plain(channel.label()), *(("dv",) if len(channels) == 1 else ()))
        kind, unit = f"in {channel.quantity.unit}", channel.quantity.unit
        more = {"required": False, "empty": "kept", "censored": True, "low": -math.inf}
        columns.append(Column(channel.label(), names, kind, unit=unit, **more))
    return Schema("a table of measurements", tuple(columns), "" if is_treated else _DOSES)


def _check_days(table: Table, rows: np.ndarray) -> None:
    """Days begin at 0 and increase, and are those of one patient; a doubt about their unit is a warning."""
    days, faults = table.internal("day"), []
    for row, before in zip(rows, [-math.inf, *days[rows]], strict=False):
        if days[row] < 0.0:
            wanted = "a day from 0 on, where what is simulated begins (what was measured before says nothing of it)"
            faults.append(table.fault(row, "day", wanted, f"{days[row]:g}"))
        elif not days[row] > before:
            faults.append(table.fault(row, "day", f"a later day than {before:g}", f"{days[row]:g}"))
    if "id" in table and len(names := sorted(set(table["id"].tolist()))) > 1:
        faults.append(table.fault(0, "id", "one patient", ", ".join(names)[:80]))
    DataError.stop(faults)
    if "day" in table.assumed and looks_like_hours(days):
        said = "times are read as days and look like hours; --time-unit h or the header time [h] says so"
        warnings.warn(f"{table.path}: {said}", TableWarning, stacklevel=3)


def _measured(table: Table, rows: np.ndarray, channel: Channel) -> tuple[np.ndarray, np.ndarray, list[Fault]]:
    """Values of a quantity, what there is of each, and what is wrong with them [rows]."""
    quantity, label = channel.quantity, channel.label()
    limit = float(quantity.detection_limit)
    values, signs = table.inside(label, quantity.unit)[rows], table.censored[label][rows]
    seen = np.select([np.isnan(values), signs == EXACT, signs == LESS], [MISSING, MEASURED, UNDER], OVER)
    seen[(seen == UNDER) & (limit > 0.0) & np.isclose(values, limit, rtol=1e-6, atol=0.0)] = BELOW
    faults = []
    for row, value, state in zip(rows, values, seen, strict=True):
        if state != MISSING and (not value > 0.0 or (quantity.is_share and not value < 1.0)):
            wanted = f"more than 0{' and less than 1' if quantity.is_share else ''} (or below a limit, such as <0.1)"
            faults.append(table.fault(row, label, wanted, f"{value:g}"))
        elif state == MEASURED and value < limit:
            wanted = f'at least the detection limit {limit:g} {quantity.unit}, or "<{limit:g}"'
            faults.append(table.fault(row, label, wanted, f"{value:g}"))
    return np.where(seen == BELOW, limit, values), seen, faults
