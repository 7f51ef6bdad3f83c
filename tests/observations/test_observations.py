"""What is measured, against closed forms and SciPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import multivariate_normal, norm

from optimizer.observations import BELOW, MEASURED, MISSING, OVER, UNDER, Assay, Channel, Record, log_likelihood
from optimizer.observations.burden import Burden
from optimizer.observations.ctdna import Ctdna
from optimizer.observations.diameter import Diameter
from optimizer.observations.psa import Psa
from optimizer.observations.record import draw_errors, expectations, measure, visit_days
from optimizer.observations.variant_fraction import VariantFraction
from optimizer.observations.volume import Volume
from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario
from optimizer.simulate import rollout


@pytest.fixture(scope="module")
def patient():
    problem = Scenario.load("scenarios/competing_clones_trial.toml").problem()
    task = problem.task
    doses = jnp.asarray(np.random.default_rng(0).uniform(size=problem.lower.shape))
    return task.system, rollout(task.system, Schedule(doses), task.grid)


def test_geometry_and_shares(patient):
    system, trajectory = patient
    cells = np.asarray(trajectory.burden)
    volume = np.asarray(Volume(density=0.01).expected(system, trajectory))
    np.testing.assert_allclose(volume, cells / 0.01, rtol=1e-14)
    across = np.asarray(Diameter(density=0.01).expected(system, trajectory)) / 10.0  # cm
    np.testing.assert_allclose(4.0 / 3.0 * np.pi * (across / 2.0) ** 3, volume, rtol=1e-12)
    share = np.asarray(VariantFraction(clone="resistant", background=0.3).expected(system, trajectory))
    np.testing.assert_allclose(share, 0.5 * np.asarray(trajectory.cells)[:, 1] / (cells + 0.3), rtol=1e-12)
    np.testing.assert_allclose(Ctdna(shedding=20.0).expected(system, trajectory), 20.0 * cells, rtol=1e-14)


@pytest.mark.parametrize("decay", [0.05, 3.0])
def test_psa_follows_its_equation(patient, decay):
    system, trajectory = patient
    times, cells = np.asarray(trajectory.times), np.asarray(trajectory.burden)
    found = np.asarray(Psa(production=2.0, decay=decay).expected(system, trajectory))
    # From node to node, as the cells between them are straight lines and a step over a corner is not exact.
    nodes, exact = np.unique(times), [2.0 * cells[0] / decay]
    for span in itertools.pairwise(nodes):
        slope = lambda t, p: 2.0 * np.interp(t, times, cells) - decay * p  # noqa: E731
        exact.append(solve_ivp(slope, span, exact[-1:], rtol=1e-10, atol=1e-12).y[0, -1])
    np.testing.assert_allclose(found[np.unique(times, return_index=True)[1]], exact, rtol=1e-6)


def channels(correlation_time=0.0, noise=0.2):
    assay = Assay(noise=noise, correlation_time=correlation_time)
    share = VariantFraction(clone="resistant", detection_limit=0.01)
    return (Channel(Burden(), assay), Channel(share, Assay(noise=0.4)))


@pytest.mark.parametrize("correlation_time", [0.0, 20.0])
def test_likelihood_of_measured_values_is_that_of_a_normal_vector(patient, correlation_time):
    system, trajectory = patient
    found = channels(correlation_time)
    days = jnp.asarray([0.0, 14.0, 20.0, 70.0, 280.0])
    expected = expectations(found, system, trajectory, days)
    shown = expected + jnp.asarray(np.random.default_rng(1).normal(size=expected.shape)) * 0.3
    seen = np.full(shown.shape, MEASURED)
    seen[2, 0] = MISSING  # the chain goes over what is missing
    each = np.asarray(log_likelihood(found, system, trajectory, Record(days, shown, jnp.asarray(seen))))
    assert each[2, 0] == 0.0
    kept = seen[:, 0] == MEASURED
    apart = np.abs(np.subtract.outer(np.asarray(days)[kept], np.asarray(days)[kept]))
    alike = np.exp(-apart / correlation_time) if correlation_time else np.eye(kept.sum())
    normal = multivariate_normal(np.asarray(expected)[kept, 0], 0.2**2 * alike)
    assert each[:, 0].sum() == pytest.approx(normal.logpdf(np.asarray(shown)[kept, 0]), rel=1e-10)
    second = norm(np.asarray(expected)[:, 1], 0.4).logpdf(np.asarray(shown)[:, 1])
    np.testing.assert_allclose(each[:, 1], second, rtol=1e-10)


def test_a_value_below_the_detection_limit_counts_by_its_probability(patient):
    system, trajectory = patient
    found, days = channels(), jnp.asarray([0.0, 28.0])
    expected = np.asarray(expectations(found, system, trajectory, days))
    seen = jnp.asarray([[MISSING, BELOW], [MISSING, BELOW]])
    each = np.asarray(log_likelihood(found, system, trajectory, Record(days, jnp.zeros((2, 2)), seen)))
    limit = np.log(0.01 / 0.99)
    np.testing.assert_allclose(each[:, 1], norm(expected[:, 1], 0.4).logcdf(limit), rtol=1e-9)


def test_values_beyond_limits_of_their_own_count_by_their_probability(patient):
    system, trajectory = patient
    found, days = channels(), jnp.asarray([0.0, 28.0])
    expected = np.asarray(expectations(found, system, trajectory, days))
    limits = expected + np.array([[0.3, -0.2], [-0.5, 0.1]])
    seen = jnp.asarray([[UNDER, OVER], [OVER, UNDER]])
    each = np.asarray(log_likelihood(found, system, trajectory, Record(days, jnp.asarray(limits), seen)))
    normal = norm(expected, [0.2, 0.4])
    np.testing.assert_allclose(each, np.where(seen == UNDER, normal.logcdf(limits), normal.logsf(limits)), rtol=1e-9)


def test_between_saved_times_the_logarithm_is_interpolated(patient):
    system, trajectory = patient
    times, burden = np.asarray(trajectory.times), np.asarray(trajectory.burden)
    day = 0.5 * (times[3] + times[4])
    shown = expectations(channels(), system, trajectory, jnp.asarray([day]))[0, 0]
    assert float(shown) == pytest.approx(0.5 * (np.log(burden[3]) + np.log(burden[4])), rel=1e-12)


def test_errors_have_unit_size_and_the_correlation_of_their_time():
    days = jnp.asarray([0.0, 10.0, 40.0])
    drawn = jax.vmap(lambda i: draw_errors(channels(20.0), jax.random.key(i), days))(jnp.arange(20_000))
    first = np.asarray(drawn)[:, :, 0]
    np.testing.assert_allclose(first.std(0), 1.0, atol=0.03)
    expected = np.exp(-np.abs(np.subtract.outer(np.asarray(days), np.asarray(days))) / 20.0)
    np.testing.assert_allclose(np.corrcoef(first.T), expected, atol=0.03)
    second = np.asarray(drawn)[:, :, 1]
    np.testing.assert_allclose(np.corrcoef(second.T), np.eye(3), atol=0.03)


def test_what_is_measured_is_censored_at_the_limit():
    limit = np.log(0.01 / 0.99)
    shown, seen = measure(channels(), jnp.asarray([1.0, limit - 1.0]), jnp.asarray([0.5, 0.0]), jnp.ones(2, bool))
    assert float(shown[0]) == pytest.approx(1.1)
    assert seen.tolist() == [MEASURED, BELOW]
    _, seen = measure(channels(), jnp.asarray([1.0, limit + 9.0]), jnp.zeros(2), jnp.asarray([False, True]))
    assert seen.tolist() == [MISSING, MEASURED]


def test_visits_are_listed_or_on_a_grid_or_at_every_decision():
    edges = [0.0, 14.0, 28.0, 42.0]
    assert visit_days(Channel(Burden(), Assay()), edges) == [0.0, 14.0, 28.0]
    assert visit_days(Channel(Burden(), Assay(every=28.0)), edges) == [0.0, 28.0]
    assert visit_days(Channel(Burden(), Assay(days=(7.0, 30.0, 99.0))), edges) == [7.0]


def test_shown_and_value_are_each_others_inverse():
    for channel, value in zip(channels(), (3e8, 0.02), strict=True):
        assert float(channel.value(channel.shown(value))) == pytest.approx(value, rel=1e-12)
