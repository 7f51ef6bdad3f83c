"""A thousand damaged copies of the shipped scenarios: refused in plain sentences or read, never a crash, never slow."""

import random
import re
import time
import tomllib

import pytest

from optimizer.scenario import Scenario, ScenarioError

from .conftest import SHIPPED
from .helpers import assert_readable

COUNT = 1000
NUMBERS = ["nan", "inf", "-inf", "0", "-1", "1e308", "1e999", "-0.0", "1e-320", "0x10", "1_000", ".5", "9" * 400]
UNITS = ["hour", "day", "mg", "ug/mL", "pg/mL", "mg/m2_bsa", "kg_bw", "percent", "parsec", "µg", "1", "mg/kg", ""]
VALUES = [
    "true",
    "[]",
    "{}",
    "5",
    "1979-05-27",
    "[[1]]",
    "[1, 2]",
    '"x"',
    '{ kind = "x" }',
    '""',
    '"\\u0000"',
    "'''a\nb'''",
]
CHARACTERS = "\"'[]{}=#.,\n \t\\0aZé€\u2028\x00\ud7ff-"


def flip(text: str, dice: random.Random) -> str:
    at = dice.randrange(len(text))
    return text[:at] + dice.choice(CHARACTERS) + text[at + dice.randrange(3) :]


def delete(text: str, dice: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    at = dice.randrange(len(lines))
    return "".join(lines[:at] + lines[at + dice.randint(1, 4) :])


def repeat(text: str, dice: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    at, to = dice.randrange(len(lines)), dice.randrange(len(lines))
    return "".join(lines[:to] + lines[at : at + dice.randint(1, 6)] * dice.choice([1, 1, 50]) + lines[to:])


def swap(text: str, dice: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    first, second = dice.randrange(len(lines)), dice.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return "".join(lines)


def renumber(text: str, dice: random.Random) -> str:
    return replace_one(text, r"(?<![\w.])[0-9][0-9.e]*(?![\w.])", NUMBERS, dice)


def reunit(text: str, dice: random.Random) -> str:
    return replace_one(text, r"(?<=[0-9] )[A-Za-z/ _0-9]+(?=\")", UNITS, dice)


def retype(text: str, dice: random.Random) -> str:
    return replace_one(text, r"(?<== )(\"[^\"]*\"|[0-9.e]+|true)", VALUES, dice)


def rename(text: str, dice: random.Random) -> str:
    words = re.findall(r"[A-Za-z_]{3,}", text)
    return replace_one(text, r"\b[A-Za-z_]{3,}\b", words, dice)


def replace_one(text: str, pattern: str, options: list[str], dice: random.Random) -> str:
    found = list(re.finditer(pattern, text))
    if not found:
        return text
    at = dice.choice(found)
    return text[: at.start()] + dice.choice(options) + text[at.end() :]


MUTATIONS = [flip, delete, repeat, swap, renumber, reunit, retype, rename]


def damaged(seed: int) -> str:
    """The text of a shipped scenario with one to three mutations."""
    dice = random.Random(seed)
    text = dice.choice(SHIPPED).read_text()
    for _ in range(dice.choice([1, 1, 2, 3])):
        text = dice.choice(MUTATIONS)(text, dice) or " "
    return text


def test_mutations(tmp_path):
    place = tmp_path / "scenario.toml"
    (tmp_path / "drugs").mkdir()
    for drug in SHIPPED[0].parent.glob("drugs/*.toml"):
        (tmp_path / "drugs" / drug.name).write_text(drug.read_text())
    place.write_text("")
    before = sorted(tmp_path.rglob("*"))
    read, refused, slowest, start = [], [], 0.0, time.process_time()
    for seed in range(COUNT):
        place.write_text(damaged(seed), encoding="utf-8")
        begin = time.process_time()
        try:
            read.append(Scenario.load(place))
            read[-1].resolved()
        except ScenarioError as error:
            refused.append(error)
        slowest = max(slowest, time.process_time() - begin)
    for error in refused:
        assert str(error).startswith(str(place))
        assert_readable(error)
    assert slowest < 2.0
    assert time.process_time() - start < 60.0
    assert sorted(tmp_path.rglob("*")) == before, "something was written"
    # The mutations are neither all harmless nor all fatal.
    assert 0.05 * COUNT < len(read) < 0.8 * COUNT


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda function: function.__name__)
def test_each_mutation_does_something(mutate):
    text = SHIPPED[0].read_text()
    changed = [mutate(text, random.Random(seed)) for seed in range(50)]
    assert sum(new != text for new in changed) > 20


def test_surviving_mutants_build():
    built = 0
    for seed in range(COUNT, COUNT + 60):
        text = damaged(seed)
        try:
            scenario = Scenario.from_tables(tomllib.loads(text), "mutant", folder=SHIPPED[0].parent)
            scenario.problem()
            scenario.regimens()
            built += 1
        except (ScenarioError, tomllib.TOMLDecodeError):
            continue
    assert built > 3
