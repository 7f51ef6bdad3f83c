"""Numbers that once left the tool wrong or without a word; each case with its right value and where it comes from."""

import math
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

from optimizer.analysis.comparison import compare
from optimizer.outcome import outcome, remark
from optimizer.policies.schedule import Schedule
from optimizer.regimens import Regimen
from optimizer.scenario import Scenario
from optimizer.search.audit import audit, dense
from optimizer.simulate import Grid
from optimizer.simulate.adaptive import solve
from optimizer.simulate.crossings import first_above, peak

SCENARIOS = Path(__file__).parents[2] / "scenarios"


def exponential(effect: dict, route: str = "bolus", every: float = 7.0, horizon: float = 84.0, **kinetics) -> Scenario:
    """One clone of 1e9 cells that grows by 0.03 a day under one drug: 20 L, cleared at 26.4 L/day."""
    pk = {"kind": "one_compartment", "volume": "20 L", "clearance": "26.4 L/day"} | kinetics
    clone = {"name": "s", "cells": 1e9, "growth_rate": "0.03 / day", "effect": [{"drug": "d"} | effect]}
    unit = "mg" if route == "bolus" else "mg/day"
    return Scenario.from_tables(
        {
            "model": {"kind": "tumor", "cell_floor": 1.0, "growth": {"law": "exponential"}, "clone": [clone]},
            "drug": [{"name": "d", "route": route, "pk": pk, "dose": {"max": f"1e9 {unit}"}}],
            "decision": {"every": f"{every} day", "horizon": f"{horizon} day"},
            "objective": {"burden": 1.0},
        },
        "case",
    )


LINEAR = {"law": "linear", "strength": "0.01 L/mg/day"}


# --- case 09: oral doses closer to each other than their lag ------------------------------------------------

LAG, KA, K, VOLUME = 0.4, 36.0, 26.4 / 20.0, 20.0


def bateman(times: np.ndarray, doses: list[float], lag: float) -> np.ndarray:
    """Concentration [mg/L] of doses of 100 mg: the sum of Bateman's curves, each later by the lag."""
    since = np.maximum(times[:, None] - np.array(doses) - lag, 0.0)
    return (100.0 / VOLUME * KA / (KA - K) * (np.exp(-K * since) - np.exp(-KA * since))).sum(axis=1)


def oral(route: str = "bolus") -> Scenario:
    kinetics = {"kind": "oral", "absorption": "36 / day", "lag": f"{LAG} day"}
    return exponential(LINEAR, route, every=1.0, horizon=4.0, **kinetics)


def test_the_audit_keeps_doses_that_wait_in_a_queue_of_its_own():
    """Eight doses of 100 mg every 6 h with a lag of 9.6 h: a dose must not release the one before it."""
    problem = oral().problem()
    given = [0.25 * k for k in range(8)]
    edges = np.unique(np.r_[np.arange(0.0, 4.25, 0.25)])
    doses = np.zeros((len(edges) - 1, 1))
    doses[:8] = 100.0
    trajectory = solve(problem.task.system, jnp.asarray(doses), Grid(jnp.asarray(edges)))
    conc, times = np.asarray(trajectory.conc)[:, 0], np.asarray(trajectory.times)
    assert bool(trajectory.ok)
    assert conc == pytest.approx(bateman(times, given, LAG), abs=2e-7)
    # Values of the report, of days 0.5, 1, 2 and 3 [mg/L].
    right = np.array([4.4067, 10.0275, 14.4343, 5.5839])
    assert bateman(np.array([0.5, 1.0, 2.0, 3.0]), given, LAG) == pytest.approx(right, abs=1e-4)
    # What the integral of the concentration kills, to the last node.
    assert float(trajectory.weights @ conc) == pytest.approx(
        np.trapezoid(bateman(np.linspace(0, 4, 400001), given, LAG), dx=1e-5), rel=1e-7
    )


def test_an_infusion_waits_for_the_lag_too():
    """100 mg at 400 mg/day and a lag of 0.4 day: nothing before day 0.4, and nothing is lost."""
    problem = oral("infusion").problem()
    grid = Grid(jnp.asarray([0.0, 0.25, 1.0, 4.0]))
    trajectory = solve(problem.task.system, jnp.asarray([[400.0], [0.0], [0.0]]), grid)
    conc, times = np.asarray(trajectory.conc)[:, 0], np.asarray(trajectory.times)
    assert np.abs(conc[times <= LAG]).max() == 0.0
    assert conc[times > LAG + 0.25].max() > 3.0
    left = float(trajectory.weights @ conc) * 26.4 + conc[-1] * VOLUME
    assert left == pytest.approx(100.0, rel=1e-6)


