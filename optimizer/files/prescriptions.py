"""Doses as they are given and as they are decided: tablets and a rate, infusions and an amount."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from optimizer.files.events import DoseEvent, expand, misfit, order_of


class Form(NamedTuple):
    """How a table has what a decision gives: as tablets `every` so many days of a rate, or infused over `duration`."""

    every: float | None = None
    duration: float | None = None


def as_given(events: Iterable[DoseEvent], forms: Mapping[str, Form]) -> list[DoseEvent]:
    """Events of a decision grid as they are given: rates as tablets, amounts as infusions.

    >>> as_given([DoseEvent(0.0, "a", 14.0, rate=2.0)], {"a": Form(every=0.5)})[0].additional
    13
    """
    out = []
    for event in events:
        form = forms.get(event.drug, Form())
        if form.every is not None and event.rate:
            more = round(event.amount / event.rate / form.every) - 1
            repeats = {"interval": form.every, "additional": more} if more else {}
            event = replace(event, amount=event.rate * form.every, rate=0.0, **repeats)
        elif form.duration is not None and not event.rate:
            event = replace(event, rate=event.amount / form.duration)
        out.append(event)
    return out


def as_decided(events: Iterable[DoseEvent], forms: Mapping[str, Form]) -> list[DoseEvent]:
    """The other way: tablets as rates, infusions of the drug's length as amounts; others stay infusions.

    Raises DataError for tablets between the times of tablets, a rate of what is swallowed, a dose without its rate.
    """
    out, tablets = [], []
    for event in events:
        form = forms.get(event.drug, Form())
        if form.every is not None and event.amount:
            if event.rate:
                raise misfit(event, f"tablets, RATE 0, every {form.every:g} day", event.rate)
            tablets += expand([replace(event, steady=False)])
        elif form.duration is not None and event.amount:
            if not event.rate:
                raise misfit(event, f"its RATE or DUR, {form.duration:g} day in the scenario", "neither")
            same = abs(event.amount / event.rate - form.duration) <= 1e-6 * form.duration
            out.append(replace(event, rate=0.0) if same else event)
        else:
            out.append(event)
    tablets.sort(key=attrgetter("drug", "amount", "time"))
    for (drug, amount), alike in groupby(tablets, key=attrgetter("drug", "amount")):
        out += _rates(list(alike), forms[drug].every or 0.0, amount)
    return sorted(out, key=order_of)


def _rates(tablets: Sequence[DoseEvent], every: float, amount: float) -> list[DoseEvent]:
    """Tablets of one size as rates, each as long as they follow each other."""
    numbers = np.array([event.time / every for event in tablets])
    off = np.abs(numbers - np.round(numbers)) > 1e-6
    if off.any():
        event = tablets[int(np.argmax(off))]
        raise misfit(event, f"a day that is a multiple of {every:g}, the time between tablets", event.time)
    whole, out = np.round(numbers), []
    for run in np.split(np.arange(len(whole)), 1 + np.flatnonzero(np.diff(whole) != 1.0)):
        first = tablets[run[0]]
        out.append(replace(first, time=float(whole[run[0]] * every), amount=amount * len(run), rate=amount / every))
    return out
