"""Cells that stray from the model: the filter against the Gaussian process in closed form."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from optimizer.control.state_noise import StateNoise, by_decisions, follow
from optimizer.observations import MEASURED, MISSING, Record
from optimizer.policies.schedule import Schedule
from optimizer.simulate import rollout
from tests.control.conftest import DOSES, NOISE, log_cells

SIZE = 0.1
START, GROWTH = np.log(1.4e8), 0.07


@pytest.fixture(scope="module")
def z(inference):
    """The patient whose numbers are the truth's, in standard normal ones."""
    prior = inference.prior
    return jnp.asarray(np.linalg.solve(prior.root, np.array([START, GROWTH]) - prior.mean))


def followed(inference, z, record, sizes=(SIZE, 1.0), key=0, each=1):
    task, both = inference.problem.task, (jnp.asarray(sizes[0]), jnp.asarray(sizes[1]))
    return follow(
        inference.system(z), task.grid, jnp.asarray(DOSES), inference.channels, record, both, jax.random.key(key), each
    )


def test_without_noise_it_is_the_model_itself(inference, z, record):
    found = followed(inference, z, record, (0.0, 1.0))
    plain = inference.followed(z, jnp.asarray(DOSES), record, jax.random.key(0))
    np.testing.assert_allclose(found.at.mean[:4], plain.at.mean[:4], atol=1e-9)
    np.testing.assert_allclose(found.at.sd[:4], NOISE)
    assert not np.any(found.changes)


def walk_covariance(days):
    return SIZE**2 * np.minimum.outer(days, days) + NOISE**2 * np.eye(len(days))


def test_predictions_are_those_of_the_random_walk_in_closed_form(inference, z, record):
    """An exponential tumor whose logarithm walks is a Gaussian process: the chain of densities is the joint one."""
    found, days = followed(inference, z, record), np.asarray(record.day)[:4]
    mean = log_cells(days, START, GROWTH)
    shown = np.asarray(record.shown)[:4, 0]
    joint = multivariate_normal.logpdf(shown, mean, walk_covariance(days))
    chain = norm.logpdf(shown, np.asarray(found.at.mean)[:4, 0], np.asarray(found.at.sd)[:4, 0])
    assert chain.sum() == pytest.approx(joint, abs=1e-6)


def test_cells_are_where_the_measurements_say(inference, z, record):
    """The mean and the spread of the last state over draws are the posterior's, and the corrected patient is there."""
    days = np.asarray(record.day)[:4]
    residual = np.asarray(record.shown)[:4, 0] - log_cells(days, START, GROWTH)
    with_last = SIZE**2 * np.minimum(days, days[-1])
    pull = np.linalg.solve(walk_covariance(days), with_last)
    mean, variance = pull @ residual, SIZE**2 * days[-1] - pull @ with_last
    changes = jnp.asarray(jax.vmap(lambda key: followed(inference, z, record, key=key).changes)(jnp.arange(400)))
    ends = np.asarray(changes).sum(axis=(1, 2))
    assert ends.mean() == pytest.approx(mean, abs=4.0 * np.sqrt(variance / 400))
    assert ends.std() == pytest.approx(np.sqrt(variance), rel=0.15)
    system, grid = inference.system(z), inference.problem.task.grid
    plain = rollout(system, Schedule(jnp.asarray(DOSES)), grid)
    moved = rollout(inference.system(z, changes[0]), Schedule(jnp.asarray(DOSES)), grid)
    assert float(jnp.log(moved.burden[-1] / plain.burden[-1])) == pytest.approx(ends[0], abs=1e-9)
    assert float(moved.burden[0]) == float(plain.burden[0])


def test_a_measurement_between_decisions_counts_at_the_next_one(inference):
    seen = jnp.asarray([[MEASURED], [MEASURED], [MISSING], [MEASURED]])
    record = Record(jnp.asarray([0.0, 3.0, 5.0, 6.0]), jnp.zeros((4, 1)), seen)
    rows, last = by_decisions(record, inference.problem.task.grid, 2)
    assert int(last) == 1
    assert rows[0, :, 0].tolist() == [0, 4]
    assert rows[1, :, 0].tolist() == [1, 3]


def test_a_belief_learns_how_much_the_cells_stray(inference):
    """Steps that no two numbers explain: the noise is larger than was believed, and no visit is out of the question."""
    noise = StateNoise(size=0.01, spread=1.0)
    noisy = type(inference)(inference.scenario, replace(inference.prior, noise=noise), inference.channels, 256)
    days = np.arange(6) * 7.0
    shown = log_cells(days, START, GROWTH) + 2.0 * np.array([0, 1, -1, 1, 0, 1])
    belief, far = noisy.begin(0), []
    for row in range(6):
        seen = jnp.where(jnp.arange(6)[:, None] <= row, MEASURED, 0)
        fresh = jnp.zeros((6, 1), bool).at[row].set(True)
        record = Record(jnp.asarray(days), jnp.asarray(shown)[:, None], seen)
        belief, how = noisy.update(jax.random.key(row), belief, jnp.asarray(DOSES), record, fresh)
        far.append(float(how.negative_log_predictive[row, 0]))
    sizes = np.exp(np.asarray(belief.z[:, 2])) * noise.size
    assert np.average(sizes, weights=np.exp(belief.log_weights)) > 5.0 * noise.size
    assert max(far[2:]) < 5.0 < max(far)


def test_patients_of_a_widened_belief_stray(inference):
    """A rule to fall back on is tuned on tumors that do not do as the model says."""
    noisy = type(inference)(inference.scenario, inference.prior.noisy(), inference.channels, 16)
    plain, wide = noisy.members(3), noisy.members(3, 1.5)
    schedule = Schedule(jnp.asarray(DOSES))
    grid = noisy.problem.task.grid
    for member in range(3):
        assert not hasattr(jax.tree.map(lambda a, i=member: a[i], plain.systems).model, "changes")
        own = jax.tree.map(lambda a, i=member: a[i], wide.systems)
        there, straight = (
            rollout(system, schedule, grid).burden for system in (own, replace(own, model=own.model.model))
        )
        assert float(there[0]) == float(straight[0])
        assert abs(float(jnp.log(there[-1] / straight[-1]))) > 1e-4
