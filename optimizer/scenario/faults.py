"""What is wrong with a scenario, in sentences a user can act on: pydantic's findings are translated, never shown."""

import difflib
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pydantic import BaseModel, ValidationError

from optimizer.scenario.fields import show
from optimizer.scenario.schema import FAMILIES, TAGS, Spec
from optimizer.units import QuantityError

MOST = 10
_MOST_FINDINGS = 100
_MOST_NAME = 60


class ScenarioError(ValueError):
    """A scenario that was refused.

    Attributes:
        faults: one sentence a fault, "FILE: KEY: wanted ...; got ...".
    """

    def __init__(self, faults: Sequence[str]):
        self.faults = tuple(faults)
        more = ["and more faults besides these"] if len(self.faults) > MOST else []
        super().__init__("\n".join([*self.faults[:MOST], *more]))


class Faults:
    """Collects the faults of a file, to be raised together; `origin` says which keys an included file gave."""

    def __init__(self, file: str, origin: Mapping[str, str] | None = None):
        self.file = file
        self.origin = origin or {}
        self.found: list[str] = []

    def add(self, path: str, sentence: str) -> None:
        """Note a fault at a key path, once."""
        other = next((file for key, file in self.origin.items() if f"{path}.".startswith((f"{key}.", f"{key}["))), "")
        place = f"{path} (of {other})" if other else path
        line = f"{self.file}: {place}: {sentence}" if path else f"{self.file}: {sentence}"
        if line not in self.found:
            self.found.append(line)

    @contextmanager
    def at(self, path: str, *kinds: type[Exception]) -> Iterator[None]:
        """A refused quantity inside becomes a fault at `path`."""
        try:
            yield
        except (QuantityError, *kinds) as error:
            self.add(path, str(error))

    def stop(self) -> None:
        """Raise what was found, if anything.

        Raises:
            ScenarioError: there are faults.
        """
        if self.found:
            raise ScenarioError(self.found)


def close(word: str, known: Sequence[str]) -> str:
    """', did you mean "X"' where one of the known words is near, else nothing."""
    near = difflib.get_close_matches(word[:100], known, n=1, cutoff=0.6)
    return f', did you mean "{near[0]}"' if near else ""


def one_of(known: Sequence[str], got: Any) -> str:
    """Sentence that refuses a word that is not among the known ones."""
    listed = ", ".join(f'"{word}"' for word in known)
    hint = close(got, known) if isinstance(got, str) else ""
    return f"wanted {'one of ' if len(known) > 1 else ''}{listed}; got {show(got)}{hint}"


def explain(error: ValidationError, data: Any, spec: type[Spec], faults: Faults) -> None:
    """Turn pydantic's findings about `data` into faults."""
    findings = error.errors(include_url=False)[:_MOST_FINDINGS]
    hints: set[str] = set()
    lines = [_sentence(found, data, spec, hints) for found in findings]
    for (path, sentence), found in zip(lines, findings, strict=True):
        # A misspelled key that is also a missing one is said once.
        if not (found["type"] == "missing" and path in hints):
            faults.add(path, sentence)


