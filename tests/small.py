"""A problem that is quick to search, shared by the tests of the search and of what stands above it."""

import json
from pathlib import Path

from optimizer.problem import Problem
from optimizer.scenario import Scenario

BEST_KNOWN = json.loads((Path(__file__).parent / "oracle" / "best_known.json").read_text())


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
