"""`import`: a scenario of a model file, written without loading JAX."""

from pathlib import Path

from optimizer.cli.options import ImportSettings
from optimizer.equations.model_file import imported_text
from optimizer.report.terminal import say
from optimizer.settings import Command, OptionError


def run_import(run: Command, asked: ImportSettings) -> int:
    """Write the scenario of a model file."""
    table = {key: getattr(asked, key) for key in ("burden", "resistant", "control", "time_unit", "experiment")}
    table["doses"] = _pairs("--dose", "STATE=DRUG", asked.dose)
    try:
        numbers = {k: float(v) for k, v in _pairs("--parameter", "NAME=NUMBER", asked.parameter).items()}
    except ValueError:
        raise OptionError(f"--parameter: wanted NAME=NUMBER; got {', '.join(asked.parameter)}") from None
    text = imported_text(run.file, table | {"parameters": numbers})
    write_new(asked.to, text)
    say(f"Written to {asked.to}: adose check says what it means.")
    return 0


def _pairs(option: str, form: str, listed: tuple[str, ...]) -> dict[str, str]:
    """What stands on both sides of =."""
    pairs = {one: other for one, _, other in (pair.partition("=") for pair in listed)}
    if not all(pairs.values()) or not all(pairs):
        raise OptionError(f"{option}: wanted {form}; got {', '.join(listed)}")
    return pairs


def write_new(place: Path, text: str) -> None:
    """Write a file that is not there yet."""
    try:
        with open(place, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        said = f"--to: wanted a new file in a place that can be written; got {place}: {error.strerror}"
        raise OptionError(said) from None
