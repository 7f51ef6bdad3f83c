"""Values of a scenario: the metadata of the numeric core as types that pydantic checks.

A quantity that stands on its own ("0.006 / hour") becomes a number of the internal unit at once. One whose unit depends
on a drug (a dose, a concentration, a potency) stays as written until the drug is known: `Raw`, read by `read_quantity`.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Container, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from optimizer.fields import FieldInfo, default_of, describe
from optimizer.units import QuantityError, dose_to_internal, parse_quantity, quoted

DOSE, TOTAL = "dose", "dose total"
MAX_NAME, MAX_TEXT, MAX_LIST = 100, 2000, 20_000
# Settings that name a drug or a clone; the numeric core wants its index where its field is an integer.
DRUG_FIELDS = ("drug", "first", "second")


class Default(typing.NamedTuple):
    """What a class puts in place of a key that is left out, beside the key's type; None where that is nothing."""

    value: Any


class Sizes(typing.NamedTuple):
    """Size of the patient, for doses and volumes per body weight [kg] or body surface [m2]."""

    weight: float | None = None
    surface: float | None = None


def show(value: Any) -> str:
    """A value in an error message: short, on one line."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else "a whole number of more than 20 digits"
    if isinstance(value, float):
        return repr(value)
    kinds = {dict: "a table", list: "a list", type(None): "nothing"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def read_quantity(value: Any, info: FieldInfo, unit: str, sizes: Sizes = Sizes()) -> float:
    """The number of `unit` that a text or number stands for, inside the field's range.

    Raises:
        QuantityError: no such quantity, or outside the range; one sentence.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        wanted = "a number" if unit in ("1", "cell") else f'a quantity in "{unit}"'
        raise QuantityError(f"wanted {wanted}; got {show(value)}")
    try:
        number = parse_quantity(value, unit)
    except QuantityError:
        if not (isinstance(value, str) and ("_bw" in value or "_bsa" in value)):
            raise
        number = dose_to_internal(value, unit, sizes.weight, sizes.surface)
    wanted = None
    if info.positive and not number > 0.0:
        wanted = "more than 0"
    elif info.minimum is not None and number < info.minimum:
        wanted = f"at least {info.minimum:g}"
    elif info.maximum is not None and number > info.maximum:
        wanted = f"at most {info.maximum:g}{'' if unit == '1' else ' ' + unit}"
    if wanted:
        raise QuantityError(f"wanted {wanted}; got {show(value)}")
    return number


def is_contextual(unit: str) -> bool:
    """Whether the unit depends on a drug: its dose, or its concentration, which has no unit for a `direct` drug."""
    return unit in (DOSE, TOTAL) or unit.startswith(("mg/L", "L/mg"))


def level_unit(unit: str, direct: bool) -> str:
    """The unit of a concentration, or per concentration, where `direct` says that the level has no unit.

    >>> level_unit("L/mg/day", True), level_unit("mg/L", True), level_unit("mg/L", False)
    ('1/day', '1', 'mg/L')
    """
    if not direct or not unit.startswith(("mg/L", "L/mg")):
        return unit
    return f"1{unit[4:]}"


def describe_text(info: FieldInfo) -> str:
    """Meaning, unit and source in one line."""
    unit = {"1": "", "": "", DOSE: " [unit of the drug's dose]", TOTAL: " [unit of the drug's dose, summed]"}
    source = f"; {info.source}" if info.source else ""
    return f"{info.doc}{unit.get(info.unit, f' [{info.unit}]')}{source}"


# --- types ----------------------------------------------------------------------------------------------------------


def _placeholder(kind: str) -> WithJsonSchema:
    """What `words` turns into a reference to the pattern of that kind."""
    return WithJsonSchema({"x-adose": kind})


def quantity(info: FieldInfo) -> Any:
    """Type of a quantity whose unit the field alone decides; its value is the number in that unit."""

    def read(value: Any, validation: Any) -> float:
        return read_quantity(value, info, info.unit, validation.context or Sizes())

    kind = "number" if info.unit in ("1", "cell") else "quantity"
    return Annotated[float, info, PlainValidator(read), _placeholder(kind)]


def read_equation(value: Any) -> str | float:
    """An equation: text, or a number.

    Raises:
        QuantityError: something else.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise QuantityError(f"wanted an equation as text, or a number; got {show(value)}")
    return value if isinstance(value, str) else float(value)


def read_raw(value: Any) -> Any:
    """A quantity as it is written, to be read when its unit is known.

    Raises:
        QuantityError: neither text nor a number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise QuantityError(f'wanted a quantity such as "1 ug/mL"; got {show(value)}')
    return value


Raw = Annotated[Any, PlainValidator(read_raw), _placeholder("raw")]


def per_clone(info: FieldInfo, contextual: bool) -> Any:
    """Type of one quantity for all clones or a list with one for each; its value is a tuple."""

    def read(value: Any, validation: Any) -> tuple[Any, ...]:
        items = value if isinstance(value, list) else [value]
        if not 1 <= len(items) <= 100:
            raise QuantityError(f"wanted one quantity, or a list with one for each clone; got {len(items)} of them")
        if contextual:
            return tuple(read_raw(item) for item in items)
        return tuple(read_quantity(item, info, info.unit, validation.context or Sizes()) for item in items)

    return Annotated[Any, PlainValidator(read), _placeholder("per_clone")]


