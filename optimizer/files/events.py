"""Doses as events, and the same on a decision grid; the fields are those of a dosing table (`event_tables`)."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optimizer.files.faults import DataError, show

MAX_DOSES = 1_000_000
TOLERANCE = 1e-10  # days below which two times are one
_WANTED = {"ADDL": f"a whole number from 0 to {MAX_DOSES}", "ID": "a whole number of at least 0"}


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
    steady: bool = False

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
        if self.steady and self.interval <= TOLERANCE and not self.rate:
            raise refusal("II", self.interval, "an interval above 0 with SS")
        if not math.isfinite(self.time + self.additional * self.interval):
            raise refusal("II", self.interval, "doses at finite times")


def expand(events: Iterable[DoseEvent]) -> list[DoseEvent]:
    """One event a dose, sorted by ID, TIME and DRUG: the k-th repetition is at time + k * interval.

    Raises DataError for more than `MAX_DOSES`.
    """
    listed = list(events)
    owner, times = unroll(listed)
    single = [replace(event, interval=0.0, additional=0) for event in listed]
    pairs = zip(owner.tolist(), times.tolist(), strict=True)
    return sorted((replace(single[i], time=time) for i, time in pairs), key=order_of)


def compress(events: Iterable[DoseEvent]) -> list[DoseEvent]:
    """Fold equal doses at equal distance into II and ADDL where `expand` gives back the very same times.

    >>> compress([DoseEvent(t, "a", 5.0) for t in (0.0, 7.0, 14.0)])
    [DoseEvent(time=0.0, drug='a', amount=5.0, rate=0.0, interval=7.0, additional=2, id=1, steady=False)]
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
            while step > TOLERANCE and start + more < len(same) and first.time + more * step == same[start + more].time:
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
    are one. Overlapping infusions add. Raises DataError for another drug or patient, a route that does not
    suit the event, a dose at or after the horizon and an infusion that outlasts it.

    >>> to_grid([DoseEvent(7.0, "a", 3.0)], ["a"], 14.0, {"a": "bolus"})[1].tolist()
    [[0.0], [3.0]]
    """
    listed = list(events)
    for event in listed:
        if event.amount and event.drug in routes and (event.rate > 0) != (routes[event.drug] == "infusion"):
            wanted = "RATE 0, as its route is bolus" if event.rate else "a RATE, as its route is infusion"
            raise misfit(event, wanted, event.rate)
    grid, doses, _ = to_mixed_grid(listed, drugs, horizon, routes, edges)
    return grid, doses


def to_mixed_grid(
    events: Iterable[DoseEvent],
    drugs: Sequence[str],
    horizon: float,
    routes: Mapping[str, str],
    edges: Sequence[float] | np.ndarray = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `to_grid`, for drugs given either way: edges, doses by each drug's own route, and by the other [K, N].

    >>> both = [DoseEvent(0.0, "a", 400.0), DoseEvent(0.0, "a", 14.0, rate=2.0)]
    >>> [part.tolist() for part in to_mixed_grid(both, ["a"], 14.0, {"a": "infusion"})]
    [[0.0, 7.0, 14.0], [[2.0], [0.0]], [[400.0], [0.0]]]
    """
    listed = list(events)
    near = _check_grid(listed, drugs, routes, horizon)
    owner, starts = unroll(listed)
    given = np.asarray(edges, dtype=float)
    if not np.all((given >= 0) & (given <= horizon)):
        raise DataError(f"edges: wanted times from 0 to the horizon {horizon!r}; got others")
    lengths = np.array([event.amount / event.rate if event.rate else 0.0 for event in listed])[owner]
    grid, places = _merge([np.array([0.0, horizon]), given, starts, starts + lengths], near)
    first, last = places[len(places) - 2 * len(owner) :].reshape(2, -1)
    at_once, rate = np.zeros((2, len(grid) - 1, len(drugs)))
    amounts = np.array([event.amount for event in listed])[owner]
    column = np.array([drugs.index(event.drug) for event in listed], dtype=int)[owner]
    rates = np.array([event.rate for event in listed])[owner]
    lost = np.flatnonzero((first == len(rate)) | ((rates > 0) & (first == last)))
    if lost.size:
        event, time = listed[owner[lost[0]]], float(starts[lost[0]])
        raise misfit(event, f"a dose more than {near:g} day before the horizon, an infusion as long", time)
    bolus = rates == 0
    np.add.at(at_once, (first[bolus], column[bolus]), amounts[bolus])
    for i in np.flatnonzero(~bolus).tolist():
        rate[first[i] : last[i], column[i]] += rates[i]
    infused = np.array([routes[drug] == "infusion" for drug in drugs], dtype=bool)
    return grid, np.where(infused, rate, at_once), np.where(infused, at_once, rate)


