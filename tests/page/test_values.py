"""Values of a text and the text with other ones, without a browser."""

import tomllib

import pytest

from optimizer.page.form import made_of, model_tables, models_of, snippet
from optimizer.page.values import changed, key_of, replaced, shown, tables_of, values, weighted, written
from optimizer.scenario import ScenarioError
from optimizer.scenario.files import shipped
from optimizer.scenario.words import catalog, key_at

TEXT = """title = "Two alike"  # cells = 5
[[clone]]
name = "a"
cells = 5
[[clone]]
name = "b"
cells = 5  # the second
effect = [{ drug = "u", law = "hill", emax = "1 / day" }]
levels = [1, 2]
on = true
"""


def test_values_have_their_key_paths():
    found = {key_of(steps): value for steps, value in values(tomllib.loads(TEXT))}
    assert found["clone[1].cells"] == 5
    assert found["clone[1].effect[0].emax"] == "1 / day"
    assert found["clone[1].on"] is True
    assert not [key for key in found if "levels" in key]


@pytest.mark.parametrize(
    ("steps", "typed", "line", "became"),
    [
        (("clone", 1, "cells"), "5e9", 7, "cells = 5e9  # the second"),
        (("clone", 0, "cells"), "6", 4, "cells = 6"),
        (("clone", 0, "cells"), "6 percent", 4, 'cells = "6 percent"'),
        (("clone", 1, "effect", 0, "emax"), "2", 8, 'effect = [{ drug = "u", law = "hill", emax = "2" }]'),
        (("clone", 1, "on"), "false", 10, "on = false"),
        (("title",), 'say "no" # 1', 1, 'title = "say \\"no\\" # 1"  # cells = 5'),
    ],
)
def test_one_value_is_replaced_and_all_else_stays(steps, typed, line, became):
    other = replaced(TEXT, steps, typed, "x.toml").splitlines()
    assert other[line - 1] == became
    assert other[: line - 1] + other[line:] == TEXT.splitlines()[: line - 1] + TEXT.splitlines()[line:]


@pytest.mark.parametrize("path", shipped("templates"), ids=lambda path: path.stem)
def test_every_value_of_every_template_can_be_changed(path):
    text = path.read_text(encoding="utf-8")
    for steps, value in values(tables_of(text, path.name)):
        assert written(value, shown(value))[0] == value
        other = dict(values(tables_of(replaced(text, steps, "7", path.name), path.name)))
        assert other[steps] == ("7" if isinstance(value, str) else 7), key_of(steps)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = \nb = 1", r"x.toml: line 1.*wanted valid TOML"),
        ('a = """\none"""', r"x.toml: a: wanted a value that stands on one line"),
    ],
)
def test_what_cannot_be_changed_here_is_told(text, said):
    with pytest.raises(ScenarioError, match=said):
        replaced(text, ("a",), "7", "x.toml")


def parts(tables):
    """Each table of a list, each single table, and each term of the objective."""
    for family in ("model", "endpoint", "constraint", "drug", "regimen", "objective"):
        found = tables.get(family, {})
        yield from ((family, i) for i in range(len(found))) if isinstance(found, list) else [(family,)] * bool(found)
    yield from (("objective", term) for term in tables["objective"])


@pytest.mark.parametrize("path", [*shipped("templates"), *shipped()], ids=lambda path: path.stem)
def test_every_part_of_every_scenario_can_be_taken_out(path):
    text = path.read_text(encoding="utf-8")
    tables = tables_of(text, path.name)
    for steps in parts(tables):
        left, wanted = tables_of(changed(text, steps, path.name), path.name), tables_of(text, path.name)
        place = wanted
        for step in steps[:-1]:
            place = place[step]
        del place[steps[-1]]
        assert left == {key: value for key, value in wanted.items() if value != []}, steps


def test_parts_are_put_in_and_comments_stay():
    text = shipped("templates")[1].read_text(encoding="utf-8")
    other = weighted(changed(text, ("endpoint",), "x", '[endpoint]\nkind = "recist"'), "drug_use")
    found = tables_of(changed(other, ("constraint", "new"), "x", '[[constraint]]\nkind = "dose_change"'), "x")
    assert found["endpoint"] == {"kind": "recist"}
    assert found["objective"]["drug_use"] == 1.0
    assert found["constraint"][-1] == {"kind": "dose_change"}
    assert len(found["constraint"]) == len(tables_of(text, "x")["constraint"]) + 1
    assert [line for line in text.splitlines() if "#" in line and line not in other] == []
    assert weighted("title = 1\n", "burden") == "title = 1\n\n[objective]\nburden = 1.0\n"
    listed = 'constraint = [\n  { kind = "a" },\n  { kind = "b" }]\n'
    with pytest.raises(ScenarioError, match=r"x: constraint\[0\]: wanted a table with a head of its own"):
        changed(listed, ("constraint", 0), "x")


def test_every_model_and_word_that_can_be_chosen_is_toml():
    found = catalog()
    for choice in models_of(found):
        model = tables_of(model_tables(choice), choice)
        assert list(model) == ["model"], choice
        assert choice.startswith(model["model"]["kind"])
    for family in ("endpoint", "constraint", "policy", "observation"):
        for kind in found[family]:
            (table,) = tables_of(snippet(family, kind), kind).values()
            assert (table[0] if isinstance(table, list) else table)["kind"] == kind


@pytest.mark.parametrize(
    "text", ["drug = 1", 'drug = ["a"]', "[drug]\nname = 1", "model = 1\nobjective = 2", "[[endpoint]]"]
)
def test_a_faulty_text_has_choices_too(text):
    tables = tables_of(text, "x")
    assert made_of(tables)
    assert all(key_at(tables, steps) is None or steps for steps, _ in values(tables))
