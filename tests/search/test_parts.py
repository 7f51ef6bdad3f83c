"""Starting points, KKT residual, exact limits, grouping of optima, each by itself."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.search import kkt
from optimizer.search.distinct import distinct
from optimizer.search.exact import make_feasible, satisfies, without_traces
from optimizer.search.interior_point import start, step
from optimizer.search.landscape import Landscape
from optimizer.search.starts import starts
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


def test_a_sum_that_floats_call_equal_can_still_be_too_much(small_problem):
    doses = np.full((6, 1), 1.0)
    assert satisfies(small_problem, doses)
    doses[0] += 2.3e-16
    assert np.sum(doses) == 6.0
    assert not satisfies(small_problem, doses)


def test_points_with_a_hill_between_them_are_two_optima():
    def double_well(x: np.ndarray) -> float:
        return float(np.sum((x**2 - 1.0) ** 2))

    points = [np.array([1.0]), np.array([-1.0]), np.array([1.0 + 1e-4]), np.array([0.0])]
    found = distinct(points, [double_well(p) for p in points], double_well, lambda x: x[:, None])
    assert [(round(o.objective, 6), o.restarts) for o in found] == [(0.0, 2), (0.0, 1), (1.0, 1)]


class Saddle(NamedTuple):
    """(x - 1/2)^2 - (y - 1/2)^2 on the unit square: stationary in its middle, smallest at y = 0 and 1."""

    lower: jax.Array
    upper: jax.Array
    matrix: jax.Array
    bound: jax.Array
    is_smooth: bool = True

    def look(self, shares, temperature):
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
