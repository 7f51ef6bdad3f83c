"""Ideal containment against the published times, and the names of arcs."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize

from optimizer.analysis.arcs import arcs
from optimizer.analysis.bounds import bound_of, ideal_containment, least_burden
from optimizer.outcome import outcome
from optimizer.policies.containment import Containment
from optimizer.policies.continuous import Continuous
from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario
from optimizer.simulate import Grid
from tests.small import small


def viossat_noble(sensitive: float = 1e10 - 2.3e5, horizon: float = 450.0, every: float = 1.0):
    """Section 3 of Viossat and Noble 2021, doi 10.1038/s41559-021-01428-w."""
    rate = "0.005928 / day"
    kill = [{"drug": "drug", "law": "norton_simon", "strength": 1.0}]
    clones = [
        {"name": "sensitive", "cells": sensitive, "growth_rate": rate, "effect": kill},
        {"name": "resistant", "cells": 2.3e5, "growth_rate": rate, "resistant": True},
    ]
    tables = {
        "model": {"kind": "tumor", "growth": {"law": "gompertz", "capacity": 2e12}, "clone": clones},
        "drug": [{"name": "drug", "route": "infusion", "pk": {"kind": "direct"}, "dose": {"min": 0, "max": 2}}],
        "decision": {"every": f"{every} day", "horizon": f"{horizon} day"},
        "objective": {"progression": 1.0},
        "progression": {"factor": 1.0},
    }
    return Scenario.from_tables(tables, "containment").problem()


def test_ideal_containment_is_the_published_time():
    bound = ideal_containment(viossat_noble().task.system, 1.0)
    assert bound is not None
    assert bound.value == pytest.approx(340.0367, rel=1e-6)
    assert bound.to_json(317.9678)["within_percent"] == pytest.approx(6.4902, abs=1e-3)


def test_ideal_containment_counts_the_growth_to_the_tolerated_size():
    """Gompertz growth from N0 to 7 N0 takes ln(ln(K / N0) / ln(K / 7 N0)) / rho, in which R grows as much as N."""
    rho, capacity, first, resistant = 0.005928, 2e12, 1e10, 2.3e5
    grown = math.log(math.log(capacity / first) / math.log(capacity / (7.0 * first))) / rho
    held = math.log(first / resistant) / (rho * math.log(capacity / (7.0 * first)))
    assert grown + held == pytest.approx(614.6231, abs=1e-4)
    bound = ideal_containment(viossat_noble().task.system, 7.0)
    assert bound is not None
    assert bound.value == pytest.approx(grown + held, rel=1e-9)


def test_a_bound_with_a_costly_resistance_is_that_of_the_fastest_growth():
    """S and R without a drug follow closed forms; nothing that is given makes R grow slower than the bound says."""
    problem = viossat_noble()
    model = problem.task.system.model
    costly = eqx.tree_at(lambda m: m.growth_rate, model, jnp.asarray([0.005928, 0.004]))
    bound = ideal_containment(eqx.tree_at(lambda s: s.model, problem.task.system, costly), 7.0)
    # N goes up by rho, R by the share 0.004 / rho of it, on the way; then R by its own rate at 7 N0.
    rho, last = 0.005928, math.log(2e12 / 7e10)
    grown = math.log(math.log(200.0) / last) / rho
    held = (math.log(7e10 / 2.3e5) - 0.004 / rho * math.log(7.0)) / (0.004 * last)
    assert bound is not None
    assert bound.value == pytest.approx(grown + held, rel=1e-9)


def test_maximum_dose_progresses_and_fails_at_the_published_times():
    problem = viossat_noble()
    grid = Grid.regular(1.0, 450.0)
    trajectory, _ = problem.simulate(Continuous(jnp.asarray([2.0])), grid)
    # From the nadir on: N(0) is exceeded once, at the end.
    assert outcome(trajectory, grid, ("drug",), ("infusion",), 1.0).time_to_progression_day == pytest.approx(
        236.6028, rel=1e-4
    )
    assert outcome(trajectory, grid, ("drug",), ("infusion",), 7.0).time_to_progression_day == pytest.approx(
        313.8152, rel=1e-4
    )


def test_a_containment_rule_comes_near_the_published_time_and_never_beats_the_bound():
    problem = viossat_noble(every=0.25)
    grid = Grid.regular(0.25, 450.0)
    policy = Containment(jnp.asarray([2.0]), kill_rate=0.0628)
    trajectory, _ = problem.simulate(policy, grid)
    # The controller needs a few hours to find the dose, so progression is 2 % above N(0) here. Held at N(0) until half
    # of the cells are resistant, on day 317.9678, the burden then is N(0) cosh(g t), with g its growth rate at N(0).
    growth = 0.005928 * math.log(2e12 / 1e10)
    found = outcome(trajectory, grid, ("drug",), ("infusion",), 1.02).time_to_progression_day
    assert found == pytest.approx(317.9678 + math.acosh(1.02) / growth, rel=2e-4)
    assert found < ideal_containment(problem.task.system, 1.02).value


def test_no_bound_where_theory_says_nothing():
    assert ideal_containment(small().task.system, 1.2) is None
    # Crowding slows the growth that the bound on the burden counts on; a sum of terms is not one of them.
    crowded = {"kind": "stromal", "preset": "kraut2025_caf", "carrying_capacity": 1e9}
    assert least_burden(small(model=crowded)) is None
    assert least_burden(small(objective={"burden": 1.0, "drug_use": 0.1})) is None
    assert bound_of(small(model=crowded), 1.2) is None
    assert bound_of(viossat_noble(), 1.0).name == "ideal containment"


def convex(objective):
    """One clone under a convex dose response, the level itself being dosed: an even dose is the best."""
    clone = {
        "name": "only",
        "cells": 1e8,
        "growth_rate": "0.2 / day",
        "effect": [{"drug": "drug", "law": "hill", "emax": "0.5 / day", "ec50": 0.4, "hill": 1.0}],
    }
    return Scenario.from_tables(
        {
            "model": {"kind": "tumor", "clone": [clone]},
            "drug": [{"name": "drug", "route": "infusion", "pk": {"kind": "direct"}, "dose": {"min": 0, "max": 3}}],
            "decision": {"every": "1 day", "horizon": "30 day"},
            "objective": objective,
            "constraint": [{"kind": "cumulative_dose", "drug": "drug", "limit": "18 day"}],
        },
        "convex",
    ).problem()


def test_the_least_final_burden_is_that_of_an_even_dose_where_the_response_is_convex():
    even = math.log10(1e8) + 30.0 * (0.2 - 0.5 * 0.6 / (0.6 + 0.4)) / math.log(10.0)
    problem = convex({"final_burden": 1.0})
    assert least_burden(problem).value == pytest.approx(even, abs=2e-5)
    _, report = problem.simulate(Schedule(jnp.full((30, 1), 0.6)))
    assert report.total == pytest.approx(even, abs=1e-6)


def test_the_least_mean_burden_is_that_of_scipy():
    """The dual against the primal: 30 even pieces, optimized by SLSQP on the closed form."""
    middles = np.arange(30) + 0.5

    def mean_burden(doses):
        # An interval's growth counts for the days that are left, half of itself included.
        return 8.0 + np.sum((30.0 - middles) * (0.2 - 0.5 * doses / (doses + 0.4))) / 30.0 / math.log(10.0)

    limit = LinearConstraint(np.ones((1, 30)), -np.inf, 18.0)
    found = minimize(mean_burden, np.full(30, 0.6), method="SLSQP", bounds=[(0.0, 3.0)] * 30, constraints=[limit])
    bound = least_burden(convex({"burden": 1.0})).value
    assert bound <= found.fun
    # Free concentrations gain a little over daily ones.
    assert bound == pytest.approx(found.fun, abs=2e-3)


@pytest.mark.parametrize("preset", ["kraut2025_caf", "kraut2025_general"])
@pytest.mark.parametrize("term", ["burden", "final_burden"])
def test_no_schedule_passes_the_bound(preset, term):
    problem = small(model={"kind": "stromal", "preset": preset}, objective={term: 1.0})
    bound = least_burden(problem)
    rng = np.random.default_rng(0)
    totals = []
    for even in (0.0, 0.3, 0.6, 1.0):
        doses = even * np.ones((6, 1)) + (1.0 - even) * rng.dirichlet(np.full(6, 0.5), 1).T * 6.0
        doses = np.minimum(doses * min(1.0, 6.0 / doses.sum()), 3.0)
        totals.append(problem.simulate(Schedule(jnp.asarray(doses)))[1].total)
    assert bound.value <= min(totals)
    # One that says something; guesses are far from the optimum of the bistable set.
    assert bound.value >= min(totals) - (1.0 if preset == "kraut2025_caf" else 5.0)
    within = bound.to_json(min(totals))["within_percent"]
    assert within == pytest.approx(100.0 * (min(totals) / bound.value - 1.0), rel=1e-9)


def test_arcs_are_named(small_problem):
    doses = jnp.asarray([[3.0], [3.0], [0.0], [0.862], [0.5], [3.0]])
    trajectory, _ = small_problem.simulate(Schedule(doses))
    found = arcs(trajectory, small_problem.task.grid, ("cetuximab",), np.array([3.0]))
    assert [(a.kind, a.start_day, a.end_day) for a in found] == [
        ("full", 0.0, 14.0),
        ("none", 14.0, 21.0),
        ("intermediate", 21.0, 35.0),
        ("full", 35.0, 42.0),
    ]


def test_containment_is_an_arc_of_its_own():
    problem = viossat_noble(every=10.0, horizon=40.0)
    # N S^-1 of the dose holds the burden while nearly all cells are sensitive.
    trajectory, _ = problem.simulate(Schedule(jnp.asarray([[2.0], [0.0], [1.0], [1.0]])))
    kinds = [a.kind for a in arcs(trajectory, problem.task.grid, ("drug",), np.array([2.0]))]
    assert kinds == ["full", "none", "containment"]


def test_a_switch_inside_an_interval_is_found():
    problem = viossat_noble(horizon=60.0, every=10.0)
    doses = jnp.asarray([[0.0], [1.5], [2.0], [2.0], [0.6], [0.0]])
    trajectory, _ = problem.simulate(Schedule(doses))
    found = arcs(trajectory, problem.task.grid, ("drug",), np.array([2.0]), ("infusion",))
    # 1.5 of 2 for ten days is the full rate from day 12.5; 0.6 of 2 is the full rate for three days.
    assert [(a.kind, a.start_day, a.end_day) for a in found] == [
        ("none", 0.0, 12.5),
        ("full", 12.5, 43.0),
        ("none", 43.0, 60.0),
    ]
    whole = arcs(trajectory, problem.task.grid, ("drug",), np.array([2.0]), ("bolus",))
    assert len(whole) == 5
