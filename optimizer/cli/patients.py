"""Commands for many patients, and for those nobody knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from optimizer.cli.options import AllowCode, File, Json, NoPlot, Out, Risk, TimeUnit, Where
from optimizer.report.terminal import session

app = typer.Typer()


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
    device: Where = None,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Search the best schedule of each virtual patient, and the best single schedule for all."""
    with session(device):
        from optimizer.cli.cohort import run_cohort
        from optimizer.ensemble.risk import Risk as Measure

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
    device: Where = None,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Train a small network that doses by what is measured; judge it on patients it has not seen, beside rules."""
    with session(device):
        from optimizer.cli.train import run_train
        from optimizer.ensemble.risk import Risk as Measure

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
    time_unit: TimeUnit = None,
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
    device: Where = None,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Update what is believed of a patient by what was measured, and plan what is left."""
    with session(device):
        from optimizer.cli.replan import run_replan
        from optimizer.ensemble.risk import Risk as Measure

        options: dict[str, Any] = {"today": today, "posterior": posterior, "risk": Measure(risk.value), "alpha": alpha}
        options |= {"particles": particles, "plan_particles": plan_particles, "plan_temperature": plan_temperature}
        options |= {"restarts": restarts, "seed": seed, "time_unit": time_unit}
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
    device: Where = None,
    json: Json = False,
    no_plot: NoPlot = False,
    allow_code: AllowCode = False,
) -> None:
    """Try policies in closed loop on virtual patients whose numbers nobody knows; all of them see the same noise."""
    with session(device):
        from optimizer.cli.trial import run_trial_command
        from optimizer.ensemble.risk import Risk as Measure

        names = tuple(name.strip() for name in policies.split(","))
        options: dict[str, Any] = {"policies": names, "patients": patients, "truth": truth, "risk": Measure(risk.value)}
        options |= {"alpha": alpha, "particles": particles, "plan_particles": plan_particles, "restarts": restarts}
        options |= {"plan_iterations": plan_iterations, "plan_temperature": plan_temperature}
        options |= {"chunk": chunk, "seed": seed}
        raise typer.Exit(run_trial_command(file, out, options, sweep, json, not no_plot, allow_code))
