"""Every file of scenarios/invalid is refused, with the sentence that its first line promises."""

import re

import pytest

from optimizer.scenario import Scenario, ScenarioError

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
    assert text.startswith(f"{path}: ")
    assert promised(path).search(text), text
    assert text.count("; got ") <= 1
