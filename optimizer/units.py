"""Quantities of a scenario file: "NUMBER UNIT" text, read against a list of allowed units, never evaluated.

The grammar is ``NUMBER [UNIT] ('/' UNIT)*`` with optional spaces, for example ``7 day``, ``1 ug/mL``,
``0.006 / hour``, ``5 mg/kg_bw`` or ``30 percent``: no products, powers, parentheses or further prefixes.
Conversions are exact: they are done on rational numbers and rounded once.
"""

import difflib
import math
import re
from dataclasses import astuple, dataclass
from fractions import Fraction
from functools import lru_cache

MAX_LENGTH = 64
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?0*([0-9]+))?")
_NAME = re.compile(r"[A-Za-z%][A-Za-z0-9_]*")
_FOREIGN = re.compile(r"[^A-Za-z0-9_%/.+\- ]")


class QuantityError(ValueError):
    """A quantity or unit was refused; the text is one sentence for the user."""


@dataclass(frozen=True)
class Dimension:
    """Exponents over the base dimensions; "pg/mL" and "mg/L" share one and differ in scale only.

    >>> str(Dimension(mass=1) / Dimension(volume=1))
    'mass / volume'
    """

    time: int = 0
    mass: int = 0
    volume: int = 0
    cells: int = 0
    moles: int = 0
    bodyweight: int = 0
    bsa: int = 0
    length: int = 0
    activity: int = 0

    def __mul__(self, other: "Dimension") -> "Dimension":
        return Dimension(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __truediv__(self, other: "Dimension") -> "Dimension":
        return Dimension(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        more = ("body weight", "body surface", "length", "activity")
        words = ("time", "mass", "volume", "cell count", "amount in mol", *more)
        named = list(zip(words, astuple(self), strict=True))
        above = " * ".join(name for name, power in named for _ in range(power))
        below = "".join(f" / {name}" for name, power in named for _ in range(-power))
        return f"{above or '1'}{below}" if above or below else "pure number"


@dataclass(frozen=True)
class Unit:
    """A unit as an exact multiple of day, mg, L, cell, umol, kg_bw, m2_bsa, mm, U to the powers of its dimension."""

    scale: Fraction
    dimension: Dimension


@dataclass(frozen=True)
class UnitEntry:
    """One allowed unit as `adose list` shows it."""

    name: str
    aliases: tuple[str, ...]
    meaning: str
    scale: Fraction
    dimension: Dimension


_PURE, _TIME, _MASS, _VOLUME = Dimension(), Dimension(time=1), Dimension(mass=1), Dimension(volume=1)
_CELLS, _MOLES = Dimension(cells=1), Dimension(moles=1)
_TABLE = (
    ("second seconds s", "second", "1/86400", _TIME),
    ("minute minutes min", "minute", "1/1440", _TIME),
    ("hour hours h", "hour", "1/24", _TIME),
    ("day days d", "day", "1", _TIME),
    ("week weeks", "week of 7 days", "7", _TIME),
    ("g", "gram", "1000", _MASS),
    ("mg", "milligram", "1", _MASS),
    ("ug", "microgram", "1/1000", _MASS),
    ("ng", "nanogram", "1/1000000", _MASS),
    ("pg", "picogram", "1/1000000000", _MASS),
    ("L", "liter", "1", _VOLUME),
    ("dL", "deciliter", "1/10", _VOLUME),
    ("mL", "milliliter", "1/1000", _VOLUME),
    ("uL", "microliter", "1/1000000", _VOLUME),
    ("cell cells", "number of cells", "1", _CELLS),
    ("umol", "micromole; not a mass, since that takes a molar mass", "1", _MOLES),
    ("nmol", "nanomole; not a mass, since that takes a molar mass", "1/1000", _MOLES),
    ("kg_bw", "kilogram of body weight, as in mg/kg_bw", "1", Dimension(bodyweight=1)),
    ("m2_bsa", "square meter of body surface, as in mg/m2_bsa", "1", Dimension(bsa=1)),
    ("mm", "millimeter", "1", Dimension(length=1)),
    ("cm", "centimeter", "10", Dimension(length=1)),
    ("U", "unit of activity, as of CA-125", "1", Dimension(activity=1)),
    ("percent %", "hundredth", "1/100", _PURE),
)
UNITS: tuple[UnitEntry, ...] = tuple(
    UnitEntry(names.split()[0], tuple(names.split()[1:]), meaning, Fraction(scale), dimension)
    for names, meaning, scale, dimension in _TABLE
)
# Units of the dimensions, in their order.
_BASES = ("day", "mg", "L", "cell", "umol", "kg_bw", "m2_bsa", "mm", "U")
_BY_NAME = {name: Unit(u.scale, u.dimension) for u in UNITS for name in (u.name, *u.aliases)}
_HINTS = {
    **dict.fromkeys(("month", "months", "year", "years"), "has no fixed length, write days or weeks"),
    **dict.fromkeys(("M", "mM", "uM", "nM"), 'is not a unit here, write "umol/L" or "nmol/L"'),
    "mcg": 'is not a unit here, write "ug"',
    "kg": 'is not a unit here, write "kg_bw" for body weight, "g" for mass',
    "m2": 'is not a unit here, write "m2_bsa" for body surface',
}
_EXAMPLES = {"1/day": "0.006 / hour", "mg/L": "1 ug/mL", "day": "7 day"}


def parse_unit(text: str) -> Unit:
    """Read a unit such as "1", "day", "1/day" or "mg/L"; raises QuantityError when not built from `UNITS`.

    >>> parse_unit("ug/mL") == parse_unit("mg/L")
    True
    """
    try:
        return _unit(str(text))
    except _Reason as why:
        raise QuantityError(f'wanted a unit such as "mg/L"; got {_shown(text)}: {why}') from None


def parse_quantity(value: str | float, unit: str, *sizes: tuple[Dimension, str, float | None]) -> float:
    """Convert "NUMBER UNIT" text to a number in `unit`; bare numbers pass for unit "1" and "cell" only.

    It is multiplied by the `sizes` (dimension, key, value) that it needs. Raises QuantityError when the text is no
    quantity, has another dimension or exceeds what a float holds.

    >>> parse_quantity("0.006 / hour", "1/day")
    0.144
    >>> parse_quantity("30 percent", "1"), parse_quantity(1e8, "cell")
    (0.3, 100000000.0)
    """
    wanted = parse_unit(unit)
    try:
        number, got = _read(value, wanted)
        dimension, scale = got.dimension, got.scale
        for base, key, size in sizes:
            if dimension * base == wanted.dimension:
                dimension, scale = wanted.dimension, scale * _size(size, key)
        if dimension != wanted.dimension:
            raise _Reason(_mismatch(dimension, wanted.dimension))
        return _to_float(number * scale / wanted.scale)
    except _Reason as why:
        raise QuantityError(f"{_wanted(unit)}; got {_shown(value)}: {why}") from None


def base_quantity(text: str) -> tuple[float, str]:
    """A quantity of any unit as a number of day, mg, L, cell, ... and that unit.

    Raises QuantityError when the text is none.

    >>> base_quantity("6 ng/mL/hour"), base_quantity("30 percent")
    ((0.144, 'mg/day/L'), (0.3, '1'))
    """
    try:
        number, rest = _split(text)
        unit = _unit(rest) if rest else Unit(Fraction(1), _PURE)
        value = _to_float(number * unit.scale)
    except _Reason as why:
        raise QuantityError(f'wanted a number with a unit such as "0.1 / day"; got {_shown(text)}: {why}') from None
    powers = list(zip(_BASES, astuple(unit.dimension), strict=True))
    above = [name for name, power in powers for _ in range(power)]
    below = [name for name, power in powers for _ in range(-power)]
    return value, "/".join(["*".join(above) or "1", *below])


def dose_to_internal(
    value: str | float, wanted_unit: str, body_weight_kg: float | None = None, body_surface_m2: float | None = None
) -> float:
    """Convert a dose to `wanted_unit`, scaling mg/kg_bw by body weight and mg/m2_bsa by body surface.

    Raises QuantityError as `parse_quantity` does, for a negative dose, and for a size of the patient that is
    missing (the text names the key of the scenario) or not positive.

    >>> dose_to_internal("500 mg/m2_bsa", "mg", body_surface_m2=1.8)
    900.0
    """
    weight = (Dimension(bodyweight=1), 'patient.body_weight, such as "70 kg_bw"', body_weight_kg)
    surface = (Dimension(bsa=1), 'patient.body_surface, such as "1.8 m2_bsa"', body_surface_m2)
    dose = parse_quantity(value, wanted_unit, weight, surface)
    if dose < 0:
        raise QuantityError(f"{_wanted(wanted_unit)}; got {_shown(value)}: a dose is not negative")
    return dose


def format_quantity(value: float, unit: str) -> str:
    """Write a number as text that `parse_quantity` reads back to the same float.

    >>> format_quantity(0.144, "1/day"), format_quantity(7.0, "day"), format_quantity(0.3, "1")
    ('0.144 / day', '7.0 day', '0.3')
    """
    parse_unit(unit)
    number = float(value) + 0.0  # also turns -0.0 into 0.0
    if not math.isfinite(number):
        raise QuantityError(f"{_wanted(unit)}; got {number!r}: only finite numbers can be written")
    return f"{number!r} {unit.replace(' ', '')}".replace(" 1/", " / ").removesuffix(" 1")


class _Reason(Exception):
    """Why a text is refused; the public functions put what was wanted in front of it."""


@lru_cache(maxsize=512)
def _unit(text: str) -> Unit:
    _check_characters(text)
    first, *rest = (part.strip(" ") for part in text.split("/"))
    unit = Unit(Fraction(1), _PURE) if first == "1" else _atom(first)
    for part in rest:
        divisor = _atom(part)
        unit = Unit(unit.scale / divisor.scale, unit.dimension / divisor.dimension)
    return unit


def _atom(name: str) -> Unit:
    if name in _BY_NAME:
        return _BY_NAME[name]
    if not name:
        raise _Reason('a unit is missing beside "/"')
    if name in _HINTS:
        raise _Reason(f'"{name}" {_HINTS[name]}')
    if not _NAME.fullmatch(name):
        raise _Reason(f'"{name}" is not a unit')
    spelled = {known.lower(): known for known in _BY_NAME}
    close = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.65)
    hint = f', did you mean "{spelled[close[0]]}"' if close else ""
    raise _Reason(f'"{name}" is not an allowed unit{hint}')


def _read(value: str | float, wanted: Unit) -> tuple[Fraction, Unit]:
    """A number and its unit, which for a bare number is the wanted one where that is 1 or cell."""
    plain = wanted.scale == 1 and wanted.dimension in (_PURE, _CELLS)
    if isinstance(value, str):
        number, rest = _split(value)
        if not rest and not plain and wanted.dimension != _PURE:
            raise _Reason("the unit is missing")
        return number, _unit(rest) if rest else (wanted if plain else Unit(Fraction(1), _PURE))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Reason("a quantity is text or a number")
    if not plain:
        raise _Reason("a bare number has no unit, write it as text with one")
    if value in (math.inf, -math.inf) or value != value:
        raise _Reason("a number must be finite")
    return Fraction(value), wanted


def _split(text: str) -> tuple[Fraction, str]:
    """The number and the text of the unit, empty when there is none."""
    _check_characters(text)
    stripped = text.strip(" ")
    found = _NUMBER.match(stripped)
    if found is None:
        raise _Reason("it does not begin with a plain decimal number such as 0.5 or 1e8")
    if len(found[1] or "") > 3:
        raise _Reason("the number is beyond what a float holds")
    rest = stripped[found.end() :].strip(" ")
    if rest == "1" or rest.startswith(("1 ", "1/")):
        raise _Reason('after the number comes a unit or "/ UNIT"')
    return Fraction(found[0]), f"1{rest}" if rest.startswith("/") else rest


def _check_characters(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise _Reason(f"it is longer than {MAX_LENGTH} characters")
    if not text.isascii():
        raise _Reason('only plain ASCII is read, so write "ug" for microgram')
    if foreign := _FOREIGN.search(text):
        raise _Reason(f"{_shown(foreign[0])} has no place in NUMBER UNIT, which is not an expression")


def _mismatch(got: Dimension, wanted: Dimension) -> str:
    if got.moles and got * Dimension(mass=got.moles, moles=-got.moles) == wanted:
        return "an amount in mol becomes a mass only with a molar mass, so write it in mg"
    return f"its dimension is {got}, not {wanted}"


def _size(size: float | None, key: str) -> Fraction:
    if size is None or not (math.isfinite(size) and size > 0):
        raise _Reason(f"the scenario needs a positive {key}, and has {size!r}")
    return Fraction(float(size))


def _to_float(number: Fraction) -> float:
    try:
        converted = float(number)
    except OverflowError:
        converted = 0.0
    if converted == 0.0 and number != 0:
        raise _Reason("the number is beyond what a float holds")
    return converted


def _wanted(unit: str) -> str:
    if unit == "1":
        return 'wanted a pure number such as 0.3 or "30 percent"'
    if unit == "cell":
        return "wanted a number of cells such as 1e8"
    return f'wanted a quantity in "{unit}" such as "{_EXAMPLES.get(unit) or format_quantity(1.0, unit)}"'


def quoted(text: str) -> str:
    """A text in an error message, short and printable."""
    short = text if len(text) <= 40 else f"{text[:37]}..."
    return f'"{short if short.isprintable() else short.encode("unicode_escape").decode("ascii")}"'


def _shown(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**40):
        return repr(value)
    return "an integer of more than 40 digits" if isinstance(value, int) else f"a {type(value).__name__}"
