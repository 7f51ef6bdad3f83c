"""The tables that a scenario may leave out: virtual patients, what is measured of them, and rules that dose."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np

from optimizer.endpoints.burden_factor import BurdenFactor
from optimizer.fields import FieldInfo, default_of, describe
from optimizer.observations.base import Assay
from optimizer.policies.network import weight_count
from optimizer.policies.sequence import NEVER, Sequential
from optimizer.scenario.check_parts import Context
from optimizer.scenario.faults import one_of
from optimizer.scenario.fields import level_unit, show
from optimizer.scenario.keys import Place, find
from optimizer.scenario.networks import HIDDEN
from optimizer.scenario.plan import CohortPlan, Model, Part, RiskPlan, RulePlan, Vary
from optimizer.scenario.schema import classes
from optimizer.units import QuantityError

_SPREAD = FieldInfo("", "", minimum=0.0)
# Standard deviations beyond this many times the number say nothing, and their squares leave the range of numbers.
_WIDEST = 1e6


def check_cohort(context: Context, spec: Any, model: Model) -> CohortPlan:
    """Exactly one way to make patients, its keys known and its correlations possible."""
    faults = context.faults
    ways = [name for name in ("vary", "table", "posterior", "risk") if getattr(spec, name)]
    if len(ways) != 1 and ways != ["vary", "risk"]:
        wanted = "one of vary, table, posterior and risk, or vary and risk"
        faults.add("cohort", f"wanted {wanted}; got {' and '.join(ways) or 'none'}")
    if spec.correlation and not spec.vary:
        faults.add("cohort.correlation", "wanted keys that vary beside it; got none")
    written, risk = spec.model_dump(exclude_none=True), spec.risk and _risk(context, spec.risk, model)
    if not spec.vary:
        return CohortPlan(table=spec.table, posterior=spec.posterior, risk=risk, written=written)
    found: list[Place] = []
    vary = []
    for i, entry in enumerate(spec.vary):
        path = f"cohort.vary[{i}]"
        try:
            place = find(model, context.drugs, entry.key)
        except QuantityError as error:
            faults.add(f"{path}.key", str(error))
            continue
        if place.steps in [other.steps for other in found]:
            faults.add(f"{path}.key", f'wanted each number once; got "{entry.key}" twice')
        found.append(place)
        vary.append(_vary(context, path, entry, place))
    if risk and find(model, context.drugs, risk.key).steps in [place.steps for place in found]:
        faults.add("cohort.vary", f"wanted each number once; got {risk.key}, which risk draws")
    names = [entry.key for entry in spec.vary]
    listed = spec.correlation or []
    matrix = _correlation(context, names, listed) if len(found) == len(names) else np.eye(len(found))
    return CohortPlan(tuple(vary), matrix, risk=risk, written=written | {"correlation": written.get("correlation", [])})


def _risk(context: Context, spec: Any, model: Model) -> RiskPlan | None:
    """The clone that a probability is of: resistant, with cells, and not the only one."""
    faults = context.faults
    if spec.model is not None and spec.column is not None:
        faults.add("cohort.risk", "wanted either a column of probabilities or a model that makes them; got both")
    cells = {clone.name: clone.numbers.get("cells") or 0.0 for clone in model.clones}
    known = [clone.name for clone in model.clones if clone.resistant and cells[clone.name] > 0.0]
    name = known[0] if spec.clone is None and len(known) == 1 else spec.clone
    if name is None:
        wanted = "the name of a clone, of one that is resistant and has cells"
        faults.add("cohort.risk.clone", f"wanted {wanted}; got none of {len(known)} such clones")
    elif name not in known:
        wanted = f"one that is resistant and has cells: {', '.join(known) or 'there is none'}"
        faults.add("cohort.risk.clone", f"wanted {wanted}; got {show(name)}")
    elif not sum(cells.values()) > cells[name]:
        faults.add("cohort.risk.clone", f"wanted another clone with cells beside it; got {show(name)} alone")
    else:
        key = f"model.clone[{list(cells).index(name)}].cells"
        column = {} if spec.column is None else {"column": spec.column}
        return RiskPlan(key, math.sqrt(math.log1p(spec.cv**2)), spec.table, model=spec.model, **column)
    return None


def _vary(context: Context, path: str, entry: Any, place: Place) -> Vary:
    """The spread as a standard deviation, of the logarithm where the number is lognormal."""
    if (entry.cv is None) == (entry.sd is None):
        got = "neither" if entry.cv is None else "both"
        context.faults.add(path, f"wanted either cv or sd, the spread; got {got}")
        return Vary(entry.key, entry.distribution, 0.0)
    if entry.cv is not None:
        sd = entry.cv * abs(place.value)
    else:
        sd = context.number(f"{path}.sd", entry.sd, _SPREAD, place.unit)
    if math.isinf(sd) or (entry.distribution == "lognormal" and sd > _WIDEST * abs(place.value) > 0.0):
        wanted = f"a spread of at most {_WIDEST:g} times the number, which is {abs(place.value):g}"
        context.faults.add(path, f"wanted {wanted}; got {sd:g}")
        return Vary(entry.key, entry.distribution, 0.0)
    if entry.distribution == "normal":
        return Vary(entry.key, "normal", sd)
    if place.value == 0.0:
        context.faults.add(f"{path}.distribution", 'wanted "normal" for a number that is 0; got "lognormal"')
        return Vary(entry.key, "lognormal", 0.0)
    return Vary(entry.key, "lognormal", math.sqrt(math.log1p((sd / place.value) ** 2)))


def _correlation(context: Context, names: list[str], listed: list[Any]) -> np.ndarray:
    """Correlation matrix; a fault where no numbers can go together like that."""
    faults, matrix = context.faults, np.eye(len(names))
    before = len(faults.found)
    for i, entry in enumerate(listed):
        path = f"cohort.correlation[{i}]"
        if len(entry.keys) != 2 or entry.keys[0] == entry.keys[1]:
            faults.add(f"{path}.keys", f"wanted two different keys; got {', '.join(entry.keys) or 'none'}")
            continue
        for name in entry.keys:
            if name not in names:
                faults.add(f"{path}.keys", one_of(names, name))
        if all(name in names for name in entry.keys):
            a, b = (names.index(name) for name in entry.keys)
            matrix[a, b] = matrix[b, a] = entry.value
    if len(faults.found) == before and np.linalg.eigvalsh(matrix)[0] < -1e-12:
        wanted = "correlations that numbers can have together (a positive semidefinite matrix)"
        faults.add("cohort.correlation", f"wanted {wanted}; got some that contradict each other")
    return matrix


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


# --- what is measured of a patient ------------------------------------------------------------------------------------


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
            f"Progression in tables of one patient is by {part.kind}; cohort, trial, train, replan and the term "
            "progression count cells by [progression] factor; the term endpoint reads it."
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
        ended, last = any(end is not None for end in ends), i == len(phases) - 1
        if ended == last:
            wanted = "no end of the last phase" if last else f"one of {', '.join(f'ends_{end}' for end in NEVER)}"
            context.faults.add(f"{path}.phases[{i}]", f"wanted {wanted}; got {'one' if last else 'none'}")
        if i > 0 and phase.policy.every is not None:
            wanted = "no such key, as all phases decide as often as the first"
            context.faults.add(f"{path}.phases[{i}].policy.every", f"wanted {wanted}; got one")
    parts = [policy(context, f"{path}.phases[{i}].policy", phase.policy) for i, phase in enumerate(phases)]
    if None in parts:
        return None
    ends = {end: [getattr(phase, f"ends_{end}") for phase in phases] for end in NEVER}
    ends = {end: tuple(NEVER[end] if own is None else own for own in given) for end, given in ends.items()}
    units = {"after": "day", "below": "1", "above": "1"}
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
        ends = {end: own for end, own in ends.items() if own[1] not in NEVER.values()}
        found |= {f"phases[{i}].{name}": own for name, own in _open(phase).items()}
        found |= {f"phases[{i}].{e}": (FieldInfo(unit, "", positive=True), own) for e, (unit, own) in ends.items()}
    return found