def within(events: Iterable[DoseEvent], horizon: float) -> tuple[list[DoseEvent], int]:
    """Events without the repetitions from the horizon on, infusions cut there; and how many doses that concerns.

    >>> within([DoseEvent(0.0, "a", 1.0, interval=7.0, additional=9)], 21.0)[0][0].additional
    2
    """
    near, out, cut = max(TOLERANCE, 8 * math.ulp(abs(horizon))), [], 0
    for event in events:
        if event.time >= horizon - near:
            out.append(event)
            continue
        step, length = event.interval, event.amount / event.rate if event.rate else 0.0
        fit = min(event.additional, int((horizon - near - event.time) / step)) if event.additional else 0
        whole = fit
        if event.time + fit * step + length > horizon + near:
            whole = min(fit, math.floor((horizon + near - event.time - length) / step)) if step else -1
        cut += event.additional - whole
        out += [replace(event, additional=whole)] if whole >= 0 else []
        for time in (event.time + k * step for k in range(max(whole + 1, 0), fit + 1)):
            out.append(replace(event, time=time, amount=event.rate * (horizon - time), interval=0.0, additional=0))
    return out, cut


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
    other: Sequence[Sequence[float]] | np.ndarray | None = None,
) -> list[DoseEvent]:
    """Events of the doses [K, N] on the edges [K+1] that are not 0; of an infusion, RATE is exact.

    `to_grid` with the same `edges` gives back the very same doses where these begin at 0. Doses by the `other` route
    [K, N] follow, as in `to_mixed_grid`. Raises DataError for another shape, edges that do not increase, and doses that
    are negative or not finite.
    """
    times, table = np.asarray(edges, dtype=float), np.asarray(doses, dtype=float)
    if times.ndim != 1 or len(times) < 2 or table.shape != (len(times) - 1, len(drugs)):
        shapes = f"doses {table.shape} on edges {times.shape}"
        raise DataError(f"doses: wanted [K, {len(drugs)}] on edges [K+1]; got {shapes}")
    near = _check_grid([], drugs, routes, float(times[-1]))
    if not (times[0] >= 0 and np.all(np.diff(times) > 2 * near)):
        raise DataError(f"edges: wanted times from 0 on, more than {2 * near:g} day apart; got others")
    parts = [(table, False)] if other is None else [(table, False), (np.asarray(other, dtype=float), True)]
    events = []
    for part, is_other in parts:
        for k, n in np.argwhere(part != 0).tolist():
            time, dose, length = float(times[k]), float(part[k, n]), float(times[k + 1] - times[k])
            if (routes[drugs[n]] == "bolus") != is_other:
                events.append(DoseEvent(time, drugs[n], dose))
                continue
            events.append(DoseEvent(time, drugs[n], dose * length, rate=dose))
            if abs(dose * length / dose - length) > near / 2:
                raise misfit(events[-1], "a rate within the range of floats", dose)
    return events


def _check_grid(events: list[DoseEvent], drugs: Sequence[str], routes: Mapping[str, str], horizon: float) -> float:
    """Refuse what a grid cannot hold; returns how close two of its times may be [day]."""
    near = max(TOLERANCE, 8 * math.ulp(abs(horizon)))
    if not near < horizon < math.inf:
        raise DataError(f"horizon: wanted a finite time above 0; got {horizon!r}")
    for drug in drugs:
        if routes.get(drug) not in ("bolus", "infusion"):
            got = show(routes.get(drug))
            raise DataError(f'routes: wanted "bolus" or "infusion" for {drug}; got {got}')
    for event in events:
        if event.drug not in drugs:
            raise misfit(event, f"one of {', '.join(drugs)}", event.drug)
        if event.id != events[0].id:
            raise misfit(event, f"one patient, ID {events[0].id}", event.id)
        last = event.time + event.additional * event.interval
        if last >= horizon - near:
            raise misfit(event, f"doses before the horizon {horizon!r}", last)
        if event.rate and last + event.amount / event.rate > horizon + near:
            end = last + event.amount / event.rate
            raise misfit(event, f"an infusion that ends by the horizon {horizon!r}", end)
    return near


def misfit(event: DoseEvent, wanted: str, got: object) -> DataError:
    return DataError(f"dose of {event.drug} at day {event.time!r}: wanted {wanted}; got {show(got)}")


def refusal(column: str, got: object, wanted: str = "") -> DataError:
    wanted = wanted or _WANTED.get(column, "a finite number of at least 0")
    return DataError(f"column {column}: wanted {wanted}; got {show(got)}")


def order_of(event: DoseEvent) -> tuple[int, float, str, float, float]:
    return event.id, event.time, event.drug, event.amount, event.rate


def unroll(events: Sequence[DoseEvent], places: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """The number of its event and the time of each dose; refuses too many."""
    counts = np.array([1 + event.additional for event in events], dtype=int)
    if len(events) and counts.sum() > MAX_DOSES:
        most = int(np.argmax(counts))
        place = places[most] if places else f"event {most + 1}"
        raise DataError(f"{place}: column ADDL: wanted {MAX_DOSES} doses at most; got {counts.sum()} in all")
    owner = np.repeat(np.arange(len(events)), counts)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    times = np.array([e.time for e in events])[owner] + step * np.array([e.interval for e in events])[owner]
    return owner, times


def doubled(events: Sequence[DoseEvent]) -> list[tuple[int, int, float]]:
    """Pairs of events that give a patient a drug in one way at one time, which adds up: their numbers and that time."""
    owner, times = unroll(events)
    groups: dict[tuple[int, str, bool], int] = {}
    group = np.array([groups.setdefault((e.id, e.drug, e.rate > 0), len(groups)) for e in events], dtype=int)[owner]
    order = np.lexsort((times, group))
    twice = (np.diff(times[order]) <= TOLERANCE) & (np.diff(group[order]) == 0)
    pairs: dict[tuple[int, int], float] = {}
    for at in np.flatnonzero(twice).tolist():
        one, two = sorted(owner[order[at : at + 2]].tolist())
        pairs.setdefault((one, two), float(times[order[at]]))
    return [(one, two, time) for (one, two), time in pairs.items()]
