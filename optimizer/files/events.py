"""Doses as events, and the same on a decision grid; the fields are those of a dosing table (`event_tables`)."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

MAX_DOSES = 1_000_000
TOLERANCE = 1e-10  # days below which two times are one
_WANTED = {
    "EVID": "1 for a dose or 0 for an observation, as EVID 2, 3 and 4 are not supported",
    "SS": "0, as steady-state doses (SS) are not supported",
    "RATE": "a finite number of at least 0, as RATE -1 and -2 (modeled rate, duration) are not supported",
    "ADDL": f"a whole number from 0 to {MAX_DOSES}",
    "ID": "a whole number of at least 0",
}


class EventError(ValueError):
    """A dosing table or schedule was refused; the text is one sentence for the user."""


@dataclass(frozen=True)
class DoseEvent:
    """A dose and its repetitions, checked on creation; the fields are those of the module's table.

    >>> [dose.time for dose in expand([DoseEvent(0.0, "cetuximab", 1.0, interval=7.0, additional=2)])]
    [0.0, 7.0, 14.0]
    """

    time: float
    drug: str
    amount: float
    rate: float = 0.0
    interval: float = 0.0
    additional: int = 0
    id: int = 1

    def __post_init__(self) -> None:
        for column, name in (("TIME", "time"), ("AMT", "amount"), ("RATE", "rate"), ("II", "interval")):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
                raise refusal(column, value)
            object.__setattr__(self, name, float(value) + 0.0)  # turns -0.0 into 0.0
        for column, value, most in (("ADDL", self.additional, MAX_DOSES), ("ID", self.id, 2**53)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
                raise refusal(column, value)
        name = self.drug
        if not isinstance(name, str) or name in ("", ".") or name != name.strip() or not name.isprintable():
            raise refusal("DRUG", name, "a printable drug name without outer spaces")
        if self.rate > 0 and self.amount == 0:
            raise refusal("AMT", self.amount, "more than 0 with a RATE")
        if self.additional and self.interval <= TOLERANCE:
            raise refusal("II", self.interval, "an interval above 0 with ADDL")
        if not math.isfinite(self.time + self.additional * self.interval):
            raise refusal("II", self.interval, "doses at finite times")


def expand(events: Iterable[DoseEvent]) -> list[DoseEvent]:
    """One event a dose, sorted by ID, TIME and DRUG: the k-th repetition is at time + k * interval.

    Raises EventError for two doses of a drug at one time and for more than `MAX_DOSES`.
    """
    listed = list(events)
    owner, times = unroll(listed)
    single = [replace(event, interval=0.0, additional=0) for event in listed]
    pairs = zip(owner.tolist(), times.tolist(), strict=True)
    return sorted((replace(single[i], time=time) for i, time in pairs), key=order_of)


def compress(events: Iterable[DoseEvent]) -> list[DoseEvent]:
    """Fold equal doses at equal distance into II and ADDL where `expand` gives back the very same times.

    >>> compress([DoseEvent(t, "a", 5.0) for t in (0.0, 7.0, 14.0)])
    [DoseEvent(time=0.0, drug='a', amount=5.0, rate=0.0, interval=7.0, additional=2, id=1)]
    """
    alike: dict[Any, list[DoseEvent]] = {}
    for event in expand(events):
        alike.setdefault((event.id, event.drug, event.amount, event.rate), []).append(event)
    folded = []
    for same in alike.values():
        start = 0
        while start < len(same):
            first, more = same[start], 1
            step = same[start + 1].time - first.time if start + 1 < len(same) else 0.0
            while start + more < len(same) and first.time + more * step == same[start + more].time:
                more += 1
            folded.append(replace(first, interval=step, additional=more - 1) if more > 1 else first)
            start += more
    return sorted(folded, key=order_of)


def to_grid(
    events: Iterable[DoseEvent],
    drugs: Sequence[str],
    horizon: float,
    routes: Mapping[str, str],
    edges: Sequence[float] | np.ndarray = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Edges [K+1] [day] and doses [K, N]: amounts at interval starts (bolus), rates inside them (infusion).

    The edges are 0, `horizon`, every start and end of a dose, and the given `edges`; those within `TOLERANCE`
    are one. Overlapping infusions add. Raises EventError for another drug or patient, a route that does not
    suit the event, a dose at or after the horizon and an infusion that outlasts it.

    >>> to_grid([DoseEvent(7.0, "a", 3.0)], ["a"], 14.0, {"a": "bolus"})[1].tolist()
    [[0.0], [3.0]]
    """
    listed = list(events)
    near = _check_grid(listed, drugs, routes, horizon)
    owner, starts = unroll(listed)
    given = np.asarray(edges, dtype=float)
    if not np.all((given >= 0) & (given <= horizon)):
        raise EventError(f"edges: wanted times from 0 to the horizon {horizon!r}, got others")
    lengths = np.array([event.amount / event.rate if event.rate else 0.0 for event in listed])[owner]
    grid, places = _merge([np.array([0.0, horizon]), given, starts, starts + lengths], near)
    first, last = places[len(places) - 2 * len(owner) :].reshape(2, -1)
    doses = np.zeros((len(grid) - 1, len(drugs)))
    amounts = np.array([event.amount for event in listed])[owner]
    column = np.array([drugs.index(event.drug) for event in listed], dtype=int)[owner]
    rates = np.array([event.rate for event in listed])[owner]
    lost = np.flatnonzero((first == len(doses)) | ((rates > 0) & (first == last)))
    if lost.size:
        event, time = listed[owner[lost[0]]], float(starts[lost[0]])
        raise _misfit(event, f"a dose more than {near:g} day before the horizon, an infusion as long", time)
    bolus = rates == 0
    np.add.at(doses, (first[bolus], column[bolus]), amounts[bolus])
    for i in np.flatnonzero(~bolus).tolist():
        doses[first[i] : last[i], column[i]] += rates[i]
    return grid, doses


