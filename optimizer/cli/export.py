"""`export`: the schedule of a run for another tool."""

import json
from datetime import date

import typer

from optimizer.cli.options import ExportSettings
from optimizer.files import export
from optimizer.files.event_tables import read_events
from optimizer.files.faults import DataError
from optimizer.files.run_directory import write_whole
from optimizer.report.document import MARKER
from optimizer.report.terminal import say
from optimizer.settings import Command, OptionError
from optimizer.status import DISCLAIMER


def run_export(run: Command, asked: ExportSettings) -> int:
    """Read the doses of a run directory, and print or write them in another form."""
    place = run.file / MARKER
    try:
        units = json.loads(place.read_text(encoding="utf-8"))["units"]["cumulative_dose"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{run.file}: wanted a run directory that adose optimize or simulate wrote; got one without {MARKER}"
        ) from None
    events = read_events(run.file / "schedule.csv", list(units))
    if asked.to != "calendar":
        text = getattr(export, asked.to)(events, units)
    else:
        try:
            start = date.fromisoformat(asked.start or "")
        except ValueError:
            got = asked.start or "none"
            raise OptionError(f"--start: wanted the date of day 0, as in 2027-01-04; got {got}") from None
        is_sheet = asked.out is not None and asked.out.suffix.lower() == ".csv"
        text = (export.sheet if is_sheet else export.calendar)(events, units, start)
    if asked.out is None:
        typer.echo(text, nl=False)
        return 0
    write_whole(asked.out, text.encode())
    say(f"{len(events)} events written to {asked.out}. {DISCLAIMER}")
    return 0
