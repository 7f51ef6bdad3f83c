"""`calibrate`: parameters from measurements."""

from __future__ import annotations

from typing import Any

import typer

from optimizer.report import plots
from optimizer.report.document import to_text
from optimizer.report.terminal import number, progress, say_written, table, then_put
from optimizer.search.multistart import Progress
from optimizer.settings import CalibrateSettings, Command


def run_calibrate(run: Command, asked: CalibrateSettings) -> int:
    """Fit, write and print."""
    from optimizer.analysis.consequence import best_schedule
    from optimizer.calibrate.run import fit_table, write_report

    draw = None if run.no_plot else plots.save_figures
    with progress() as tell:
        how: dict[str, Any] = vars(asked) | {"progress": lambda what: tell(Progress(what, 0, 0, None))}
        report = fit_table(run.file, **how, schedule_consequence=best_schedule)
    document = report.to_json()
    with then_put(run.json, to_text(document), lambda: _print(f"{run.file.name}: {asked.kind}", document)):
        write_report(report, asked.out, draw)
    say_written(asked.out)
    return 0


def _print(title: str, document: dict[str, Any]) -> None:
    rows = []
    for name, entry in document["parameters"].items():
        low, high = entry["interval"]
        rows.append([name, number(entry["value"]), _end(low), _end(high), entry["unit"]])
    table(title, ["parameter", "value", "from", "to", "unit"], rows)
    for warning in document["warnings"]:
        typer.echo(f"warning: {warning}")


def _end(value: float | None) -> str:
    return "no bound" if value is None else number(value)