def _merge(parts: Sequence[np.ndarray], near: float) -> tuple[np.ndarray, np.ndarray]:
    """The distinct times of the parts, and where each time is among them; earlier parts stand for later ones."""
    points, rank = np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    by_time = np.argsort(points, kind="stable")
    label = np.empty(len(points), dtype=int)
    label[by_time] = np.cumsum(np.diff(points[by_time], prepend=points.min()) > near)
    by_rank = np.lexsort((points, rank, label))
    return points[by_rank[np.unique(label[by_rank], return_index=True)[1]]], label


def from_grid(
    edges: Sequence[float] | np.ndarray,
    doses: Sequence[Sequence[float]] | np.ndarray,
    drugs: Sequence[str],
    routes: Mapping[str, str],
) -> list[DoseEvent]:
    """Events of the doses [K, N] on the edges [K+1] that are not 0; of an infusion, RATE is exact.

    `to_grid` with the same `edges` gives back the very same doses where these begin at 0. Raises EventError
    for another shape, edges that do not increase, and doses that are negative or not finite.
    """
    times, table = np.asarray(edges, dtype=float), np.asarray(doses, dtype=float)
    if times.ndim != 1 or len(times) < 2 or table.shape != (len(times) - 1, len(drugs)):
        shapes = f"doses {table.shape} on edges {times.shape}"
        raise EventError(f"doses: wanted [K, {len(drugs)}] on edges [K+1], got {shapes}")
    near = _check_grid([], drugs, routes, float(times[-1]))
    lengths = np.diff(times)
    if not (times[0] >= 0 and np.all(lengths > 2 * near)):
        raise EventError(f"edges: wanted times from 0 on, more than {2 * near:g} day apart, got others")
    events = []
    for k, n in np.argwhere(table != 0).tolist():
        time, dose, length = float(times[k]), float(table[k, n]), float(lengths[k])
        if routes[drugs[n]] == "bolus":
            events.append(DoseEvent(time, drugs[n], dose))
        else:
            events.append(DoseEvent(time, drugs[n], dose * length, rate=dose))
            if abs(dose * length / dose - length) > near / 2:
                raise _misfit(events[-1], "a rate within the range of floats", dose)
    return events


