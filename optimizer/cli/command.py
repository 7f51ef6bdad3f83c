"""A command from the dataclass of its settings: each field is an option, and what was typed becomes the dataclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from optimizer.report.terminal import session
from optimizer.settings import Command

# Arguments that are told by their place.
_PLACED = {"file": "FILE", "family": "KIND", "word": "NAME"}
Run = TypeVar("Run", bound=Callable[..., int])


def command(
    app: typer.Typer, settings: type, shared: str, group: str, example: str, **docs: str
) -> Callable[[Run], Run]:
    """Make a command of a function of the shared options and of its settings, which returns the exit code.

    Args:
        app: where the command goes, by the function's name without an underscore at its end.
        settings: dataclass of `optimizer.settings`; its docstring's first sentence is the command's help.
        shared: names of fields of `Command` that this command has.
        group: the question that it belongs to, a heading of `adose -h`.
        example: a line that can be typed as it stands in a clone of the project.
        docs: help of shared options that are something else here.
    """
    own, common = _options(settings, {}), _options(Command, docs)
    common = {name: common[name] for name in shared.split()}
    first = [name for name in common if name in _PLACED]
    order = [*first, *own, *(name for name in common if name not in _PLACED)]

    def wrap(run: Run) -> Run:
        def call(**given: Any) -> None:
            asked = {name: _value(common.get(name) or own[name], value) for name, value in given.items()}
            with session(given.get("device"), given.get("precision", "float64")):
                mine = settings(**{name: asked[name] for name in own})
                raise typer.Exit(run(Command(**{name: asked[name] for name in common}), mine))

        call.__signature__ = inspect.Signature([common.get(name) or own[name] for name in order])  # type: ignore[attr-defined]
        help_ = " ".join((settings.__doc__ or "").split("\n\n")[0].split())
        name = run.__name__.rstrip("_")
        # A bracket would begin a style.
        shown = f"Example: adose {name} {example}".rstrip().replace("[", r"\[")
        app.command(name, help=help_, epilog=shown, rich_help_panel=group)(call)
        return run

    return wrap


def _options(settings: type, docs: Mapping[str, str]) -> dict[str, inspect.Parameter]:
    """The parameters of a command, by the names of the fields that are options."""
    hints = get_type_hints(settings)
    return {f.name: _parameter(f, hints[f.name], docs.get(f.name)) for f in fields(settings) if "doc" in f.metadata}


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