def matrix(info: FieldInfo) -> Any:
    """Type of a list of rows of numbers, one row and one column for each clone; its value is a tuple of tuples."""

    def read(value: Any, validation: Any) -> tuple[tuple[float, ...], ...]:
        rows = value if isinstance(value, list) else []
        if not 1 <= len(rows) <= 100 or not all(isinstance(row, list) and len(row) == len(rows) for row in rows):
            wanted = "a list of as many rows as clones, each with as many numbers, such as [[1, 0.7], [0.9, 1]]"
            raise QuantityError(f"wanted {wanted}; got {show(value)}")
        sizes = validation.context or Sizes()
        return tuple(tuple(read_quantity(item, info, info.unit, sizes) for item in row) for row in rows)

    return Annotated[Any, PlainValidator(read), _placeholder("matrix")]


def _read_days(value: Any) -> list[float]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LIST:
        raise QuantityError(f"wanted a list of 1 to {MAX_LIST} days such as [0, 7, 14]; got {show(value)}")
    info = FieldInfo("day", "", minimum=0.0)
    bare = [isinstance(item, int | float) and not isinstance(item, bool) for item in value]
    texts = [f"{item!r} day" if is_bare else item for item, is_bare in zip(value, bare, strict=True)]
    return [read_quantity(text, info, "day") for text in texts]


def _read_name(value: Any) -> str:
    if not isinstance(value, str):
        raise QuantityError(f"wanted a name as text; got {show(value)}")
    if not value or len(value) > MAX_NAME or value != value.strip() or not value.isprintable() or value == ".":
        wanted = f"a printable name of 1 to {MAX_NAME} characters without outer spaces"
        raise QuantityError(f"wanted {wanted}; got {show(value)}")
    return value


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise QuantityError(f"wanted text; got {show(value)}")
    if len(value) > MAX_TEXT or not value.replace("\n", " ").isprintable():
        raise QuantityError(f"wanted at most {MAX_TEXT} printable characters; got {show(value)}")
    return value


def _read_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise QuantityError(f"wanted true or false; got {show(value)}")
    return value


_NAME_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
Name = Annotated[str, PlainValidator(_read_name), WithJsonSchema(_NAME_SCHEMA)]
Text = Annotated[str, PlainValidator(_read_text), WithJsonSchema({"type": "string", "maxLength": MAX_TEXT})]
Flag = Annotated[bool, PlainValidator(_read_flag), WithJsonSchema({"type": "boolean"})]
Days = Annotated[list[float], PlainValidator(_read_days), _placeholder("days")]


def named(read: Callable[[Any], Any], form: Mapping[str, Any], most: int) -> Any:
    """Type of a table with names of the user's own, each value read alike."""

    def read_all(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or len(value) > most:
            got = f"{len(value)} of them" if isinstance(value, dict) else show(value)
            raise QuantityError(f"wanted a table of at most {most} names; got {got}")
        return {name: read(item) for name, item in value.items()}

    return Annotated[Any, PlainValidator(read_all), WithJsonSchema({"type": "object", "additionalProperties": form})]


def whole(low: int, high: int) -> Any:
    """Type of a whole number from `low` to `high`."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise QuantityError(f"wanted a whole number from {low} to {high}; got {show(value)}")
        return value

    schema = WithJsonSchema({"type": "integer", "minimum": low, "maximum": high})
    return Annotated[int, FieldInfo("", "", minimum=low, maximum=high), PlainValidator(read), schema]


def many(type_: Any, most: int) -> Any:
    """Type of a list of at most `most`."""
    return Annotated[list[type_], Field(max_length=most)]


# --- from a class of the numeric core ---------------------------------------------------------------------------------


def _plain(annotation: Any) -> Any:
    """The annotation without `| None`."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(annotation) if a is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


def _type(field: dataclasses.Field[Any], info: FieldInfo, contextual: bool) -> Any:
    """Type of a key from the field's annotation and metadata."""
    written = _plain(field.type)
    contextual = is_contextual(info.unit) and (contextual or info.unit in (DOSE, TOTAL))
    if written is bool:
        return Flag
    if info.unit == "":
        return Name if field.name in DRUG_FIELDS else written if typing.get_origin(written) is Literal else Text
    if written is int:
        low = 1 if info.positive else int(info.minimum or 0)
        return whole(low, int(info.maximum) if info.maximum is not None else 10**6)
    if info.ndim == 0:
        return Raw if contextual else quantity(info)
    if info.ndim == 2:
        return matrix(info)
    if field.metadata.get("static"):
        return many(Raw if contextual else quantity(info), 1000)
    return per_clone(info, contextual)


def key(type_: Any, doc: str, default: Any = ...) -> tuple[Any, Any]:
    """A pydantic field that says its meaning; without a default the key must be given."""
    return type_, Field(default, description=doc)


def fields_of(cls: type, contextual: bool = True) -> dict[str, tuple[Any, Any]]:
    """pydantic fields of a class of the numeric core by name; with `contextual`, concentrations may have no unit.

    A key that is left out is None, and the class keeps its own default.
    """
    by_name = {f.name: f for f in dataclasses.fields(cls)}
    out: dict[str, tuple[Any, Any]] = {}
    for name, info in describe(cls).items():
        default = default_of(cls, name)
        required = default is dataclasses.MISSING
        type_ = Annotated[_type(by_name[name], info, contextual), info, Default(None if required else default)]
        out[name] = key(type_, describe_text(info), ... if required else None)
    return out


def info_fields(infos: Mapping[str, FieldInfo], required: Container[str] = ()) -> dict[str, tuple[Any, Any]]:
    """pydantic fields of single quantities, by name; those not in `required` may be left out."""
    return {n: key(quantity(i), describe_text(i), ... if n in required else None) for n, i in infos.items()}
