"""Pages that the package writes itself: public names, commands, and the words of a scenario."""

import inspect
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, get_args, get_origin

from docutils import nodes
from outputs import examples, kept, leaves
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Example):")
_TYPES = {int: "integer", float: "number", bool: "switch", Path: "path", str: "text"}
_ENTRY = re.compile(r"(\w[\w ,.*]*): (.*)")


def names() -> str:
    """Every public name with its docstring."""
    import optimizer as opt

    parts = []
    for name in opt.__all__:
        found = getattr(opt, name)
        parts += [f"## {name}", "", *_signature(name, found), *_docstring(found), ""]
        parts += _properties(found) if inspect.isclass(found) else []
        methods = [] if not inspect.isclass(found) or issubclass(found, Exception) else _methods(found)
        for method, value in methods:
            parts += [f"### {name}.{method}", "", *_signature(f"{name}.{method}", value), *_docstring(value), ""]
    return "\n".join(parts)


def _methods(cls: type) -> list[tuple[str, Any]]:
    """What a class itself defines for its users, with a docstring."""
    own = [(name, value) for name, value in vars(cls).items() if not name.startswith("_")]
    methods = [(name, getattr(value, "__func__", value)) for name, value in own if not isinstance(value, property)]
    return [(name, inspect.unwrap(value)) for name, value in methods if callable(value) and inspect.getdoc(value)]


def _properties(cls: type) -> list[str]:
    """What is read like an attribute, with its first line."""
    own = [(name, value) for name, value in vars(cls).items() if isinstance(value, property) and value.__doc__]
    lines = [f"- `{name}`: {(value.__doc__ or '').strip().splitlines()[0]}" for name, value in own]
    return ["**Properties**", "", *lines, ""] if lines else []


def _signature(name: str, found: Any) -> list[str]:
    if isinstance(found, ModuleType):
        return []
    try:
        given = inspect.signature(found)
    except (TypeError, ValueError):
        return []
    # Types are said in the docstring, with their shapes; defaults that are objects would show an address.
    own = [p for p in given.parameters.values() if p.name not in ("self", "cls")]
    short = [p.replace(annotation=p.empty, default=_default(p)) for p in own]
    return ["```text", f"{name}{given.replace(parameters=short, return_annotation=given.empty)}", "```", ""]


def _default(parameter: inspect.Parameter) -> Any:
    plain = isinstance(parameter.default, str | int | float | bool | tuple | type(None))
    return parameter.default if plain or parameter.default is parameter.empty else _Dots()


class _Dots:
    def __repr__(self) -> str:
        return "..."


def _docstring(found: Any) -> list[str]:
    """A docstring as Markdown: its sections become lists."""
    lines = (inspect.getdoc(found) or "").splitlines()
    out: list[str] = []
    section = ""
    for line in lines:
        head = _SECTION.fullmatch(line)
        if head is not None:
            section = head[1]
            out += [*_closed(out), f"**{section}**", ""]
        elif line.startswith("    ") and section and section != "Example":
            out += list(_entry(line))
        elif line.strip() and not line.startswith(" "):
            section = ""
            out.append(line)
        else:
            out.append(line)
    return _examples([*out, ""])


def _closed(lines: list[str]) -> list[str]:
    return [""] if lines and lines[-1] else []


def _entry(line: str) -> Iterator[str]:
    """A line of a section: an item where it names something, else it goes on."""
    text = line[4:]
    found = None if text.startswith(" ") else _ENTRY.fullmatch(text)
    yield (
        f"  {text.strip()}"
        if found is None and text.startswith(" ")
        else (f"- {text}" if found is None else f"- `{found[1]}`: {found[2]}")
    )


def _examples(lines: list[str]) -> list[str]:
    """Examples as Python code; they are indented in the docstring."""
    out: list[str] = []
    inside = False
    for line in lines:
        code = line.lstrip().startswith((">>>", "...")) or (inside and line.startswith("    ") and line.strip() != "")
        if code != inside:
            out.append("```pycon" if code else "```")
        out.append(line[4:] if code and line.startswith("    ") else line)
        inside = code
    return out


