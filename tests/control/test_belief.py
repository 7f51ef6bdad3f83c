"""What a belief learns, against the posterior in closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm

from optimizer.control.belief import Belief, Inference, effective, places
from optimizer.control.prediction import fit, forecast
from optimizer.control.prior import load_prior
from optimizer.observations import MEASURED, Record
from optimizer.scenario import Scenario
from tests.control.conftest import DOSES, NOISE, log_cells

ALL = jnp.ones((6, 1), bool)


def moments(inference, belief):
    """Mean and covariance of (ln N0, growth)."""
    numbers = np.asarray(jax.vmap(inference.prior.numbers)(belief.z))
    free = np.stack([np.log(numbers[:, 0]), numbers[:, 1]], axis=1)
    weights = np.exp(np.asarray(belief.log_weights))
    weights = weights / weights.sum()
    mean = weights @ free
    return mean, (weights[:, None] * (free - mean)).T @ (free - mean)


def updated(inference, record, seed=0):
    key = jax.random.key(seed)
    return inference.update(key, inference.begin(seed), jnp.asarray(DOSES), record, ALL)


def test_the_posterior_of_a_linear_model_is_found(inference, record, exact):
    found = [moments(inference, updated(inference, record, seed)[0]) for seed in range(4)]
    mean, covariance = (np.mean(parts, axis=0) for parts in zip(*found, strict=True))
    sd = np.sqrt(np.diag(exact[1]))
    np.testing.assert_allclose((mean - exact[0]) / sd, 0.0, atol=0.1)
    np.testing.assert_allclose(covariance / np.outer(sd, sd), exact[1] / np.outer(sd, sd), atol=0.15)


def test_one_update_split_into_several_changes_nothing_but_chance(inference, record):
    together, apart = [], []
    for seed in range(6):
        together.append(moments(inference, updated(inference, record, seed)[0])[0])
        belief = inference.begin(seed)
        for row in range(4):
            known = record._replace(seen=jnp.where(jnp.arange(6)[:, None] <= row, record.seen, 0))
            fresh = jnp.zeros((6, 1), bool).at[row].set(True)
            belief, _ = inference.update(jax.random.key(100 + row), belief, jnp.asarray(DOSES), known, fresh)
        apart.append(moments(inference, belief)[0])
    error = np.sqrt((np.var(together, 0) + np.var(apart, 0)) / 6)
    assert np.all(error > 0.0)
    assert np.all(np.abs(np.mean(together, 0) - np.mean(apart, 0)) < 4.0 * error)


def test_with_nothing_measured_the_belief_stays(inference, record):
    before = inference.begin(3)
    nothing = record._replace(seen=jnp.zeros_like(record.seen))
    after, how = inference.update(jax.random.key(0), before, jnp.asarray(DOSES), nothing, ALL)
    np.testing.assert_array_equal(after.z, before.z)
    np.testing.assert_allclose(after.log_weights, before.log_weights, atol=1e-12)
    assert float(how.ess) == pytest.approx(1024.0)
    assert not np.any(how.negative_log_predictive)


def test_exact_and_frequent_measurements_lead_to_the_truth(inference):
    # Believed to be as good as any assay is.
    channels = eqx.tree_at(lambda c: c[0].assay.noise, inference.channels, jnp.zeros(()))
    sharp = Inference(inference.scenario, inference.prior, channels, inference.particles)
    days = np.arange(6) * 7.0
    shown = jnp.asarray(log_cells(days, np.log(1.4e8), 0.07))[:, None]
    record = Record(jnp.asarray(days), shown, jnp.full((6, 1), MEASURED))
    belief, how = sharp.update(jax.random.key(0), sharp.begin(0), jnp.asarray(DOSES), record, ALL)
    mean, covariance = moments(sharp, belief)
    np.testing.assert_allclose(mean, [np.log(1.4e8), 0.07], rtol=2e-3, atol=1e-3)
    assert np.all(np.sqrt(np.diag(covariance)) < [0.02, 1e-3])
    assert int(how.temperatures) > 1


def test_the_negative_log_predictive_of_a_measurement_is_that_of_the_predictive_law(inference, record):
    first = record._replace(seen=record.seen.at[1:].set(0))
    _, how = inference.update(jax.random.key(0), inference.begin(0), jnp.asarray(DOSES), first, ALL)
    spread = np.sqrt(float(inference.prior.root[0, 0]) ** 2 + NOISE**2)
    exact = -norm(float(inference.prior.mean[0]), spread).logpdf(float(record.shown[0, 0]))
    assert float(how.negative_log_predictive[0, 0]) == pytest.approx(exact, abs=0.05)
    tails = np.asarray(how.predictive_p)
    away = (float(record.shown[0, 0]) - float(inference.prior.mean[0])) / spread
    assert tails[0, 0] == pytest.approx(2.0 * norm.sf(abs(away)), abs=0.05)
    assert np.isnan(tails[1:]).all()


def test_what_is_forecast_of_a_visit_is_the_predictive_law_before_it(inference, record):
    law = norm(float(inference.prior.mean[0]), np.hypot(float(inference.prior.root[0, 0]), NOISE))
    [first] = forecast(inference, inference.begin(0), jnp.asarray(DOSES), record, 0)
    np.testing.assert_allclose(np.log(first), law.ppf([0.05, 0.5, 0.95]), atol=0.05)
    other = record._replace(shown=record.shown.at[0].add(3.0))
    np.testing.assert_array_equal(forecast(inference, inference.begin(0), jnp.asarray(DOSES), other, 0)[0], first)
    assert np.isnan(forecast(inference, inference.begin(0), jnp.asarray(DOSES), record, 4)).all()


def test_a_record_that_does_not_fit_is_called_that(inference, record):
    belief, _ = updated(inference, record)
    good = fit(inference, belief, jnp.asarray(DOSES), record)
    assert good.p_value > 0.05
    shown = record.shown.at[:4, 0].add(jnp.asarray([1.5, -1.5, 1.5, -1.5]))  # no line goes through these
    wrong = record._replace(shown=shown)
    belief, _ = updated(inference, wrong)
    bad = fit(inference, belief, jnp.asarray(DOSES), wrong)
    assert bad.p_value < 1e-3
    squares = np.nansum(bad.residuals**2)
    assert bad.p_value == pytest.approx(float(chi2.sf(squares, 4)), abs=1e-3)
    assert fit(inference, belief, jnp.asarray(DOSES), record._replace(seen=0 * record.seen)).p_value is None


def test_particles_of_a_plan_stand_for_the_weights():
    z = jnp.arange(4.0)[:, None]
    belief = Belief(z, jnp.log(jnp.asarray([0.5, 0.25, 0.25, 1e-12])))
    assert places(belief, 4).tolist() == [0, 0, 1, 2]
    assert float(effective(belief)) == pytest.approx(1.0 / (0.25 + 0.0625 + 0.0625), rel=1e-6)


def test_a_table_of_patients_gives_the_spread_of_their_numbers(tmp_path):
    from tests.control.conftest import SMALL

    cells, growth = np.exp(np.linspace(17.0, 20.0, 40)), np.linspace(0.02, 0.09, 40)
    rows = "\n".join(f"{c!r},{g!r}" for c, g in zip(cells.tolist(), growth.tolist(), strict=True))
    (tmp_path / "patients.csv").write_text(f"model.cells [cell],model.growth_rate [1/day]\n{rows}\n")
    text = SMALL.read_text().split("[[cohort.vary]]")[0] + '[cohort]\ntable = "patients.csv"\n'
    (tmp_path / "small.toml").write_text(text)
    prior = load_prior(Scenario.load(tmp_path / "small.toml"))
    assert float(prior.mean[0]) == pytest.approx(np.log(cells).mean())
    covariance = prior.root @ prior.root.T
    # Growth may have any sign: it is as it is; cells cannot: their logarithms count.
    np.testing.assert_allclose(covariance, np.cov(np.log(cells), growth), rtol=1e-8)


@pytest.mark.slow
def test_ranks_of_the_truth_are_even(inference):
    """Simulation-based calibration (Talts et al. 2018, doi 10.48550/arXiv.1804.06788) of updates visit by visit."""
    rng, ranks = np.random.default_rng(0), []
    days = jnp.asarray(np.arange(6) * 7.0)
    for draw in range(200):
        truth = rng.standard_normal(2)
        numbers = np.asarray(inference.prior.numbers(jnp.asarray(truth)))
        shown = log_cells(np.asarray(days), np.log(numbers[0]), numbers[1]) + NOISE * rng.standard_normal(6)
        belief = inference.begin(draw)
        for row in range(6):
            seen = jnp.where(jnp.arange(6)[:, None] <= row, MEASURED, 0)
            fresh = jnp.zeros((6, 1), bool).at[row].set(True)
            known = Record(days, jnp.asarray(shown)[:, None], seen)
            key = jax.random.fold_in(jax.random.key(draw), row)
            belief, _ = inference.update(key, belief, jnp.asarray(DOSES), known, fresh)
        own = np.asarray(jax.vmap(inference.prior.numbers)(belief.z))
        weights = np.exp(np.asarray(belief.log_weights))
        ranks.append([weights[own[:, i] < numbers[i]].sum() / weights.sum() for i in range(2)])
    for column in np.array(ranks).T:
        assert kstest(column, "uniform").pvalue > 0.01
