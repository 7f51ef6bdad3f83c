"""The rule whose numbers are searched in place of a schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.fields import FieldInfo, default_of, describe
from optimizer.scenario.check_parts import Context
from optimizer.scenario.faults import one_of
from optimizer.scenario.fields import level_unit, show
from optimizer.scenario.plan import Part, RulePlan
from optimizer.scenario.schema import classes

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
    if spec.every is not None:
        faults.add("policy.every", "wanted no such key, as the rule decides at [decision]; got one")
        return None
    name = getattr(spec, "drug", None)
    drug = context.drug("policy.drug", name) if name is not None else None
    cls = classes("policy")[spec.kind]
    part = context.part("policy", spec, spec.kind, cls, drug)
    known = {name: info for name, info in describe(cls).items() if _is_open(cls, name, info)}
    found, units = {}, {}
    for name, pair in ranges.items():
        path = f"search.policy.{name}"
        if name not in known:
            faults.add(path, one_of(list(known), name))
            continue
        unit = level_unit(known[name].unit, False)
        if len(pair) != 2:
            faults.add(path, f"wanted the smallest and the largest value; got {len(pair)} values")
            continue
        low, high = (context.number(f"{path}[{i}]", value, known[name], unit) for i, value in enumerate(pair))
        if not low < high:
            faults.add(path, f"wanted the smaller value first; got {show(list(pair))}")
        else:
            _within(context, part, name, (low, high))
        found[name], units[name] = (low, high), unit
    return RulePlan(part, found, units)


def _is_open(cls: type, name: str, info: FieldInfo) -> bool:
    """A number of the rule that is an array, not compiled in."""
    field = cls.__dataclass_fields__[name]  # type: ignore[attr-defined]
    return info.ndim == 0 and not field.metadata.get("static") and name not in _MEASURED


def _within(context: Context, part: Part, name: str, limits: tuple[float, float]) -> None:
    """A fault where the number as written lies outside its range."""
    value = part.values.get(name, default_of(part.cls, name))
    if isinstance(value, int | float) and not limits[0] <= value <= limits[1]:
        wanted = f"a value within its range, {limits[0]:g} to {limits[1]:g}"
        context.faults.add(f"policy.{name}", f"wanted {wanted}; got {value:g}")
