"""NUTS on the published rates against the least-squares optimum; pooling; ArviZ reads the draws."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.stats

from optimizer.calibrate import Settings, calibrate, read_table
from optimizer.calibrate.fit import Fit
from optimizer.calibrate.posterior import Draws, sample_outside, sampling_warnings
from optimizer.calibrate.problem import make_problem
from optimizer.calibrate.space import Parameter

pytest.importorskip("numpyro")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("bayes") / "fit"
    return out, calibrate("data/crc_birth_death_rates.csv", "rates", out, bayes=True, starts=64)


@pytest.mark.slow
def test_draws_stand_around_the_optimum(run):
    _, report = run
    assert report.draws.source.startswith("NUTS (numpyro), 4 x 1000 draws, 0 divergent")
    for entry in report.parameters:
        draws = report.draws.values[entry.name]
        assert abs(np.median(draws) - entry.value) < draws.std()
        assert report.draws.diagnostics[entry.name]["r_hat"] < 1.01
        assert report.draws.diagnostics[entry.name]["ess"] > 400
    assert set(report.draws.priors) == {entry.name for entry in report.parameters} | {"sigma"}
    assert report.draws.log_likelihood is not None
    assert report.draws.log_likelihood.shape == (4, 1000, 48)


@pytest.mark.slow
def test_arviz_reads_the_draws(run):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arviz = pytest.importorskip("arviz")
        data = arviz.from_netcdf(str(run[0] / "posterior.nc"))
    assert {"posterior", "posterior_predictive", "log_likelihood", "observed_data"} <= set(data.groups())
    low, high = np.quantile(data["posterior"]["hill"].values, [0.05, 0.95])
    assert low < 1.178 < high


@pytest.mark.slow
def test_pooled_maxima_share_a_population():
    from optimizer.calibrate.posterior import sample
    from optimizer.calibrate.secretion import fit_secretion

    fit, _ = fit_secretion(read_table("data/caf_egf_secretion.csv", "secretion"), Settings(starts=64))
    got = sample(fit, chains=1, draws=200, warmup=200, pooled=np.arange(2, 6)[None])
    assert got.thetas.shape == (1, 200, 6)
    assert got.population["mu"].shape == (1, 200, 1)
    assert np.median(got.thetas[..., 2:]) == pytest.approx(27.0, rel=0.3)


def test_bad_chains_are_said():
    bad = Draws(
        {}, {}, "", diagnostics={"a": {"r_hat": 1.2, "ess": 10.0}, "b": {"r_hat": 1.0, "ess": 900.0}}, divergences=3
    )
    assert sampling_warnings(bad) == [
        "chains disagree on a (R-hat 1.200, wanted at most 1.01)",
        "only 10 effective draws of a (wanted at least 400)",
        "3 divergent transitions: the posterior may be biased",
    ]


def test_a_density_of_numpy_is_drawn_within_its_bounds():
    """A normal density cut off at a bound, and one with a logarithm: means and deviations as SciPy has them."""
    parameters = (Parameter("a", "1", 0.0, 4.0), Parameter("b", "1", 1e-3, 1e3, log=True))
    blank = np.zeros(2)
    problem = make_problem(lambda theta, design: design, blank, blank, parameters)
    mean, precision = np.array([0.5, np.log(2.0)]), np.array([[1.0, 0.0], [0.0, 25.0]])
    fit = Fit(problem, parameters, np.array([0.5, 2.0]), 0.0, 0.0, np.zeros(1), np.array([[0.5, 2.0]]))

    def density(w):
        away = w - mean
        return float(-0.5 * away @ precision @ away), -precision @ away

    starts = np.array([[0.2, 1.5], [1.5, 3.0]])
    draws = sample_outside(density, fit, precision, starts, draws=1500, seed=1)
    a, b = draws.values["a"].ravel(), np.log(draws.values["b"].ravel())
    cut = scipy.stats.truncnorm(-0.5, 3.5, loc=0.5)
    assert a.min() > 0.0
    assert [a.mean(), a.std()] == pytest.approx([cut.mean(), cut.std()], abs=0.06)
    assert [b.mean(), b.std()] == pytest.approx([np.log(2.0), 0.2], abs=0.02)
    assert all(d["r_hat"] < 1.02 and d["ess"] > 400 for d in draws.diagnostics.values())
