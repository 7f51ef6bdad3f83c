"""Every file of scenarios/invalid is refused, with the sentence that its first line promises."""

import re

import pytest

from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.faults import with_lines

from .conftest import INVALID
from .helpers import assert_readable


def promised(path):
    """The message in the first line, "..." standing for anything."""
    head = path.read_text().splitlines()[0]
    assert head.startswith("# message: "), path
    parts = head.removeprefix("# message: ").split("...")
    assert all(len(part) > 1 or part == "" for part in parts)
    return re.compile(".*".join(re.escape(part) for part in parts))


def test_corpus():
    assert len(INVALID) >= 30
    messages = [promised(path).pattern for path in INVALID]
    assert len(set(messages)) == len(messages)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid(path):
    with pytest.raises(ScenarioError) as caught:
        Scenario.load(path).problem()
    assert_readable(caught.value, at_most=1)
    text = str(caught.value)
    assert re.match(re.escape(str(path)) + r"(:\d+)?: ", text)
    assert promised(path).search(text), text
    assert text.count("; got ") <= 1


def test_the_line_of_the_key_is_named():
    named = 0
    for path in INVALID:
        with pytest.raises(ScenarioError) as caught:
            Scenario.load(path).problem()
        found = re.match(re.escape(str(path)) + r":(\d+): ([\w.\[\]-]+): ", str(caught.value))
        if found is None:
            continue
        named += 1
        line = path.read_text().splitlines()[int(found[1]) - 1]
        words = re.findall(r"[A-Za-z_]\w*", found[2])
        assert any(word in line for word in words), (path.name, line, found[2])
    assert named >= 0.8 * len(INVALID)


def test_lines_of_lists_of_tables_and_of_texts():
    text = """title = '''
[[drug]]
key = 1
'''
[[drug]]
name = "a"
[drug.pk]
kind = "first_order"
[[drug]] # the second
name = "b"
dose = { max = "1 mg" }
[[regimen]]
[[regimen.dose]]
[[regimen]]
[[regimen.dose]]
[[regimen.dose]]
amount = 1
"search".seed = 3
"""
    at = {
        "drug[0].pk.kind": 8,
        "drug[1].dose.max": 11,
        "drug[1].pk": 9,
        "regimen[1].dose[1].amount": 17,
        "drug[0].pk": 7,
    }
    at |= {"regimen[1].dose[1].search.seed": 18, "regimen[0].dose[0]": 13}
    for key, line in at.items():
        (fault,) = with_lines([f"f.toml: {key}: wanted"], "f.toml", text)
        assert fault.partition(" (")[0] == f"f.toml:{line}: {key}: wanted"
    left = ["f.toml: decision: wanted this key", "f.toml: wanted", "other.toml: drug[0]: wanted"]
    assert with_lines(left, "f.toml", text) == left


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("model.clone[1].cells", " (model.clone[1] is b)"),
        ("constraint[0].limit", " (constraint[0] is cumulative_dose of u)"),
        ("constraint[0]", " (constraint[0] is cumulative_dose of u)"),
        ("drug[0].name", ""),
        ("drug[0].dose", " (drug[0] is u)"),
        ("model.kind", ""),
    ],
)
def test_what_a_number_stands_for_is_named(path, said):
    text = (
        "[model]\nkind = 'tumor'\n[[model.clone]]\nname = 'a'\n[[model.clone]]\nname = 'b'\n"
        "[[drug]]\nname = 'u'\n[[constraint]]\nkind = 'cumulative_dose'\ndrug = 'u'\n"
    )
    (fault,) = with_lines([f"x.toml: {path}: wanted this; got that"], "x.toml", text)
    assert fault.endswith(f": {path}: wanted this; got that{said}")
    (broken,) = with_lines([f"x.toml: {path}: wanted this; got that"], "x.toml", f"{text}[")
    assert broken.endswith("got that")