@pytest.mark.parametrize("route", ["bolus", "infusion"])
def test_what_is_simulated_agrees_with_the_audit(route: str):
    problem = oral(route).problem()
    grid = Grid(jnp.asarray(np.r_[np.arange(0.0, 2.0, 0.25), 4.0]))
    doses = np.full((8, 1), 100.0)
    doses[3] = 0.0
    _, report = problem.simulate(Schedule(jnp.asarray(doses)), grid)
    checked = audit(problem, doses, report, 0.0, directions=0, grid=grid)
    assert checked.passed
    assert abs(checked.objective_difference) < 1e-7


def test_doses_that_arrive_after_the_horizon_do_nothing():
    problem = oral().problem()
    trajectory = solve(problem.task.system, jnp.asarray([[100.0]]), Grid(jnp.asarray([0.0, 0.3])))
    assert float(jnp.max(trajectory.conc)) == 0.0


# --- case 10: steep curves, by the audit --------------------------------------------------------------------


@pytest.mark.parametrize("hill", [1.0, 8.0, 20.0])
def test_the_audit_knows_steep_curves(hill: float):
    """Between two doses the integral of the effect is emax / (h k) ln((c0^h + EC50^h) / (c1^h + EC50^h))."""
    effect = {"law": "hill", "emax": "0.2 / day", "ec50": "1 mg/L", "hill": hill}
    problem = exponential(effect).problem()
    trajectory, _ = dense(problem, np.full((12, 1), 100.0))
    level, killed = 0.0, 0.0
    for _ in range(12):
        first = level + 5.0
        level = first * math.exp(-7.0 * K)
        killed += (
            0.2 / (hill * K) * (np.logaddexp(hill * math.log(first), 0.0) - np.logaddexp(hill * math.log(level), 0.0))
        )
    expected = 9.0 + (0.03 * 84.0 - killed) / math.log(10.0)
    assert math.log10(float(trajectory.burden[-1])) == pytest.approx(expected, abs=1e-7)


# --- case 19: out of the range of numbers, and less than one cell -------------------------------------------


def test_growth_out_of_the_range_of_numbers_is_said():
    """ln N = ln 1e9 + 0.3 t passes ln 1.8e308 on day 2297."""
    scenario = exponential(LINEAR, every=28.0, horizon=2520.0)
    tables = dict(scenario.resolved()["scenario"])
    tables["model"]["clone"][0]["growth_rate"] = "0.3 / day"
    problem = Scenario.from_tables(tables, "long").problem()
    trajectory, report = dense(problem, np.zeros((90, 1)))
    assert not report.finite
    said = remark(trajectory)
    assert "left the range of numbers" in said
    assert "carrying_capacity" in said
    day = float(said.split("day ")[1].split(":")[0])
    assert day == pytest.approx((math.log(sys.float_info.max) - math.log(1e9)) / 0.3, abs=1.5)
    # It has progressed long before, and that is said, too.
    found = outcome(trajectory, problem.task.grid, ("d",), ("bolus",), 1.2)
    assert found.time_to_progression_day == pytest.approx(math.log(1.2) / 0.3, rel=1e-6)


def test_less_than_one_cell_is_said():
    effect = {"law": "hill", "emax": "20 / day", "ec50": "1 mg/L", "hill": 1.0}
    problem = exponential(effect).problem()
    trajectory, _ = dense(problem, np.full((12, 1), 100.0))
    # The closed form of case 10 with h = 1.
    assert math.log10(float(trajectory.burden[-1])) == pytest.approx(-131.35516, abs=1e-4)
    assert "fewer than one cell from day" in remark(trajectory)
    none, _ = dense(problem, np.zeros((12, 1)))
    assert remark(none) == ""


# --- limits bind off the decision grid ----------------------------------------------------------------------


