"""Where in the text of a scenario a key path stands, so that a message can name the line."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_NAME = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_NAME})\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(rf"\s*({_NAME})\s*=")
_PATH = re.compile(r"[\w.\[\]-]+(?=: )")


def with_lines(faults: Sequence[str], file: str, text: str) -> list[str]:
    """Faults "FILE: KEY: ..." as "FILE:LINE: KEY: ..." where the key, or the table it should be in, is in the text.

    Example:
        >>> with_lines(["a.toml: drug[0].pk: wanted this key; got none"], "a.toml", "a = 1\\n[[drug]]\\nb = 2\\n")
        ['a.toml:2: drug[0].pk: wanted this key; got none']
    """
    places = _places(text)
    out = []
    for fault in faults:
        found = _PATH.match(fault, len(file) + 2) if fault.startswith(f"{file}: ") else None
        line = _line(found[0], places) if found else 0
        out.append(f"{file}:{line}{fault[len(file) :]}" if line else fault)
    return out


def _line(path: str, places: dict[str, int]) -> int:
    """The line of a path, else of the nearest table around it; 0 where there is none."""
    while path and path not in places:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return places.get(path, 0)


def _places(text: str) -> dict[str, int]:
    """The line at which each key path begins, counted from 1."""
    found: dict[str, int] = {}
    last: dict[str, int] = {}
    table, quote = "", ""
    for number, line in enumerate(text.splitlines(), 1):
        if not quote:
            header, key = _HEADER.fullmatch(line), _KEY.match(line)
            if header is not None:
                table = _table(_parts(header[2]), header[1] == "[[", last)
                found.setdefault(table, number)
            elif key is not None:
                found.setdefault(".".join(filter(None, (table, *_parts(key[1])))), number)
        # A text over several lines holds no keys.
        for mark in re.findall(r'"""|\'\'\'', line):
            quote = "" if quote == mark else quote or mark
    return found


def _parts(name: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_PART, name)]


def _table(parts: Sequence[str], is_list: bool, last: dict[str, int]) -> str:
    """The path of a header; `last` is the index of the latest entry of each list of tables."""
    path = ""
    for i, part in enumerate(parts):
        path = f"{path}.{part}" if path else part
        if is_list and i == len(parts) - 1:
            last[path] = last.get(path, -1) + 1
        if path in last:
            path = f"{path}[{last[path]}]"
    return path
