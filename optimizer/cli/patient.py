"""Commands for one patient: schedules, scenario files, and parameters from measurements."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from optimizer.cli.options import AllowCode, File, Json, NoPlot, Out, TimeUnit, Where
from optimizer.report.terminal import USAGE, say, session, table, tree

app = typer.Typer()


class Kind(StrEnum):
    """Kinds of measurements."""

    RATES = "rates"
    SECRETION = "secretion"
    PLATE = "plate"
    IC50 = "ic50"
    TIMESERIES = "timeseries"


class Method(StrEnum):
    """Ways to fit rates."""

    DIRECT = "direct"
    TWO_STAGE = "two-stage"


@app.command()
def optimize(
    file: File,
    out: Out = None,
    restarts: Annotated[int | None, typer.Option(min=1, max=4096, help="starting points; else the file's")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of the starting points; else the file's")] = None,
    device: Where = None,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Search the best schedule, audit it, compare it, and write the run directory."""
    with session(device):
        from optimizer.cli.schedule import run_optimize

        raise typer.Exit(run_optimize(file, out, restarts, seed, json, not no_plot, allow_code))


@app.command()
def simulate(
    file: File,
    schedule: Annotated[Path | None, typer.Option(help="event table (CSV, Parquet)", show_default=False)] = None,
    regimen: Annotated[str | None, typer.Option(help="name of a regimen of the scenario", show_default=False)] = None,
    time_unit: TimeUnit = None,
    out: Annotated[
        Path | None, typer.Option(help="directory for the time course (NetCDF, CSV, figure)", show_default=False)
    ] = None,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Simulate a schedule or a regimen under the scenario's objective and constraints."""
    if (schedule is None) == (regimen is None):
        raise typer.BadParameter("wanted either --schedule or --regimen", param_hint="--schedule")
    with session():
        from optimizer.cli.schedule import run_simulate

        raise typer.Exit(run_simulate(file, schedule, regimen, time_unit, out, json, not no_plot, allow_code))


@app.command()
def compare(
    file: File, out: Out = None, json: Json = False, no_plot: NoPlot = False, allow_code: AllowCode = False
) -> None:
    """Compare the scenario's regimens, the best constant dose, no treatment and the largest doses."""
    with session():
        from optimizer.cli.schedule import run_compare

        raise typer.Exit(run_compare(file, out, json, not no_plot, allow_code))


@app.command()
def check(file: File, json: Json = False, allow_code: AllowCode = False) -> None:
    """Print the resolved scenario: what the file means, every number with its unit."""
    with session():
        from optimizer.report.document import to_text
        from optimizer.scenario import Scenario

        scenario = Scenario.load(file, allow_code)
        scenario.problem()
        resolved = scenario.resolved()
        typer.echo(to_text(resolved) if json else "\n".join(tree(resolved)), nl=not json)


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(help="file to write; else stdout", show_default=False)] = None,
) -> None:
    """Print the JSON Schema of scenario files, for editors."""
    with session():
        from optimizer.scenario.json_schema import schema_text

        text = schema_text()
        if out is None:
            typer.echo(text, nl=False)
            return
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            say(f"{out}: wanted a place that can be written; got: {error.strerror}")
            raise typer.Exit(USAGE) from None


@app.command("list")
def list_(json: Json = False) -> None:
    """List models, presets, drugs' kinetics and roles, constraints, objectives, policies and units."""
    with session():
        from optimizer.cli.schedule import catalog
        from optimizer.report.document import to_text

        found = catalog()
        if json:
            typer.echo(to_text(found), nl=False)
            return
        for family, kinds in found.items():
            table(family, ["name", "meaning"], [[name, meaning] for name, meaning in kinds.items()])


@app.command()
def calibrate(
    file: Annotated[Path, typer.Argument(help="table of measurements (CSV, Parquet)", metavar="FILE")],
    kind: Annotated[Kind, typer.Option(help="what the table holds")],
    out: Annotated[Path, typer.Option(help="directory for the fit")],
    method: Annotated[Method, typer.Option(help="how to fit rates")] = Method.DIRECT,
    bayes: Annotated[bool, typer.Option("--bayes", help="sample the posterior by NUTS")] = False,
    against: Annotated[str | None, typer.Option(help="preset to score on the data", show_default=False)] = None,
    starts: Annotated[int, typer.Option(min=1, help="starting points of the fit")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="of the starting points and draws")] = 0,
    json: Json = False,
    no_plot: NoPlot = False,
) -> None:
    """Fit parameters with their uncertainty to a table of measurements."""
    with session():
        from optimizer.cli.calibrate import run_calibrate

        options: dict[str, Any] = {"bayes": bayes, "against": against, "starts": starts, "seed": seed}
        raise typer.Exit(run_calibrate(file, kind.value, out, method.value, options, json, not no_plot))
