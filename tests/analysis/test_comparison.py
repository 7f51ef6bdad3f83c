"""Regimens beside the optimized schedule."""

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.analysis.comparison import OPTIMIZED, best_constant, compare
from optimizer.policies.schedule import Schedule
from optimizer.regimens import Regimen
from tests.small import small, tables


def test_scaled_regimens_have_the_cumulative_dose_of_the_optimized_one(small_problem, small_result):
    grid = small_problem.task.grid
    early = Regimen("early", Schedule(jnp.asarray([[2.0], [1.0], [0.0], [0.0], [0.0], [0.0]])), grid)
    entries = {entry.name: entry for entry in compare(small_problem, [early], small_result)}
    assert list(entries) == [OPTIMIZED, "early", "best constant dose", "no treatment", "maximum dose"]
    total = entries[OPTIMIZED].outcome.cumulative_dose["cetuximab"]
    assert entries["early"].scaled.outcome.cumulative_dose["cetuximab"] == pytest.approx(total, rel=1e-12)
    assert np.asarray(entries["early"].scaled.trajectory.doses)[:2, 0] == pytest.approx([4.0, 2.0], rel=1e-6)
    # Twice 2 mg/L is more than the largest dose, which the scaled entry admits.
    assert entries["early"].scaled.report.violation == pytest.approx(1.0 / 3.0, rel=1e-5)
    assert entries["no treatment"].scaled is None
    assert entries["maximum dose"].report.violation == pytest.approx(2.0)
    assert "cumulative_dose of cetuximab" in entries["maximum dose"].to_json()["violated"]
    assert all(entries[OPTIMIZED].report.total <= e.report.total for e in entries.values() if e.report.violation < 1e-9)


def test_a_name_of_the_scenario_is_not_repeated(small_problem):
    own = Regimen("no treatment", Schedule(jnp.zeros((6, 1))), small_problem.task.grid)
    names = [entry.name for entry in compare(small_problem, [own])]
    assert names == ["no treatment", "best constant dose", "maximum dose"]


def test_a_constant_dose_stays_below_the_least_of_the_largest_doses_and_rests():
    more = [
        {"kind": "dose_bounds", "drug": "cetuximab", "maximum": "4 ug/mL", "stop": "7 day"},
        {"kind": "rest_period", "drug": "cetuximab", "start": "14 day", "stop": "21 day"},
    ]
    doses = best_constant(small(constraint=more))
    # More is better here: the bound is what stops it, and it is not exceeded where a loading dose would be let pass.
    assert doses[:, 0] == pytest.approx([3.0, 3.0, 0.0, 3.0, 3.0, 3.0])


def test_a_constant_dose_is_one_of_the_allowed_levels():
    """The budget allows 1 ug/mL a week, of which 0.4 and 0.8 are multiples; 0.8 is better."""
    levels = {"kind": "dose_levels", "drug": "cetuximab", "quantum": "0.4 ug/mL"}
    problem = small(constraint=[*tables()["constraint"], levels])
    doses = best_constant(problem)
    assert doses[:, 0].tolist() == [0.8] * 6
    assert problem.simulate(Schedule(jnp.asarray(doses)))[1].violation == 0.0


def test_rolling_windows_are_respected_by_the_constant_dose():
    window = {"kind": "cumulative_dose", "drug": "cetuximab", "limit": "2 ug/mL", "window": "14 day"}
    problem = small(constraint=[window])
    doses = best_constant(problem)
    assert doses[:, 0] == pytest.approx(np.full(6, 1.0), rel=1e-6)
    assert problem.simulate(Schedule(jnp.asarray(doses)))[1].violation == 0.0


def test_best_constant_dose_against_a_fine_grid():
    problem = small(objective={"burden": 1.0, "drug_use": 8.0}, constraint=tables()["constraint"])
    doses = best_constant(problem)
    assert np.ptp(doses) == 0.0
    levels = np.linspace(0.0, 1.0, 401)
    values = [float(problem.simulate(Schedule(jnp.full((6, 1), x)))[1].total) for x in levels[::8]]
    assert problem.simulate(Schedule(jnp.asarray(doses)))[1].total <= min(values) + 1e-9
