"""The command `adose`. Each command reads, asks one function, and prints; what is heavy is imported inside."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from optimizer.console import USAGE, say, session, table, tree
from optimizer.status import DISCLAIMER

app = typer.Typer(
    name="adose",
    help=f"Search, judge and compare drug schedules against resistant tumors.\n\n{DISCLAIMER}",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

File = Annotated[Path, typer.Argument(help="scenario file (TOML)", metavar="FILE", show_default=False)]
Out = Annotated[Path | None, typer.Option(help="run directory; runs/NAME when left out", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document on stdout, and nothing else there")]
NoPlot = Annotated[bool, typer.Option("--no-plot", help="draw no figures")]
AllowCode = Annotated[bool, typer.Option("--allow-code", help="run Python files that the scenario names")]


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


class Risk(StrEnum):
    """How the objectives of many patients are made one."""

    MEAN = "mean"
    CVAR = "cvar"
    WORST = "worst"


@app.command()
def optimize(
    file: File,
    out: Out = None,
    restarts: Annotated[int | None, typer.Option(min=1, max=4096, help="starting points; else the file's")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of the starting points; else the file's")] = None,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Search the best schedule, audit it, compare it, and write the run directory."""
    with session():
        from optimizer.commands import run_optimize

        raise typer.Exit(run_optimize(file, out, restarts, seed, json, not no_plot, allow_code))


@app.command()
def simulate(
    file: File,
    schedule: Annotated[Path | None, typer.Option(help="event table (CSV, Parquet)", show_default=False)] = None,
    regimen: Annotated[str | None, typer.Option(help="name of a regimen of the scenario", show_default=False)] = None,
    json: Json = False,
    allow_code: AllowCode = False,
) -> None:
    """Simulate a schedule or a regimen under the scenario's objective and constraints."""
    if (schedule is None) == (regimen is None):
        raise typer.BadParameter("wanted either --schedule or --regimen", param_hint="--schedule")
    with session():
        from optimizer.commands import run_simulate

        raise typer.Exit(run_simulate(file, schedule, regimen, json, allow_code))


@app.command()
def compare(
    file: File, out: Out = None, json: Json = False, no_plot: NoPlot = False, allow_code: AllowCode = False
) -> None:
    """Compare the scenario's regimens, the best constant dose, no treatment and the largest doses."""
    with session():
        from optimizer.commands import run_compare

        raise typer.Exit(run_compare(file, out, json, not no_plot, allow_code))


@app.command()
def check(file: File, json: Json = False, allow_code: AllowCode = False) -> None:
    """Print the resolved scenario: what the file means, every number with its unit."""
    with session():
        from optimizer.report import to_text
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
        from optimizer.commands import catalog
        from optimizer.report import to_text

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
        from optimizer.commands import run_calibrate

        options: dict[str, Any] = {"bayes": bayes, "against": against, "starts": starts, "seed": seed}
        raise typer.Exit(run_calibrate(file, kind.value, out, method.value, options, json, not no_plot))


