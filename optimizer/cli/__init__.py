"""The command `adose`: each command is its settings and one function of them, imported when it is called.

A field of the settings is an option, and what was typed becomes the dataclass.
"""

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from optimizer import settings
from optimizer.cli import options
from optimizer.interrupt import INTERRUPTED
from optimizer.report.terminal import session
from optimizer.settings import Command
from optimizer.status import DISCLAIMER

app = typer.Typer(
    name="adose",
    help=f"Search, judge and compare drug schedules against resistant tumors.\n\n{DISCLAIMER}",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
# Arguments that are told by their place.
_PLACED = {
    "file": "FILE",
    "scenario": "FILE",
    "features": "FEATURES",
    "family": "KIND",
    "word": "NAME",
    "question": "QUESTION",
}
# Commands that take several files: what a later one needs and an earlier one built is there.
_SEVERAL = frozenset({"check", "optimize", "compare"})
# Commands that compute nothing, and load nothing that does.
_PLAIN = frozenset({"import"})
_ALL = "file out device json no_plot allow_code"
_SHARED = f"{_ALL} part engine cluster"
_SOME, _MAPPED = "file out json no_plot allow_code", f"{_SHARED} precision"
_STRIKES = 'scenarios/two_strikes.toml --regimen "second strike on day 2"'
_BISTABLE = "scenarios/bistable_general.toml"
_TRIAL, _CAF = "scenarios/competing_clones_trial.toml", "scenarios/crc_caf_cetuximab.toml"
_MAP = '--x "drug[drug].mean_concentration=0.2:2 mg/L:9" --y "decision.every=1:30 day:9"'
_SEEN = "--given data/visits/given.csv --observations data/visits/observations.csv"
_COURSE = {"out": "directory for the time course, if any"}
_TABLE = {"file": "table of measurements (CSV, Parquet)"}
_COURSES = {"file": "table of courses (CSV, Parquet): patient, day or date, psa, whether treatment is on"}
_RUN = {"file": "run directory of optimize"}
_WINDOW = {"out": "directory for window.json and a figure"}
_SBML = "tests/equations/sbml/BIOMD0000000825.xml --to greene.toml --control u --burden Tumor_Volume_V --time-unit day"
_FEATURES, _MODEL = {"file": "table of features (CSV, Parquet)"}, {"file": "directory of adose risk train"}
_RISK = "data/risk/training.csv --label resistant --clinical data/risk/training_clinical.csv --out runs/risk"
_NEW = "runs/risk data/risk/new.csv --clinical data/risk/new_clinical.csv --out runs/risk.csv"
_REPLAY = "data/courses.csv --model examples/courses/washout.toml --model examples/courses/two_speeds.toml"
_RATES = "data/crc_birth_death_rates.csv --kind rates --out fits/crc --against kraut2025_caf"

_COMMANDS: dict[str, dict[str, tuple[str, type, str, str, dict[str, str]]]] = {
    "Start with a scenario": {
        "new": ("scenario", options.NewSettings, "", "one_drug --to mine.toml", {}),
        "check": ("scenario", options.CheckSettings, "file json allow_code", _CAF, {}),
        "simulate": ("schedule", options.SimulateSettings, _SOME, f'{_CAF} --regimen "weekly 1 ug/mL"', _COURSE),
        "optimize": ("schedule", settings.OptimizeSettings, _ALL, _CAF, {}),
        "compare": ("schedule", settings.CompareSettings, _SOME, "scenarios/crc_caf_combination.toml", {}),
        "page": ("page", options.PageSettings, "", _CAF, {}),
        "export": ("export", options.ExportSettings, "file", "runs/crc_caf_cetuximab --to mrgsolve", _RUN),
    },
    "Explore it": {
        "window": ("explore", options.WindowSettings, "file out json allow_code", _BISTABLE, _WINDOW),
        "map": ("explore", options.MapSettings, _MAPPED, f"{_BISTABLE} {_MAP}", {}),
        "stochastic": ("stochastic", options.StochasticSettings, _SOME, _STRIKES, {}),
        "pareto": ("explore", options.ParetoSettings, _SOME, f"{_CAF} --terms burden,drug_use", {}),
    },
    "Many patients, or one over time": {
        "cohort": ("cohort", settings.CohortSettings, _SHARED, "scenarios/crc_caf_patients.toml --patients 40", {}),
        "trial": ("trial", settings.TrialSettings, _SHARED, f"{_TRIAL} --patients 4", {}),
        "replan": ("replan", settings.ReplanSettings, _ALL, f"{_TRIAL} {_SEEN}", {}),
        "train": ("train", settings.TrainSettings, _ALL, f"{_TRIAL} --steps 50", {}),
    },
    "From data": {
        "import": ("model", options.ImportSettings, "file", _SBML, {"file": "model file (SBML, .xml)"}),
        "risk train": ("risk", settings.RiskTrainSettings, "file out json", _RISK, _FEATURES),
        "risk apply": ("risk", options.RiskApplySettings, "file", _NEW, _MODEL),
        "replay": ("replay", settings.ReplaySettings, "file out json no_plot", _REPLAY, _COURSES),
        "calibrate": ("calibrate", settings.CalibrateSettings, "file json no_plot", _RATES, _TABLE),
    },
    "About the tool": {
        "list": ("scenario", options.ListSettings, "json", "policy threshold", {}),
        "schema": ("scenario", options.SchemaSettings, "", "--out scenario.schema.json", {}),
        "verify": ("explore", options.VerifySettings, "json", "", {}),
    },
}
"""Group -> command -> module here whose `run_COMMAND` does it, settings, what it takes of `Command`, a line that can be
typed as it stands in a clone of the project, and help of shared options that are something else here."""


_GROUPS = {"risk": "A patient's risk of resistance from features: train a model, apply it."}
_ABOVE: dict[str, typer.Typer] = {}


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"adose {version('adose')}")
        raise typer.Exit


