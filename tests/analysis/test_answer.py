"""The answer first: the sentence and its warnings on numbers by hand, and where a report shows them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from optimizer.analysis.answer import answer
from optimizer.analysis.comparison import OPTIMIZED, compare
from optimizer.outcome import Outcome
from optimizer.report.document import run_document
from optimizer.scenario import Scenario
from tests.small import tables


def entry(
    name: str, total: float, day: float | None, final: float, peak: float, share: float, drug: float, **more
) -> Any:
    """A way of dosing whose cells are 1e8 throughout, so that their average is the first number."""
    trajectory = SimpleNamespace(burden=np.full(2, 1e8), weights=np.full(2, 50.0))
    came = Outcome(day, final, peak, share, {"drug": drug}, 100.0, 0)
    report = SimpleNamespace(total=total, finite=True)
    grid = SimpleNamespace(horizon=100.0)
    return SimpleNamespace(name=name, trajectory=trajectory, outcome=came, report=report, grid=grid, broken=())


def test_the_sentence_of_the_issue():
    own = entry(OPTIMIZED, 1.0, 169.0, 9.3e7, 1.5e8, 0.5, 26.0)
    weekly = entry("weekly", 2.0, 158.0, 1e8, 1.5e8, 0.5, 26.0)
    worse = entry("monthly", 3.0, 100.0, 1e8, 1.5e8, 0.5, 26.0)
    found = answer([own, worse, weekly], {"drug": "mg/L"})
    assert found is not None
    assert found.against == "weekly"
    assert found.sentence == (
        "Against weekly, the best regimen within the limits, with the same 26 mg/L: progression 11 days later, "
        "7 % fewer cells at the end; cells at the peak, cells on average, resistant share at the end unchanged."
    )
    assert found.warnings == ()


def test_every_column_in_which_a_regimen_is_better_is_a_warning():
    own = entry(OPTIMIZED, 1.0, 148.0, 4e8, 2e8, 0.004, 13.0)
    weekly = entry("weekly", 2.0, 158.0, 1e8, 2e8, 0.4, 26.0)
    never = entry("best constant dose", 3.0, None, 5e8, 1e8, 0.4, 26.0)
    found = answer([own, weekly, never], {"drug": "mg"}, ["weekly"])
    assert found is not None
    assert (
        "with 13 mg in place of 26 mg: progression 10 days earlier, 4 times as many cells at the end" in found.sentence
    )
    assert "resistant share at the end 0.004 in place of 0.4" in found.sentence
    columns = [warning.split(":")[0] for warning in found.warnings]
    assert columns == ["But progression", "But cells at the end", "But cells at the peak"]
    assert "best constant dose never, this schedule on day 148" in found.warnings[0]
    assert 'term = "final_burden" and limit = "as regimen weekly"' in found.warnings[1]
    assert 'term = "peak_burden" and limit = its value' in found.warnings[2]


def test_drug_that_buys_nothing_is_a_warning():
    own = entry(OPTIMIZED, 1.0, None, 1e8, 1e8, 0.5, 26.0)
    (warning,) = answer([own, entry("less", 2.0, None, 1e8, 1e8, 0.5, 20.0)], {}).warnings  # type: ignore[union-attr]
    assert warning.startswith("But less comes to as much with less drug")


def test_regimens_that_break_a_limit_are_no_rivals():
    own = entry(OPTIMIZED, 1.0, 10.0, 1e8, 1e8, 0.5, 26.0)
    rival = entry("more", 0.5, None, 1e7, 1e8, 0.5, 90.0)
    rival.broken = ("budget",)
    found = answer([own, rival], {})
    assert found is not None
    assert (found.against, found.warnings) == (None, ())
    assert answer([rival], {}) is None


def test_reports_open_with_it(small_problem, small_result):
    scenario = Scenario.from_tables(tables(), "small")
    entries = compare(small_problem, scenario.regimens(), small_result)
    document = run_document(scenario, small_result, entries)
    assert document["answer"]["sentence"].startswith("Against best constant dose, the best regimen within the limits")
    keys = list(document)
    assert keys.index("answer") < keys.index("reason")
    silent = [replace(e, report=replace(e.report, finite=False)) for e in entries]
    assert run_document(scenario, small_result, silent)["answer"] is None


@pytest.mark.parametrize("share", [0.5, 0.503])
def test_less_than_a_percent_is_unchanged(share):
    found = answer([entry(OPTIMIZED, 1.0, 9.0, 1.0, 1.0, 0.5, 1.0), entry("b", 2.0, 9.0, 1.0, 1.0, share, 1.0)], {})
    assert found is not None
    assert found.sentence.count("unchanged") == 1
    assert ": progression, cells at the end" in found.sentence
