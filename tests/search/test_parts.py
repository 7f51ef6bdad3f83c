"""Starting points, KKT residual, exact limits, grouping of optima, each by itself."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from optimizer.policies.schedule import Schedule
from optimizer.regimens import Regimen
from optimizer.search import kkt, screening
from optimizer.search.basins import neighbors
from optimizer.search.cooling import followed
from optimizer.search.feasible import make_feasible, satisfies, without_traces
from optimizer.search.interior_point import step
from optimizer.search.iterate import start
from optimizer.search.landscape import Landscape
from optimizer.search.merit import evaluate
from optimizer.search.phase_one import center
from optimizer.search.pushes import second_derivatives
from optimizer.search.solutions import Solutions
from optimizer.search.starts import on_decisions, shapes, starts
from optimizer.simulate import Grid
from tests.small import small, tables


@settings(max_examples=25, deadline=None)
@given(
    budget=st.floats(0.01, 40.0),
    most=st.floats(0.01, 5.0),
    step=st.floats(0.01, 5.0),
    seed=st.integers(0, 2**31),
)
def test_starts_have_room_to_every_limit(budget: float, most: float, step: float, seed: int):
    drug = tables()["drug"]
    drug[0]["dose"]["max"] = f"{most!r} ug/mL"
    limits = [
        {"kind": "cumulative_dose", "drug": "cetuximab", "limit": f"{budget!r} ug/mL"},
        {"kind": "dose_change", "drug": "cetuximab", "limit": f"{step!r} ug/mL"},
    ]
    task = small(drug=drug, constraint=limits).task
    points = np.asarray(starts(task, 9, seed))
    assert points.shape == (9, 6)
    assert (points > np.asarray(task.lower)).all()
    assert (points < np.asarray(task.upper)).all()
    assert (np.asarray(task.bound) - points @ np.asarray(task.matrix).T > 0).all()
    assert np.array_equal(np.asarray(starts(task, 3, seed)), points[:3])


def test_the_gradient_is_that_of_reverse_mode(small_problem):
    task, x = small_problem.task, jnp.linspace(0.1, 0.6, 6)
    wanted = jax.jit(jax.grad(lambda shares: task.loss(task.doses(shares))))(x)
    found = kkt.gradient(task, x, None)
    assert found.shape == (6,)
    assert np.asarray(found) == pytest.approx(np.asarray(wanted), rel=1e-10)


def test_residual_is_zero_at_an_optimum_and_not_where_a_method_has_stalled(small_problem, small_result):
    task = small_problem.task

    def at(doses: np.ndarray) -> float:
        gradient = np.asarray(jax.grad(small_problem.loss)(jnp.asarray(doses))) * np.asarray(task.scale)
        return kkt.residual(task, (doses / np.asarray(task.scale)).ravel(), gradient.ravel())

    start = at(np.full((6, 1), 0.5))
    assert at(small_result.doses) < 1e-5 * start
    # On the budget with equal doses: every step along the gradient is projected away, and yet it is no optimum.
    assert at(np.full((6, 1), 1.0)) > 1e-2 * start
    # A corner whose multipliers would have the wrong sign.
    assert at(np.zeros((6, 1))) > 0.1 * start


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), close=st.sampled_from([0.0, 1e-15, 1e-12, 1e-9]))
def test_settled_doses_satisfy_the_limits_as_exact_decimals(small_problem, seed: int, close: float):
    rng = np.random.default_rng(seed)
    doses = rng.dirichlet(np.ones(6))[:, None] * 6.0 * (1.0 + close)
    doses = np.minimum(doses, 3.0)
    settled = make_feasible(small_problem, doses)
    assert satisfies(small_problem, settled)
    assert np.abs(settled - doses).max() < 1e-6
    assert make_feasible(small_problem, settled) == pytest.approx(settled, abs=1e-10)


@pytest.mark.parametrize("over", [1.01, 1.5, 3.0])
def test_doses_are_cut_by_no_more_than_the_limit_needs(small_problem, over):
    """A budget of 6: what is far above it comes down to it, not below."""
    doses = over * np.array([[1.0], [0.9], [1.1], [0.7], [1.3], [1.0 / 3.0]]) * 18.0 / 16.0
    settled = make_feasible(small_problem, np.minimum(doses, 3.0), np.asarray(small_problem.task.lower))
    assert satisfies(small_problem, settled)
    assert settled.sum() == pytest.approx(6.0, rel=1e-9)


def test_a_sum_that_floats_call_equal_can_still_be_too_much(small_problem):
    doses = np.full((6, 1), 1.0)
    assert satisfies(small_problem, doses)
    doses[0] += 2.3e-16
    assert np.sum(doses) == 6.0
    assert not satisfies(small_problem, doses)


def test_points_with_a_hill_between_them_are_two_optima():
    def double_well(x: np.ndarray) -> float:
        return float(np.sum((x**2 - 1.0) ** 2))

    points = np.array([[0.0], [-1.0], [1.0 + 1e-4], [1.0], [3.0], [0.9]])
    values = np.array([double_well(p) for p in points])
    # The last one is lower than what is left, but breaks a limit; the one before did not converge.
    excess, converged = np.array([0.0] * 5 + [1e-3]), np.array([True] * 4 + [False, True])
    found = Solutions(points, values, excess, converged)
    optima = found.distinct(double_well, lambda x: x[:, None])
    assert [(round(o.objective, 6), o.restarts) for o in optima] == [(0.0, 1), (0.0, 2), (1.0, 1)]
    assert found.feasible.tolist() == [True] * 5 + [False]
    assert found.order.tolist() == [1, 3, 2, 0, 4, 5]
    assert (found.best, found.last_improvement) == (1, 1)


def test_an_end_that_is_not_finite_is_never_the_best():
    points = np.zeros((3, 1))
    found = Solutions(points, np.array([np.nan, 5.0, 7.0]), np.array([0.0, 0.1, 0.2]), np.array([True, False, False]))
    assert found.order.tolist() == [1, 2, 0]
    assert found.distinct(lambda x: 0.0, lambda x: x[:, None]) == ()


def test_the_gap_of_a_line_is_what_the_best_corner_gains(small_problem):
    task = small_problem.task
    # A budget of two largest doses: the two steepest of these slopes get them.
    slope = -np.array([1.0, 5.0, 2.0, 4.0, 0.5, 0.1])
    assert kkt.gap(task, np.zeros(6), slope) == pytest.approx(9.0)
    assert kkt.gap(task, np.array([0.0, 1.0, 0.0, 1.0, 0.0, 0.0]), slope) == pytest.approx(0.0, abs=1e-12)
    assert kkt.gap(task, np.zeros(6), np.full(6, np.nan)) == np.inf


def test_shapes_keep_the_limits_fill_the_budget_and_do_not_depend_on_their_number():
    limits = [
        {"kind": "cumulative_dose", "drug": "cetuximab", "limit": "6 ug/mL"},
        {"kind": "dose_change", "drug": "cetuximab", "limit": "2 ug/mL"},
        {"kind": "rest_period", "drug": "cetuximab", "start": "14 day", "stop": "28 day"},
    ]
    task = small(constraint=limits).task
    points = shapes(task, 600, 0, center(task))
    lower, upper, matrix, bound = (np.asarray(a) for a in (task.lower, task.upper, task.matrix, task.bound))
    assert (points >= lower).all()
    assert (points <= upper).all()
    assert (points @ matrix.T <= bound + 1e-12).all()
    assert np.array_equal(shapes(task, 40, 0, center(task)), points[:40])
    assert not np.array_equal(shapes(task, 40, 1, center(task)), points[:40])
    open_task = small().task
    every = shapes(open_task, 600, 0, center(open_task))
    spent = every.sum(axis=1) * float(open_task.scale[0])
    assert np.mean(spent > 6.0 * (1.0 - 1e-9)) > 0.3
    levels = [np.unique(np.round(row, 12)).size for row in every]
    # Constant doses, two levels, and ones that are all different.
    assert {1, 2, 3, 6} <= set(levels)


def test_starts_that_blow_up_give_way_to_schedules_that_can_be_simulated(small_problem, monkeypatch):
    task = small_problem.task
    monkeypatch.setattr(screening, "_score", lambda task, x: _blows_up(x))
    screened = screening.screen(task, 0)
    assert 0.0 < np.mean(np.isfinite(screened.values)) < 1.0
    points = np.asarray(screening.chosen(task, screened, 6, 0))
    assert np.isfinite(_blows_up(jnp.asarray(points))[0]).all()
    assert (points > 0.0).all()
    assert (points.sum(axis=1) < 2.0).all()


def _blows_up(shares):
    """Cannot be simulated with more than a hundredth of the budget."""
    spent = jnp.sum(shares, axis=1)
    return jnp.where(spent > 0.02, jnp.nan, -spent), 0.0 * spent, jnp.full(spent.shape, 40_000)


def test_the_best_and_what_differs_from_it_are_begun_from(small_problem):
    rng = np.random.default_rng(0)
    near = np.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]) + 1e-3 * rng.uniform(size=(5, 6))
    points = np.concatenate([near, np.eye(6)[3:5]])
    merits = np.array([5.0, 1.0, 2.0, 3.0, 4.0, 7.0, 6.0])
    assert screening.diverse(points, merits, 3).tolist() == [1, 6, 5]
    # Where there are not enough that differ, those that differ less follow.
    assert sorted(screening.diverse(points, merits, 7).tolist()) == list(range(7))
    assert len(screening.diverse(points, merits, 9)) == 9


def test_a_regimen_on_days_of_its_own_becomes_doses_of_the_decisions(small_problem):
    grid = Grid(jnp.asarray([0.0, 3.5, 7.0, 20.0, 42.0]))
    regimen = Regimen("own", Schedule(jnp.asarray([[1.0], [0.5], [0.25], [2.0]])), grid)
    assert on_decisions(small_problem, regimen)[:, 0].tolist() == [1.5, 0.25, 2.0, 0.0, 0.0, 0.0]
    drug = tables()["drug"]
    drug[0]["route"] = "infusion"
    drug[0]["pk"] = {"kind": "one_compartment", "volume": "3 L", "clearance": "0.4 L/day"}
    drug[0]["dose"] = {"min": "0 mg/day", "max": "9 mg/day"}
    limit = [{"kind": "cumulative_dose", "drug": "cetuximab", "limit": "90 mg"}]
    rates = on_decisions(small(drug=drug, constraint=limit), regimen)[:, 0]
    assert rates == pytest.approx([0.75, 0.25, (6 * 0.25 + 2.0) / 7, 2.0, 2.0, 2.0])


def test_moves_keep_the_limits_and_leave_the_point(small_problem):
    task = small_problem.task
    point = np.array([0.9, 0.5, 0.0, 0.3, 0.0, 0.3])
    near = neighbors(task, point[None], 200, [0], center(task))
    assert (near >= np.asarray(task.lower)).all()
    assert (near <= np.asarray(task.upper)).all()
    assert (near @ np.asarray(task.matrix).T <= np.asarray(task.bound) + 1e-12).all()
    assert np.mean(np.any(near != point, axis=1)) > 0.7
    sums = near.sum(axis=1)
    # Pieces are exchanged and shifted without more drug.
    assert np.mean(np.isclose(sums, point.sum())) > 0.2
    assert np.array_equal(near, neighbors(task, point[None], 200, [0], center(task)))


class Saddle(NamedTuple):
    """(x - 1/2)^2 - (y - 1/2)^2 on the unit square: stationary in its middle, smallest at y = 0 and 1."""

    lower: jax.Array
    upper: jax.Array
    matrix: jax.Array
    bound: jax.Array
    is_smooth: bool = True

    def evaluate(self, shares, temperature):
        x, y = shares - 0.5
        return x**2 - y**2, ()


def test_a_stationary_point_that_is_no_minimum_is_left():
    saddle = Saddle(jnp.zeros(2), jnp.ones(2), jnp.zeros((0, 2)), jnp.zeros(0))
    assert isinstance(saddle, Landscape)
    state = start(saddle, jnp.asarray([0.9, 0.5]))
    one = jax.jit(lambda s: step(saddle, s, 1e-6, 1e-7))
    for k in range(60):
        state = one(state)
        # An iteration that is not counted would be repeated for ever.
        assert int(state.iterations) == k + 1 or bool(state.done)
        if state.done:
            break
    assert bool(state.done)
    assert float(state.value) == pytest.approx(-0.25, abs=1e-5)


def test_doses_below_a_thousandth_of_the_largest_are_left_out_where_that_costs_nothing(small_problem):
    doses = np.array([[3.0], [1e-4], [2e-3], [1e-9], [2.0], [0.0]])

    def free(batch: np.ndarray) -> np.ndarray:
        return np.zeros(len(batch))

    assert without_traces(small_problem, doses, free)[:, 0].tolist() == [3.0, 0.0, 0.0, 0.0, 2.0, 0.0]

    def the_larger_one_counts(batch: np.ndarray) -> np.ndarray:
        return np.where(batch[:, 2, 0] > 0.0, 1.0, 1.1)

    kept = without_traces(small_problem, doses, the_larger_one_counts)
    assert kept[:, 0].tolist() == [3.0, 0.0, 2e-3, 0.0, 2.0, 0.0]


def test_doses_that_a_limit_asks_for_are_not_left_out():
    step = {"kind": "dose_change", "drug": "cetuximab", "limit": "2.9995 ug/mL"}
    doses = np.array([[2.9995], [1e-3], [3.0], [0.5], [0.0], [0.0]])
    kept = without_traces(small(constraint=[step]), doses, lambda batch: np.zeros(len(batch)))
    # Without the second dose the step to the third one is too large.
    assert kept[:, 0].tolist() == doses[:, 0].tolist()


def test_where_a_search_cools_its_path_is_that_of_the_temperature_to_come():
    """What a term hands on from interval to interval hangs on the temperature."""
    own = followed(small(objective={"progression": 1.0}, decision={"every": "7 day", "horizon": "21 day"}).task)
    before = start(own, jnp.full(own.lower.size, 0.3))
    after = jax.jit(lambda state: step(own, state, 1.0, 1e-7))(before)
    assert np.array_equal(after.x, before.x)
    assert float(after.temperature) == pytest.approx(10.0**-0.5)
    wanted = evaluate(own, after.x, after.temperature)[2]
    assert np.allclose(after.path.start, wanted.start, rtol=1e-12)
    assert not np.allclose(before.path.start, wanted.start, rtol=1e-3)


@pytest.mark.parametrize("count", [3, 9])
def test_second_derivatives_of_intervals_are_those_of_a_dense_hessian_whichever_way_they_are_pushed(count: int):
    starts, at = jnp.linspace(0.2, 1.4, 2 * count).reshape(2, count), jnp.asarray([0.5, 2.0])
    ends, cotangents = jnp.asarray([[0.3, -1.0], [2.0, 0.1]]), [jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)]

    def stage(s, a):
        z = jnp.stack([jnp.sum(jnp.sin(a * s)), jnp.prod(s)])
        return (z, jnp.exp(a * s[0] * s[-1]), [jnp.outer(s[:3], s) @ s**2]), a

    def weighted(s, a, end, cotangent):
        (z, cost, (read,)), _ = stage(s, a)
        return z @ end + cost + read @ cotangent

    found, others, first, blocks = second_derivatives(stage, starts, at)
    assert np.array_equal(others, at)
    assert all(jax.tree.leaves(jax.tree.map(np.allclose, found, jax.vmap(stage)(starts, at)[0])))
    slope = jnp.einsum("kd,kdm->km", ends, first[0]) + first[1] + jnp.einsum("kq,kqm->km", cotangents[0], first[2][0])
    assert np.asarray(slope) == pytest.approx(np.asarray(jax.vmap(jax.grad(weighted))(starts, at, ends, *cotangents)))
    wanted = jax.vmap(jax.hessian(weighted))(starts, at, ends, *cotangents)
    assert np.asarray(blocks(ends, cotangents)) == pytest.approx(np.asarray(wanted), rel=1e-12, abs=1e-12)
