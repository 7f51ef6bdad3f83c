"""Courses of patients as they were lived: treatment that was stopped and begun again, and PSA.

A table has one row a visit: patient, day (or date as 2024-03-31), psa with its unit or limits such as `<0.1`, and a
column of treatment, which is on or off from a row to the next. The conventions are those of all tables.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from jaxtyping import Float

from optimizer.calibrate.tables import TREATED, held
from optimizer.files.faults import DataError, TableWarning
from optimizer.files.tables import Column, Schema, Table, read

# PSA [ug/L] that is added before the logarithm: below it an assay's differences say little.
OFFSET = 0.1
_SCHEMA = Schema(
    "a table of courses",
    (
        Column("patient", ("patient", "id", "subject", "subject_id", "patient_id", "usubjid"), "text"),
        Column("time", ("day", "days", "time"), "time", required=False, low=-np.inf, unit="day"),
        Column("date", ("date", "visit_date"), "text", required=False),
        Column("psa", ("psa", "dv"), "in ug/L", empty="kept", censored=True, unit="ug/L"),
        Column("treatment", (*TREATED, "abiraterone"), "text", empty="kept"),
    ),
)


@dataclass(frozen=True)
class Course:
    """One patient."""

    patient: str  #: the name
    days: Float[np.ndarray, "L"]  #: of the measurements, increasing from the first record, which is day 0 [L]
    psa: Float[np.ndarray, "L"]  #: what was measured, the limit where it was below or above one [L, ug/L]
    signs: Float[np.ndarray, "L"]  #: -1 below `psa`, 1 above it, else 0 [L]
    changes: Float[np.ndarray, "E"]  #: days on which treatment begins and ends, in turns, from day 0 [E]
    levels: Float[np.ndarray, "E"]  #: 1 where it begins, 0 where it ends [E]

    @property
    def logs(self) -> Float[np.ndarray, "L"]:
        """ln(PSA + 0.1)."""
        return np.log(self.psa + OFFSET)


@dataclass(frozen=True)
class Rests:
    """A course cut at its first two rests from treatment."""

    course: Course  #: all that was measured up to the third start
    stops: tuple[float, float]  #: days of the first and of the second stop
    first: np.ndarray  #: which measurements are of the first rest [L]
    ahead: np.ndarray  #: which are from the second stop on, hence forecast; those before are known [L]

    @property
    def measured(self) -> Float[np.ndarray, "A"]:
        """ln(PSA + 0.1) of what is forecast."""
        return self.course.logs[self.ahead]

    def repeated(self, values: Float[np.ndarray, "L"]) -> Float[np.ndarray, "A"]:
        """What `values` were in the first rest on the days that are forecast, counted from the stop."""
        days = self.course.days
        return np.interp(days[self.ahead] - self.stops[1], days[self.first] - self.stops[0], values[self.first])


def rests(course: Course) -> Rests | None:
    """The protocol's cut; None with fewer than two rests after treatment, or where one has too little PSA."""
    stops = course.changes[(course.levels == 0.0) & (course.changes > 0.0)]
    if len(stops) < 2:
        return None
    starts, days = course.changes[course.levels == 1.0], course.days
    ends = [np.min(starts[starts > stop], initial=np.inf) for stop in stops[:2]]
    first = (days >= stops[0]) & (days <= ends[0]) & (days < stops[1])
    known, ahead = days < stops[1], (days >= stops[1]) & (days <= ends[1])
    if not first.any() or ahead.sum() < 2:
        return None
    rows = known | ahead
    whole = replace(course, days=days[rows], psa=course.psa[rows], signs=course.signs[rows])
    return Rests(whole, (float(stops[0]), float(stops[1])), first[rows], ahead[rows])


def read_courses(path: Path, time_unit: str | None = None) -> tuple[Course, ...]:
    """The courses of a table (.csv or .parquet), in the order of their first rows.

    Raises:
        DataError: with every fault that was found, as "FILE:LINE: column X: wanted ...; got ...".
    """
    table = read(path, _SCHEMA, time_unit)
    for note in table.notes:
        warnings.warn(note, TableWarning, stacklevel=2)
    level, psa, days = held(table), table.inside("psa", "ug/L"), _days(table)
    names = dict.fromkeys(table["patient"].tolist())
    parts = ((str(name), np.flatnonzero(table["patient"] == name)) for name in names)
    return tuple(_courses(table, parts, days, level, psa))


def _days(table: Table) -> Float[np.ndarray, "rows"]:
    """Days as they stand, or of dates."""
    if ("time" in table) == ("date" in table):
        wanted = "one column of day or date"
        raise DataError(f"{table.path}: wanted {wanted}; got {'both' if 'time' in table else 'neither'}")
    if "time" in table:
        return table.internal("time")
    out, faults = np.zeros(len(table)), []
    for i, cell in enumerate(table["date"]):
        try:
            out[i] = date.fromisoformat(str(cell)).toordinal()
        except ValueError:
            faults.append(table.fault(i, "date", "a date such as 2024-03-31", cell))
    if faults:
        raise DataError(faults)
    return out


def _courses(
    table: Table, parts: Iterable[tuple[str, np.ndarray]], days: np.ndarray, level: np.ndarray, psa: np.ndarray
) -> Iterable[Course]:
    """Each patient's rows in order of time."""
    for name, rows in parts:
        rows = rows[np.argsort(days[rows], kind="stable")]
        known, seen = rows[~np.isnan(level[rows])], rows[~np.isnan(psa[rows])]
        if not (len(known) and len(seen)):
            wanted = f"a PSA of patient {name}, and whether treatment is on"
            raise DataError([table.fault(int(rows[0]), "psa", wanted, "none")])
        first, turns = days[rows[0]], known[np.diff(level[known], prepend=np.nan) != 0.0]
        signs = table.censored["psa"][seen].astype(float)
        yield Course(name, days[seen] - first, psa[seen], signs, days[turns] - first, level[turns])
