"""Drugs, and every part whose units a drug decides."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.fields import FieldInfo, describe
from optimizer.pharmacology.base import AbstractPK
from optimizer.scenario.faults import Faults, one_of
from optimizer.scenario.fields import DOSE, TOTAL, Sizes, is_contextual, level_unit, read_quantity, show
from optimizer.scenario.plan import Drug, Part
from optimizer.scenario.schema import FAMILIES, classes

# Stands for a number that was refused, so that the rest can still be checked.
REFUSED = math.nan
_NO_DOSE = FieldInfo("", "", minimum=0.0)
_POSITIVE = FieldInfo("", "", positive=True)
# The route of tablets, of which the dose is that of a day.
ORAL = "oral"
# Pairs of fields of which the first must be the smaller.
_ORDERED = (("minimum", "maximum", False), ("low", "high", True), ("start", "stop", True))


@dataclasses.dataclass
class Context:
    """What a checker needs to know besides its own table."""

    faults: Faults
    sizes: Sizes
    drugs: tuple[Drug, ...] = ()
    notes: list[str] = dataclasses.field(default_factory=list)
    endpoint: Part | None = None
    observables: Sequence[str] | None = ()

    @property
    def drug_names(self) -> list[str]:
        """Names of the drugs."""
        return [drug.name for drug in self.drugs]

    def drug(self, path: str, name: str) -> Drug | None:
        """The drug of that name; a fault where there is none."""
        for drug in self.drugs:
            if drug.name == name:
                return drug
        self.faults.add(path, one_of(self.drug_names, name))
        return None

    def tells(self, observable: str) -> bool:
        """Whether the model tells a quantity, or may, where only the built model knows."""
        return self.observables is None or observable in self.observables

    def number(self, path: str, raw: Any, info: FieldInfo, unit: str) -> float:
        """A quantity in `unit`; a fault and NaN where it is none."""
        with self.faults.at(path):
            return read_quantity(raw, info, unit, self.sizes)
        return REFUSED

    def is_direct(self, drug: Drug | None) -> bool:
        """Whether the level of a drug has no unit, or that of all drugs where it is None."""
        return drug.direct if drug else bool(self.drugs) and all(d.direct for d in self.drugs)

    def unit(self, info: FieldInfo, drug: Drug | None) -> str | None:
        """Unit of a field that concerns `drug`, or all drugs where that is None; None where it cannot be said."""
        if info.unit in (DOSE, TOTAL):
            drug = drug or (self.drugs[0] if len(self.drugs) == 1 else None)
            return None if drug is None else drug.dose_unit if info.unit == DOSE else drug.total_unit
        return level_unit(info.unit, self.is_direct(drug))

    def part(self, path: str, spec: Any, kind: str, cls: type, drug: Drug | None = None, key: str = "kind") -> Part:
        """The fields of `cls` from a checked table, in units that the drug decides."""
        values: dict[str, Any] = {}
        units: dict[str, str] = {}
        for name, info in describe(cls).items():
            value = getattr(spec, name, None)
            if value is None:
                continue
            place, unit = f"{path}.{name}", info.unit
            if info.unit and is_contextual(info.unit):
                known = self.unit(info, drug)
                if known is None:
                    self.faults.add(place, "wanted a key drug beside it, as there are several drugs; got none")
                    continue
                value, unit = self._contextual(place, value, info, known), known
            values[name], units[name] = value, unit
        self._ordered(path, values)
        return Part(kind, cls, values, units, key, self.is_direct(drug))

    def chosen(self, family: str, path: str, spec: Any) -> Any:
        """The part that a table chooses by its kind, in units of the drug that it names; None for an unknown drug."""
        drug, key = None, FAMILIES[family].key
        kind = getattr(spec, key)
        if getattr(spec, "drug", None) is not None:
            drug = self.drug(f"{path}.drug", spec.drug)
            if drug is None:
                return None
        return self.part(path, spec, kind, classes(family)[kind], drug, key)

    def _contextual(self, path: str, value: Any, info: FieldInfo, unit: str) -> Any:
        if isinstance(value, tuple | list):
            return tuple(self.number(f"{path}[{i}]", item, info, unit) for i, item in enumerate(value))
        return self.number(path, value, info, unit)

    def _ordered(self, path: str, values: Mapping[str, Any]) -> None:
        for low, high, strictly in _ORDERED:
            first, second = values.get(low), values.get(high)
            if first is None or second is None or not (first > second or (strictly and first == second)):
                continue
            wanted = f"{'less than' if strictly else 'at most'} {path}.{high}"
            self.faults.add(f"{path}.{low}", f"wanted {wanted}, which is {second:g}; got {first:g}")


def unique(faults: Faults, path: str, names: Sequence[str]) -> None:
    """A fault for each name that is there twice."""
    for i, name in enumerate(names):
        if name in names[:i]:
            got = f'"{name}", which {path}[{names.index(name)}] has'
            faults.add(f"{path}[{i}].name", f"wanted a name of its own; got {got}")


def _pk(context: Context, path: str, spec: Any) -> Part:
    """Pharmacokinetics, with a half-life turned into the rate or clearance that it stands for."""
    part = context.chosen("pk", path, spec).filled()
    replaced: str = part.cls.half_life_of  # type: ignore[attr-defined]
    if not replaced:
        return part
    given = [name for name in (replaced, "half_life") if getattr(spec, name) is not None]
    if len(given) != 1:
        got = "both" if given else "neither"
        context.faults.add(path, f"wanted either {replaced} or half_life; got {got}")
        return part
    if given == [replaced]:
        return part
    rate = math.log(2.0) / spec.half_life
    value = rate if replaced == "elimination" else rate * part.values["volume"]
    unit = describe(part.cls)[replaced].unit
    return dataclasses.replace(part, values={**part.values, replaced: value}, units={**part.units, replaced: unit})


def check_drug(context: Context, path: str, spec: Any) -> Drug:
    """One drug: its route, the unit of its doses, and its limits."""
    pk = _pk(context, f"{path}.pk", spec.pk)
    routes: tuple[str, ...] = pk.cls.routes  # type: ignore[attr-defined]
    route = spec.route or routes[0]
    if route not in routes and route != pk.kind:
        context.faults.add(f"{path}.route", f"{one_of(routes, route)}, which {pk.kind} cannot be given by")
        route = routes[0]
    unit: str = pk.cls.dose_unit  # type: ignore[attr-defined]
    direct = unit == "1"
    if route == (spec.route or routes[0]):
        _form(context, path, spec, route, pk)
    if route in (ORAL, "infusion"):
        route = "infusion" if spec.duration is None else "bolus"
    infused = route == "infusion" and not direct
    dose_unit = f"{unit}/day" if infused else unit
    minimum = 0.0
    if spec.dose.min is not None:
        minimum = context.number(f"{path}.dose.min", spec.dose.min, _NO_DOSE, dose_unit)
    positive = dataclasses.replace(_NO_DOSE, positive=True)
    maximum = context.number(f"{path}.dose.max", spec.dose.max, positive, dose_unit)
    if minimum > maximum:
        wanted = f"at most dose.max, which is {maximum:g} {dose_unit}"
        context.faults.add(f"{path}.dose.min", f"wanted {wanted}; got {minimum:g}")
    drug = Drug(
        name=spec.name,
        role=Part(spec.role, classes("role")[spec.role], {}, {}),
        route=route,
        pk=pk,
        dose_unit=dose_unit,
        total_unit="day" if direct else unit,
        direct=direct,
        minimum=minimum,
        maximum=maximum,
        doi=tuple(spec.doi or ()),
        every=spec.every,
        duration=spec.duration,
        steady=_steady(context, f"{path}.steady_state", spec.steady_state, unit),
    )
    return dataclasses.replace(drug, role=context.part(path, spec, spec.role, drug.role.cls, drug, "").filled())


def _form(context: Context, path: str, spec: Any, route: str, pk: Part) -> None:
    """Faults of tablets and of infusions of a length of their own."""
    said = f'route = "{route}"' if spec.route else f"{pk.kind} by default {route}"
    if (route == ORAL) != (spec.every is not None):
        wanted = "the time between tablets" if route == ORAL else 'it beside route = "oral" only'
        context.faults.add(f"{path}.every", f"wanted {wanted}; got {'none' if route == ORAL else f'it beside {said}'}")
    if spec.duration is None:
        return
    if route != "infusion":
        context.faults.add(f"{path}.duration", f'wanted it beside route = "infusion" only; got it beside {said}')
    elif pk.cls.dose_unit != "mg" or pk.cls.delay is not AbstractPK.delay:  # type: ignore[attr-defined]
        wanted = "it with kinetics of amounts in mg that reach the blood at once, such as one_compartment"
        context.faults.add(f"{path}.duration", f"wanted {wanted}; got it with {pk.kind}")


def _steady(context: Context, path: str, said: str | None, unit: str) -> tuple[float, float] | None:
    """Amount and interval [day] of "AMOUNT every TIME"."""
    if said is None:
        return None
    amount, word, every = said.partition(" every ")
    if not word or unit == "1":
        got = f"{show(said)}" if unit != "1" else "it for a drug whose level is its dose"
        context.faults.add(path, f'wanted an amount and a time, such as "150 {unit} every 1 day"; got {got}')
        return None
    return context.number(path, amount, _POSITIVE, unit), context.number(path, every, _POSITIVE, "day")


def check_drugs(context: Context, specs: Sequence[Any]) -> None:
    """All drugs, into the context."""
    if not specs:
        context.faults.add("drug", "wanted at least one [[drug]]; got none")
    drugs = [check_drug(context, f"drug[{i}]", spec) for i, spec in enumerate(specs)]
    unique(context.faults, "drug", [drug.name for drug in drugs])
    context.drugs = tuple(drugs)
