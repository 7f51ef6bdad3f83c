"""The values of a scenario's text: their key paths, how a field shows them, and the text with another one."""

from __future__ import annotations

import json
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from optimizer.files.toml import toml_text
from optimizer.scenario import ScenarioError
from optimizer.scenario.files import read_toml

Steps = tuple[str | int, ...]
# A value on one line, and a bare one: a number, true or false.
_VALUE = r"""("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[\w.+-]+)"""
_BARE = re.compile(r"[\w.+-]+")


def tables_of(text: str, name: str) -> dict[str, Any]:
    """The tables of a text.

    Raises:
        ScenarioError: it is no TOML; `name` is what the message calls it.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "text.toml"
        copy.write_text(text, encoding="utf-8")
        return read_toml(copy, name)[0]


def values(tables: Any, above: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """Texts, numbers and switches of a file with the steps to them; those in a list that is not of tables are left out.

    Example:
        >>> list(values({"drug": [{"name": "u", "levels": [1, 2]}]}))
        [(('drug', 0, 'name'), 'u')]
    """
    if not isinstance(tables, Mapping | list):
        yield from [(above, tables)] if isinstance(above[-1], str) and isinstance(tables, str | int | float) else []
        return
    for step, value in tables.items() if isinstance(tables, Mapping) else enumerate(tables):
        yield from values(value, (*above, step))


def key_of(steps: Steps) -> str:
    """The key path of a value, as messages have it."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def shown(value: Any) -> str:
    """A value in a field: as it is written, but texts without their quotes."""
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return value if isinstance(value, str) else toml_text({"x": value}).partition("= ")[2].strip()


def written(old: Any, typed: str) -> tuple[Any, str]:
    """The value that was typed over another one, and how TOML writes it: a number stays one where it can."""
    if not isinstance(old, str) and _BARE.fullmatch(typed):
        try:
            found = tomllib.loads(f"x = {typed}")["x"]
        except tomllib.TOMLDecodeError:
            found = None
        if isinstance(found, int | float):
            return found, typed
    return typed, json.dumps(typed, ensure_ascii=False)


def replaced(text: str, steps: Steps, typed: str, name: str) -> str:
    """The text with another value at one place, and all else, comments too, as it is.

    Args:
        text: TOML.
        steps: of the value.
        typed: in its field.
        name: what a message calls the file.

    Raises:
        ScenarioError: the text is no TOML, or the value does not stand on one line beside its key.
    """
    wanted = deepcopy(tables_of(text, name))
    place: Any = wanted
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]], literal = written(place[steps[-1]], typed)
    key = re.escape(str(steps[-1]))
    for found in re.finditer(rf"""(?<![\w-])["']?{key}["']?[ \t]*=[ \t]*{_VALUE}""", text):
        start, end = found.span(1)
        other = f"{text[:start]}{literal}{text[end:]}"
        try:
            if tomllib.loads(other) == wanted:
                return other
        except tomllib.TOMLDecodeError:
            continue
    said = "wanted a value that stands on one line beside its key, to change it here; change it in the text"
    raise ScenarioError([f"{name}: {key_of(steps)}: {said}"])
