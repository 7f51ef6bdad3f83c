"""The [model] table: clones, effects, mechanisms, and the stromal recipe with its presets."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optimizer.fields import describe
from optimizer.mechanisms.stroma import Stroma
from optimizer.models.stromal import PRESETS
from optimizer.scenario.check_clones import (
    check_clones,
    check_interaction,
    check_transitions,
    effects_of,
    mutation_of,
    tumor_clone,
)
from optimizer.scenario.check_equations import check_equations
from optimizer.scenario.check_parts import Context
from optimizer.scenario.fields import read_quantity
from optimizer.scenario.model_schema import STROMAL, STROMAL_CLONE, WHOLE
from optimizer.scenario.plan import Clone, Model, Part
from optimizer.scenario.schema import classes

_FLOOR = 1.0
_OPTIONAL = {"growth_factor_max": 0.0, "growth_factor_max_per_cell": 0.0, "growth_factor": 0.0}


def check_model(context: Context, spec: Any, code: Mapping[str, type]) -> Model:
    """The model of any kind."""
    if spec.kind in _CLONES:
        return _of_clones(context, spec, *_CLONES[spec.kind](context, spec))
    if spec.kind == "equations":
        return check_equations(context, spec)
    cls = code.get(spec.kind) or classes("model")[spec.kind]
    names = getattr(cls, "observable_names", None)
    observables = names if isinstance(names, tuple) else None
    return Model(spec.kind, {}, {}, alone=context.part("model", spec, spec.kind, cls), observables=observables)


# --- clones ---------------------------------------------------------------------------------------------------------


def _of_clones(
    context: Context, spec: Any, clones: tuple[Clone, ...], whole: Mapping[str, float | None], own: Sequence[type] = ()
) -> Model:
    """What holds for every model of clones: `own` are the classes of the mechanisms that its kind brings along."""
    transitions = check_transitions(context, spec.transition or [], clones)
    check_clones(context, clones, transitions)
    growth, interaction = getattr(spec, "growth", None), getattr(spec, "interaction", None)
    if growth is not None:
        growth = _broadcast(context, "model.growth", context.chosen("growth", "model.growth", growth), len(clones))
    mechanisms = _mechanisms(context, spec.mechanism or [], len(clones), [cls.kind for cls in own])  # type: ignore[attr-defined]
    floor = _FLOOR if spec.cell_floor is None else spec.cell_floor
    more = {"cell_floor": floor, "carrying_capacity": getattr(spec, "carrying_capacity", None)}
    kept = {name: value for name, value in {**whole, **more}.items() if value is not None}
    told: list[Any] = [*own, *(part.cls for part in mechanisms)]
    return Model(
        kind=spec.kind,
        whole=kept,
        units={name: (STROMAL | WHOLE)[name].unit for name in kept},
        clones=clones,
        preset=getattr(spec, "preset", None),
        growth=growth,
        mechanisms=mechanisms,
        interaction=check_interaction(context, interaction, clones),
        transitions=transitions,
        observables=tuple(name for cls in told for name in cls.observable_names),
    )


def _tumor(context: Context, spec: Any) -> tuple[Any, ...]:
    if not spec.clone:
        context.faults.add("model.clone", "wanted at least one [[model.clone]]; got none")
    shared = effects_of(context, "model.effect", spec.effect or [])
    clones = tuple(tumor_clone(context, f"model.clone[{i}]", clone, shared) for i, clone in enumerate(spec.clone))
    for j, drug in enumerate(context.drugs):
        used = any(i == j for clone in clones for i, _ in clone.effects)
        if not used and drug.role.kind == "inhibitor" and not spec.mechanism:
            context.notes.append(f"{drug.name} has no effect on any clone")
    return clones, {}


def _mechanisms(context: Context, specs: Sequence[Any], clones: int, taken: Sequence[str] = ()) -> tuple[Part, ...]:
    """Mechanisms, each number of a clone repeated for all clones where one is given."""
    found: list[Part] = []
    for i, spec in enumerate(specs):
        path = f"model.mechanism[{i}]"
        if spec.kind in (*taken, *(part.kind for part in found)):
            context.faults.add(f"{path}.kind", f'wanted each mechanism once; got "{spec.kind}" twice')
        part = context.chosen("mechanism", path, spec)
        if part is not None:
            found.append(_broadcast(context, path, part, clones))
    return tuple(found)


def _broadcast(context: Context, path: str, part: Part, clones: int) -> Part:
    """The part with a number for each clone where its class wants one, defaults included."""
    fields = {f.name: f for f in dataclasses.fields(part.cls)}
    values, units = dict(part.values), dict(part.units)
    for name, info in describe(part.cls).items():
        if info.ndim == 0 or fields[name].metadata.get("static"):
            continue
        value = values.get(name, (fields[name].default,))
        if len(value) != clones and (info.ndim == 2 or len(value) != 1):
            one = f"{clones} rows of {clones} numbers" if info.ndim == 2 else "one quantity, or one for each"
            context.faults.add(f"{path}.{name}", f"wanted {one} of {clones} clones; got {len(value)}")
        values[name] = value * clones if len(value) == 1 and info.ndim == 1 else value
        units[name] = units.get(name, info.unit)
    return replace(part, values=values, units=units)


# --- stromal --------------------------------------------------------------------------------------------------------


def _stromal(context: Context, spec: Any) -> tuple[Any, ...]:
    numbers = _preset(spec.preset)
    numbers |= {name: value for name in STROMAL | STROMAL_CLONE if (value := getattr(spec, name)) is not None}
    for i, drug in enumerate(context.drugs):
        if drug.direct:
            wanted = "pharmacokinetics with a concentration in mg/L, which the stroma responds to"
            context.faults.add(f"drug[{i}].pk.kind", f'wanted {wanted}; got "{drug.pk.kind}", a level without a unit')
    _missing(context, spec, numbers)
    whole = {name: numbers.get(name, _OPTIONAL.get(name)) for name in STROMAL}
    return tuple(_stromal_clones(context, spec, numbers)), whole, (Stroma,)


def _preset(name: str | None) -> dict[str, float]:
    if name is None:
        return {}
    infos = STROMAL | STROMAL_CLONE
    return {key: read_quantity(text, infos[key], infos[key].unit) for key, text in PRESETS[name].values.items()}


def _missing(context: Context, spec: Any, numbers: Mapping[str, float]) -> None:
    """A fault for what neither the preset nor the model gives."""
    absent = [name for name in STROMAL if name not in numbers and name not in _OPTIONAL]
    clones = spec.clone or []
    absent += [
        name
        for name in STROMAL_CLONE
        if name not in numbers and (not clones or any(getattr(clone, name) is None for clone in clones))
    ]
    if not absent:
        return
    if spec.preset is None:
        wanted = f"a preset ({', '.join(PRESETS)}), or the keys {', '.join(absent)}"
        context.faults.add("model", f"wanted {wanted}; got neither")
    for name in absent if spec.preset else ():
        context.faults.add(f"model.{name}", "wanted this key, which the preset does not give; got none")


def _stromal_clones(context: Context, spec: Any, numbers: Mapping[str, float]) -> list[Clone]:
    units = {name: info.unit for name, info in STROMAL_CLONE.items()}
    common = {name: numbers.get(name) for name in STROMAL_CLONE}
    if not spec.clone:
        own = [Clone("tumor", False, common, units)]  # type: ignore[arg-type]
    else:
        own = []
        for i, clone in enumerate(spec.clone):
            given = {name: value for name in STROMAL_CLONE if (value := getattr(clone, name)) is not None}
            if "cells" not in given and len(spec.clone) > 1:
                context.faults.add(f"model.clone[{i}].cells", "wanted the cells of each of several clones; got none")
            own.append(Clone(clone.name, clone.resistant, common | given, units, (), mutation_of(clone)))  # type: ignore[arg-type]
    for i, clone in enumerate(own):
        low, high = clone.numbers["net_growth_min"], clone.numbers["net_growth_max"]
        if low is not None and high is not None and low > high:
            place = f"model.clone[{i}].net_growth_min" if spec.clone else "model.net_growth_min"
            context.faults.add(place, f"wanted at most net_growth_max, which is {high:g} / day; got {low:g} / day")
    return own


_CLONES = {"tumor": _tumor, "stromal": _stromal}
"""Kind -> what gives its clones, its numbers as a whole, and mechanisms of its own."""
