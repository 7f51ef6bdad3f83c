"""Key paths of a checked scenario: which number of the plan `model.ec50_max` or `drug[0].pk.elimination` means."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optimizer.fields import FieldInfo, describe
from optimizer.scenario.faults import close
from optimizer.scenario.fields import show
from optimizer.scenario.model_schema import STROMAL, STROMAL_CLONE, WHOLE
from optimizer.scenario.plan import Model, Part, Plan
from optimizer.units import QuantityError

# A list entry is named by its number or by its name, the quotes being optional.
_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:\[\"?([^\[\]\"]+)\"?\])?")
_MOST_SHOWN = 12


@dataclass(frozen=True)
class Place:
    """A number of the plan that a patient may have otherwise."""

    key: str  #: as the user writes it
    steps: tuple[str | int, ...]  #: attributes, indices and names that lead to it from the plan
    value: float  #: the scenario's own value, in `unit`
    unit: str  #: internal unit
    info: FieldInfo  #: range of allowed values


def find(model: Model, drugs: Sequence[Any], key: str) -> Place:
    """The place of a key path such as "model.ec50_max", "model.clone[resistant].cells" or "drug[0].pk.elimination".

    Raises:
        QuantityError: no number of the tumor, or of a drug's kinetics or role, has this key; one sentence.
    """
    known = {place.key: place for place in places(model, drugs)}
    written = _plain(key, model, drugs)
    if written in known:
        return replace(known[written], key=key)
    listed = list(known)
    more = ", ..." if len(listed) > _MOST_SHOWN else ""
    wanted = f"a number of the tumor or of a drug: one of {', '.join(listed[:_MOST_SHOWN])}{more}"
    raise QuantityError(f"wanted {wanted}; got {show(key)}{close(written, listed)}")


def _plain(key: str, model: Model, drugs: Sequence[Any]) -> str:
    """The key with names of clones and drugs replaced by their numbers."""
    names = {"clone": [clone.name for clone in model.clones], "drug": [drug.name for drug in drugs]}
    parts = []
    # At the points that are not inside brackets: a drug's name may have one.
    for step in re.split(r"\.(?![^\[]*\])", key):
        found = _STEP.fullmatch(step)
        word, inside = (found[1], found[2]) if found else (step, None)
        if inside is not None and inside in names.get(word, ()):
            inside = str(names[word].index(inside))
        parts.append(word if inside is None else f"{word}[{inside}]")
    return ".".join(parts)


def places(model: Model, drugs: Sequence[Any]) -> Iterator[Place]:
    """Every number that a patient may have otherwise, in the order of the file."""
    top = ("model",)
    infos = STROMAL | STROMAL_CLONE | WHOLE
    for name, value in model.whole.items():
        # Cells added before a logarithm are part of the equations, not of a patient.
        if name != "cell_floor":
            yield Place(f"model.{name}", (*top, "whole", name), value, model.units[name], infos[name])
    for i, clone in enumerate(model.clones):
        for name, value in clone.numbers.items():
            info = infos.get(name, FieldInfo(clone.units[name], ""))
            steps = (*top, "clones", i, "numbers", name)
            place = Place(f"model.clone[{i}].{name}", steps, value, clone.units[name], info)
            if len(model.clones) == 1:
                yield replace(place, key=f"model.{name}")
            yield place
        for n, (_, part) in enumerate(clone.effects):
            yield from _of_part(part, f"model.clone[{i}].effect[{n}]", (*top, "clones", i, "effects", n, 1))
    for name in ("growth", "interaction", "alone"):
        part = getattr(model, name)
        if part is not None:
            yield from _of_part(part, "model" if name == "alone" else f"model.{name}", (*top, name))
    for i, part in enumerate(model.mechanisms):
        yield from _of_part(part, f"model.mechanism[{i}]", (*top, "mechanisms", i))
    for i, transition in enumerate(model.transitions):
        yield from _of_part(transition.law, f"model.transition[{i}]", (*top, "transitions", i, "law"))
    for i, drug in enumerate(drugs):
        yield from _of_part(drug.pk, f"drug[{i}].pk", ("drugs", i, "pk"))
        yield from _of_part(drug.role, f"drug[{i}]", ("drugs", i, "role"))


def _of_part(part: Part, path: str, steps: tuple[str | int, ...]) -> Iterator[Place]:
    """Numbers of a part that are arrays of its class: what is compiled in is not a patient's."""
    fields = {field.name: field for field in dataclasses.fields(part.cls)}
    for name, info in describe(part.cls).items():
        value = part.values.get(name, fields[name].default)
        if fields[name].metadata.get("static") or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        unit = part.units.get(name, info.unit)
        yield Place(f"{path}.{name}", (*steps, "values", name), float(value), unit, info)
    for name, table in part.values.items():
        for own, value in (
            table.items() if isinstance(table, Mapping) and not fields[name].metadata.get("static") else ()
        ):
            unit = part.units[name][own]
            yield Place(f"{path}.{name}.{own}", (*steps, "values", name, own), value, unit, FieldInfo(unit, ""))


def substituted(plan: Plan, where: Sequence[Place], values: Sequence[Any]) -> Plan:
    """The plan with other numbers at these places; they may be tracers."""
    for place, value in zip(where, values, strict=True):
        plan = _put(plan, place.steps, value)
    return plan


def _put(here: Any, steps: tuple[str | int, ...], value: Any) -> Any:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(here, tuple):
        i = int(step)
        return (*here[:i], _put(here[i], rest, value), *here[i + 1 :])
    if isinstance(here, Mapping):
        return {**here, step: _put(here.get(step), rest, value)}
    return replace(here, **{str(step): _put(getattr(here, str(step)), rest, value)})
