"""The values of a scenario's text: their key paths, how a field shows them, and the text with another one."""

from __future__ import annotations

import json
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from itertools import accumulate
from pathlib import Path
from typing import Any

from optimizer.files.toml import toml_text
from optimizer.scenario import ScenarioError
from optimizer.scenario.files import read_toml

Steps = tuple[str | int, ...]
# A value on one line, and a bare one: a number, true or false.
_VALUE = r"""("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[\w.+-]+)"""
_HEAD = re.compile(r"\s*\[\[?([^\[\]]+)\]")
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
    spans = [found.span(1) for found in re.finditer(rf"""(?<![\w-])["']?{key}["']?[ \t]*=[ \t]*{_VALUE}""", text)]
    said = "wanted a value that stands on one line beside its key, to change it here; change it in the text"
    start, end = _span(text, spans, literal, wanted, f"{name}: {key_of(steps)}: {said}")
    return f"{text[:start]}{literal}{text[end:]}"


def _span(text: str, spans: list[tuple[int, int]], literal: str, wanted: Any, fault: str) -> tuple[int, int]:
    """The first of some places at which the text says what is wanted when this stands there instead."""
    for start, end in spans:
        with suppress(tomllib.TOMLDecodeError):
            if tomllib.loads(f"{text[:start]}{literal}{text[end:]}") == wanted:
                return start, end
    raise ScenarioError([fault])


def place_of(text: str, steps: Steps, name: str) -> tuple[int, int]:
    """Where one table stands in a text with the tables below it and the comment above it, or the line of one key.

    Args:
        text: TOML.
        steps: of the table or the key, such as ("constraint", 1), ("endpoint",) or ("objective", "burden").
        name: what a message calls the file.

    Raises:
        ScenarioError: the text is no TOML, or it stands among other things.
    """
    wanted: Any = deepcopy(tables_of(text, name))
    place, above = wanted, wanted
    for step in steps[:-1]:
        above, place = place, place[step]
    del place[steps[-1]]
    if not place and isinstance(place, list):
        del above[steps[-2]]
    lines = text.splitlines(keepends=True)
    starts = [0, *accumulate(map(len, lines))]
    heads = [(_begin(lines, i), found[1].strip()) for i, line in enumerate(lines) if (found := _HEAD.match(line))]
    heads.append((len(lines), ""))
    own = [k for k, (_, head) in enumerate(heads) if f"{head}.".startswith(f"{steps[0]}.")]
    spans = [(heads[a][0], heads[b][0]) for a in own for b in range(a + 1, len(heads)) if {*range(a, b)} <= {*own}]
    key = re.compile(rf"\s*{re.escape(str(steps[-1]))}\s*=")
    spans += [(i, i + 1) for i, line in enumerate(lines) if key.match(line)]
    said = "wanted a table with a head of its own, to change that here; change it in the text"
    return _span(text, [(starts[a], starts[b]) for a, b in spans], "", wanted, f"{name}: {key_of(steps)}: {said}")


def _begin(lines: list[str], at: int) -> int:
    """Where a table begins, with the comment right above it."""
    while at > 0 and lines[at - 1].startswith("#"):
        at -= 1
    return at


def changed(text: str, steps: Steps, name: str, tables: str = "") -> str:
    """The text with other tables in place of one that may be there, or without it; new ones come at the end.

    Raises:
        ScenarioError: as of `place_of`.
    """
    place: Any = tables_of(text, name)
    for step in steps[:-1]:
        place = place[step] if isinstance(step, int) else place.get(step, {})
    is_there = not isinstance(steps[-1], str) or steps[-1] in place
    start, end = place_of(text, steps, name) if is_there else (len(text), len(text))
    left = text[:start] + text[end:]
    return f"{left.rstrip()}\n\n{tables.strip()}\n" if tables else left


def weighted(text: str, term: str) -> str:
    """The text with another term of the objective, of weight 1."""
    head = re.search(r"(?m)^\[objective\].*\n", text)
    start = len(text) if head is None else head.end()
    return f"{text[:start]}{'' if head else chr(10) + '[objective]' + chr(10)}{term} = 1.0\n{text[start:]}"
