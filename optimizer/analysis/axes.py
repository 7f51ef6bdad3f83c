"""The numbers that a map is drawn over: keys of the scenario and of the schedule, and ranges on the command line."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizer.fields import FieldInfo
from optimizer.files.prescriptions import Form
from optimizer.scenario.faults import close, one_of
from optimizer.scenario.fields import read_quantity
from optimizer.scenario.keys import Place, find
from optimizer.scenario.plan import Plan
from optimizer.settings import OptionError
from optimizer.units import QuantityError

EVERY, MEAN, AMOUNT, DELAY = "every", "mean_concentration", "amount", "delay"
_OF_A_DRUG = (MEAN, AMOUNT, DELAY)
_DRUG_KEY = re.compile(r'drug\[(?:"(?P<quoted>[^"]+)"|(?P<name>[^\[\]"]+))\]\.(?P<word>[A-Za-z_]+)')
_MOST_VALUES = 1000


@dataclass(frozen=True)
class Number:
    """A number that a map can move."""

    key: str  #: as the user writes it
    kind: str  #: "every", "mean_concentration", "amount", "delay", or "place" for a number of the scenario
    unit: str  #: of its values
    info: FieldInfo  #: range of allowed values
    drug: int = -1  #: index of the drug that it belongs to, for the three that belong to one
    place: Place | None = None  #: where it stands in the scenario, for a number of it


@dataclass(frozen=True)
class Axis:
    """One side of a map: a number and its values [V], increasing."""

    number: Number
    values: np.ndarray
    log: bool = False

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        scale = "log" if self.log else "linear"
        return {"key": self.number.key, "unit": self.number.unit, "scale": scale, "values": self.values.tolist()}


def number_of(plan: Plan, option: str, key: str) -> Number:
    """The number that a key means.

    Raises:
        OptionError: no number of the scenario or of the schedule has this key.
    """
    if key == f"decision.{EVERY}":
        return Number(key, EVERY, "day", FieldInfo("day", "", positive=True, maximum=plan.horizon))
    found = _DRUG_KEY.fullmatch(key)
    if found and found["word"] in _OF_A_DRUG:
        return _of_a_drug(plan, option, key, found["quoted"] or found["name"], found["word"])
    try:
        place = find(plan.model, plan.drugs, key)
    except QuantityError as error:
        own = [f"decision.{EVERY}", *(f"drug[{drug.name}].{word}" for drug in plan.drugs for word in _OF_A_DRUG)]
        raise OptionError(f"{option}: {error}; or of the schedule: {', '.join(own)}{close(key, own)}") from None
    return Number(key, "place", place.unit, place.info, place=place)


def _of_a_drug(plan: Plan, option: str, key: str, name: str, word: str) -> Number:
    names = [drug.name for drug in plan.drugs]
    if name.isdigit() and name not in names and int(name) < len(names):
        name = names[int(name)]
    if name not in names:
        raise OptionError(f"{option} {key}: {one_of(names, name)}")
    j = names.index(name)
    drug = plan.drugs[j]
    level = drug.dose_unit if drug.direct else "mg/L"
    unit = {MEAN: level, AMOUNT: drug.dose_unit, DELAY: "day"}[word]
    if word == MEAN and (drug.form != Form() or drug.steady is not None):
        wanted = "a drug without tablets, infusions of a length of their own and doses before day 0"
        raise OptionError(f"{option} {key}: wanted {wanted}; got {name}")
    most = plan.horizon if word == DELAY else None
    return Number(key, word, unit, FieldInfo(unit, "", minimum=0.0, maximum=most), drug=j)


def axis_of(plan: Plan, option: str, text: str) -> Axis:
    """The axis of KEY=from:to:count or KEY=from:to:count:log; bare numbers take the unit of `to`.

    Raises:
        OptionError: another form, no such key, or a value that is not allowed.
    """
    key, equals, rest = text.partition("=")
    parts = [part.strip() for part in rest.split(":")]
    log = len(parts) == 4 and parts[3] == "log"
    if not (equals and key.strip() and all(parts) and (len(parts) == 3 or log)):
        wanted = 'KEY=from:to:count or KEY=from:to:count:log, as in "decision.every=1:30 day:40"'
        raise OptionError(f'{option}: wanted {wanted}; got "{text}"')
    number = number_of(plan, option, key.strip())
    _, ends = split(option, f"{number.key.replace('=', '')}={parts[0]},{parts[1]}")
    low, high = numbers_of(f"{option} {number.key}", ends, number.info, number.unit)
    if not (parts[2].isdecimal() and 2 <= int(parts[2]) <= _MOST_VALUES):
        raise OptionError(f'{option} {number.key}: wanted a count of 2 to {_MOST_VALUES}; got "{parts[2]}"')
    if not low < high:
        raise OptionError(f'{option} {number.key}: wanted a first value below the last one; got "{rest}"')
    if log and not low > 0.0:
        raise OptionError(f'{option} {number.key}: wanted values above 0 on a logarithmic axis; got "{rest}"')
    space = np.geomspace if log else np.linspace
    return Axis(number, space(low, high, int(parts[2])), log)


def fixed_of(plan: Plan, option: str, text: str) -> tuple[Number, float]:
    """A number that is held, and its value, of KEY=VALUE.

    Raises:
        OptionError: another form, no such key, or a value that is not allowed.
    """
    key, values = split(option, text)
    number = number_of(plan, option, key)
    if len(values) > 1:
        raise OptionError(f'{option} {key}: wanted one value; got "{text}"')
    return number, numbers_of(f"{option} {key}", values, number.info, number.unit)[0]


def check_together(plan: Plan, numbers: Sequence[Number]) -> None:
    """Refuse numbers that contradict each other, or that nothing would feel.

    Raises:
        OptionError: a number named twice, a drug with an amount and a mean, or a time without a dose.
    """
    seen: dict[Any, str] = {}
    for number in numbers:
        what = number.place.steps if number.place is not None else (number.kind, number.drug)
        if what in seen:
            raise OptionError(f"{number.key}: wanted each number once; got {seen[what]} as well")
        seen[what] = number.key
    given = {number.drug for number in numbers if number.kind in (MEAN, AMOUNT)}
    for j in given:
        both = [n.key for n in numbers if n.drug == j and n.kind in (MEAN, AMOUNT)]
        if len(both) > 1:
            raise OptionError(f"{both[1]}: wanted either an amount or a mean concentration; got {both[0]} as well")
    for number in numbers:
        name = plan.drugs[number.drug].name
        if number.kind == DELAY and number.drug not in given:
            raise OptionError(f"{number.key}: wanted an amount or a mean concentration of {name} as well; got none")
    boluses = {j for j in given if plan.drugs[j].route == "bolus"}
    for number in numbers:
        if number.kind == EVERY and not boluses:
            wanted = "the amount or mean concentration of a drug given as boluses on the other axis or by --at"
            raise OptionError(f"{number.key}: wanted {wanted}; got none")


# --- options that hold several things in one text ---------------------------------------------------------------------


_LEVEL = FieldInfo("", "", minimum=0.0)
_BARE = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def split(option: str, text: str) -> tuple[str, list[str]]:
    """KEY and values of KEY=A,B,C; bare numbers take the unit of the last value.

    Raises:
        OptionError: a text of another form.
    """
    key, equals, rest = text.partition("=")
    values = [value.strip() for value in rest.split(",")]
    if not (equals and key.strip() and all(values)):
        raise OptionError(f'{option}: wanted KEY=VALUE, as in "drug[0].potency=1,2"; got "{text}"')
    number = _BARE.match(values[-1])
    unit = values[-1][number.end() :] if number else ""
    return key.strip(), [value + unit if _BARE.fullmatch(value) else value for value in values]


def levels_of(option: str, text: str, others: Mapping[str, str], single: bool = False) -> tuple[str, list[float]]:
    """Name and levels of another drug, of which `others` are the names and units.

    Raises:
        OptionError: no such drug, or a value that is no level.
    """
    name, values = split(option, text)
    if name not in others:
        known = one_of(list(others), name) if others else f'wanted another drug; got "{name}" and no other drug'
        raise OptionError(f"{option}: {known}")
    if single and len(values) > 1:
        raise OptionError(f'{option} {name}: wanted one level; got "{text}"')
    return name, numbers_of(f"{option} {name}", values, _LEVEL, others[name])


def numbers_of(place: str, values: Sequence[str], info: FieldInfo, unit: str) -> list[float]:
    """Values in a unit, inside the range of `info`.

    Raises:
        OptionError: one that is not, told at its place.
    """
    try:
        return [read_quantity(value, info, unit) for value in values]
    except QuantityError as error:
        raise OptionError(f"{place}: {error}") from None
