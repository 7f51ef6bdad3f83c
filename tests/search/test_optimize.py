"""The whole search: known optima, limits on states, levels, statuses, the same bytes every time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize

from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario
from optimizer.search.feasible import satisfies
from optimizer.search.optimize import optimize
from optimizer.status import Status
from tests.small import BEST_KNOWN, small, tables


def paper_problem(preset: str, elimination: str):
    changes = {
        "model": {"kind": "stromal", "preset": preset},
        "decision": {"every": "7 day", "horizon": "180 day"},
        "constraint": [{"kind": "cumulative_dose", "drug": "cetuximab", "limit": "26 ug/mL"}],
    }
    own = tables() | changes
    own["drug"][0]["pk"]["elimination"] = elimination
    return Scenario.from_tables(own, preset).problem()


@pytest.mark.parametrize(
    ("name", "preset", "elimination"),
    [("caf", "kraut2025_caf", "0.006 / hour"), ("general", "kraut2025_general", "0.03 / hour")],
)
def test_is_as_good_as_the_best_that_ipopt_finds_from_20_starts(name: str, preset: str, elimination: str):
    result = optimize(paper_problem(preset, elimination), restarts=4)
    assert result.status is Status.SOLVED, result.reason
    # 1e-8 is what IPOPT may overstep a bound by, times the price of a dose.
    assert result.audit.report.total <= BEST_KNOWN[name]["objective"] + 1e-8


def test_the_bundled_problem_has_several_optima_and_the_best_known_is_found():
    result = optimize(Scenario.load("scenarios/crc_caf_cetuximab.toml").problem())
    assert result.status is Status.SOLVED, result.reason
    assert result.audit.report.total <= BEST_KNOWN["main"]["objective"] + 1e-8
    assert result.search.distinct_optima >= 3
    assert result.search.optima[1].objective > result.search.optima[0].objective + 0.05
    doses = result.doses[:, 0]
    assert doses[0] == 3.0
    assert (np.diff(doses[:20]) < 0).all()
    assert (doses[-4:] == 0.0).all()


def test_agrees_with_a_general_purpose_solver(small_problem, small_result):
    value = jax.jit(jax.value_and_grad(small_problem.loss))
    answer = minimize(
        lambda x: tuple(np.asarray(a, dtype=float).ravel() if i else float(a) for i, a in enumerate(value(x[:, None]))),
        np.ones(6),
        jac=True,
        method="trust-constr",
        bounds=[(0.0, 3.0)] * 6,
        constraints=LinearConstraint(np.ones((1, 6)), -np.inf, 6.0),
        options={"gtol": 1e-9, "xtol": 1e-10, "maxiter": 2000},
    )
    assert small_result.report.total <= answer.fun + 1e-7
    assert small_result.doses[:, 0] == pytest.approx(answer.x, abs=1e-3)


def test_what_is_written_satisfies_every_dose_limit_exactly(small_problem, small_result):
    assert satisfies(small_problem, small_result.doses)
    assert not satisfies(small_problem, small_result.doses + 1e-9)
    assert small_result.report.violation == 0.0


def test_the_record_says_how_it_went(small_result):
    search = small_result.search
    # A quarter as many again from around the best one.
    assert (search.restarts, search.hops, search.converged) == (5, 1, 5)
    assert search.starts > 5_000
    assert search.tried > 0
    assert 1 <= search.last_improvement <= 5
    assert 0.0 <= search.gap <= 1e-5 * search.spread
    how_often = f"found {search.optima[0].restarts} times; last improvement at descent {search.last_improvement};"
    assert small_result.reason.startswith(f"best of 5 descents from {search.starts:,} starts, {how_often}")
    assert search.kkt_residual <= search.tolerance
    assert sum(optimum.restarts for optimum in search.optima) == search.converged
    assert set(search.seconds) == {"starts", "compile", "search", "levels", "audit"}
    assert small_result.history.shape[1] == 5
    assert abs(small_result.audit.objective_difference) < 1e-8
    assert small_result.audit.gradient_difference < 1e-5


def test_same_seed_same_bytes_whatever_the_number_of_restarts(small_problem, small_result):
    again = optimize(small_problem, restarts=4)
    assert again.doses.tobytes() == small_result.doses.tobytes()
    more = optimize(small_problem, restarts=6)
    assert np.array_equal(more.history[-1][:4], small_result.history[-1][:4], equal_nan=True)
    other = optimize(small_problem, restarts=4, seed=1)
    assert not np.array_equal(other.history[0][2:4], small_result.history[0][2:4])


def test_a_ceiling_on_the_burden_is_met_to_1e_6():
    limit = [{"kind": "burden_ceiling", "factor": 1.05}]
    problem = small(constraint=tables()["constraint"] + limit, objective={"drug_use": 1.0})
    result = optimize(problem, restarts=4)
    assert result.status is Status.SOLVED, result.reason
    ceiling = next(c for c in result.audit.report.constraints if c.name == "burden_ceiling")
    assert ceiling.violation <= 1e-6
    # Less drug would not do: the limit is what holds the doses up.
    assert ceiling.value == pytest.approx(ceiling.limit, rel=1e-5)


def test_an_impossible_ceiling_is_named_with_the_least_relaxation():
    limit = [{"kind": "burden_ceiling", "factor": 1.0001}]
    drug = tables()["drug"]
    drug[0]["dose"]["max"] = "0.5 ug/mL"
    problem = small(constraint=limit, drug=drug)
    result = optimize(problem, restarts=1)
    assert result.status is Status.INFEASIBLE
    assert result.reason.startswith("burden_ceiling: wanted at most 1.0001e+08; the nearest schedule reaches")
    # The least relaxation is the peak under the full dose here, by a simulation of its own.
    trajectory, _ = problem.simulate(Schedule(jnp.full((6, 1), 0.5)))
    least = float(result.reason.rsplit(" ", 1)[1])
    assert least == pytest.approx(float(trajectory.burden.max()), rel=1e-3)


def test_levels_come_last_and_their_cost_is_said():
    import itertools

    levels = [{"kind": "dose_levels", "drug": "cetuximab", "levels": ["0 ug/mL", "0.75 ug/mL", "1.5 ug/mL", "3 ug/mL"]}]
    problem = small(constraint=tables()["constraint"] + levels)
    result = optimize(problem, restarts=2)
    assert result.status is Status.SOLVED, result.reason
    allowed = [0.0, 0.75, 1.5, 3.0]
    every = [d for d in itertools.product(allowed, repeat=6) if sum(d) <= 6.0]
    values = jax.jit(jax.vmap(problem.loss))(jnp.asarray(every)[:, :, None])
    best = every[int(jnp.argmin(values))]
    assert tuple(result.doses[:, 0]) == best
    assert result.search.level_cost > 0.0


def test_levels_that_no_schedule_can_use_are_infeasible():
    levels = [{"kind": "dose_levels", "drug": "cetuximab", "levels": ["1.2 ug/mL", "3 ug/mL"]}]
    drug = tables()["drug"]
    drug[0]["dose"]["min"] = "0.9 ug/mL"
    result = optimize(small(constraint=tables()["constraint"] + levels, drug=drug), restarts=1)
    assert result.status is Status.INFEASIBLE
    assert "no schedule in the allowed dose levels" in result.reason


def test_an_interrupted_search_keeps_the_best_so_far(small_problem):
    seen = []

    def progress(event):
        seen.append(event)
        if event.phase == "search" and event.done == 1:
            raise KeyboardInterrupt

    result = optimize(small_problem, restarts=4, progress=progress)
    assert result.status is Status.INTERRUPTED
    assert satisfies(small_problem, result.doses)
    assert "of 4 restarts" in result.reason
    assert [event.phase for event in seen][:3] == ["starts", "compile", "search"]


def test_a_search_without_steps_enough_is_not_called_solved(small_problem, monkeypatch):
    monkeypatch.setattr("optimizer.search.multistart.MOST_ITERATIONS", 1)
    monkeypatch.setattr("optimizer.search.multistart._SLICE", 1)
    result = optimize(small_problem, restarts=2)
    assert result.status is Status.NOT_CONVERGED
    assert "none of 4 descents ended at a better one" in result.reason
    assert result.search.gap > result.search.tolerance * result.search.spread
    assert result.search.converged == 0


def test_refuses_no_restarts(small_problem):
    with pytest.raises(ValueError, match="restarts: wanted at least 1; got 0"):
        optimize(small_problem, restarts=0)


def test_refuses_32_bit_numbers(small_problem):
    with jax.enable_x64(False), pytest.raises(ValueError, match="wanted 64-bit numbers"):
        optimize(small_problem, restarts=1)
