"""What the command `calibrate` does once its options are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from optimizer.report.document import to_text
from optimizer.report.terminal import number, say, table
from optimizer.status import DISCLAIMER


def run_calibrate(
    file: Path, kind: str, out: Path, method: str, options: dict[str, Any], json: bool, plot: bool
) -> int:
    """Fit, write and print."""
    from optimizer.analysis.consequence import best_schedule
    from optimizer.calibrate import calibrate

    draw = None
    if plot:
        from optimizer.report.plots.calibration import save_figures as draw
    report = calibrate(file, kind, out, method, **options, schedule_consequence=best_schedule, draw=draw)
    document = report.to_json()
    if json:
        typer.echo(to_text(document), nl=False)
    else:
        rows = []
        for name, entry in document["parameters"].items():
            low, high = entry["interval"]
            rows.append([name, number(entry["value"]), _end(low), _end(high), entry["unit"]])
        table(f"{file.name}: {kind}", ["parameter", "value", "from", "to", "unit"], rows)
        for warning in document["warnings"]:
            typer.echo(f"warning: {warning}")
    say(f"Written to {out}. {DISCLAIMER}")
    return 0


def _end(value: float | None) -> str:
    return "no bound" if value is None else number(value)
