"""The command `adose`. A command is its settings and one function of them; what is heavy is imported inside."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer import settings
from optimizer.cli.command import command
from optimizer.settings import Command
from optimizer.status import DISCLAIMER

app = typer.Typer(
    name="adose",
    help=f"Search, judge and compare drug schedules against resistant tumors.\n\n{DISCLAIMER}",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
_ALL = "file out device json no_plot allow_code"
_START, _EXPLORE = "Start with a scenario", "Explore it"
_PATIENTS, _DATA, _ABOUT = "Many patients, or one over time", "From data", "About the tool"


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"adose {version('adose')}")
        raise typer.Exit


@app.callback()
def _about(
    _: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """What holds for all commands."""


@command(app, settings.CheckSettings, "file json allow_code", _START, "scenarios/crc_caf_cetuximab.toml")
def check(run: Command, _: settings.CheckSettings) -> int:
    from optimizer.cli.scenario import run_check

    return run_check(run)


@command(
    app,
    settings.SimulateSettings,
    "file out json no_plot allow_code",
    _START,
    'scenarios/crc_caf_cetuximab.toml --regimen "weekly 1 ug/mL"',
    out="directory for the time course, if any",
)
def simulate(run: Command, asked: settings.SimulateSettings) -> int:
    from optimizer.cli.schedule import run_simulate

    return run_simulate(run, asked)


@command(app, settings.OptimizeSettings, _ALL, _START, "scenarios/crc_caf_cetuximab.toml")
def optimize(run: Command, asked: settings.OptimizeSettings) -> int:
    from optimizer.cli.schedule import run_optimize

    return run_optimize(run, asked)


@command(
    app, settings.CompareSettings, "file out json no_plot allow_code", _START, "scenarios/crc_caf_combination.toml"
)
def compare(run: Command, _: settings.CompareSettings) -> int:
    from optimizer.cli.schedule import run_compare

    return run_compare(run)


@command(
    app,
    settings.WindowSettings,
    "file out json allow_code",
    _EXPLORE,
    "scenarios/bistable_general.toml",
    out="directory for window.json and a figure",
)
def window(run: Command, asked: settings.WindowSettings) -> int:
    from optimizer.cli.explore import run_window

    return run_window(run, asked)


@command(
    app,
    settings.MapSettings,
    "file out device precision json no_plot allow_code",
    _EXPLORE,
    'scenarios/bistable_general.toml --x "drug[drug].mean_concentration=0.2:2 mg/L:9" --y "decision.every=1:30 day:9"',
)
def map_(run: Command, asked: settings.MapSettings) -> int:
    from optimizer.cli.explore import run_map

    return run_map(run, asked)


@command(
    app,
    settings.ParetoSettings,
    "file out json no_plot allow_code",
    _EXPLORE,
    "scenarios/crc_caf_cetuximab.toml --terms burden,drug_use",
)
def pareto(run: Command, asked: settings.ParetoSettings) -> int:
    from optimizer.cli.explore import run_pareto

    return run_pareto(run, asked)


@command(app, settings.CohortSettings, _ALL, _PATIENTS, "scenarios/crc_caf_patients.toml --patients 40")
def cohort(run: Command, asked: settings.CohortSettings) -> int:
    from optimizer.cli.cohort import run_cohort

    return run_cohort(run, asked)


@command(app, settings.TrialSettings, _ALL, _PATIENTS, "scenarios/competing_clones_trial.toml --patients 20")
def trial(run: Command, asked: settings.TrialSettings) -> int:
    from optimizer.cli.trial import run_trial_command

    return run_trial_command(run, asked)


@command(
    app,
    settings.ReplanSettings,
    _ALL,
    _PATIENTS,
    "scenarios/competing_clones_trial.toml --given data/visits/given.csv --observations data/visits/observations.csv",
)
def replan(run: Command, asked: settings.ReplanSettings) -> int:
    from optimizer.cli.replan import run_replan

    return run_replan(run, asked)


@command(app, settings.TrainSettings, _ALL, _PATIENTS, "scenarios/competing_clones_trial.toml")
def train(run: Command, asked: settings.TrainSettings) -> int:
    from optimizer.cli.train import run_train

    return run_train(run, asked)


@command(
    app,
    settings.CalibrateSettings,
    "file json no_plot",
    _DATA,
    "data/crc_birth_death_rates.csv --kind rates --out fits/crc --against kraut2025_caf",
    file="table of measurements (CSV, Parquet)",
)
def calibrate(run: Command, asked: settings.CalibrateSettings) -> int:
    from optimizer.cli.calibrate import run_calibrate

    return run_calibrate(run, asked)


@command(app, settings.ListSettings, "json", _ABOUT, "policy threshold")
def list_(run: Command, asked: settings.ListSettings) -> int:
    from optimizer.cli.scenario import run_list

    return run_list(run, asked)


@command(app, settings.SchemaSettings, "", _ABOUT, "--out scenario.schema.json")
def schema(_: Command, asked: settings.SchemaSettings) -> int:
    from optimizer.cli.scenario import run_schema

    return run_schema(asked)


@command(app, settings.VerifySettings, "json", _ABOUT, "")
def verify(run: Command, _: settings.VerifySettings) -> int:
    from optimizer.cli.explore import run_verify

    return run_verify(run)