@app.command()
def cohort(
    file: File,
    patients: Annotated[int | None, typer.Option(min=1, help="how many; else all of a table, or 100")] = None,
    posterior: Annotated[
        Path | None, typer.Option(help="draws by adose calibrate (NetCDF)", show_default=False)
    ] = None,
    risk: Annotated[Risk, typer.Option(help="what one schedule for all makes small")] = Risk.MEAN,
    alpha: Annotated[float, typer.Option(help="cvar is the mean of the worst share 1 - alpha")] = 0.9,
    restarts: Annotated[int, typer.Option(min=1, max=64, help="starting points of each patient")] = 3,
    chunk: Annotated[int, typer.Option(min=1, help="patients to a file; a run goes on after the last whole one")] = 128,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="of the patients; else the file's")] = None,
    out: Out = None,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Search the best schedule of each virtual patient, and the best single schedule for all."""
    with session():
        from optimizer.cohort.risk import Risk as Measure
        from optimizer.commands import run_cohort

        options: dict[str, Any] = {"patients": patients, "posterior": posterior, "risk": Measure(risk.value)}
        options |= {"alpha": alpha, "restarts": restarts, "chunk": chunk, "seed": seed}
        raise typer.Exit(run_cohort(file, out, options, json, not no_plot, allow_code))


@app.command()
def train(
    file: File,
    patients: Annotated[int | None, typer.Option(min=1, help="to train on; else 64, or half of a table")] = None,
    held_out: Annotated[int | None, typer.Option(min=1, help="to judge on; else as many, or the rest")] = None,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="of the training, each on all patients")] = 1000,
    width: Annotated[int, typer.Option(min=1, max=64, help="neurons of each of the two hidden layers")] = 16,
    risk: Annotated[Risk, typer.Option(help="what is made small over the patients")] = Risk.MEAN,
    alpha: Annotated[float, typer.Option(help="cvar is the mean of the worst share 1 - alpha")] = 0.9,
    noise: Annotated[float, typer.Option(help="sd of the logarithm of a measured burden")] = 0.0,
    delay: Annotated[int, typer.Option(min=0, max=1000, help="visits by which measurements are late")] = 0,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="of patients and weights; else the file's")
    ] = None,
    out: Out = None,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Train a small network that doses by what is measured; judge it on patients it has not seen, beside rules."""
    with session():
        from optimizer.cohort.risk import Risk as Measure
        from optimizer.train_commands import run_train

        options: dict[str, Any] = {"patients": patients, "held_out": held_out, "steps": steps, "hidden": width}
        options |= {"risk": Measure(risk.value), "alpha": alpha, "noise": noise, "delay": delay, "seed": seed}
        raise typer.Exit(run_train(file, out, options, json, not no_plot, allow_code))


