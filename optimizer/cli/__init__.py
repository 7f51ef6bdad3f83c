"""The command `adose`. Each command reads, asks one function, and prints; what is heavy is imported inside."""

from __future__ import annotations

import typer

from optimizer.cli import analysis, patient, patients
from optimizer.status import DISCLAIMER

app = typer.Typer(
    name="adose",
    help=f"Search, judge and compare drug schedules against resistant tumors.\n\n{DISCLAIMER}",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
for room in (patient.app, patients.app, analysis.app):
    app.add_typer(room)
