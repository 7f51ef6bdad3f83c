"""The form of the tab Build: what a scenario is made of as choices, each value of its text in a field, both ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nicegui import events, ui

from optimizer.page.values import (
    Steps,
    changed,
    key_of,
    place_of,
    replaced,
    shown,
    tables_of,
    values,
    weighted,
    written,
)
from optimizer.scenario import ScenarioError
from optimizer.scenario.files import read_toml, shipped
from optimizer.scenario.words import Key, catalog, key_at, keys

# Keys that choose which others there are, or that fields of choices name.
_CHOOSING = ("kind", "law", "role", "drug")
# No index of a list: behind its last table.
END = "new"
# Where a word stands in a file; others belong inside the table of a drug, a clone or a regimen.
_HEADS = {
    "constraint": "[[constraint]]",
    "observation": "[[observation]]",
    "mechanism": "[[model.mechanism]]",
    "policy": "[policy]",
    "endpoint": "[endpoint]",
}


class Form:
    """The choices and the fields of a text; a text that is no TOML leaves them as they were.

    Attributes:
        area: that holds the text.
        name: says what messages call the file.
        say: shows a message.
    """

    def __init__(self, area: ui.textarea, name: Callable[[], str], say: Callable[[str], object]):
        self.area, self.name, self.say = area, name, say
        self._tables: dict[str, Any] = {}
        self._told: dict[Steps, Any] = {}
        self._fields: dict[Steps, ui.input | ui.select] = {}

    def show(self) -> None:
        """Draw choices and fields, and follow the text from now on."""
        self._choices()
        with ui.expansion("Values of the file", value=True).classes("full"), ui.element("div").classes("fields"):
            self._draw()
        self.area.on_value_change(self._read)
        self._read()

    # --- what the scenario is made of ---------------------------------------------------------------------------------

    @ui.refreshable_method
    def _choices(self) -> None:
        found, model = catalog(), _table(self._tables, "model")
        own = ", ".join(str(model[key]) for key in ("kind", "preset") if key in model)
        models = {name: name for name in [*([own] if own else []), *models_of(found)]}
        self._single("model", "Model", models, own)
        self._several("drug", "Drugs", [path.stem for path in shipped("drugs")], lambda one: str(one.get("name")))
        kinds = {"": "more than a multiple of the first burden", **{kind: kind for kind in found["endpoint"]}}
        self._single("endpoint", "Endpoint", kinds, str(_table(self._tables, "endpoint").get("kind", "")))
        terms = list(_table(self._tables, "objective"))
        words = list(dict.fromkeys([*terms, *found["term"]]))
        choice = ui.select(words, multiple=True, value=terms, label="Objective", on_change=self._objective)
        choice.classes("full")
        said: Callable[[dict], str] = lambda one: f"{one.get('kind')} {one.get('drug', '')}"  # noqa: E731
        self._several("constraint", "Limits", list(found["constraint"]), said)

    def _single(self, family: str, label: str, options: dict[str, str], value: str) -> None:
        """A table that is there once."""
        shown = value if value in options else None
        ui.select(options, value=shown, label=label, on_change=partial(self._one, family)).classes("full")

    def _several(self, family: str, label: str, words: list[str], said: Callable[[dict], str]) -> None:
        """A list of tables: those that are there are chosen, and each word is one more."""
        there = {f"#{i}": f"{i + 1}: {said(one)}".strip() for i, one in enumerate(_listed(self._tables, family))}
        options = there | {word: f"another: {word}" for word in words}
        choice = ui.select(options, multiple=True, value=list(there), label=label).classes("full")
        choice.on_value_change(partial(self._one_of, family, list(there)))

    def _one_of(self, family: str, there: list[str], event: events.ValueChangeEventArguments) -> None:
        gone = [one for one in there if one not in event.value]
        new = [one for one in event.value if one not in there]
        if gone:
            self._write(lambda text: changed(text, (family, int(gone[0][1:])), self.name()))
        elif new:
            self._write(lambda text: changed(text, (family, END), self.name(), self._new(family, new[0])))

    def _new(self, family: str, word: str) -> str:
        """The tables of a word that is chosen."""
        names = self._drugs()
        if family == "drug":
            path = next(path for path in shipped("drugs") if path.stem == word)
            return f"[[drug]]\n{path.read_text(encoding='utf-8')}"
        found = snippet(family, word) if family != "model" else model_tables(word)
        return re.sub(r'(?m)(^|\W)drug = "\w*"', rf'\1drug = "{names[0]}"', found) if names else found

    def _drugs(self) -> list[str]:
        return [str(one["name"]) for one in _listed(self._tables, "drug") if "name" in one]

    def _one(self, family: str, event: events.ValueChangeEventArguments) -> None:
        new = self._new(family, event.value) if event.value else ""
        self._write(lambda text: changed(text, (family,), self.name(), new))

    def _objective(self, event: events.ValueChangeEventArguments) -> None:
        terms = _table(self._tables, "objective")
        for term in [one for one in terms if one not in event.value]:
            self._write(lambda text, term=term: changed(text, ("objective", term), self.name()))
        for term in [one for one in event.value if one not in terms]:
            self._write(lambda text, term=term: weighted(text, term))

    def _write(self, change: Callable[[str], str]) -> None:
        """Change the text, or say why it cannot be changed here."""
        try:
            self.area.set_value(change(self.area.value or ""))
        except (ScenarioError, LookupError) as error:
            self._choices.refresh()
            self.say(str(error))

    # --- its values ---------------------------------------------------------------------------------------------------

    @ui.refreshable_method
    def _draw(self) -> None:
        self._fields = {}
        names = self._drugs()
        for steps, value in self._told.items():
            key, choices = key_at(self._tables, steps) or (None, ())
            choices = names if steps[-1] == "drug" else choices
            typed = partial(self._typed, steps)
            if shown(value) in choices:
                field = ui.select(list(choices), value=shown(value), label=key_of(steps), on_change=typed)
            else:
                field = ui.input(key_of(steps), value=shown(value), on_change=typed).props("debounce=300")
            field.props["hint"] = "" if key is None else _hint(key, bool(choices))
            self._fields[steps] = field.props("dense").classes("full")

    def _read(self) -> None:
        """Take the values of the text; only fields that say something else are touched."""
        try:
            tables = tables_of(self.area.value or "", self.name())
        except ScenarioError as error:
            self.say(str(error))
            return
        self.say("")
        told, known, before = dict(values(tables)), self._told, self._tables
        self._told, self._tables = told, tables
        if made_of(tables) != made_of(before):
            self._choices.refresh()
        if list(told) != list(known) or any(told[s] != known[s] for s in told if s[-1] in _CHOOSING):
            self._draw.refresh()
            return
        for steps, value in told.items():
            if written(value, self._fields[steps].value or "")[0] != value:
                self._fields[steps].set_value(shown(value))

    def _typed(self, steps: Steps, event: events.ValueChangeEventArguments) -> None:
        """Write a value that was typed into the text."""
        if steps in self._told and written(self._told[steps], event.value or "")[0] != self._told[steps]:
            self._write(lambda text: replaced(text, steps, event.value or "", self.name()))


def _table(tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A table of a text that may be faulty."""
    found = tables.get(name)
    return found if isinstance(found, dict) else {}