def test_a_regimen_between_decisions_breaks_the_sum_that_it_exceeds():
    """3 ug/mL every 5 days over 180 days: 36 doses, 108 ug/mL, where 26 are allowed."""
    scenario = Scenario.load(SCENARIOS / "crc_caf_cetuximab.toml")
    tables = dict(scenario.resolved()["scenario"])
    dose = [{"drug": "cetuximab", "amount": "3 ug/mL", "every": "5 day"}]
    tables["regimen"] = [{"name": "every 5 day", "dose": dose}]
    scenario = Scenario.from_tables(tables, "five")
    (entry,) = [e for e in compare(scenario.problem(), scenario.regimens()) if e.name == "every 5 day"]
    (check,) = [c for c in entry.report.constraints if c.name == "cumulative_dose of cetuximab"]
    assert (check.value, check.limit) == (pytest.approx(108.0), pytest.approx(26.0))
    assert "cumulative_dose of cetuximab" in entry.to_json()["violated"]
    # Every decision interval holds a dose, and the drug used is that of 36 doses on 26 decisions of 3 ug/mL at most.
    assert (entry.outcome.time_on_treatment_day, entry.outcome.switches) == (180.0, 0)
    assert entry.report.terms["drug_use"] == pytest.approx(36.0 / 26.0)


# --- the printed number is the audited one ------------------------------------------------------------------


def test_progression_is_read_by_root_finding():
    """A logistic tumor without drug: 1.2 N0 is passed at ln(1.2 (1 - N0) / (1 - 1.2 N0)) / r."""
    scenario = Scenario.load(SCENARIOS / "competing_clones.toml")
    problem = scenario.problem()
    untreated = Regimen("none", Schedule(jnp.zeros((50, 1))), problem.task.grid)
    (entry,) = [e for e in compare(problem, [untreated]) if e.name == "none"]
    exact = math.log(1.2 * 0.25 / (1.0 - 1.2 * 0.75)) / 0.027
    assert entry.outcome.time_to_progression_day == pytest.approx(exact, rel=1e-7)
    assert entry.report.terms["progression"] == pytest.approx(-exact / 2800.0, rel=1e-7)
    assert entry.to_json()["solver"] == "adaptive (audit)"


def test_progression_under_continuous_dosing_is_exact():
    """451.605 days. With s the integral of r (1 - N), S = S0 exp(-s / 2) and R = R0 exp(s) under the full dose of drug
    of strength 1.5, and dt = ds / (r (1 - N))."""
    first, last = 0.74925, 0.00075

    def cells(s: float) -> float:
        return first * math.exp(-0.5 * s) + last * math.exp(s)

    crossed = brentq(lambda s: cells(s) - 0.9, 3.0, 10.0, xtol=1e-14)
    exact, _ = quad(lambda s: 1.0 / (0.027 * (1.0 - cells(s))), 0.0, crossed, epsrel=1e-12)
    assert exact == pytest.approx(451.605, abs=5e-4)
    problem = Scenario.load(SCENARIOS / "competing_clones.toml").problem()
    trajectory, _ = dense(problem, np.ones((50, 1)))
    found = outcome(trajectory, problem.task.grid, ("drug",), ("infusion",), 1.2)
    assert found.time_to_progression_day == pytest.approx(exact, rel=1e-8)


def test_crossings_and_peaks_between_saved_times():
    t = np.linspace(0.0, 10.0, 29)
    assert first_above(t, np.sin(t), 0.5) == pytest.approx(math.pi / 6.0, abs=3e-5)
    # No saved value is above the level, the curve between two of them is.
    level = 0.5 * (1.0 + np.sin(t).max())
    assert np.sin(t).max() < level < 1.0
    assert first_above(t, np.sin(t), level) == pytest.approx(math.asin(level), abs=1e-2)
    assert peak(t, np.sin(t)) == pytest.approx(1.0, abs=1e-6)
    assert first_above(t, np.sin(t), 1.01) is None
    assert first_above(t, np.cos(t), 0.5) == 0.0
    # A corner at a time that is saved twice is no part of a polynomial.
    twice = np.r_[t[:15], t[14:]]
    corner = np.abs(twice - t[14]) + 1.0
    assert peak(twice, -corner) == -1.0


# --- case 22: doses smaller than a share of the largest one -------------------------------------------------


def small_dose_case(potency: float):
    """The best doses are 1e-5 of the largest that is allowed."""
    effect = {"law": "hill", "emax": "0.2 / day", "ec50": f"{potency} mg/L", "hill": 4.0}
    problem = exponential(effect, "infusion", every=7.0, horizon=28.0).problem()
    doses = np.array([[1.0], [0.5], [2.0], [0.0]]) * potency * 26.4
    _, report = problem.simulate(Schedule(jnp.asarray(doses)))
    return problem, doses, report


def test_the_step_of_the_audit_fits_the_dose():
    problem, doses, report = small_dose_case(1e-3)
    checked = audit(problem, doses, report, 0.0)
    assert checked.passed
    assert checked.gradient_difference < 1e-4
    assert checked.gradient_error < 1e-5
