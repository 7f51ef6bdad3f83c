"""Rows of a table to doses: the habits of NONMEM, the same in every kind of table that has doses."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from optimizer.files.events import MAX_DOSES, DoseEvent, doubled, unroll
from optimizer.files.faults import DataError, Fault, show
from optimizer.files.headers import read_unit
from optimizer.files.tables import Column, Table, scaled

KEPT: dict[str, Any] = {"required": False, "empty": "kept"}
ANY = float("-inf")
DOSE_COLUMNS = (
    Column("time", ("time", "day", "days"), "time", low=ANY, unit="day"),
    Column("evid", ("evid",), **KEPT, low=ANY),
    Column("amount", ("amt", "amount", "dose"), "amount", **KEPT, low=ANY, unit="mg"),
    Column("rate", ("rate",), "amount_rate", **KEPT, low=ANY, unit="mg/day"),
    Column("duration", ("dur", "tinf", "duration"), "time", **KEPT, low=ANY, unit="day"),
    Column("interval", ("ii",), "time", **KEPT, low=ANY, unit="day"),
    Column("additional", ("addl",), **KEPT, low=ANY),
    Column("steady", ("ss",), **KEPT, low=ANY),
)
"""The columns that doses have in every kind of table."""

_EVID = "0 (observation), 1 (dose), 2 (neither), 3 (reset) or 4 (reset and dose)"
_RATE = "0, a rate, or -2 beside a column DUR (or TINF); -1, a rate to be fitted, is not known here"


def dose_events(
    table: Table,
    drug: Callable[[int], str],
    ids: np.ndarray,
    units: Mapping[str, str] | None = None,
    body: tuple[float | None, float | None] = (None, None),
) -> list[tuple[int, DoseEvent]]:
    """The doses of a table with `DOSE_COLUMNS`, each with its row.

    The drug is a row's, `ids` are the patients' numbers [rows], `units` those of an amount by drug, `body` the
    patient's weight [kg] and surface [m^2].

    Raises:
        DataError: with the fault of every row.
    """
    faults, found = [], []
    is_dose = dose_rows(table, ids)
    times, roles = table.internal("time"), ("duration", "interval")
    spans = {role: scaled(table.get(role, 0.0), table.scales.get(role, 1.0)) for role in roles}
    rates = _rates(table)
    for i in np.flatnonzero(is_dose).tolist():
        try:
            name = drug(i)
            size = _size(table, units.get(name, "mg") if units else None, body)
            amount = _amount(table, i) * size
            found.append((i, _event(table, i, name, (float(times[i]), amount, rates[i] * size), spans, int(ids[i]))))
        except Refused as error:
            faults.append(table.fault(i, error.role, error.wanted, error.got))
        except DataError as error:
            faults.append(Fault(str(table.path), int(table.lines[i]), *_parts(str(error))))
    DataError.stop(faults)
    unroll([event for _, event in found], [table.place(i) for i, _ in found])
    return found


class Refused(Exception):
    """A cell that says something else than a dose."""

    def __init__(self, role: str, wanted: str, got: object):
        self.role, self.wanted, self.got = role, wanted, show(got)
        super().__init__(role)


def _parts(sentence: str) -> tuple[str, str, str]:
    """Column, wanted and got of an event's own refusal."""
    column, _, rest = sentence.removeprefix("column ").partition(": wanted ")
    wanted, _, got = rest.partition("; got ")
    return column, wanted, got


def dose_rows(table: Table, ids: np.ndarray) -> np.ndarray:
    """Which rows are doses; refuses other kinds of events, and observations with an amount [rows]."""
    amount = table.get("amount", 0.0)
    if "evid" not in table:
        seen = [role for role in ("value", "mdv", "burden") if role in table]
        return amount > 0 if seen else np.ones(len(table), bool)
    evid, faults = table["evid"], []
    times = table.internal("time")
    for i, kind in enumerate(evid):
        if kind not in (0, 1, 2, 3, 4):
            faults.append(table.fault(i, "evid", _EVID, show(None if np.isnan(kind) else float(kind))))
        elif kind in (0, 2, 3) and amount[i] != 0.0:
            wanted = f"0 or nothing beside EVID {kind:g}, which is no dose"
            faults.append(table.fault(i, "amount", wanted, f"{amount[i]:g}"))
        elif kind in (3, 4):
            earlier = (times < times[i]) | ((times == times[i]) & (np.arange(len(table)) < i))
            before = (ids == ids[i]) & np.isin(evid, (1, 4)) & earlier
            if before.any():
                wanted = "a reset (EVID 3, 4) before the first dose, as a tumor does not begin anew in the midst of it"
                faults.append(table.fault(i, "evid", wanted, f"{kind:g} after line {table.lines[np.argmax(before)]}"))
    DataError.stop(faults)
    return np.isin(evid, (1, 4))


