"""Commands that look at a scenario from further away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from optimizer.cli.options import AllowCode, File, Json, NoPlot, Precision, TimeUnit, Where
from optimizer.report.terminal import session

app = typer.Typer()


@app.command()
def window(
    file: File,
    drug: Annotated[
        str | None, typer.Option(help="drug whose level is held; else the first inhibitor", show_default=False)
    ] = None,
    at: Annotated[
        list[str], typer.Option(help='level of another drug, "NAME=0.4 ug/mL"; none when left out', show_default=False)
    ] = [],  # noqa: B006 (Typer reads it, nobody writes to it)
    vary: Annotated[
        list[str],
        typer.Option(
            help='number to vary, "KEY=A,B,C": a key path or another drug; may be repeated', show_default=False
        ),
    ] = [],  # noqa: B006
    schedule: Annotated[Path | None, typer.Option(help="event table (CSV, Parquet)", show_default=False)] = None,
    time_unit: TimeUnit = None,
    out: Annotated[Path | None, typer.Option(help="directory for window.json and a figure", show_default=False)] = None,
    json: Json = False,
    allow_code: AllowCode = False,
) -> None:
    """Find the concentrations at which a held level makes each clone shrink or grow."""
    with session():
        from optimizer.cli.explore import run_window

        raise typer.Exit(run_window(file, drug, at, vary, schedule, time_unit, out, json, allow_code))


@app.command("map")
def map_(
    file: File,
    x: Annotated[str, typer.Option(help='number to the right, "KEY=from:to:count", ":log" behind it for even ratios')],
    y: Annotated[str, typer.Option(help='number upwards, such as "decision.every=1:30 day:40"')],
    at: Annotated[
        list[str], typer.Option(help='a further number to hold, "KEY=VALUE"; may be repeated', show_default=False)
    ] = [],  # noqa: B006
    regimen: Annotated[
        str | None,
        typer.Option(help="what the other drugs follow; else they are not given", show_default=False),
    ] = None,
    schedule: Annotated[Path | None, typer.Option(help="event table to mark", show_default=False)] = None,
    time_unit: TimeUnit = None,
    last: Annotated[str, typer.Option(help="days at the end of which mean and peak are taken")] = "30 day",
    show: Annotated[str, typer.Option(help="quantity that is drawn and printed")] = "mean_last",
    out: Annotated[Path | None, typer.Option(help="directory; runs/NAME-map when left out", show_default=False)] = None,
    device: Where = None,
    precision: Annotated[
        Precision, typer.Option(help="of the numbers; float32 is faster, to about 1e-4 in log10 of the cells")
    ] = Precision.FLOAT64,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Map what repeated doses come to over two numbers of the scenario or the schedule; find the best y for each x."""
    with session(device, precision):
        from optimizer.cli.explore import run_map

        options: dict[str, Any] = {"x": x, "y": y, "at": at, "regimen": regimen, "last": last}
        raise typer.Exit(run_map(file, options, schedule, time_unit, show, out, json, not no_plot, allow_code))


@app.command()
def pareto(
    file: File,
    terms: Annotated[str, typer.Option(help='two terms of an objective, such as "burden,drug_use"')],
    points: Annotated[int, typer.Option(min=3, max=200, help="of the front, both ends included")] = 9,
    restarts: Annotated[int | None, typer.Option(min=1, max=4096, help="of the ends; else the file's")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of the starting points; else the file's")] = None,
    out: Annotated[Path | None, typer.Option(help="directory; else runs/NAME-pareto", show_default=False)] = None,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Trace the trade-off between two terms: the best of one for each value of the other, the regimens beside it."""
    with session():
        from optimizer.cli.explore import run_pareto

        options: dict[str, Any] = {"points": points, "restarts": restarts, "seed": seed}
        raise typer.Exit(run_pareto(file, terms, options, out, json, not no_plot, allow_code))


@app.command()
def verify(json: Json = False) -> None:
    """Recompute published numbers and simulate every shipped scenario; exit code 1 when one differs."""
    with session():
        from optimizer.cli.explore import run_verify

        raise typer.Exit(run_verify(json))