def _sentence(found: Any, data: Any, spec: type[Spec], hints: set[str]) -> tuple[str, str]:
    loc, value, kind = found["loc"], found.get("input"), found["type"]
    path = key_path(loc, data)
    if kind == "value_error":
        return path, str(found["ctx"]["error"])
    if kind == "choice":
        return _choice(path, value, found["ctx"])
    if kind == "extra_forbidden":
        return _unknown_key(loc, data, spec, hints)
    if kind == "missing":
        doc = getattr(_fields(_spec_at(loc[:-1], spec)).get(str(loc[-1])), "description", None)
        return path, f"wanted this key{f' ({doc})' if doc else ''}; got none"
    if kind == "literal_error":
        known = [word.strip("'") for word in found["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return path, one_of(known, value)
    if kind == "too_long":
        context = found["ctx"]
        return path, f"wanted at most {context['max_length']} of them; got {context['actual_length'] or 'more'}"
    wanted = {"list_type": f"a list{_as_tables(loc, spec)}"}.get(kind, "a table of keys and values")
    return path, f"wanted {wanted}; got {show(value)}"


def _choice(path: str, value: Any, context: dict[str, Any]) -> tuple[str, str]:
    family = FAMILIES[context["family"]]
    kinds = context["kinds"].split(", ")
    if not isinstance(value, dict):
        return path, f"wanted a table with the key {family.key}, one of {context['kinds']}; got {show(value)}"
    if family.key not in value:
        return path, f"wanted the key {family.key}, one of {context['kinds']}; got none"
    kind = value[family.key]
    if isinstance(kind, str) and ".py:" in kind:
        return f"{path}.kind", "wanted --allow-code to run a model from a file of its own; got a scenario without it"
    return f"{path}.{family.key}", one_of(kinds, kind)


def _unknown_key(loc: tuple[Any, ...], data: Any, spec: type[Spec], hints: set[str]) -> tuple[str, str]:
    owner, name = _spec_at(loc[:-1], spec), str(loc[-1])
    parent = key_path(loc[:-1], data)
    known = list(_fields(owner))
    free = [word for word in known if word not in _table(loc[:-1], data)]
    hint = close(name, free) or close(name, known)
    if hint:
        hints.add(f"{parent}.{hint[15:-1]}".removeprefix("."))
        return parent, f"wanted a known key; got {show(name)}{hint}"
    return parent, f"wanted one of the keys {', '.join(known)}; got {show(name)}"


def _as_tables(loc: tuple[Any, ...], spec: type[Spec]) -> str:
    field = _fields(_spec_at(loc[:-1], spec)).get(str(loc[-1]))
    names = [str(part) for part in loc if isinstance(part, str) and not part.startswith("@")]
    inner = typing.get_args(field.annotation) if field else ()
    is_table = bool(inner) and (str(inner[0]).find("Tag(") >= 0 or _is_spec(inner[0]))
    return f" of tables, as [[{'.'.join(names)}]] writes it" if is_table else ""


# --- places -------------------------------------------------------------------------------------------------------


def _is_tag(part: Any) -> bool:
    return isinstance(part, str) and part in TAGS


def key_path(loc: Sequence[Any], data: Any) -> str:
    """A place in the file as a user writes it: drug[0].pk.elimination."""
    path, here = "", data
    for i, part in enumerate(loc):
        if _is_tag(part) and not (isinstance(here, dict) and part in here):
            continue
        if isinstance(part, int):
            path += f"[{part}]"
            here = here[part] if isinstance(here, list) and part < len(here) else None
            continue
        if i and here is not None and not isinstance(here, dict):
            break  # a bare number that stands for a table
        name = part if part.isidentifier() or part.replace("-", "_").isidentifier() else show(part)
        path += f".{name}" if path else name
        here = here.get(part) if isinstance(here, dict) else None
    return path


def _table(loc: Sequence[Any], data: Any) -> dict[str, Any]:
    here = data
    for part in loc:
        is_index = isinstance(here, list) and isinstance(part, int)
        if is_index or (isinstance(here, dict) and part in here):
            here = here[part]
    return here if isinstance(here, dict) else {}


def _is_spec(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _inner(annotation: Any) -> type[Spec] | None:
    """The table inside `list[...]` or `Annotated[...]`, where there is exactly one."""
    if _is_spec(annotation):
        return annotation
    found = [_inner(a) for a in typing.get_args(annotation)]
    specs = [a for a in found if a is not None]
    return specs[0] if len(specs) == 1 else None


def _spec_at(loc: Sequence[Any], spec: type[Spec]) -> type[Spec] | None:
    """The table's model at a place."""
    here: type[Spec] | None = spec
    for part in loc:
        if _is_tag(part):
            here = TAGS[part]
        elif isinstance(part, str) and here is not None:
            fields = _fields(here)
            here = _inner(fields[part].annotation) if part in fields else None
    return here


def _fields(owner: type[Spec] | None) -> dict[str, Any]:
    """Fields of a table by the key that is written."""
    return {field.alias or key: field for key, field in owner.model_fields.items()} if owner else {}


# --- lines of the text ------------------------------------------------------------------------------------------------


_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_NAME = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_NAME})\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(rf"\s*({_NAME})\s*=")
_NUMBERED = re.compile(r"((?:model\.)?\w+)\[(\d+)\]")
_PATH = re.compile(r"[\w.\[\]-]+(?=: )")


def with_lines(faults: Sequence[str], file: str, text: str) -> list[str]:
    """Faults "FILE: KEY: ..." as "FILE:LINE: KEY: ..." where the key, or the table it should be in, is in the text.

    A drug, clone, limit or regimen that has a number there is named at the end.

    Example:
        >>> text = "a = 1\\n[[drug]]\\nname = 'u'\\n"
        >>> with_lines(["a.toml: drug[0].pk: wanted this key; got none"], "a.toml", text)
        ['a.toml:2: drug[0].pk: wanted this key; got none (drug[0] is u)']
    """
    places, tables = _places(text), _tables(text)
    out = []
    for fault in faults:
        found = _PATH.match(fault, len(file) + 2) if fault.startswith(f"{file}: ") else None
        line = _line(found[0], places) if found else 0
        out.append(f"{file}:{line}{fault[len(file) :]}{_named(found[0], tables)}" if line and found else fault)
    return out


def _tables(text: str) -> dict[str, Any]:
    """The tables of a text; none where it is no TOML."""
    with suppress(ValueError, RecursionError):
        return tomllib.loads(text)
    return {}


def _named(path: str, tables: dict[str, Any]) -> str:
    """What the first number in a key path stands for."""
    found = _NUMBERED.match(path)
    here = _table([*found[1].split("."), int(found[2])], tables) if found else {}
    name = here.get("name") or " of ".join(str(here[key]) for key in ("kind", "drug") if key in here)
    said = isinstance(name, str) and name.strip() and name.isprintable() and len(name) <= _MOST_NAME
    return f" ({found[0]} is {name})" if found and said and path != f"{found[0]}.name" else ""


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
                table = _heading(_parts(header[2]), header[1] == "[[", last)
                found.setdefault(table, number)
            elif key is not None:
                found.setdefault(".".join(filter(None, (table, *_parts(key[1])))), number)
        # A text over several lines holds no keys.
        for mark in re.findall(r'"""|\'\'\'', line):
            quote = "" if quote == mark else quote or mark
    return found


def _parts(name: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_PART, name)]


def _heading(parts: Sequence[str], is_list: bool, last: dict[str, int]) -> str:
    """The path of a header; `last` is the index of the latest entry of each list of tables."""
    path = ""
    for i, part in enumerate(parts):
        path = f"{path}.{part}" if path else part
        if is_list and i == len(parts) - 1:
            last[path] = last.get(path, -1) + 1
        if path in last:
            path = f"{path}[{last[path]}]"
    return path