@app.command()
def replan(
    file: File,
    given: Annotated[
        Path | None, typer.Option(help="event table: doses given, and the schedule being followed", show_default=False)
    ] = None,
    observations: Annotated[
        Path | None, typer.Option(help="what was measured (CSV: day and quantities)", show_default=False)
    ] = None,
    today: Annotated[
        float | None, typer.Option(help="day from which to plan; else the last measurement's", show_default=False)
    ] = None,
    posterior: Annotated[
        Path | None, typer.Option(help="draws by adose calibrate (NetCDF), else [cohort]", show_default=False)
    ] = None,
    risk: Annotated[Risk, typer.Option(help="what is made small over all that is believed")] = Risk.MEAN,
    alpha: Annotated[float, typer.Option(min=0.0, max=0.999, help="cvar: mean of the worst share 1 - alpha")] = 0.9,
    particles: Annotated[int, typer.Option(min=16, max=100_000, help="of the belief")] = 512,
    plan_particles: Annotated[int, typer.Option(min=1, max=4096, help="of them that are planned for")] = 32,
    plan_temperature: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="of terms that are not smooth; 0 is as sharp as they are reported")
    ] = 0.15,
    restarts: Annotated[int | None, typer.Option(min=1, max=4096, help="starting points; else the file's")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="of the particles; else the file's")] = None,
    out: Out = None,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Update what is believed of a patient by what was measured, and plan what is left."""
    with session():
        from optimizer.cohort.risk import Risk as Measure
        from optimizer.replan_commands import run_replan

        options: dict[str, Any] = {"today": today, "posterior": posterior, "risk": Measure(risk.value), "alpha": alpha}
        options |= {"particles": particles, "plan_particles": plan_particles, "plan_temperature": plan_temperature}
        options |= {"restarts": restarts, "seed": seed}
        raise typer.Exit(run_replan(file, given, observations, out, options, json, not no_plot, allow_code))


@app.command()
def trial(
    file: File,
    policies: Annotated[
        str, typer.Option(help="names of regimens, replan, AT50, continuous, none; with commas between")
    ] = "replan,AT50,continuous",
    patients: Annotated[int | None, typer.Option(min=1, help="how many; else all of a table, or 100")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="scenario of the hidden patients; else FILE's own", show_default=False)
    ] = None,
    sweep: Annotated[
        list[str],
        typer.Option(
            help='assays to try: "visit_every=7,14" (days), "noise=0,0.1", "delay=0,7", "missing=0,0.2"; repeatable',
            show_default=False,
        ),
    ] = [],  # noqa: B006
    risk: Annotated[Risk, typer.Option(help="what replan makes small over all that is believed")] = Risk.MEAN,
    alpha: Annotated[float, typer.Option(help="cvar is the mean of the worst share 1 - alpha")] = 0.9,
    particles: Annotated[int, typer.Option(min=8, max=100_000, help="of a belief")] = 128,
    plan_particles: Annotated[int, typer.Option(min=1, max=4096, help="of them that are planned for")] = 16,
    plan_iterations: Annotated[int, typer.Option(min=1, max=400, help="of the search at a visit, at most")] = 15,
    plan_temperature: Annotated[
        float, typer.Option(help="sharpness of progression for a plan, 0.001 to 1; less is nearer to the edge")
    ] = 0.15,
    restarts: Annotated[
        int, typer.Option(min=0, max=64, help="starting points of who knows the patient; 0: nobody does")
    ] = 2,
    chunk: Annotated[int, typer.Option(min=1, help="patients to a file; a run goes on after the last whole one")] = 16,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="of patients and noise; else the file's")
    ] = None,
    out: Out = None,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Try policies in closed loop on virtual patients whose numbers nobody knows; all of them see the same noise."""
    with session():
        from optimizer.cohort.risk import Risk as Measure
        from optimizer.trial_commands import run_trial_command

        names = tuple(name.strip() for name in policies.split(","))
        options: dict[str, Any] = {"policies": names, "patients": patients, "truth": truth, "risk": Measure(risk.value)}
        options |= {"alpha": alpha, "particles": particles, "plan_particles": plan_particles, "restarts": restarts}
        options |= {"plan_iterations": plan_iterations, "plan_temperature": plan_temperature}
        options |= {"chunk": chunk, "seed": seed}
        raise typer.Exit(run_trial_command(file, out, options, sweep, json, not no_plot, allow_code))


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
    out: Annotated[Path | None, typer.Option(help="directory for window.json and a figure", show_default=False)] = None,
    json: Json = False,
    allow_code: AllowCode = False,
) -> None:
    """Find the concentrations at which a held level makes each clone shrink or grow."""
    with session():
        from optimizer.analysis_commands import run_window

        raise typer.Exit(run_window(file, drug, at, vary, schedule, out, json, allow_code))


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
    last: Annotated[str, typer.Option(help="days at the end of which mean and peak are taken")] = "30 day",
    show: Annotated[str, typer.Option(help="quantity that is drawn and printed")] = "mean_last",
    out: Annotated[Path | None, typer.Option(help="directory; runs/NAME-map when left out", show_default=False)] = None,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Map what repeated doses come to over two numbers of the scenario or the schedule; find the best y for each x."""
    with session():
        from optimizer.analysis_commands import run_map

        options: dict[str, Any] = {"x": x, "y": y, "at": at, "regimen": regimen, "last": last}
        raise typer.Exit(run_map(file, options, schedule, show, out, json, not no_plot, allow_code))


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
        from optimizer.analysis_commands import run_pareto

        options: dict[str, Any] = {"points": points, "restarts": restarts, "seed": seed}
        raise typer.Exit(run_pareto(file, terms, options, out, json, not no_plot, allow_code))


@app.command()
def verify(json: Json = False) -> None:
    """Recompute published numbers and simulate every shipped scenario; exit code 1 when one differs."""
    with session():
        from optimizer.analysis_commands import run_verify

        raise typer.Exit(run_verify(json))