@app.callback()
def _about(
    _: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """What holds for all commands."""


def _add(group: str, name: str, home: str, own_settings: type, shared: str, example: str, docs: dict[str, str]) -> None:
    """Add a command of `_COMMANDS`; the first sentence of its settings' docstring is its help."""
    own, common = _options(own_settings, {}), _options(Command, docs)
    common = {name: common[name] for name in f"{shared} quiet verbose".split()}
    if name in _SEVERAL:
        common["file"] = common["file"].replace(
            annotation=Annotated[list[Path], *common["file"].annotation.__metadata__]
        )
    first = [name for name in common if name in _PLACED]
    order = [*first, *own, *(name for name in common if name not in _PLACED)]

    def call(**given: Any) -> None:
        asked = {name: _value(common.get(name) or own[name], value) for name, value in given.items()}
        with session(given.get("device"), given.get("precision", "float64"), given["quiet"], name not in _PLAIN):
            mine = own_settings(**{name: asked[name] for name in own})
            run = getattr(import_module(f"optimizer.cli.{home}"), f"run_{name.replace(' ', '_')}")
            command = {name: asked[name] for name in common}
            worst = 0
            for one in _each(command):
                end = run(Command(**one), mine)
                worst = worst or end
                if end == INTERRUPTED:
                    break
            raise typer.Exit(worst)

    call.__signature__ = inspect.Signature([common.get(name) or own[name] for name in order])  # type: ignore[attr-defined]
    help_ = " ".join((own_settings.__doc__ or "").split("\n\n")[0].split())
    # A bracket would begin a style.
    shown = f"Example: adose {name} {example}".rstrip().replace("[", r"\[")
    *above, own_name = name.split()
    home_app = _above(above[0], group) if above else app
    home_app.command(own_name, help=help_, epilog=shown, rich_help_panel=group)(call)


def _each(command: dict[str, Any]) -> list[dict[str, Any]]:
    """What each of several files is asked, after all of them were looked at."""
    files = command.get("file")
    if not isinstance(files, tuple):
        return [command]
    if len(files) == 1:
        return [command | {"file": files[0]}]
    if command["json"]:
        raise settings.OptionError(f"--json: wanted one file, for one document; got {len(files)} files")
    names = [path.stem for path in files]
    if len(set(names)) < len(names):
        raise settings.OptionError(f"FILE: wanted files of different names; got {', '.join(map(str, files))}")
    from optimizer.scenario import Scenario

    for path in files:
        Scenario.load(path, command["allow_code"])
    out = command.get("out")
    return [command | {"file": path} | ({"out": out / path.stem} if out else {}) for path in files]


def _above(name: str, group: str) -> typer.Typer:
    """The command that others are parts of, such as `risk` of `risk train`."""
    if name not in _ABOVE:
        _ABOVE[name] = typer.Typer(no_args_is_help=True)
        app.add_typer(_ABOVE[name], name=name, help=_GROUPS[name], rich_help_panel=group)
    return _ABOVE[name]


def _options(own: type, docs: Mapping[str, str]) -> dict[str, inspect.Parameter]:
    """The parameters of a command, by the names of the fields that are options."""
    hints = get_type_hints(own)
    return {f.name: _parameter(f, hints[f.name], docs.get(f.name)) for f in fields(own) if "doc" in f.metadata}


def _parameter(own: Field, kind: Any, doc: str | None) -> inspect.Parameter:
    text = doc or own.metadata["doc"]
    default: Any = inspect.Parameter.empty if own.default is MISSING else own.default
    if own.name in _PLACED:
        info: Any = typer.Argument(help=text, metavar=_PLACED[own.name], show_default=False)
        default = inspect.Parameter.empty if own.name == "file" else default
    else:
        flag = own.metadata["flag"] or f"--{own.name.replace('_', '-')}"
        # Where nothing is the default, the help says what is done then.
        shown = not (default is None or default is False or default == ())
        info = typer.Option(flag, help=text, show_default=shown, **own.metadata["limits"])
    if kind == tuple[str, ...]:
        # Several that are given by default stand in one text, others are repeated.
        kind, default = (str, ",".join(default)) if default else (list[str], [])
    return inspect.Parameter(
        own.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
    )


def _value(parameter: inspect.Parameter, value: Any) -> Any:
    """What was typed as the dataclass has it."""
    several = isinstance(parameter.default, str) and "," in parameter.default
    if several:
        return tuple(part.strip() for part in value.split(","))
    return tuple(value) if isinstance(value, list) else value


for _group, _rows in _COMMANDS.items():
    for _name, _row in _rows.items():
        _add(_group, _name, *_row)
