"""The schema follows the metadata of the numeric core, and the JSON Schema follows the schema."""

import json
import re
import tomllib
from typing import Any

import pytest

from optimizer.fields import describe
from optimizer.scenario import schema
from optimizer.scenario.fields import Sizes, is_contextual
from optimizer.scenario.schema import FAMILIES, TAGS, branches, classes
from optimizer.scenario.tables import scenario_spec
from optimizer.scenario.words import scenario_json_schema, schema_text
from optimizer.units import UNITS, QuantityError, parse_quantity

from .conftest import COMPETING, INVALID, ROOT, SHIPPED, STROMAL
from .helpers import faults, load

FIELDS = [
    (family, kind, name)
    for family in FAMILIES
    if family not in ("model", "role", "term")
    for kind, cls in classes(family).items()
    for name in describe(cls)
]


def finds(spec: Any, table: dict[str, Any], place: str) -> list[str]:
    """What is said about one key of a table."""
    import pydantic

    with pytest.raises(pydantic.ValidationError) as caught:
        spec.model_validate(table, context=Sizes())
    return [str(f.get("ctx", {}).get("error", "")) for f in caught.value.errors() if f["loc"][0] == place]


@pytest.mark.parametrize(("family", "kind", "name"), FIELDS)
def test_every_field_is_a_key(family, kind, name):
    cls, spec = classes(family)[kind], branches(family)[kind]
    info = describe(cls)[name]
    field = spec.model_fields[name]
    assert info.doc in field.description
    assert info.source in field.description
    table = {FAMILIES[family].key: kind}
    for wrong in (True, {"a": 1}, "1 bogus/day", "x" * 5000, 1 + 2j):
        if info.unit == "" and isinstance(wrong, str) and len(wrong) < 100:
            continue
        if is_contextual(info.unit) and isinstance(wrong, str):
            continue  # refused once the drug is known
        said = finds(spec, table | {name: wrong}, name)
        assert len(said) == 1, (wrong, said)


def test_there_are_fields():
    assert len(FIELDS) > 20
    assert {"drug_inhibitor", "drug_ligand_blocker"} <= set(scenario_json_schema()["$defs"])
    assert all(issubclass(spec, schema.Spec) for spec in TAGS.values())


def test_models_are_strict():
    for spec in (scenario_spec(), *TAGS.values()):
        config = spec.model_config
        assert config.get("extra") == "forbid"
        assert config.get("strict")
        assert config.get("frozen")
        assert config.get("allow_inf_nan") is False


def test_order_of_keys_does_not_matter():
    data = tomllib.loads(COMPETING)
    turned = reverse(data)
    assert list(turned) != list(data)
    from optimizer.scenario import Scenario

    assert Scenario.from_tables(turned, "a").resolved() == Scenario.from_tables(data, "a").resolved()


def reverse(value: Any) -> Any:
    """The same tables with their keys in the other order."""
    if isinstance(value, dict):
        return {key: reverse(item) for key, item in reversed(value.items())}
    return [reverse(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"3 ug/mL"', '"3 ug/mL/day"', "drug[0].dose.max: wanted"),
        (
            "[decision]",
            '[decision]\n"odd key" = 1',
            'wanted one of the keys every, horizon, edges; got "odd key"',
        ),
        ('name = "cetuximab"', 'name = " "', "drug[0].name: wanted a printable name"),
        ('name = "cetuximab"', "name = 1979-05-27", "drug[0].name: wanted a name as text; got a date"),
        ('name = "cetuximab"', 'name = "a\\u0007"', "drug[0].name: wanted a printable name"),
        ('"7 day"', '"seven days"', "decision.every: wanted a quantity"),
        ('"90 day"', "[90]", "decision.horizon: wanted a quantity"),
    ],
)
def test_said_in_one_sentence(old, new, said):
    found = faults(STROMAL.replace(old, new))
    assert len(found) == 1
    assert said in found[0]


def test_all_faults_are_listed():
    text = STROMAL.replace("elimination", "eliminate").replace('"7 day"', '"7 mg"').replace("kraut2025_caf", "kraut")
    found = faults(text + "[search]\nrestarts = 0\nseed = 1.5\n")
    assert len(found) == 5
    assert [f.split(": ")[1] for f in found] == [
        "model.preset",
        "drug[0].pk",
        "decision.every",
        "search.restarts",
        "search.seed",
    ]


