"""Clones of a tumor: their effects, where they come from, how cells move between them, how drugs combine on them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from optimizer.fields import describe
from optimizer.scenario.check_parts import Context, unique
from optimizer.scenario.faults import one_of
from optimizer.scenario.model_schema import TUMOR_CLONE
from optimizer.scenario.plan import Clone, Part, Transition

Effects = tuple[tuple[int, Part], ...]
_ABSENT = {"death_rate": 0.0, "cost": 0.0}


def effects_of(context: Context, path: str, specs: Sequence[Any]) -> Effects:
    """Effects as (index of the drug, effect), each drug once."""
    effects: list[tuple[int, Part]] = []
    for i, effect in enumerate(specs):
        place = f"{path}[{i}]"
        part = context.chosen("effect", place, effect)
        if part is None:
            continue
        index = context.drug_names.index(effect.drug)
        if any(index == other for other, _ in effects):
            got = f'a second one of "{effect.drug}"'
            context.faults.add(f"{place}.drug", f"wanted one effect of a drug on a clone; got {got}")
        effects.append((index, part))
    return tuple(effects)


def tumor_clone(context: Context, path: str, spec: Any, shared: Effects) -> Clone:
    """A clone; the effects it does not give itself are the model's, less potent or ignored where it says so."""
    numbers = {name: getattr(spec, name) for name in TUMOR_CLONE}
    numbers |= {name: value for name, value in _ABSENT.items() if numbers[name] is None}
    own = dict(effects_of(context, f"{path}.effect", spec.effect or []))
    common = dict(shared)
    for i, entry in enumerate(spec.ec50_factor or []):
        index = _shared_effect(context, f"{path}.ec50_factor[{i}].drug", entry.drug, common)
        if index is not None:
            common[index] = _weaker(context, f"{path}.ec50_factor[{i}].factor", common[index], entry.factor)
    for i, name in enumerate(spec.ignores or []):
        index = _shared_effect(context, f"{path}.ignores[{i}]", name, common)
        if index is not None:
            del common[index]
    effects = tuple(sorted((common | own).items(), key=lambda pair: pair[0]))
    units = {name: info.unit for name, info in TUMOR_CLONE.items()}
    return Clone(spec.name, spec.resistant, numbers, units, effects, mutation_of(spec))


def _shared_effect(context: Context, path: str, name: str, shared: dict[int, Part]) -> int | None:
    """Index of a drug that has an effect in the model; a fault where it has none."""
    known = [context.drug_names[j] for j in shared]
    if name in known:
        return context.drug_names.index(name)
    if known:
        context.faults.add(path, one_of(known, name))
    else:
        context.faults.add(path, f'wanted a drug of [[model.effect]], where there is none; got "{name}"')
    return None


def _weaker(context: Context, path: str, part: Part, factor: float) -> Part:
    """The effect with its concentrations times `factor`, and what is per concentration divided by it."""
    values = dict(part.values)
    for name, info in describe(part.cls).items():
        if name in values and info.unit.startswith("mg/L"):
            values[name] = values[name] * factor
        elif name in values and info.unit.startswith("L/mg"):
            values[name] = values[name] / factor
        if name in values and values[name] != part.values[name] and not 0.0 < values[name] < math.inf:
            context.faults.add(path, f"wanted a factor that leaves {name} within the range of numbers; got {factor:g}")
            values[name] = part.values[name]
    return replace(part, values=values)


def mutation_of(spec: Any) -> tuple[str, float] | None:
    """The clone that a clone arises from at divisions, and the share of them."""
    return None if spec.mutation is None else (spec.mutation.from_, spec.mutation.rate)


def check_clones(context: Context, clones: Sequence[Clone], transitions: Sequence[Transition]) -> None:
    """Names, mutations, and that there are cells to treat."""
    faults, names = context.faults, [clone.name for clone in clones]
    unique(faults, "model.clone", names)
    filled = {t.target for t in transitions}
    for i, clone in enumerate(clones):
        path = f"model.clone[{i}]"
        if clone.mutation:
            others = [name for name in names if name != clone.name]
            if not others:
                faults.add(f"{path}.mutation.from", "wanted the name of another clone; got only one clone")
            elif clone.mutation[0] not in others:
                faults.add(f"{path}.mutation.from", one_of(others, clone.mutation[0]))
        has_inflow = clone.name in filled or (clone.mutation is not None and clone.mutation[1] > 0.0)
        if clone.numbers["cells"] == 0.0 and not has_inflow:
            faults.add(f"{path}.cells", "wanted more than 0, or a mutation that the clone arises from; got 0")
    known = [clone.numbers["cells"] for clone in clones]
    if known and None not in known and not sum(known):
        faults.add("model.clone", "wanted at least one clone with cells; got 0 cells in all")


def check_transitions(context: Context, specs: Sequence[Any], clones: Sequence[Clone]) -> tuple[Transition, ...]:
    """Transitions between clones that exist; a resensitizer has a way back to raise."""
    names, found = [clone.name for clone in clones], []
    for i, spec in enumerate(specs):
        path = f"model.transition[{i}]"
        for word, name in (("from", spec.from_), ("to", spec.to)):
            if name not in names:
                context.faults.add(f"{path}.{word}", one_of(names, name))
        if spec.from_ == spec.to:
            context.faults.add(f"{path}.to", f'wanted the name of another clone; got "{spec.to}"')
        law = context.chosen("transition", path, spec)
        if law is not None:
            found.append(Transition(spec.from_, spec.to, law))
    resistant = {clone.name: clone.resistant for clone in clones}
    back = any(resistant.get(t.source) and not resistant.get(t.target, True) for t in found)
    known = all(name in names for spec in specs for name in (spec.from_, spec.to))
    for j, drug in enumerate(context.drugs):
        if drug.role.kind == "resensitizer" and known and not back:
            wanted = "a [[model.transition]] from a resistant clone to one that is not, which it raises"
            context.faults.add(f"drug[{j}].role", f'wanted {wanted}; got "resensitizer" without')
    return tuple(found)


def check_interaction(context: Context, spec: Any, clones: Sequence[Clone]) -> Part | None:
    """How drugs combine; the two drugs of MuSyC exist and have Hill curves."""
    if spec is None:
        return None
    part = context.chosen("interaction", "model.interaction", spec)
    if "first" not in describe(part.cls):
        return part
    names = context.drug_names
    pair = [getattr(spec, word) or (names[i] if i < len(names) else None) for i, word in enumerate(("first", "second"))]
    for word, name in zip(("first", "second"), pair, strict=True):
        if name not in names:
            context.faults.add(f"model.interaction.{word}", one_of(names, name or "no second drug"))
            return part
    if pair[0] == pair[1]:
        context.faults.add("model.interaction.second", f'wanted another drug than the first; got "{pair[1]}" twice')
    both = [j for j, name in enumerate(names) if name in pair]
    for i, clone in enumerate(clones):
        laws = [effect.kind for j, effect in clone.effects if j in both]
        if len(laws) == 2 and set(laws) != {"hill"}:
            wanted = f'Hill effects of both drugs, between which "{part.kind}" is defined'
            context.faults.add(f"model.clone[{i}]", f"wanted {wanted}; got {' and '.join(laws)}")
    return part
