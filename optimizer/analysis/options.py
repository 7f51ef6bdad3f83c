"""Options of `adose window` that hold several things in one text: "KEY=A,B,C" with units."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from optimizer.fields import FieldInfo
from optimizer.scenario.faults import one_of
from optimizer.scenario.fields import read_quantity
from optimizer.units import QuantityError

_LEVEL = FieldInfo("", "", minimum=0.0)
_BARE = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class OptionError(ValueError):
    """An option of the command line that was refused; the text is one sentence for the user."""


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