def _check_grid(events: list[DoseEvent], drugs: Sequence[str], routes: Mapping[str, str], horizon: float) -> float:
    """Refuse what a grid cannot hold; returns how close two of its times may be [day]."""
    near = max(TOLERANCE, 8 * math.ulp(abs(horizon)))
    if not near < horizon < math.inf:
        raise EventError(f"horizon: wanted a finite time above 0, got {horizon!r}")
    for drug in drugs:
        if routes.get(drug) not in ("bolus", "infusion"):
            got = shown(routes.get(drug))
            raise EventError(f'routes: wanted "bolus" or "infusion" for {drug}, got {got}')
    for event in events:
        if event.drug not in drugs:
            raise _misfit(event, f"one of {', '.join(drugs)}", event.drug)
        if event.id != events[0].id:
            raise _misfit(event, f"one patient, ID {events[0].id}", event.id)
        last = event.time + event.additional * event.interval
        if last >= horizon - near:
            raise _misfit(event, f"doses before the horizon {horizon!r}", last)
        if event.amount and (event.rate > 0) != (routes[event.drug] == "infusion"):
            wanted = "RATE 0, as its route is bolus" if event.rate else "a RATE, as its route is infusion"
            raise _misfit(event, wanted, event.rate)
        if event.rate and last + event.amount / event.rate > horizon + near:
            end = last + event.amount / event.rate
            raise _misfit(event, f"an infusion that ends by the horizon {horizon!r}", end)
    return near


def _misfit(event: DoseEvent, wanted: str, got: object) -> EventError:
    return EventError(f"dose of {event.drug} at day {event.time!r}: wanted {wanted}, got {shown(got)}")


def refusal(column: str, got: object, wanted: str = "") -> EventError:
    wanted = wanted or _WANTED.get(column, "a finite number of at least 0")
    return EventError(f"column {column}: wanted {wanted}, got {shown(got)}")


def shown(value: object) -> str:
    """The value in an error message, short and printable."""
    if value is None:
        return "nothing"
    if isinstance(value, int) and abs(value) > 2**64:
        return "a larger whole number"
    text = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:37]}..."


def order_of(event: DoseEvent) -> tuple[int, float, str]:
    return event.id, event.time, event.drug


def unroll(events: Sequence[DoseEvent], places: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """The number of its event and the time of each dose; refuses too many, and two of a drug at one time."""
    places = places or [f"event {i}" for i in range(1, len(events) + 1)]
    counts = np.array([1 + event.additional for event in events], dtype=int)
    if len(events) and counts.sum() > MAX_DOSES:
        most = int(np.argmax(counts))
        raise EventError(f"{places[most]}: column ADDL: wanted {MAX_DOSES} doses at most, got {counts.sum()} in all")
    owner = np.repeat(np.arange(len(events)), counts)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    times = np.array([e.time for e in events])[owner] + step * np.array([e.interval for e in events])[owner]
    groups: dict[tuple[int, str], int] = {}
    group = np.array([groups.setdefault((e.id, e.drug), len(groups)) for e in events], dtype=int)[owner]
    order = np.lexsort((times, group))
    twice = (np.diff(times[order]) <= TOLERANCE) & (np.diff(group[order]) == 0)
    if twice.any():
        at = int(np.argmax(twice))
        one, two = sorted(owner[order[at : at + 2]].tolist())
        what = f"one dose of {events[two].drug} at a time, got one at day {times[order[at]]!s}"
        raise EventError(f"{places[two]}: column TIME: wanted {what} that {places[one]} gives too")
    return owner, times
