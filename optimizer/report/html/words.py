"""A resolved scenario in words: what the tumor is, what is given, within which limits and to what end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.models.stromal import PRESETS
from optimizer.scenario.model_schema import model_branches
from optimizer.scenario.schema import classes, first_line

_COUNTED = ("day", "cell")
Table = Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """A named thing and what there is to say of it."""

    name: str  #: of the drug, the clone, the limit
    text: str  #: a sentence or more


@dataclass(frozen=True)
class Section:
    """A heading with its items."""

    title: str
    items: tuple[Item, ...]


def sections(resolved: Table) -> tuple[Section, ...]:
    """The scenario in words, as `Scenario.resolved` has it."""
    tables = resolved["scenario"]
    found = [
        Section("Tumor", tuple(_tumor(tables["model"]))),
        Section("Drugs", tuple(_drug(drug) for drug in tables["drug"])),
        Section("Decisions", tuple(_decisions(tables, resolved["decision_intervals"]))),
        Section("Limits", tuple(Item(_spaced(c["kind"]), _part("limit", c)) for c in tables["constraint"])),
        Section("Goal", tuple(_goal(tables))),
    ]
    return tuple(section for section in found if section.items)


def quantity(value: Any) -> str:
    """A value of the resolved tables as a person writes it: "7.0 day" is 7 days."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_spaced(key)} {quantity(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(quantity, value))
    text, _, unit = str(value).partition(" ")
    try:
        number = float(text)
    except ValueError:
        return str(value)
    many = "s" if unit in _COUNTED and number != 1.0 else ""
    return f"{number:.6g} {unit}{many}".strip()


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and name of nested tables with the path that leads to it."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for i, item in enumerate(value):
            yield from leaves(item, f"{path}[{i}]")
    else:
        yield path, value


def _spaced(key: str) -> str:
    return key.replace("_", " ")


def _meaning(family: str, kind: str) -> str:
    """What a kind means; nothing for one of a user's own files."""
    found = classes(family).get(kind)
    return "" if found is None else first_line(found).replace("`", "")


def _numbers(part: Table, *left_out: str) -> str:
    """The numbers of a part, in its own words; nothing where it has none."""
    given = {key: value for key, value in part.items() if key not in left_out and value not in ("", [], {}, None)}
    return f"Here: {quantity(given)}" if given else ""


def _part(family: str, part: Table, key: str = "kind", *left_out: str) -> str:
    """What a part is, and its numbers."""
    return _said(_meaning(family, part[key]), _numbers(part, key, *left_out))


def _said(*sentences: str) -> str:
    """Sentences one after the other, those that are empty left out."""
    return " ".join(s if s.endswith((".", ";", ":")) else f"{s}." for s in sentences if s)


def _tumor(model: Table) -> Iterator[Item]:
    kind = model["kind"]
    spec = model_branches().get(kind)
    meaning = "A model of one's own" if spec is None else (spec.__doc__ or kind).strip().splitlines()[0]
    preset = PRESETS.get(model.get("preset", ""))
    shown = "" if preset is None else f"Preset {model['preset']}: {preset.meaning} (doi {preset.doi})"
    if kind not in ("stromal", "tumor"):
        # The keys of a model that stands alone are its own, whatever they are called.
        yield Item(f"Model: {kind}", _said(meaning, _numbers(model, "kind")))
        return
    nested = ("kind", "preset", "growth", "interaction", "mechanism", "transition", "clone")
    yield Item(f"Model: {kind}", _said(meaning, shown, _numbers(model, *nested)))
    if "growth" in model:
        law = model["growth"]["law"]
        yield Item(f"Growth: {law}", _part("growth", model["growth"], "law"))
    if "interaction" in model and any(len(clone.get("effect", ())) > 1 for clone in model.get("clone", ())):
        law = model["interaction"]["law"]
        yield Item(f"Drugs together: {law}", _part("interaction", model["interaction"], "law"))
    for part in model.get("mechanism", ()):
        yield Item(f"Mechanism: {_spaced(part['kind'])}", _part("mechanism", part))
    for part in model.get("transition", ()):
        yield Item(f"Transition: {part['from']} to {part['to']}", _part("transition", part, "law", "from", "to"))
    for clone in model.get("clone", ()):
        yield _clone(clone)


def _clone(clone: Table) -> Item:
    resistant = "counted as resistant" if clone["resistant"] else "counted as sensitive"
    numbers = _numbers(clone, "name", "resistant", "cells", "mutation", "effect")
    cells = f"{quantity(clone['cells'])} cells at the start, " if "cells" in clone else ""
    effects = [f"{e['drug']} acts by {e['law']} ({_part('effect', e, 'law', 'drug')})" for e in clone.get("effect", ())]
    mutation = clone.get("mutation")
    born = "" if mutation is None else f"It arises from {mutation['from']} at {quantity(mutation['rate'])} per division"
    return Item(f"Clone: {clone['name']}", _said(f"{cells}{resistant}", numbers, born, *effects))


def _drug(drug: Table) -> Item:
    dose, pk = drug["dose"], drug["pk"]
    way = "each a jump of the concentration or amount" if drug["route"] == "bolus" else "at a constant rate"
    given = f"Given as {drug['route']} ({way}), {quantity(dose['min'])} to {quantity(dose['max'])}"
    own = _numbers(drug, "name", "role", "route", "pk", "dose", "doi")
    role = f"Role {_spaced(drug['role'])}: {_meaning('role', drug['role'])}"
    kinetics = _said(f"Kinetics {_spaced(pk['kind'])}: {_meaning('pk', pk['kind'])}", _numbers(pk, "kind"))
    sources = f"Sources: {', '.join(f'doi {doi}' for doi in drug['doi'])}" if drug["doi"] else ""
    return Item(drug["name"], _said(given, role, own, kinetics, sources))


def _decisions(tables: Table, count: int) -> Iterator[Item]:
    decision = tables["decision"]
    if "every" in decision:
        text = f"One decision every {quantity(decision['every'])} over {quantity(decision['horizon'])}: {count} in all"
    else:
        edges = decision["edges"]
        text = f"{count} decisions, at {quantity(edges[:-1])}; the horizon is {quantity(edges[-1])}"
    yield Item("When", _said(text))
    if tables["patient"]:
        yield Item("Patient", _said(_numbers(tables["patient"])))


def _goal(tables: Table) -> Iterator[Item]:
    terms = tables["objective"]
    total = " + ".join(f"{quantity(term['weight'])} x {_spaced(kind)}" for kind, term in terms.items())
    yield Item("Smallest", _said(total))
    for kind, term in terms.items():
        yield Item(_spaced(kind), _said(_meaning("term", kind), _numbers(term, "weight")))
    factor, endpoint = quantity(tables["progression"]["factor"]), tables.get("endpoint")
    own = None if endpoint is None else _said(_meaning("endpoint", endpoint["kind"]), _numbers(endpoint, "kind"))
    yield Item("Progression", own or f"More than {factor} times the cells at the start.")
    if "policy" in tables:
        rule, ranges = tables["policy"], tables["search"].get("policy", {})
        searched = "; ".join(f"{_spaced(name)} from {quantity(a)} to {quantity(b)}" for name, (a, b) in ranges.items())
        asked = f"Searched are its numbers: {searched}" if searched else ""
        yield Item(f"Rule: {_spaced(rule['kind'])}", _said(_meaning("policy", rule["kind"]), asked))
