"""Values of a text and the text with other ones, without a browser."""

import tomllib

import pytest

from optimizer.page.values import key_of, replaced, shown, tables_of, values, written
from optimizer.scenario import ScenarioError
from optimizer.scenario.files import shipped

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