def _listed(tables: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of tables of a text that may be faulty."""
    found = tables.get(name)
    return found if isinstance(found, list) and all(isinstance(one, dict) for one in found) else []


def _hint(key: Key, is_choice: bool) -> str:
    """What the schema says of a key."""
    said = ("" if key.name in _CHOOSING else key.meaning, key.unit, "" if is_choice else key.allowed)
    return "; ".join(filter(None, (*said, key.default and f"default {key.default}")))


def made_of(tables: Mapping[str, Any]) -> list[Any]:
    """What the choices show of a scenario."""
    one = [(_table(tables, name).get("kind"), _table(tables, name).get("preset")) for name in ("model", "endpoint")]
    lists = [
        [tuple(map(each.get, ("name", "kind", "drug"))) for each in _listed(tables, n)] for n in ("drug", "constraint")
    ]
    return [*one, *lists, list(_table(tables, "objective"))]


def models_of(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Models by kind; the stromal one by its presets."""
    return [*(f"stromal, {preset}" for preset in found["preset"]), *(k for k in found["model"] if k != "stromal")]


def model_tables(choice: str) -> str:
    """The tables of a model: those of the first shipped scenario that has it, else its keys to be filled in."""
    for path in sorted((*shipped("templates"), *shipped()), key=lambda path: path.stem != "one_drug"):
        tables, text = read_toml(path)
        model = tables["model"]
        if choice == ", ".join(str(model[key]) for key in ("kind", "preset") if key in model):
            start, end = place_of(text, ("model",), path.name)
            return text[start:end]
    return snippet("model", choice)


def snippet(family: str, kind: str) -> str:
    """Lines of TOML for a word: its required keys to be filled in, the others as comments with their defaults."""
    rows = [key for key in keys(family, kind) if key.name not in ("kind", "law")]
    lines = [
        f"{'' if key.required else '# '}{key.name} = {key.default or chr(34) * 2}  # {key.meaning} {key.unit}"
        for key in rows
    ]
    heads = _HEADS | {"model": "[model]"}
    head = [heads[family], f'kind = "{kind}"'] if family in heads else [f"# {family} {kind}:"]
    return "\n".join([*head, *map(str.rstrip, lines), ""])
