"""The mutants that `python -m tests.mutants` tries are changes of the code as it stands."""

from pathlib import Path

import pytest

from tests.mutant_list import MUTANTS

ROOT = Path(__file__).parents[1]
SOURCES = [path.read_text(encoding="utf-8") for path in (ROOT / "optimizer").rglob("*.py")]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_a_mutant_has_its_place(mutant):
    assert sum(text.count(mutant.old) for text in SOURCES) == 1
    assert mutant.old != mutant.new
    for name in mutant.tests:
        assert not name.startswith("tests/") or (ROOT / name.partition("::")[0]).exists(), name


def test_what_a_mutant_is_called_is_its_own():
    assert len({mutant.what for mutant in MUTANTS}) == len(MUTANTS)
