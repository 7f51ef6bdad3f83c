"""Problems that the tests of the search share, so that each is compiled once."""

import json
from pathlib import Path

import pytest

from optimizer.problem import Problem
from optimizer.scenario import Scenario
from optimizer.search.optimize import optimize
from optimizer.search.result import Result

BEST_KNOWN = json.loads((Path(__file__).parents[1] / "oracle" / "best_known.json").read_text())


def small(**changes) -> Problem:
    """The caf tumor over six weeks, with tables of the scenario replaced or added."""
    return Scenario.from_tables(tables() | changes, "small").problem()


def tables() -> dict:
    """A scenario that is quick to search."""
    return {
        "model": {"kind": "stromal", "preset": "kraut2025_caf"},
        "drug": [
            {
                "name": "cetuximab",
                "role": "inhibitor",
                "route": "bolus",
                "pk": {"kind": "first_order", "elimination": "0.006 / hour"},
                "dose": {"min": "0 ug/mL", "max": "3 ug/mL"},
            }
        ],
        "decision": {"every": "7 day", "horizon": "42 day"},
        "objective": {"burden": 1.0},
        "constraint": [{"kind": "cumulative_dose", "drug": "cetuximab", "limit": "6 ug/mL"}],
    }


@pytest.fixture(scope="session")
def small_problem() -> Problem:
    return small()


@pytest.fixture(scope="session")
def small_result(small_problem: Problem) -> Result:
    return optimize(small_problem, restarts=4)
