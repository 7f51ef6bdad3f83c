"""JSON Schema of a scenario, for editors; `adose schema` prints it, scenarios/scenario.schema.json keeps it."""

from __future__ import annotations

import json
from typing import Any

from optimizer.scenario.tables import scenario_spec
from optimizer.units import UNITS

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
    return json.dumps(scenario_json_schema(), indent=1, ensure_ascii=False) + "\n"
