"""Searches on fewer nodes than the simulation has: where they agree, and what is done where they do not."""

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.mesh import Mesh
from optimizer.search import fewer_nodes, multistart
from optimizer.search.fewer_nodes import agree, on_panels_of, searched, thinned, thinner
from optimizer.search.phase_one import center
from tests.small import small

# Marches, as its clones share a capacity; half a year, so that fewer nodes pay.
CAPACITY = {"kind": "stromal", "preset": "kraut2025_caf", "carrying_capacity": 1e9}
HALF_A_YEAR = {"model": CAPACITY, "decision": {"every": "7 day", "horizon": "182 day"}}


@pytest.fixture(scope="module")
def task():
    return small(**HALF_A_YEAR).task


def test_fewer_nodes_have_the_objective_of_the_simulation_at_other_schedules(task):
    own = thinned(task, jnp.asarray(center(task))[None])
    assert own.system.mesh.size < 0.6 * task.system.mesh.size
    for x in np.random.default_rng(0).uniform(0.01, 0.05, (2, task.lower.size)):
        wanted = float(task.evaluate(jnp.asarray(x), jnp.zeros(()))[0])
        assert float(own.evaluate(jnp.asarray(x), jnp.zeros(()))[0]) == pytest.approx(wanted, rel=2e-8)


def test_nodes_that_do_not_agree_are_not_taken(task, monkeypatch):
    monkeypatch.setattr(fewer_nodes, "apart", lambda task, own, points: jnp.full(len(points), 1e-8))
    assert thinned(task, jnp.asarray(center(task))[None]) is task
    monkeypatch.setattr(fewer_nodes, "apart", lambda task, own, points: jnp.full(len(points), np.nan))
    assert thinned(task, jnp.asarray(center(task))[None]) is task


def test_limits_on_states_and_few_saved_times_keep_the_nodes_of_the_simulation():
    limit = {"kind": "burden_ceiling", "factor": 5.0}
    limited = small(**HALF_A_YEAR, constraint=[limit]).task
    assert thinned(limited, jnp.asarray(center(limited))[None]) is limited
    short = small(model=CAPACITY).task
    assert searched(short, jnp.asarray(center(short))[None]) is short


def test_edges_at_levels_stay():
    mesh = thinner(Mesh(31, 11, 2.0, 5.0, (3, 4)), 0.5)
    assert (mesh.uniform, mesh.layer, mesh.switched) == (16, 6, (3, 4))
    assert thinner(Mesh(3), 0.25).uniform == 2


def test_an_end_on_nodes_that_do_not_agree_is_searched_again_on_those_of_the_simulation(monkeypatch):
    """Two panels a week are too few for the growth factor's layer."""
    task = small(model=CAPACITY).task
    coarse = on_panels_of(Mesh(1, 1), task)
    points = np.asarray(center(task))[None]
    assert agree(task, task, points).tolist() == [True]
    assert agree(task, coarse, np.repeat(points, 4, 0)).tolist() == [False] * 4
    plain = multistart.run(task, jnp.asarray(points), 1e-6, lambda event: None).states[0]
    monkeypatch.setattr(multistart, "searched", lambda task, points: coarse)
    again = multistart.run(task, jnp.asarray(points), 1e-6, lambda event: None).states[0]
    assert np.array_equal(again.x, plain.x)
