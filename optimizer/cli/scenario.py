"""`new`, `check`, `schema` and `list`: what a scenario file says, and what it may say."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from optimizer.cli.model import write_new
from optimizer.cli.options import CheckSettings, ListSettings, NewSettings, SchemaSettings
from optimizer.files.run_directory import to_text
from optimizer.report.terminal import USAGE, put, say, table
from optimizer.scenario import Scenario
from optimizer.scenario.faults import one_of
from optimizer.scenario.files import shipped
from optimizer.scenario.resolved import in_words, marked
from optimizer.settings import Command, OptionError

if TYPE_CHECKING:
    from optimizer.scenario.words import Key


def run_new(_: Command, asked: NewSettings) -> int:
    """Write the template of a question, or show the questions."""
    templates = {path.stem: path for path in shipped("templates")}
    if asked.question is None:
        table("adose new QUESTION", ["QUESTION", "meaning"], [[n, _opening(p)] for n, p in templates.items()])
        return 0
    if asked.question not in templates:
        raise OptionError(f"QUESTION: {one_of(list(templates), asked.question)}")
    place = asked.to or Path(f"{asked.question}.toml")
    # The first line names the schema, which lies beside the template alone.
    write_new(place, templates[asked.question].read_text(encoding="utf-8").partition("\n")[2])
    say(f"Written to {place}: put your numbers in; adose check {place} says what it means.")
    return 0


def _opening(template: Path) -> str:
    """The first sentence of a template's comment."""
    lines = [line[1:].strip() for line in template.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    return " ".join(lines).partition(".")[0]


def run_check(run: Command, _: CheckSettings) -> int:
    """Print what a scenario file means."""
    scenario = Scenario.load(run.file, run.allow_code)
    scenario.problem()
    resolved = scenario.resolved()

    def show() -> None:
        typer.echo(f"{in_words(resolved)}\n")
        for note in resolved["notes"]:
            typer.echo(f"note: {note}\n")
        tables = marked(resolved["scenario"], scenario.tables)
        typer.echo("\n".join(_tree(resolved | {"scenario": tables})))

    put(run.json, to_text(resolved), show)
    return 0


def run_schema(_: Command, asked: SchemaSettings) -> int:
    """Print or write the schema of scenario files."""
    from optimizer.scenario.words import schema_text

    if asked.out is None:
        typer.echo(schema_text(), nl=False)
        return 0
    try:
        asked.out.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        say(f"{asked.out}: wanted a place that can be written; got: {error.strerror}")
        return USAGE
    return 0


def run_list(run: Command, asked: ListSettings) -> int:
    """Print the words of a scenario, of one family, or the keys of one word."""
    from optimizer.scenario.words import catalog, keys

    found = catalog()
    if asked.family is not None:
        family = next((name for name in found if asked.family in (name, name.replace(" ", "_"))), None)
        if family is None:
            raise OptionError(f"KIND: wanted one of {', '.join(found)}; got {asked.family!r}")
        found = {family: found[family]}
        if asked.word is not None and asked.word not in found[family]:
            raise OptionError(f"NAME of {family}: wanted one of {', '.join(found[family])}; got {asked.word!r}")
    if asked.word is None:

        def show() -> None:
            for family, kinds in found.items():
                table(family, ["name", "meaning"], list(kinds.items()))

        put(run.json, to_text(found), show)
        return 0
    [(family, kinds)] = found.items()
    rows = keys(family, asked.word)
    document = {"family": family, "name": asked.word, "meaning": kinds[asked.word], "keys": [r._asdict() for r in rows]}
    title = f"{family} {asked.word}: {kinds[asked.word]}"
    put(run.json, to_text(document), lambda: _show_keys(title, rows))
    return 0


def _show_keys(title: str, rows: "Sequence[Key]") -> None:
    if not rows:
        typer.echo(title)
        return
    shown = [[r.name, r.unit, "required" if r.required else r.default, r.allowed, r.meaning] for r in rows]
    table(title, ["key", "unit", "default", "allowed", "meaning"], shown)


def _tree(value: Any, depth: int = 0) -> Iterator[str]:
    """Nested tables and lists as indented lines."""
    pad = "  " * depth
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value, 1):
        label = f"{pad}{key}:" if isinstance(value, Mapping) else f"{pad}- "
        nested = isinstance(item, list) and any(isinstance(entry, Mapping | list) for entry in item)
        if isinstance(item, Mapping) and item and not isinstance(value, Mapping):
            first, *rest = _tree(item, depth + 1)
            yield f"{label}{first.lstrip()}"
            yield from rest
        elif nested or (isinstance(item, Mapping) and item):
            yield label
            yield from _tree(item, depth + 1)
        else:
            yield f"{label} {', '.join(map(str, item)) if isinstance(item, list) else item}"
