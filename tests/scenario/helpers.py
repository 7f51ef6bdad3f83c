"""Shorthands of the scenario tests."""

import re
import tomllib
from typing import Any

from optimizer.scenario import Scenario, ScenarioError

# What only a programmer would understand.
JARGON = re.compile(
    r"(?i:traceback|pydantic|validation|input should|type=|errors\.|<class|object at|a dict|a bool|@\w+:)"
    r"|NoneType|Error:|got True|got None"
)


def load(text: str, **more: Any) -> Scenario:
    """A scenario from text."""
    return Scenario.from_tables(tomllib.loads(text), "test", **more)


def faults(text: str, **more: Any) -> tuple[str, ...]:
    """Why a text is refused; nothing when it is not."""
    try:
        load(text, **more)
    except ScenarioError as error:
        return error.faults
    return ()


def assert_readable(error: ScenarioError, at_most: int = 11) -> None:
    """Each fault is one line that says what was wanted, without a programmer's words."""
    lines = str(error).splitlines()
    assert 1 <= len(lines) <= at_most
    assert len(error.faults) >= len(lines) - 1
    for line in lines:
        assert line == line.strip()
        assert line.isprintable(), ascii(line)
        assert not JARGON.search(line), line
        assert len(line) < 1200
        assert "wanted " in line or line.startswith("and ") or ": " in line
