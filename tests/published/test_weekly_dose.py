"""More drug can be worse: cells after repeated weekly doses in the general set, against SciPy (Kraut et al. 2025)."""

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario
from tests.analysis.by_hand import CAF, GENERAL, last_days

DOSES = (0.1, 0.5, 0.75, 1.5, 3.0)
WEEKS, HORIZON = 8, 56.0


def mean_log10(preset, drug, dose):
    """Mean of log10(cells + 1) over the last two weeks of eight weekly doses, by ours and by SciPy."""
    scenario = Scenario.load(f"scenarios/{preset}.toml").resolved()["scenario"]
    tables = scenario | {"decision": {"every": "7 day", "horizon": f"{HORIZON} day"}, "objective": {"burden": 1.0}}
    tables |= {"constraint": [], "regimen": []}
    problem = Scenario.from_tables(tables, preset).problem()
    trajectory, _ = problem.simulate(Schedule(jnp.full((WEEKS, 1), dose)))
    late = np.asarray(trajectory.times).reshape(WEEKS, -1)[-2:]
    weights = np.asarray(trajectory.weights).reshape(WEEKS, -1)[-2:]
    logs = np.log10(np.asarray(trajectory.burden).reshape(WEEKS, -1)[-2:] + 1.0)
    assert late[0, 0] == 42.0
    ours = float(np.sum(weights * logs) / 14.0)
    theirs, _ = last_days(drug, HORIZON, 14.0, [(7.0 * k, dose, 0.0) for k in range(WEEKS)])
    return ours, theirs


def test_the_general_set_has_a_best_weekly_dose_that_is_not_the_largest():
    pairs = [mean_log10("bistable_general", GENERAL, dose) for dose in DOSES]
    for ours, theirs in pairs:
        assert ours == pytest.approx(theirs, rel=1e-6)
    cells = [theirs for _, theirs in pairs]
    # Down to a minimum inside, and up again by decades.
    assert cells.index(min(cells)) == DOSES.index(0.75)
    assert cells[0] > min(cells) + 1.0
    assert cells[-1] > min(cells) + 1.0


def test_the_caf_set_has_none():
    pairs = [mean_log10("crc_caf_patients", CAF, dose) for dose in DOSES]
    for ours, theirs in pairs:
        assert ours == pytest.approx(theirs, rel=1e-6)
    assert (np.diff([theirs for _, theirs in pairs]) < 0.0).all()
