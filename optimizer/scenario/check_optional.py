"""Tables that a scenario may leave out: what is measured of a patient, what counts as progression, rules that dose."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

from optimizer.endpoints.burden_factor import BurdenFactor
from optimizer.fields import FieldInfo, default_of, describe
from optimizer.observations.base import Assay
from optimizer.policies.network import weight_count
from optimizer.policies.sequence import NEVER, Sequential
from optimizer.scenario.check_parts import Context
from optimizer.scenario.faults import one_of
from optimizer.scenario.fields import level_unit, show
from optimizer.scenario.networks import HIDDEN
from optimizer.scenario.plan import Model, Part, RulePlan
from optimizer.scenario.schema import classes

# --- what is measured of a patient ------------------------------------------------------------------------------------


def has_observables(context: Context, path: str, part: Part, model: Model) -> None:
    """A fault where the model does not tell what a term, a limit or an observation reads."""
    named, known = part.values.get("observable"), model.observables
    if named is not None and known is not None and named not in known:
        said = (
            one_of(known, named) if known else f'wanted a model with observables; got the kind "{model.kind}" without'
        )
        context.faults.add(f"{path}.observable", said)
    needs: tuple[str, ...] = getattr(part.cls, "needs", ())
    if model.observables is not None and not set(needs) <= set(model.observables):
        tells = [kind for kind, cls in classes("mechanism").items() if set(needs) <= set(cls.observable_names)]
        wanted = f"a model with {', '.join(needs)}, such as one with the {' or '.join(tells)} mechanism"
        context.faults.add(path, f'wanted {wanted}; got the kind "{model.kind}" without')


def check_observations(context: Context, specs: Sequence[Any], model: Model) -> tuple[tuple[Part, Part], ...]:
    """Each quantity once, of clones that there are, its visits on a grid or listed in order."""
    found, labels = [], []
    for i, spec in enumerate(specs):
        path, clone = f"observation[{i}]", getattr(spec, "clone", None)
        names = [c.name for c in model.clones]
        if clone is not None and model.alone is None and clone not in names:
            context.faults.add(f"{path}.clone", one_of(names, clone))
        days = spec.days or []
        if days and spec.every:
            context.faults.add(path, "wanted either every or days, when it is measured; got both")
        if any(later <= earlier for earlier, later in pairwise(days)):
            context.faults.add(f"{path}.days", "wanted days that increase; got others")
        named = clone or getattr(spec, "observable", None)
        label = spec.kind if named is None else f"{spec.kind}.{named}"
        if label in labels:
            context.faults.add(path, f'wanted each quantity once; got "{label}" twice')
        labels.append(label)
        quantity = context.chosen("observation", path, spec)
        if quantity is not None:
            has_observables(context, path, quantity, model)
        found.append((quantity, context.part(path, spec, "assay", Assay, key="")))
    return tuple(found)


# --- what counts as progression ---------------------------------------------------------------------------------------


def check_endpoint(context: Context, spec: Any) -> Part | None:
    """What counts as progression: the observation that it reads is there, and one factor says it."""
    if spec.endpoint is None:
        return None
    part = context.chosen("endpoint", "endpoint", spec.endpoint)
    cls = part.cls
    kinds = [observation.kind for observation in spec.observation or []]
    if not set(cls.reads) & set(kinds) and cls.standard() is None:
        wanted = f'an [[observation]] of kind "{cls.reads[0]}", which {part.kind} reads'
        context.faults.add("endpoint.kind", f"wanted {wanted}; got {', '.join(kinds) or 'none'}")
    if cls is not BurdenFactor:
        context.notes.append(
            f"Progression in tables is by {part.kind}; the term progression and adose stochastic count cells by "
            "[progression] factor; the term endpoint reads it."
        )
        return part
    given, own = spec.progression.factor, part.values.get("factor")
    if given is not None and own is not None and given != own:
        context.faults.add("endpoint.factor", f"wanted that of [progression], which is {given:g}; got {own:g}")
    factor = {} if own is None and given is None else {"factor": given if own is None else own}
    return replace(part, values={**part.values, **factor}, units={**part.units, "factor": "1"})


# --- rules, of regimens and of the search -----------------------------------------------------------------------------


# Numbers of a rule that say how it is measured, not what it does.
_MEASURED = ("noise",)


def check_rule(context: Context, spec: Any, ranges: Mapping[str, Sequence[Any]] | None) -> RulePlan | None:
    """The rule with the ranges of its open numbers; None where a schedule is searched."""
    faults = context.faults
    if spec is None:
        if ranges is not None:
            faults.add("search.policy", "wanted a table [policy], the rule whose numbers these are; got none")
        return None
    if ranges is None:
        faults.add("search.policy", "wanted the numbers of [policy] that are searched, with their ranges; got none")
        return None
    if spec.kind == "network":
        faults.add("policy.kind", 'wanted a rule with numbers to search; got "network", which adose train trains')
        return None
    part = _rule(context, spec)
    if part is None:
        return None
    known = _open(part)
    found, units = {}, {}
    for name, pair in ranges.items():
        path = f"search.policy.{name}"
        if name not in known:
            faults.add(path, one_of(list(known), name))
            continue
        info, value = known[name]
        unit = level_unit(info.unit, False)
        if len(pair) != 2:
            faults.add(path, f"wanted the smallest and the largest value; got {len(pair)} values")
            continue
        low, high = (context.number(f"{path}[{i}]", end, info, unit) for i, end in enumerate(pair))
        if not low < high:
            faults.add(path, f"wanted the smaller value first; got {show(list(pair))}")
        elif isinstance(value, int | float) and not low <= value <= high:
            faults.add(f"policy.{name}", f"wanted a value within its range, {low:g} to {high:g}; got {value:g}")
        found[name], units[name] = (low, high), unit
    return RulePlan(part, found, units)


def policy(context: Context, path: str, spec: Any) -> Part | None:
    """A rule with what it needs."""
    part = context.chosen("policy", path, spec)
    if part is not None and spec.kind == "network":
        drugs, hidden, got = len(context.drugs), part.values.get("hidden", HIDDEN), len(spec.weights or ())
        if got != (count := weight_count(drugs, hidden)):
            wanted = f"{count} weights for {drugs} drugs and {hidden} hidden neurons"
            context.faults.add(path, f"wanted {wanted}; got {got}")
            return None
    return part


def sequence(context: Context, path: str, phases: Sequence[Any]) -> Part | None:
    """Rules one after the other, which decide as often as the first says; None where they are refused."""
    if not phases:
        context.faults.add(f"{path}.phases", "wanted at least one phase; got none")
        return None
    for i, phase in enumerate(phases):
        ends = [getattr(phase, f"ends_{end}") for end in NEVER]
        ended, last = any(end not in (None, False) for end in ends), i == len(phases) - 1
        if ended == last:
            wanted = "no end of the last phase" if last else f"one of {', '.join(f'ends_{end}' for end in NEVER)}"
            context.faults.add(f"{path}.phases[{i}]", f"wanted {wanted}; got {'one' if last else 'none'}")
        if i > 0 and phase.policy.every is not None:
            wanted = "no such key, as all phases decide as often as the first"
            context.faults.add(f"{path}.phases[{i}].policy.every", f"wanted {wanted}; got one")
    parts = [policy(context, f"{path}.phases[{i}].policy", phase.policy) for i, phase in enumerate(phases)]
    if None in parts:
        return None
    given = {end: [getattr(phase, f"ends_{end}") for phase in phases] for end in NEVER}
    ends = {end: tuple(NEVER[end] if own is None else own for own in each) for end, each in given.items()}
    units = {"after": "day", "below": "1", "above": "1", "grade": "1", "progression": ""}
    if any(given["grade"]) and not context.tells("neutrophils"):
        context.faults.add(f"{path}.phases", "wanted a model with neutrophils beside ends_grade; got one without")
    if any(given["progression"]) and context.endpoint is None:
        context.faults.add(f"{path}.phases", "wanted [endpoint] beside ends_progression; got none")
    return Part(Sequential.kind, Sequential, {"phases": tuple(parts), **ends}, units)


def _rule(context: Context, spec: Any) -> Part | None:
    """The rule, or its phases, which decide with the schedule."""
    phases = getattr(spec, "phases", None)
    rules = (
        [("policy", spec)]
        if phases is None
        else [(f"policy.phases[{i}].policy", p.policy) for i, p in enumerate(phases)]
    )
    for path in [path for path, rule in rules if rule.every is not None]:
        context.faults.add(f"{path}.every", "wanted no such key, as the rule decides at [decision]; got one")
        return None
    return context.chosen("policy", "policy", spec) if phases is None else sequence(context, "policy", phases)


def _open(part: Part) -> dict[str, tuple[FieldInfo, Any]]:
    """Numbers of a rule that may be searched, with their values as written."""
    if part.cls is not Sequential:
        # What is compiled in is no number to search.
        closed = {*_MEASURED, *(field.name for field in fields(part.cls) if field.metadata.get("static"))}
        known = {name: info for name, info in describe(part.cls).items() if info.ndim == 0 and name not in closed}
        return {name: (info, part.values.get(name, default_of(part.cls, name))) for name, info in known.items()}
    found = {}
    for i, phase in enumerate(part.values["phases"]):
        ends = {f"ends_{end}": (part.units[end], part.values[end][i]) for end in NEVER}
        ends = {end: own for end, own in ends.items() if own[0] and own[1] not in NEVER.values()}
        found |= {f"phases[{i}].{name}": own for name, own in _open(phase).items()}
        found |= {f"phases[{i}].{e}": (FieldInfo(unit, "", positive=True), own) for e, (unit, own) in ends.items()}
    return found
