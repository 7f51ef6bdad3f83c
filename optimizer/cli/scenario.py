"""`check`, `schema` and `list`: what a scenario file says, and what it may say."""

from __future__ import annotations

import typer

from optimizer.files.run_directory import to_text
from optimizer.report.terminal import USAGE, put, say, table, tree
from optimizer.scenario import Scenario
from optimizer.settings import Command, SchemaSettings


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


def run_list(run: Command) -> int:
    """Print the words of a scenario."""
    found = catalog()

    def show() -> None:
        for family, kinds in found.items():
            table(family, ["name", "meaning"], [[name, meaning] for name, meaning in kinds.items()])

    put(run.json, to_text(found), show)
    return 0


def catalog() -> dict[str, dict[str, str]]:
    """All words of a scenario by family, with their meaning."""
    from optimizer.models.stromal import PRESETS
    from optimizer.scenario.model_schema import model_branches
    from optimizer.scenario.schema import FAMILIES, classes, first_line
    from optimizer.units import UNITS

    models = {kind: (spec.__doc__ or kind).strip().splitlines()[0] for kind, spec in model_branches().items()}
    found = {"model": models, "preset": {name: f"{p.meaning} (doi {p.doi})" for name, p in PRESETS.items()}}
    for family, entry in FAMILIES.items():
        if family != "model":
            found[entry.word] = {kind: first_line(cls) for kind, cls in classes(family).items()}
    found["unit"] = {unit.name: ", ".join((unit.meaning, *unit.aliases)) for unit in UNITS}
    return found