def words() -> str:
    """The words of a scenario by family, as `adose list` prints them, each with its keys."""
    from optimizer.scenario.words import catalog, keys

    parts = []
    for family, found in catalog().items():
        parts += [f"## {family}", "", "| name | meaning |", "|---|---|"]
        parts += [f"| `{name}` | {_cell(meaning)} |" for name, meaning in found.items()]
        parts.append("")
        for name in found:
            parts += _keys(f"{family} {name}", keys(family, name))
    return "\n".join(parts)


def _keys(title: str, rows: list[Any]) -> list[str]:
    """The keys of a word, with unit, default, range, meaning, and a value from the shipped scenarios."""
    if not rows:
        return []
    head = ["| key | unit | default | allowed | example | meaning |", "|---|---|---|---|---|---|"]
    lines = []
    for row in rows:
        default = "required" if row.required else _cell(row.default)
        example = f"`{_written()[row.name]}`" if row.name in _written() else ""
        shown = [f"`{row.name}`", _cell(row.unit), default, _cell(row.allowed), example, _cell(row.meaning)]
        lines.append(f"| {' | '.join(shown)} |")
    return [f"### Keys of {title}", "", *head, *lines, ""]


@cache
def _written() -> dict[str, str]:
    """A value of each key that the shipped scenarios write, as TOML has it."""
    found: dict[str, str] = {}

    def walk(node: Any) -> None:
        for item in node if isinstance(node, list) else []:
            walk(item)
        for key, value in node.items() if isinstance(node, dict) else ():
            if isinstance(value, str | int | float):
                found.setdefault(key, json.dumps(value, ensure_ascii=False))
            walk(value)

    for path in sorted((Path(__file__).parents[2] / "scenarios").glob("*.toml")):
        walk(tomllib.loads(path.read_text(encoding="utf-8")))
    return found


def _cell(text: str) -> str:
    """Text in a table: no markup, no line, no bar."""
    return re.sub(r"([\\`*_{}\[\]<>|$#])", r"\\\1", " ".join(text.split()))


def commands() -> str:
    """Every command with its arguments and options, their types and defaults, its example, and what that prints."""
    from typer.main import get_command

    from optimizer.cli import app

    parts, lines = [], examples()
    for name, command in leaves(get_command(app)):
        parts += [f"## adose {name}", "", _cell(command.help or ""), ""]
        parts += ["| option | type | default | meaning |", "|---|---|---|---|"]
        for option in command.params:
            shown = ", ".join(option.opts) if option.param_type_name == "option" else option.name.upper()
            row = [f"`{shown}`", _type(option), _default_of(option), _cell(getattr(option, "help", "") or "")]
            parts.append(f"| {' | '.join(row)} |")
        typed, _, said = kept(name).read_text(encoding="utf-8").partition("\n")
        if typed != f"$ {lines[name]}":
            raise ValueError(f"{kept(name)}: another example; python docs/extension/outputs.py '{name}' writes it anew")
        parts += ["", f"```console\n$ .venv/bin/{lines[name]}\n{said}```\n"]
    return "\n".join(parts)


def _type(option: Any) -> str:
    """What is typed behind an option."""
    kind = option.type_descriptor.annotation
    if get_origin(kind) is Literal:
        return _cell(", ".join(map(str, get_args(kind))))
    repeated = get_origin(kind) is list
    word = _TYPES.get(get_args(kind)[0] if repeated else kind, "text")
    ends = [f">= {option.min:g}"] if option.min is not None else []
    ends += [f"<= {option.max:g}"] if option.max is not None else []
    return _cell(" ".join([word, ", ".join(ends), "(may be repeated)" * repeated])).strip()


def _default_of(option: Any) -> str:
    default = option.default
    if option.required:
        return "required"
    return "" if default is None or default is False or default == [] else f"`{getattr(default, 'value', default)}`"


class Generated(SphinxDirective):
    """A directive that is replaced by what one of the functions above writes."""

    required_arguments = 1
    sources: ClassVar[dict[str, Callable[[], str]]] = {"names": names, "words": words, "commands": commands}

    def run(self) -> list[nodes.Node]:
        """The nodes of the text."""
        # The source is the package, of which Sphinx does not see that it changed.
        self.env.note_reread()
        return self.parse_text_to_nodes(self.sources[self.arguments[0]](), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("generated", Generated)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
