"""The words of a scenario: every kind that a file may name, every table, and every key with its unit and range.

As a catalog, and as JSON Schema for editors: `adose schema` prints it, scenarios/scenario.schema.json keeps it.
"""

import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

from optimizer.fields import FieldInfo
from optimizer.files.run_directory import to_text
from optimizer.models.stromal import PRESETS
from optimizer.scenario.fields import DOSE, TOTAL, Default
from optimizer.scenario.schema import FAMILIES, Spec, classes, first_line
from optimizer.scenario.tables import scenario_spec
from optimizer.units import UNITS

_OF_DRUG = {DOSE: "unit of the dose", TOTAL: "unit of the dose, summed", "1": ""}


class Key(NamedTuple):
    """A key of a table."""

    name: str  #: as it is written
    unit: str  #: internal unit; a file may write any unit of the same dimension. Empty where there is none.
    default: str  #: what holds where it is left out; empty where that is nothing
    allowed: str  #: its range or its choices; empty where anything goes
    required: bool  #: whether it must be given
    meaning: str  #: one line


def catalog() -> dict[str, dict[str, str]]:
    """All words of a scenario by family, with their meaning; `table` has the tables that are of no family."""
    found: dict[str, dict[str, str]] = {}
    specs = _specs()
    found["model"] = {n.removeprefix("model_"): _doc(spec) for n, spec in specs.items() if n.startswith("model_")}
    found["preset"] = {name: f"{p.meaning} (doi {p.doi})" for name, p in PRESETS.items()}
    for family, entry in FAMILIES.items():
        if family != "model":
            found[entry.word] = {kind: first_line(cls) for kind, cls in classes(family).items()}
    ours = tuple(map(_prefix, FAMILIES))
    found["table"] = {name: _doc(spec) for name, spec in specs.items() if not name.startswith(ours)}
    found["unit"] = {unit.name: ", ".join((unit.meaning, *unit.aliases)) for unit in UNITS}
    return found


def keys(word: str, name: str) -> list[Key]:
    """The keys of a word of `catalog`, in the order of its table; none of a unit.

    Args:
        word: its family.
        name: the kind, preset or table.

    Example:
        >>> [(key.name, key.unit) for key in keys("pharmacokinetics", "first_order")]
        [('kind', ''), ('elimination', '1/day'), ('half_life', 'day')]
    """
    if word == "preset":
        known = {key.name: key for key in keys("model", "stromal")} | {
            k.name: k for k in keys("table", "stromal_clone")
        }
        return [known[name]._replace(default=str(value)) for name, value in PRESETS[name].values.items()]
    prefix = {entry.word: _prefix(family) for family, entry in FAMILIES.items()} | {"table": ""}
    spec = _specs().get(f"{prefix[word]}{name}") if word in prefix else None
    return [] if spec is None else [_key(field.alias or name, field) for name, field in spec.model_fields.items()]


def key_at(tables: Mapping[str, Any], steps: Sequence[str | int]) -> tuple[Key, tuple[str, ...]] | None:
    """The key that stands at a place of a scenario's tables, and what may stand there where that is a choice.

    Args:
        tables: of a scenario; they may be faulty.
        steps: keys and indices to the place, which is there.

    Returns:
        None where no scenario has such a key.

    Example:
        >>> key, choices = key_at({"endpoint": {"kind": "recist"}}, ("endpoint", "kind"))
        >>> "recist" in choices, len(choices) > 3
        (True, True)
    """
    node, specs, field, name = tables, [scenario_spec()], None, ""
    for step in steps:
        if isinstance(step, str):
            chooses = step in ("kind", "law", "role")
            own = next((spec for spec in specs if chooses or _fits(spec, node)), None)
            named = {} if own is None else {one.alias or key: one for key, one in own.model_fields.items()}
            field, name, beside = named.get(step), step, specs
            if field is None:
                return None
            specs = list(_tables_of(field.annotation))
        node = node[step]  # type: ignore[index]
    if field is None:
        return None
    chosen = [spec.model_fields[name].annotation for spec in beside if name in spec.model_fields]
    literals = chosen if typing.get_origin(field.annotation) is Literal else []
    choices = [str(one) for found in literals for one in typing.get_args(found)]
    return _key(name, field), tuple(dict.fromkeys(choices)) or ("true", "false") * (field.annotation is bool)


def _fits(spec: type[Spec], node: Any) -> bool:
    """Whether a table's kind is that of a spec."""
    kinds = {n: f for n, f in spec.model_fields.items() if n in ("kind", "law", "role")}
    kinds = {n: f for n, f in kinds.items() if typing.get_origin(f.annotation) is Literal}
    return all(node.get(name, field.default) in typing.get_args(field.annotation) for name, field in kinds.items())


