"""`check`, `schema` and `list`: what a scenario file says, and what it may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from optimizer.files.run_directory import to_text
from optimizer.report.terminal import USAGE, put, say, table, tree
from optimizer.scenario import Scenario
from optimizer.settings import Command, ListSettings, SchemaSettings

if TYPE_CHECKING:
    from optimizer.scenario.words import Key


def run_check(run: Command) -> int:
    """Print what a scenario file means."""
    scenario = Scenario.load(run.file, run.allow_code)
    scenario.problem()
    resolved = scenario.resolved()
    put(run.json, to_text(resolved), lambda: typer.echo("\n".join(tree(resolved))))
    return 0


def run_schema(asked: SchemaSettings) -> int:
    """Print or write the schema of scenario files."""
    from optimizer.scenario.json_schema import schema_text

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
            return _refuse("KIND", f"one of {', '.join(found)}", asked.family)
        found = {family: found[family]}
        if asked.word is not None and asked.word not in found[family]:
            return _refuse(f"NAME of {family}", f"one of {', '.join(found[family])}", asked.word)
    if asked.word is None:
        put(run.json, to_text(found), lambda: _show_words(found))
        return 0
    [(family, kinds)] = found.items()
    rows = keys(family, asked.word)
    document = {"family": family, "name": asked.word, "meaning": kinds[asked.word], "keys": [r._asdict() for r in rows]}
    put(run.json, to_text(document), lambda: _show_keys(f"{family} {asked.word}: {kinds[asked.word]}", rows))
    return 0


def _refuse(where: str, wanted: str, got: str) -> int:
    say(f"{where}: wanted {wanted}; got {got!r}")
    return USAGE


def _show_words(found: Mapping[str, Mapping[str, str]]) -> None:
    for family, kinds in found.items():
        table(family, ["name", "meaning"], [[name, meaning] for name, meaning in kinds.items()])


def _show_keys(title: str, rows: Sequence[Key]) -> None:
    if not rows:
        typer.echo(title)
        return
    shown = [[r.name, r.unit, "required" if r.required else r.default, r.allowed, r.meaning] for r in rows]
    table(title, ["key", "unit", "default", "allowed", "meaning"], shown)
