"""A schedule as a calendar: a grid of days where doses change within a week, a row a decision elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WEEK = 7
# More rows than this are shortened: equal neighbors become one.
_MOST_ROWS = 60


@dataclass(frozen=True)
class Row:
    """Decisions with the same doses, one after the other.

    Attributes:
        start: day of the first.
        end: day on which the last interval ends.
        decisions: how many they are.
        doses: of each drug [N].
        amounts: of each drug over one interval [N]: the dose, or the rate times the length.
    """

    start: float
    end: float
    decisions: int
    doses: tuple[float, ...]
    amounts: tuple[float, ...]

    @property
    def weeks(self) -> tuple[int, int]:
        """First and last week, counted from 1."""
        return int(self.start // WEEK) + 1, max(int(np.ceil(self.end / WEEK)), int(self.start // WEEK) + 1)


@dataclass(frozen=True)
class Week:
    """Weeks with the same doses, one after the other.

    Attributes:
        first: counted from 1.
        last: of the same doses.
        days: dose on each of the seven days; None where nothing is decided or the horizon is over.
    """

    first: int
    last: int
    days: tuple[float | None, ...]


def rows(edges: Sequence[float], doses: np.ndarray, routes: Sequence[str]) -> tuple[Row, ...]:
    """A row a decision; equal neighbors are one where there are many.

    Args:
        edges: of the decision intervals [K + 1, day].
        doses: [K, N].
        routes: "bolus" or "infusion" [N].
    """
    lengths = np.diff(np.asarray(edges))
    amounts = np.where(np.array(routes) == "infusion", np.asarray(doses) * lengths[:, None], doses)
    columns = zip(edges[:-1], edges[1:], np.asarray(doses).tolist(), amounts.tolist(), strict=True)
    listed = [Row(float(a), float(b), 1, tuple(dose), tuple(amount)) for a, b, dose, amount in columns]
    if len(listed) <= _MOST_ROWS:
        return tuple(listed)
    merged = listed[:1]
    for row in listed[1:]:
        last = merged[-1]
        if row.doses == last.doses and np.allclose(row.amounts, last.amounts):
            merged[-1] = Row(last.start, row.end, last.decisions + 1, last.doses, last.amounts)
        else:
            merged.append(row)
    return tuple(merged)


def by_day(edges: Sequence[float]) -> bool:
    """Whether the schedule is shown day by day: whole days, and decisions less than a week apart."""
    days = np.asarray(edges)
    # The last interval is often shorter than the others, where the horizon cuts it.
    apart = np.diff(days)[:-1] if len(days) > 2 else np.diff(days)
    return bool(np.all(days == np.round(days)) and np.min(apart) < WEEK)


def weeks(edges: Sequence[float], doses: Sequence[float], route: str) -> tuple[Week, ...]:
    """The weeks of one drug; equal neighbors are one where there are many.

    Args:
        edges: of the decision intervals, whole days [K + 1].
        doses: of the drug [K]; a rate is shown on each day of its interval, a single dose on the first.
        route: "bolus" or "infusion".
    """
    horizon = int(edges[-1])
    days: list[float | None] = [None] * (-(-horizon // WEEK) * WEEK)
    for a, b, dose in zip(edges[:-1], edges[1:], doses, strict=True):
        for day in range(int(a), int(b) if route == "infusion" else int(a) + 1):
            days[day] = float(dose)
    listed = [Week(i // WEEK + 1, i // WEEK + 1, tuple(days[i : i + WEEK])) for i in range(0, len(days), WEEK)]
    if len(listed) <= _MOST_ROWS:
        return tuple(listed)
    merged = listed[:1]
    for week in listed[1:]:
        if week.days == merged[-1].days:
            merged[-1] = Week(merged[-1].first, week.last, week.days)
        else:
            merged.append(week)
    return tuple(merged)
