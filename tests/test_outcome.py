"""Outcomes against closed forms: a tumor that grows exponentially between doses that do nothing to it."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.outcome import cumulative_dose, outcome
from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario

TABLES = {
    "model": {
        "kind": "tumor",
        "clone": [
            {"name": "sensitive", "cells": 900.0, "growth_rate": "0.1 / day"},
            {"name": "resistant", "cells": 100.0, "growth_rate": "0.1 / day", "resistant": True},
        ],
    },
    "drug": [
        {
            "name": "water",
            "route": "infusion",
            "pk": {"kind": "first_order", "elimination": "1 / day"},
            "dose": {"max": "2 mg/L/day"},
        }
    ],
    "decision": {"every": "3 day", "horizon": "10 day"},
    "objective": {"burden": 1.0},
}


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario.from_tables(TABLES, "growth")


def test_numbers_of_exponential_growth(scenario):
    problem = scenario.problem()
    trajectory, _ = problem.simulate(Schedule(jnp.asarray([[1.0], [0.0], [2.0], [2.0]])))
    found = outcome(trajectory, problem.task.grid, ("water",), ("infusion",), 1.5)
    assert found.time_to_progression_day == pytest.approx(math.log(1.5) / 0.1, rel=1e-9)
    assert found.final_burden == pytest.approx(1000.0 * math.e, rel=1e-9)
    assert found.peak_burden == pytest.approx(1000.0 * math.e, rel=1e-9)
    assert found.resistant_fraction == pytest.approx(0.1, rel=1e-12)
    # Rates times lengths; the last interval is one day long.
    assert found.cumulative_dose == {"water": pytest.approx(3.0 + 6.0 + 2.0)}
    assert found.time_on_treatment_day == pytest.approx(3.0 + 3.0 + 1.0)
    assert found.switches == 2
    assert outcome(trajectory, problem.task.grid, ("water",), ("infusion",), 3.0).time_to_progression_day is None


def test_a_bolus_counts_as_it_is():
    edges = np.array([0.0, 1.0, 5.0])
    doses = np.array([[2.0, 2.0], [3.0, 3.0]])
    assert cumulative_dose(doses, edges, ("bolus", "infusion")).tolist() == [5.0, 14.0]
