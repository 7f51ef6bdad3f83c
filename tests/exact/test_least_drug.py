"""Terms as limits: the least drug that does what a rule does, against CasADi and IPOPT on the same discretization."""

import math

import casadi as ca
import jax.numpy as jnp
import numpy as np
import pytest

import optimizer as opt
from tests.small import small, tables

STEPS = 8  # of the classical Runge-Kutta method in an interval of 28 days: its error is below 1e-8


@pytest.fixture(scope="module")
def scenario():
    return opt.Scenario.load("scenarios/least_drug.toml")


def program(limits):
    """IPOPT on the tumor written out again: doses [20] -> drug use, within the three limits."""
    growth, cost, death = 0.027, 0.3, 0.002
    state, dose = ca.SX.sym("x", 3), ca.SX.sym("u")

    def slope(x):
        cells = ca.exp(x[0]), ca.exp(x[1])
        whole = cells[0] + cells[1]
        free = growth * (1.0 - whole)
        return ca.vertcat(free * (1.0 - 1.5 * dose) - death, free * (1.0 - cost) - death, whole)

    x, h = state, 28.0 / STEPS
    for _ in range(STEPS):
        a = slope(x)
        b = slope(x + h / 2 * a)
        c = slope(x + h / 2 * b)
        x = x + h / 6 * (a + 2 * b + 2 * c + slope(x + h * c))
    interval = ca.Function("interval", [state, dose], [x])
    doses, at = ca.MX.sym("doses", 20), ca.DM([math.log(0.495), math.log(0.005), 0.0])
    for k in range(20):
        at = interval(at, doses[k])
    ends = ca.exp(at[0]), ca.exp(at[1])
    whole = ends[0] + ends[1]
    terms = ca.vertcat(at[2] / 560.0 / 0.5, ca.log10(whole + 1e-9), ends[1] / (whole + 1e-9))
    nlp = {"x": doses, "f": ca.sum1(doses) / 20, "g": terms}
    quiet = {"print_time": False, "ipopt": {"print_level": 0, "sb": "yes", "tol": 1e-10, "bound_relax_factor": 0.0}}
    solve, found = ca.nlpsol("solver", "ipopt", nlp, quiet), []
    for start in (np.full(20, 0.5), np.linspace(1.0, 0.1, 20), np.linspace(0.1, 1.0, 20)):
        out = solve(x0=start, lbx=0.0, ubx=1.0, lbg=-np.inf, ubg=limits)
        if solver_succeeded(solve):
            found.append((float(out["f"]), np.asarray(out["x"]).ravel()))
    return min(found, key=lambda each: each[0]), ca.Function("terms", [doses], [terms])


def solver_succeeded(solver):
    return solver.stats()["success"]


def test_least_drug_is_that_of_ipopt(scenario):
    problem = scenario.problem()
    limits = [float(limit.limit) for limit in problem.task.state_limits]
    names = [limit.term for limit in problem.task.state_limits]
    order = [names.index(name) for name in ("mean_burden", "final_burden", "final_share")]
    (best, doses), terms = program([limits[i] for i in order])
    result = opt.optimize(problem, seed=0, restarts=4)
    assert result.status is opt.Status.SOLVED
    assert result.audit.report.violation <= 1e-6
    assert result.audit.report.total <= best + 1e-4
    # None of both is better than the other by more, and both see the same terms.
    assert result.audit.report.total == pytest.approx(best, abs=1e-4)
    seen = np.asarray(terms(np.asarray(result.doses).ravel())).ravel()
    values = [check.value for check in result.audit.report.constraints if check.name.endswith("limited")]
    assert seen == pytest.approx([values[i] for i in order], rel=1e-6)
    assert float(problem.loss(jnp.asarray(doses)[:, None])) == pytest.approx(best, abs=1e-9)


def test_a_limit_as_a_regimen_is_what_the_regimen_comes_to(scenario):
    entries = {entry.name: entry for entry in opt.compare(scenario.problem(), scenario.regimens())}
    own = [check for check in entries["AT50"].report.constraints if check.name.endswith("limited")]
    assert len(own) == 3
    assert all(check.value == pytest.approx(check.limit, rel=1e-6) and check.violation < 1e-6 for check in own)
    tables = scenario.resolved()["scenario"]
    assert [limit["limit"] for limit in tables["constraint"]] == ["as regimen AT50"] * 3
    again = opt.Scenario.from_tables(tables, "least_drug")
    assert again.resolved()["scenario"] == tables
    assert again.problem().task.state_limits[0].limit == pytest.approx(own[0].limit, rel=1e-12)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"term": "mean_burdn", "limit": 1.0}, 'constraint[0].term: wanted one of'),
        ({"term": "burden", "limit": "as regimen weekly"}, "constraint[0].limit: wanted"),
        ({"term": "burden", "limit": "like weekly"}, "constraint[0].limit: wanted"),
        ({"term": "mean_observable", "limit": 1.0}, "wanted the key observable beside term"),
        ({"term": "final_share", "clone": "rare", "limit": 1.0}, "constraint[0].clone: wanted"),
        ({"term": "resistance", "limit": 1.0}, "wanted a clone with resistant = true"),
    ],
)  # fmt: skip
def test_faults_of_term_limits_are_sentences(limit, said):
    with pytest.raises(opt.ScenarioError) as caught:
        small(**(tables() | {"constraint": [{"kind": "term", **limit}]}))
    assert said in str(caught.value)


def test_a_limit_out_of_reach_says_by_how_much():
    result = opt.optimize(small(constraint=[{"kind": "term", "term": "burden", "limit": 1.0}]), restarts=1, seed=0)
    assert result.status is opt.Status.INFEASIBLE
    assert "burden, limited" in result.reason