def _tables_of(annotation: Any) -> Iterator[type[Spec]]:
    """The tables that a value may be, those inside of them left out."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _tables_of(inner)


def _prefix(family: str) -> str:
    return "drug_" if family == "role" else f"{family}_"


def _doc(spec: type[Spec]) -> str:
    return (spec.__doc__ or spec.__name__).strip().splitlines()[0]


@cache
def _specs() -> dict[str, type[Spec]]:
    """Every table that a scenario may hold, by the name of its model, in the order in which a reader meets them."""
    found: dict[str, type[Spec]] = {}

    def walk(annotation: Any) -> None:
        is_new = isinstance(annotation, type) and issubclass(annotation, Spec) and annotation.__name__ not in found
        if is_new and annotation.__name__ != "_Nothing":
            found[annotation.__name__] = annotation
            for field in annotation.model_fields.values():
                walk(field.annotation)
        for inner in typing.get_args(annotation):
            walk(inner)

    walk(scenario_spec())
    return found


def _key(name: str, field: Any) -> Key:
    told = [one for one in field.metadata if isinstance(one, FieldInfo)]
    info = told[0] if told else FieldInfo("", "")
    defaults = [one.value for one in field.metadata if isinstance(one, Default)]
    default = defaults[0] if defaults else field.default
    is_none = field.is_required() or default in (None, (), "") or field.default_factory is not None
    shown = "" if is_none else _said(default)
    meaning = (field.description or "chooses the kind").replace(f" [{info.unit}]", "")
    return Key(name, _OF_DRUG.get(info.unit, info.unit), shown, _allowed(field, info), field.is_required(), meaning)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _allowed(field: Any, info: FieldInfo) -> str:
    """The range of a number, or the choices of a name."""
    if typing.get_origin(field.annotation) is Literal:
        return ", ".join(map(str, typing.get_args(field.annotation)))
    if field.annotation is bool:
        return "true, false"
    least = "> 0" if info.positive else "" if info.minimum is None else f">= {info.minimum:g}"
    most = "" if info.maximum is None else f"<= {info.maximum:g}"
    return ", ".join(filter(None, (least, most)))


# --- the JSON schema --------------------------------------------------------------------------------------------------


_NUMBER = r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_DROPPED = ("default", "title")


def _shared() -> dict[str, Any]:
    """The few forms that all quantities have."""
    names = "|".join(name for unit in UNITS for name in (unit.name, *unit.aliases))
    text = {"type": "string", "maxLength": 64}
    unit = rf"({names})( */ *({names}))*"
    with_unit = rf"^ *{_NUMBER} *({unit}|(/ *({names}) *)+) *$"
    quantity = text | {"pattern": with_unit, "examples": ["7 day", "1 ug/mL", "0.006 / hour"]}
    bare = text | {"pattern": rf"^ *{_NUMBER} *((percent|%|cells?) *)?$", "examples": ["30 percent"]}
    either = [{"$ref": "#/$defs/quantity"}, {"$ref": "#/$defs/number"}]
    return {
        "quantity": quantity | {"description": "A number with a unit."},
        "number": {"anyOf": [{"type": "number"}, bare], "description": "A number without a unit, or of cells."},
        "raw": {"anyOf": either, "description": "A quantity in the unit that the drug has."},
        "per_clone": {
            "anyOf": [*either, {"type": "array", "minItems": 1, "maxItems": 100, "items": {"anyOf": either}}],
            "description": "A quantity for all clones, or a list with one for each.",
        },
        "matrix": {
            "type": "array",
            "minItems": 1,
            "maxItems": 100,
            "items": {"type": "array", "minItems": 1, "maxItems": 100, "items": {"anyOf": either}},
            "description": "Numbers, one row and one column for each clone.",
        },
        "days": {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "number", "minimum": 0}, either[0]]}},
    }


def _tidy(node: Any) -> Any:
    """Placeholders become references; defaults and titles that only repeat the key are left out."""
    if isinstance(node, list):
        return [_tidy(item) for item in node if item != {"$ref": "#/$defs/_Nothing"}]
    if not isinstance(node, dict):
        return node
    out = {}
    for name, value in node.items():
        if name in ("properties", "$defs"):
            out[name] = {key: _tidy(item) for key, item in value.items() if key != "_Nothing"}
        elif name == "x-adose":
            out["$ref"] = f"#/$defs/{value}"
        elif name not in _DROPPED:
            out[name] = _tidy(value)
    return out


def scenario_json_schema() -> dict[str, Any]:
    """The schema as a dictionary (draft 2020-12).

    Example:
        >>> scenario_json_schema()["required"]
        ['model', 'drug', 'decision']
    """
    schema = _tidy(scenario_spec().model_json_schema(by_alias=True))
    defs = schema.pop("$defs")
    # A drug file may leave open which role it is.
    schema["properties"]["drug"]["items"]["anyOf"] = schema["properties"]["drug"]["items"].pop("oneOf")
    for name, drug in defs.items():
        if name.startswith("drug_"):
            # A drug file may hold what is required here.
            drug["anyOf"] = [{"required": ["file"]}, {"required": drug.pop("required")}]
    defs["model_code"] = {
        "type": "object",
        "description": "A model of one's own, a class in a Python file; it runs only with --allow-code.",
        "properties": {"kind": {"type": "string", "pattern": r"\.py:[A-Za-z_][A-Za-z0-9_]*$"}},
        "required": ["kind"],
    }
    schema["properties"]["model"]["oneOf"].append({"$ref": "#/$defs/model_code"})
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "adose scenario"}
    return head | schema | {"$defs": dict(sorted((defs | _shared()).items()))}


def schema_text() -> str:
    """The schema as it is written to a file."""
    return to_text(scenario_json_schema())
