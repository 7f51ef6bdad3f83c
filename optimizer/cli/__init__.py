"""The command `adose`. A command is its settings and one function of them; what is heavy is imported inside."""

from __future__ import annotations

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


@command(app, settings.OptimizeSettings, _ALL)
def optimize(run: Command, asked: settings.OptimizeSettings) -> int:
    from optimizer.cli.schedule import run_optimize

    return run_optimize(run, asked)


@command(
    app, settings.SimulateSettings, "file out json no_plot allow_code", out="directory for the time course, if any"
)
def simulate(run: Command, asked: settings.SimulateSettings) -> int:
    from optimizer.cli.schedule import run_simulate

    return run_simulate(run, asked)


@command(app, settings.CompareSettings, "file out json no_plot allow_code")
def compare(run: Command, _: settings.CompareSettings) -> int:
    from optimizer.cli.schedule import run_compare

    return run_compare(run)


@command(app, settings.CheckSettings, "file json allow_code")
def check(run: Command, _: settings.CheckSettings) -> int:
    from optimizer.cli.scenario import run_check

    return run_check(run)


@command(app, settings.SchemaSettings, "")
def schema(_: Command, asked: settings.SchemaSettings) -> int:
    from optimizer.cli.scenario import run_schema

    return run_schema(asked)


@command(app, settings.ListSettings, "json")
def list_(run: Command, _: settings.ListSettings) -> int:
    from optimizer.cli.scenario import run_list

    return run_list(run)


@command(app, settings.CalibrateSettings, "file json no_plot", file="table of measurements (CSV, Parquet)")
def calibrate(run: Command, asked: settings.CalibrateSettings) -> int:
    from optimizer.cli.calibrate import run_calibrate

    return run_calibrate(run, asked)


@command(app, settings.CohortSettings, _ALL)
def cohort(run: Command, asked: settings.CohortSettings) -> int:
    from optimizer.cli.cohort import run_cohort

    return run_cohort(run, asked)


@command(app, settings.TrainSettings, _ALL)
def train(run: Command, asked: settings.TrainSettings) -> int:
    from optimizer.cli.train import run_train

    return run_train(run, asked)


@command(app, settings.ReplanSettings, _ALL)
def replan(run: Command, asked: settings.ReplanSettings) -> int:
    from optimizer.cli.replan import run_replan

    return run_replan(run, asked)


@command(app, settings.TrialSettings, _ALL)
def trial(run: Command, asked: settings.TrialSettings) -> int:
    from optimizer.cli.trial import run_trial_command

    return run_trial_command(run, asked)


@command(app, settings.WindowSettings, "file out json allow_code", out="directory for window.json and a figure")
def window(run: Command, asked: settings.WindowSettings) -> int:
    from optimizer.cli.explore import run_window

    return run_window(run, asked)


@command(app, settings.MapSettings, "file out device precision json no_plot allow_code")
def map_(run: Command, asked: settings.MapSettings) -> int:
    from optimizer.cli.explore import run_map

    return run_map(run, asked)


@command(app, settings.ParetoSettings, "file out json no_plot allow_code")
def pareto(run: Command, asked: settings.ParetoSettings) -> int:
    from optimizer.cli.explore import run_pareto

    return run_pareto(run, asked)


@command(app, settings.VerifySettings, "json")
def verify(run: Command, _: settings.VerifySettings) -> int:
    from optimizer.cli.explore import run_verify

    return run_verify(run)