def _event(
    table: Table, i: int, name: str, dose: tuple[float, float, float], spans: Mapping[str, np.ndarray], number: int
) -> DoseEvent:
    """The dose of a row: its time, amount and rate, and how it repeats."""
    (time, amount, rate), duration = dose, float(spans["duration"][i])
    steady, more = table.get("steady", 0.0)[i], table.get("additional", 0.0)[i]
    if duration < 0.0:
        raise Refused("duration", "a duration of at least 0", duration)
    if steady not in (0.0, 1.0):
        raise Refused(
            "steady", "0, or 1 for a first dose that finds a steady state (SS 2 adds to others)", float(steady)
        )
    if more != np.floor(more) or not 0 <= more <= MAX_DOSES:
        raise Refused("additional", f"a whole number from 0 to {MAX_DOSES}", float(more))
    if rate < 0.0 and not (table["rate"][i] == -2.0 and duration > 0.0):
        raise Refused("rate", _RATE, float(table["rate"][i]))
    if rate > 0.0 and duration > 0.0 and abs(amount / rate - duration) > 1e-6 * duration:
        raise Refused("duration", f"AMT / RATE, {amount / rate:g} day, or no duration", f"{duration:g} day")
    if duration > 0.0 and rate <= 0.0:
        rate = amount / duration
    every = float(spans["interval"][i])
    return DoseEvent(time, name, amount, rate, every, int(more), number, bool(steady))


def _rates(table: Table) -> np.ndarray:
    """Rates in mg/day; one without a unit counts in those of AMT and TIME [rows]."""
    rates = table.get("rate", 0.0)
    if "rate" not in table or not rates.any():
        return rates
    if "rate" in table.assumed:
        return rates * table.scales.get("amount", 1.0) / table.scales["time"]
    return scaled(rates, table.scales["rate"])


def _amount(table: Table, i: int) -> float:
    value = float(table["amount"][i]) if "amount" in table else np.nan
    if not value >= 0.0:
        raise Refused("amount", "a finite number of at least 0", None if np.isnan(value) else value)
    return float(scaled(np.array(value), table.scales["amount"]))


def _size(table: Table, unit: str | None, body: tuple[float | None, float | None]) -> float:
    """What an amount is multiplied by: the patient's weight or surface where it is given by these."""
    said = table.units.get("amount", "mg")
    if "amount" not in table or "amount" in table.assumed:
        return 1.0
    for mark, size, key in (("kg_bw", body[0], "patient.body_weight"), ("m2_bsa", body[1], "patient.body_surface")):
        if mark in said and unit in (None, "mg"):
            if size is None:
                raise Refused("amount", f"{key} in the scenario beside a dose in {said}", None)
            return size
    if unit is not None and read_unit(said, f"in {unit}") is None:
        wanted = "no unit, as this drug's dose is its level itself" if unit == "1" else f"a unit such as {unit}"
        raise Refused("amount", wanted, said)
    return 1.0


def drug_of(table: Table, drugs: Sequence[str] | None) -> Callable[[int], str]:
    """The drug of a row: by name, else by its number in the list, else the only one."""

    def named(i: int) -> str:
        if "drug" in table:
            name = str(table["drug"][i])
            name = "" if name in (".", "NA") else name
            if drugs is not None and name not in drugs:
                raise Refused("drug", f"one of {', '.join(drugs)}", name)
            return name
        if not drugs:
            raise Refused("DRUG", "a column with the name of the drug", None)
        number = table["cmt"][i] if "cmt" in table else np.nan
        number = 1.0 if np.isnan(number) and len(drugs) == 1 else number
        if number not in range(1, len(drugs) + 1):
            wanted = f"the number of a drug from 1 to {len(drugs)}, as there is no column DRUG"
            raise Refused("cmt" if "cmt" in table else "CMT", wanted, None if np.isnan(number) else float(number))
        return drugs[int(number) - 1]

    return named


def patients_of(table: Table) -> np.ndarray:
    """Numbers of the patients [rows]."""
    ids = table.get("id", 1.0)
    wrong = np.flatnonzero((ids != np.floor(ids)) | (ids < 0) | (ids > 2**53))
    if wrong.size:
        raise DataError([table.fault(i, "id", "a whole number of at least 0", f"{ids[i]:g}") for i in wrong])
    return ids


def added_up(table: Table, found: Sequence[tuple[int, DoseEvent]]) -> list[str]:
    """A sentence for each pair of rows that give a drug at one time."""
    out = []
    for one, two, time in doubled([event for _, event in found]):
        drug, rows = found[two][1].drug, sorted({int(table.lines[found[one][0]]), int(table.lines[found[two][0]])})
        lines = " and ".join(map(str, rows))
        out.append(f"{table.path}: line {lines}: both give {drug} on day {time:g}: they add up")
    return out[:20]
