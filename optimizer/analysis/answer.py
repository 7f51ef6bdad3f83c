"""The answer in one sentence, against the best regimen that keeps the limits, and what it is worse in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.analysis.comparison import OPTIMIZED, Entry

# Numbers that differ by less, relative to the larger, are the same.
_SAME = 0.01
_TWICE = 2.0


@dataclass(frozen=True)
class Answer:
    """What is gained, in words."""

    sentence: str  #: against the best regimen within the limits
    against: str | None  #: its name; None where no regimen keeps the limits
    #: one for each column in which such a regimen is better, with the limit that would mend it
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """A number of the table of regimens of which less is better."""

    name: str  #: in a sentence
    term: str  #: the term whose limit would mend a worse number
    value: Callable[[Entry], float]  #: of an entry; infinite where progression is never
    said: Callable[[float], str]  #: the number in words


def _day(entry: Entry) -> float:
    reached = entry.outcome.time_to_progression_day
    return -np.inf if reached is None else -reached


def _mean(entry: Entry) -> float:
    """Time average of the cells over those at the start, which is what the term mean_burden is."""
    trajectory = entry.trajectory
    burden = np.asarray(trajectory.burden)
    return float(np.sum(np.asarray(trajectory.weights) * burden) / float(entry.grid.horizon) / burden[0])


def _short(value: float) -> str:
    """Three digits, large numbers with commas."""
    return f"{float(f'{value:.3g}'):,.10g}"


def _cells(value: float) -> str:
    return f"{value:.3g} cells"


COLUMNS = (
    Column("progression", "progression", _day, lambda v: "never" if np.isinf(v) else f"on day {-v:.4g}"),
    Column("cells at the end", "final_burden", lambda e: e.outcome.final_burden, _cells),
    Column("cells at the peak", "peak_burden", lambda e: e.outcome.peak_burden, _cells),
    Column("cells on average", "mean_burden", _mean, lambda v: f"{v:.3g} of those at the start"),
    Column("resistant share at the end", "final_share", lambda e: e.outcome.resistant_fraction, lambda v: f"{v:.2g}"),
)


def answer(entries: Sequence[Entry], units: Mapping[str, str], named: Sequence[str] = ()) -> Answer | None:
    """The sentence and the warnings on the optimized schedule; None where there is none or it is not finite.

    Units are those of cumulative doses; the value of a regimen that is `named` in the scenario can be a limit by its
    name.
    """
    own = next((entry for entry in entries if entry.name == OPTIMIZED), None)
    if own is None or not own.report.finite:
        return None
    others = [e for e in entries if e is not own and e.report.finite and not e.broken]
    if not others:
        return Answer("No regimen of the table keeps all limits: there is nothing to compare with.", None, ())
    best = min(others, key=lambda entry: entry.report.total)
    phrases = {column.name: _phrase(column, own, best) for column in COLUMNS}
    same = [name for name, phrase in phrases.items() if not phrase]
    parts = [", ".join(filter(None, phrases.values())), f"{', '.join(same)} unchanged" if same else ""]
    head = f"Against {best.name}, the best regimen within the limits, with {_drug(own, best, units)}"
    return Answer(f"{head}: {'; '.join(filter(None, parts))}.", best.name, tuple(_warnings(own, others, named)))


def _differs(ours: float, theirs: float) -> bool:
    if np.isinf(ours) or np.isinf(theirs):
        return ours != theirs
    return abs(ours - theirs) > _SAME * max(abs(ours), abs(theirs))


def _phrase(column: Column, own: Entry, best: Entry) -> str:
    """How a number differs; empty where it does not."""
    ours, theirs = column.value(own), column.value(best)
    if not _differs(ours, theirs):
        return ""
    if column.term == "progression":
        if np.isinf(ours):
            return f"no progression (there {column.said(theirs)})"
        if np.isinf(theirs):
            return f"progression {column.said(ours)} (there never)"
        return f"progression {abs(theirs - ours):.3g} days {'later' if ours < theirs else 'earlier'}"
    if column.term == "final_share":
        return f"{column.name} {column.said(ours)} in place of {column.said(theirs)}"
    ratio = ours / theirs if theirs > 0.0 else np.inf
    factor = max(ratio, 1.0 / ratio) if ratio > 0.0 else np.inf
    if factor >= _TWICE:
        return f"{_short(factor)} times {'as many' if ratio > 1.0 else 'fewer'} {column.name}"
    return f"{100.0 * abs(ratio - 1.0):.2g} % {'more' if ratio > 1.0 else 'fewer'} {column.name}"


def _drug(own: Entry, best: Entry, units: Mapping[str, str]) -> str:
    """How much drug, beside the regimen's."""
    parts = []
    for drug, ours in own.outcome.cumulative_dose.items():
        theirs = best.outcome.cumulative_dose[drug]
        of = f" of {drug}" if len(own.outcome.cumulative_dose) > 1 else ""
        unit = "" if units.get(drug, "") == "1" else f" {units.get(drug, '')}".rstrip()
        if not _differs(ours, theirs):
            parts.append(f"the same {_short(ours)}{unit}{of}")
        else:
            parts.append(f"{_short(ours)}{unit}{of} in place of {_short(theirs)}{unit}")
    return " and ".join(parts)


def _warnings(own: Entry, others: Sequence[Entry], named: Sequence[str]) -> list[str]:
    """A sentence for each column in which a regimen is better."""
    found = []
    for column in COLUMNS:
        best = min(others, key=column.value)
        ours, theirs = column.value(own), column.value(best)
        if not (theirs < ours and _differs(ours, theirs)):
            continue
        limit = f'"as regimen {best.name}"' if best.name in named else "its value"
        found.append(
            f"But {column.name}: {best.name} {column.said(theirs)}, this schedule {column.said(ours)}. "
            f'A [[constraint]] of kind "term" with term = "{column.term}" and limit = {limit} would mend it.'
        )
    return [*found, *_wasted(own, others)]


def _wasted(own: Entry, others: Sequence[Entry]) -> list[str]:
    """A regimen with less drug that is as good in every column."""
    for other in others:
        pairs = [(column.value(own), column.value(other)) for column in COLUMNS]
        doses = [(d, other.outcome.cumulative_dose[n]) for n, d in own.outcome.cumulative_dose.items()]
        as_good = all(theirs <= ours or not _differs(ours, theirs) for ours, theirs in pairs)
        if as_good and all(theirs <= ours for ours, theirs in doses) and any(_differs(*pair) for pair in doses):
            return [f"But {other.name} comes to as much with less drug: a weight on drug_use would find less."]
    return []
