"""The chance of cure as what is searched: a second strike that is timed."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario
from optimizer.search.optimize import optimize
from optimizer.status import Status


@pytest.mark.slow
def test_a_second_strike_is_timed_at_least_as_well_as_by_a_grid():
    problem = Scenario.load(Path(__file__).parents[2] / "scenarios" / "two_strikes.toml").problem()
    result = optimize(problem, restarts=2)
    assert result.status is Status.SOLVED, result.reason
    doses = np.zeros((11, *problem.lower.shape))
    doses[:, :, 0] = 1.0
    for k in range(11):
        doses[k, k : k + 2, 1] = 1.0
    grid = [problem.simulate(Schedule(jnp.asarray(each)))[1].terms["cure"] for each in doses]
    assert result.audit.report.total <= min(grid) + 1e-12
    # It is neither the first nor the last strike that is best.
    assert 0 < int(np.argmin(grid)) < 5
