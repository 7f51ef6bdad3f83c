"""Problems on which a search once said what is not true: a crash, a flat optimum not converged, a local optimum."""

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from optimizer.scenario import Scenario
from optimizer.search.optimize import optimize
from optimizer.search.starts import on_decisions
from optimizer.status import Status

HERE = Path(__file__).parent
VOLUME, CLEARANCE, GROWTH, STRENGTH = 20.0, 10.0, 0.03, 0.02


def linear_kill(weeks: int, budget: float, objective: str, **changes):
    """A drug that kills in proportion to its level, exponential growth: ln N is linear in the doses."""
    clone = {"name": "s", "cells": 1e9, "growth_rate": f"{GROWTH} / day"}
    clone["effect"] = [{"drug": "d", "law": "linear", "strength": f"{STRENGTH} L/mg/day"}]
    kinetics = {"kind": "one_compartment", "volume": f"{VOLUME} L", "clearance": f"{CLEARANCE} L/day"}
    limits = [{"kind": "cumulative_dose", "drug": "d", "limit": f"{budget} mg"}]
    tables = {
        "model": {"kind": "tumor", "growth": {"law": "exponential"}, "clone": [clone]},
        "drug": [{"name": "d", "route": "bolus", "pk": kinetics, "dose": {"max": "100 mg"}}],
        "decision": {"every": "7 day", "horizon": f"{7 * weeks} day"},
        "objective": {objective: 1.0},
        "constraint": [*limits, *changes.get("constraint", [])],
    }
    return Scenario.from_tables(tables, "linear kill").problem()


def killed(times: np.ndarray, weeks: int) -> np.ndarray:
    """What each mg of each dose takes from ln N by each time [T, K]."""
    since = np.maximum(np.asarray(times)[:, None] - 7.0 * np.arange(weeks), 0.0)
    return STRENGTH / CLEARANCE * -np.expm1(-CLEARANCE / VOLUME * since)


def test_a_ceiling_far_out_of_reach_is_infeasible_and_its_least_relaxation_is_a_linear_program():
    ceiling = [{"kind": "burden_ceiling", "factor": 1.1}]
    result = optimize(linear_kill(8, 250.0, "burden", constraint=ceiling), restarts=1)
    times = np.linspace(0.0, 56.0, 4481)
    # ln N(t) - ln N(0) = growth t - sum of what is killed <= s; the least s.
    rows = np.r_[np.c_[-killed(times, 8), -np.ones(times.size)], [[*np.ones(8), 0.0]]]
    bounds = [(0.0, 100.0)] * 8 + [(0.0, None)]
    least = linprog(np.r_[np.zeros(8), 1.0], A_ub=rows, b_ub=np.r_[-GROWTH * times, 250.0], bounds=bounds).fun
    assert result.status is Status.INFEASIBLE
    assert result.status.exit_code == 4
    assert result.reason.startswith("burden_ceiling: wanted at most 1.1e+09; the nearest schedule reaches")
    assert float(result.reason.rsplit(" ", 1)[1]) == pytest.approx(1e9 * np.exp(least), rel=1e-4)


def test_a_flat_optimum_is_solved_and_said_to_be_flat():
    result = optimize(linear_kill(12, 450.0, "final_burden"), restarts=2)
    last = killed(np.array([84.0]), 12)[0]
    best = linprog(-last, A_ub=np.ones((1, 12)), b_ub=[450.0], bounds=[(0.0, 100.0)] * 12).fun
    assert result.status is Status.SOLVED, result.reason
    assert result.audit.report.total == pytest.approx(9.0 + (GROWTH * 84.0 + best) / np.log(10.0), abs=5e-6)
    # By the residual alone it is not solved.
    assert result.search.kkt_residual > result.search.tolerance
    assert "flat: to first order no schedule within the dose limits is better by more than" in result.reason


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_search_strikes_above_the_window_and_then_holds_below_it(seed):
    scenario = Scenario.load(HERE / "strike_then_hold.toml")
    problem = scenario.problem()
    known = [on_decisions(problem, regimen) for regimen in scenario.regimens()]
    result = optimize(problem, seed=seed, restarts=scenario.restarts, known=known)
    assert result.status is Status.SOLVED, result.reason
    # A schedule by hand, 890 mg/day for three weeks, 780, none, then 10, comes to 6.3370.
    assert result.audit.report.total <= 6.337
    doses = result.doses[:, 0]
    assert np.all(doses % 10.0 == 0.0)
    assert doses.sum() * 7.0 <= 25_000.0
    assert (doses[:3] > 800.0).all()
    assert (doses[5:] < 50.0).all()


def test_infused_drugs_that_wait_are_searched_and_audited_alike():
    """Rates that arrive 0.4 day late: the kinetics once began at once, and every search ended with a failed audit."""
    clone = {"name": "s", "cells": 1e9, "growth_rate": f"{GROWTH} / day"}
    clone["effect"] = [{"drug": "d", "law": "hill", "emax": "0.2 / day", "ec50": "2 mg/L", "hill": 2.0}]
    kinetics = {"kind": "oral", "volume": "20 L", "clearance": "26 L/day", "absorption": "9 / day", "lag": "0.4 day"}
    tables = {
        "model": {"kind": "tumor", "growth": {"law": "exponential"}, "clone": [clone]},
        "drug": [{"name": "d", "route": "infusion", "pk": kinetics, "dose": {"max": "100 mg/day"}}],
        "decision": {"every": "1 day", "horizon": "4 day"},
        "objective": {"burden": 1.0},
        "constraint": [{"kind": "cumulative_dose", "drug": "d", "limit": "120 mg"}],
    }
    result = optimize(Scenario.from_tables(tables, "late").problem(), restarts=1)
    assert result.status is Status.SOLVED, result.reason
    # What is given on the last day has 0.6 day to do anything.
    assert float(result.policy.doses[3, 0]) == 0.0