# --- JSON Schema ------------------------------------------------------------------------------------------------------


def test_json_schema_as_text():
    assert json.loads(schema_text()) == scenario_json_schema()


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.toml")), ids=lambda path: path.stem)
def test_the_kept_json_schema_knows_the_shipped_scenarios(path):
    # It is written by `make generate`; a word that no scenario here has may be missing from it.
    root = json.loads((ROOT / "scenario.schema.json").read_text())
    assert satisfies(tomllib.loads(path.read_text()), root, root)


def satisfies(value: Any, node: Any, root: Any) -> bool:
    """Whether a value satisfies a JSON Schema, for the words that ours uses."""
    words = {"$schema", "$defs", "title", "description", "examples"}
    checks = {
        "$ref": lambda ref: satisfies(value, root["$defs"][ref.removeprefix("#/$defs/")], root),
        "type": lambda kind: is_type(value, kind),
        "const": lambda const: value == const,
        "enum": lambda options: value in options,
        "pattern": lambda p: not isinstance(value, str) or re.search(p, value) is not None,
        "minLength": lambda n: len(value) >= n,
        "maxLength": lambda n: not isinstance(value, str) or len(value) <= n,
        "minimum": lambda low: value >= low,
        "maximum": lambda high: value <= high,
        "minItems": lambda n: len(value) >= n,
        "maxItems": lambda n: len(value) <= n,
        "items": lambda inner: all(satisfies(item, inner, root) for item in value),
        "required": lambda keys: all(key in value for key in keys),
        "properties": lambda p: all(satisfies(item, p[key], root) for key, item in value.items() if key in p),
        "minProperties": lambda n: len(value) >= n,
        "additionalProperties": lambda allowed: (
            all(satisfies(item, allowed, root) for item in value.values())
            if isinstance(allowed, dict)
            else allowed or set(value) <= set(node["properties"])
        ),
        "anyOf": lambda options: any(satisfies(value, option, root) for option in options),
        "oneOf": lambda options: sum(satisfies(value, option, root) for option in options) == 1,
        "not": lambda inner: not satisfies(value, inner, root),
    }
    if "type" in node and not checks["type"](node["type"]):
        return False
    return all(checks[word](rule) for word, rule in node.items() if word not in words)


def is_type(value: Any, kind: str) -> bool:
    """Whether a value is of a JSON type."""
    if isinstance(value, bool):
        return kind == "boolean"
    kinds = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool}
    return isinstance(value, kinds[kind])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios_satisfy_the_json_schema(path):
    root = scenario_json_schema()
    data = tomllib.loads(path.read_text())
    assert satisfies(data, root, root)
    assert path.read_text().startswith("#:schema ./scenario.schema.json\n")
    assert not satisfies(data | {"another": 1}, root, root)
    assert not satisfies({key: item for key, item in data.items() if key != "model"}, root, root)


def test_resolved_scenarios_satisfy_the_json_schema():
    root = scenario_json_schema()
    for text in (COMPETING, STROMAL):
        assert satisfies(load(text).resolved()["scenario"], root, root)


def test_json_schema_refuses_what_it_can():
    # What one key says about another, and the dimension of a quantity, only the program checks.
    root = scenario_json_schema()
    named = ("key_m", "key_u", "key_o", "number_is", "table", "list")
    structural = [path for path in INVALID if path.stem.startswith(named)]
    assert len(structural) >= 9
    for path in structural:
        data = tomllib.loads(path.read_text())
        odd = "nan" in path.stem or "infinite" in path.stem  # JSON has no such numbers
        assert odd or not satisfies(data, root, root), path


def test_patterns_of_quantities_agree_with_the_parser():
    root = scenario_json_schema()
    pattern = root["$defs"]["quantity"]["pattern"]
    names = [name for unit in UNITS for name in (unit.name, *unit.aliases)]
    good = [f"1 {name}" for name in names]
    good += ["7day", "0.006 / hour", "1e-3 mg/L/day", "5 mg/kg_bw", " 1  ug / mL ", "1/h"]
    for text in good:
        assert re.search(pattern, text), text
    for text in ["", "day", "1", "1 dayz", "2*3 mg", "1 mg L", "1 mg^2", "1,5 mg", ".5 mg", "1 1/day", "mg 1", "1 mg/"]:
        assert not re.search(pattern, text), text
        with pytest.raises(QuantityError):
            parse_quantity(text, "mg")
