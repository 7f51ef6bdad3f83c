"""The doses of a run for other tools: an event table of NONMEM, R code of mrgsolve and rxode2, and a calendar."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from optimizer.files.event_tables import csv_of
from optimizer.files.events import DoseEvent, expand
from optimizer.status import DISCLAIMER

NONMEM = ("ID", "TIME", "EVID", "CMT", "AMT", "RATE", "II", "ADDL", "MDV")
NURSE = ("date", "time", "until", "drug", "dose", "unit", "rate", "rate unit")
_FOLD = 73


def nonmem(events: Sequence[DoseEvent], units: Mapping[str, str]) -> str:
    """Numbers alone, times in days; CMT is the number of the drug among `units`."""
    rows = [(e.id, e.time, 1, _cmt(e, units), e.amount, e.rate, e.interval, e.additional, 1) for e in events]
    return csv_of(NONMEM, rows).decode()


def mrgsolve(events: Sequence[DoseEvent], units: Mapping[str, str]) -> str:
    """`c()` of one `ev()` an event, as in https://rdrr.io/pkg/mrgsolve/man/ev.html."""
    lines = ",\n".join(f"  ev({_arguments(event, units)})" for event in events)
    return f"{_remark(units)}library(mrgsolve)\n\ndoses <- c(\n{lines}\n)\n"


def rxode2(events: Sequence[DoseEvent], units: Mapping[str, str]) -> str:
    """`et()` piped from event to event, as in https://rdrr.io/cran/rxode2et/man/et.html."""
    lines = " |>\n".join(['et(timeUnits = "day")', *(f"  et({_arguments(event, units)})" for event in events)])
    return f"{_remark(units)}library(rxode2)\n\ndoses <- {lines}\n"


def calendar(events: Sequence[DoseEvent], units: Mapping[str, str], start: date) -> str:
    """iCalendar (RFC 5545): one entry a dose, local time, day 0 from midnight on; X-ADOSE has the exact numbers."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//adose//schedule//EN"]
    for i, event in enumerate(expand(events)):
        begin, until = _times(event, start)
        lines += ["BEGIN:VEVENT", f"UID:{i}-{begin:%Y%m%dT%H%M%S}@adose", f"DTSTAMP:{start:%Y%m%d}T000000Z"]
        lines += [f"DTSTART:{begin:%Y%m%dT%H%M%S}", f"DTEND:{until:%Y%m%dT%H%M%S}"]
        said = re.sub(r"[\\;,]", r"\\\g<0>", _said(event, units))
        lines += [f"SUMMARY:{said}", f"DESCRIPTION:{DISCLAIMER}"]
        lines += [f"X-ADOSE:{event.time!r} {event.amount!r} {event.rate!r} {_cmt(event, units)}", "END:VEVENT"]
    return "".join(f"{folded}\r\n" for line in [*lines, "END:VCALENDAR"] for folded in _folded(line))


def sheet(events: Sequence[DoseEvent], units: Mapping[str, str], start: date) -> str:
    """The same as a table for whoever gives the doses: date, time, and until when an infusion runs."""
    rows = []
    for event in expand(events):
        begin, until = _times(event, start)
        rate = (f"{event.rate:.6g}", f"{units[event.drug]}/day") if event.rate else ("", "")
        end = f"{until:%Y-%m-%d %H:%M}" if event.rate else ""
        dose = f"{event.amount:.6g}", units[event.drug]
        rows.append((f"{begin:%Y-%m-%d}", f"{begin:%H:%M}", end, event.drug, *dose, *rate))
    return csv_of(NURSE, rows).decode()


def _cmt(event: DoseEvent, units: Mapping[str, str]) -> int:
    return list(units).index(event.drug) + 1


def _arguments(event: DoseEvent, units: Mapping[str, str]) -> str:
    """Arguments that `ev()` and `et()` share; what is left out is zero in both."""
    own = {"time": event.time, "amt": event.amount, "rate": event.rate, "cmt": _cmt(event, units)}
    own |= {"ii": event.interval, "addl": event.additional}
    return ", ".join(f"{name} = {value!r}" for name, value in own.items() if value or name == "time")


def _remark(units: Mapping[str, str]) -> str:
    drugs = ", ".join(f"{i} {drug} [{unit}]" for i, (drug, unit) in enumerate(units.items(), 1))
    return f"# {DISCLAIMER}\n# Times in days; cmt: {drugs}\n"


def _times(event: DoseEvent, start: date) -> tuple[datetime, datetime]:
    """When it begins and ends, to the second."""
    zero = datetime(start.year, start.month, start.day)
    length = event.amount / event.rate if event.rate else 0.0
    begin, until = (zero + timedelta(seconds=round(86400.0 * day)) for day in (event.time, event.time + length))
    return begin, until


def _said(event: DoseEvent, units: Mapping[str, str]) -> str:
    unit = units[event.drug]
    rate = f" at {event.rate:.6g} {unit}/day" if event.rate else ""
    return f"{event.drug} {event.amount:.6g} {unit}{rate}"


def _folded(line: str) -> list[str]:
    """A line of at most 75 octets, gone on after a blank."""
    parts, rest = [], line.encode()
    while len(rest) > _FOLD:
        cut = _FOLD
        while rest[cut] & 0xC0 == 0x80:  # inside a character
            cut -= 1
        parts.append(rest[:cut].decode())
        rest = rest[cut:]
    return [part if i == 0 else f" {part}" for i, part in enumerate([*parts, rest.decode()])]
