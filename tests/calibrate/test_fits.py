"""Least squares against SciPy and drc, replicates, robust losses, profiles."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import curve_fit, least_squares
from scipy.stats import norm

from optimizer.calibrate import fit as fitting
from optimizer.calibrate.curves import curves, remaining, stromal_rate
from optimizer.calibrate.dose_response import box as curve_box, curve_data, fit_curve
from optimizer.calibrate.fit import Settings, multistart
from optimizer.calibrate.problem import collapse, make_problem
from optimizer.calibrate.space import Parameter, Space
from optimizer.calibrate.uncertainty import draws, uncertainty

# Root length [cm] of perennial ryegrass against ferulic acid [mM]: Inderjit, Streibig, Olofsdotter 2002, Physiologia
# Plantarum 114, 422-428; the data set `ryegrass` of the R package drc.
FERULIC = np.repeat([0.0, 0.94, 1.88, 3.75, 7.5, 15.0, 30.0], [6, 3, 3, 3, 3, 3, 3])
ROOT = np.array(
    [
        *(7.58, 8.0, 8.3285714, 7.25, 7.375, 7.9625, 8.3555556, 6.9142857, 7.75, 6.8714286, 6.45, 5.9222222),
        *(1.925, 2.8857143, 4.2333333, 1.1875, 0.8571429, 1.0571429, 0.6875, 0.525, 0.825, 0.25, 0.22, 0.44),
    ]
)  # fmt: skip
DRC = {"ec50": 3.058, "hill": 2.982, "upper": 7.793, "lower": 0.481}


def four(x, lower, upper, ec50, hill):
    return lower + (upper - lower) / (1 + (x / ec50) ** hill)


@pytest.fixture(scope="module")
def ryegrass():
    return fit_curve(curve_data(FERULIC, ROOT), curve_box(FERULIC, ROOT, "mmol/L"), Settings(starts=32))


def test_ryegrass_is_what_drc_prints(ryegrass):
    for name, printed in DRC.items():
        assert ryegrass.value(name) == pytest.approx(printed, abs=5.1e-4)


def test_ryegrass_is_what_scipy_finds(ryegrass):
    theta, covariance = curve_fit(four, FERULIC, ROOT, p0=[0.5, 8, 3, 3], xtol=1e-14, ftol=1e-14)
    np.testing.assert_allclose(ryegrass.theta, theta, rtol=1e-6)
    assert ryegrass.sse == pytest.approx(np.sum((four(FERULIC, *theta) - ROOT) ** 2), rel=1e-9)
    doubt = uncertainty(ryegrass)
    natural = np.where([False, False, True, True], theta, 1.0)
    ours = np.sqrt(np.diag(doubt.covariance)) * natural
    np.testing.assert_allclose(ours, np.sqrt(np.diag(covariance)), rtol=1e-4)
    assert not doubt.warnings


def test_profile_intervals_solve_their_equation(ryegrass):
    """At an end of the interval, the best fit with that value held is t^2 s^2 above the optimum."""
    from scipy.stats import t as student

    doubt = uncertainty(ryegrass, 0.9)
    reach = student.ppf(0.95, 20)
    for end in doubt.interval("ec50"):
        held = least_squares(lambda p, e=end: four(FERULIC, p[0], p[1], e, p[2]) - ROOT, [0.5, 8, 3], xtol=1e-14)
        tau = np.sqrt((2 * held.cost - ryegrass.sse) / doubt.sigma**2)
        assert tau == pytest.approx(reach, rel=2e-3)


def test_replicates_change_nothing_but_the_number_of_rows(ryegrass):
    design = (FERULIC, np.zeros(24, int), np.array([[0, 1, 2, 3]]))
    box = curve_box(FERULIC, ROOT, "mmol/L")
    rows = multistart(make_problem(curves, design, ROOT, box), box, starts=32)
    np.testing.assert_allclose(rows.theta, ryegrass.theta, rtol=1e-6)
    assert rows.sse == pytest.approx(ryegrass.sse, rel=1e-10)
    one, other = uncertainty(rows), uncertainty(ryegrass)
    assert one.criteria["bic"] == pytest.approx(other.criteria["bic"], rel=1e-9)
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-4)


@pytest.mark.slow
def test_a_robust_loss_withstands_an_outlier(ryegrass):
    spoiled = ROOT.copy()
    spoiled[14] = 9.0
    design = (FERULIC, np.zeros(24, int), np.array([[0, 1, 2, 3]]))
    box = curve_box(FERULIC, ROOT, "mmol/L")
    plain = multistart(make_problem(curves, design, spoiled, box), box, starts=32)
    fit = fitting.least_squares(plain.problem, box, Settings(starts=32, loss="soft_l1"))
    scale = float(fit.problem.loss_scale)
    reference = least_squares(
        lambda p: four(FERULIC, *p) - spoiled, fit.theta, loss="soft_l1", f_scale=scale, xtol=1e-12
    )
    assert fit.objective <= 2 * reference.cost * (1 + 1e-6)
    off, robust_off = (abs(one.value("ec50") - ryegrass.value("ec50")) for one in (plain, fit))
    assert off > 0.3
    assert robust_off < 0.5 * off


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy"])
def test_losses_are_scipys(loss):
    """The squares that are summed equal rho of scipy.optimize.least_squares."""
    design = (FERULIC, np.zeros(24, int), np.array([[0, 1, 2, 3]]))
    plain = make_problem(curves, design, ROOT, curve_box(FERULIC, ROOT, "mmol/L"))
    problem = replace(plain, loss=loss, loss_scale=jnp.asarray(0.3))
    theta = np.array([0.0, 6.0, 2.0, 1.0])
    e = four(FERULIC, *theta) - ROOT
    scipys = 2 * least_squares(lambda p: e, [0.0], loss=loss, f_scale=0.3, max_nfev=1).cost
    assert float(problem.objective(jnp.asarray(theta))) == pytest.approx(scipys, rel=1e-12)
    jac = jax.jacfwd(problem.residuals)(jnp.asarray(theta))
    assert np.all(np.isfinite(jac))


@pytest.mark.parametrize("deviation", ["relative", "log"])
def test_other_deviations_find_scipys_optimum(deviation):
    random = np.random.default_rng(5)
    y = four(FERULIC, 0.5, 8.0, 3.0, 2.5) * np.exp(0.05 * random.standard_normal(24))

    def residual(p):
        f = four(FERULIC, *p)
        return {"relative": f / y - 1, "relative_to_fit": 1 - y / f, "log": np.log(f / y)}[deviation]

    design = (FERULIC, np.zeros(24, int), np.array([[0, 1, 2, 3]]))
    box = (Parameter("lower", "1", 0.01, 4.0), *curve_box(FERULIC, y, "mmol/L")[1:])
    fit = multistart(make_problem(curves, design, y, box, deviation=deviation), box, starts=32)
    reference = least_squares(residual, [0.5, 8, 3, 2.5], xtol=1e-14, ftol=1e-14, gtol=1e-14)
    np.testing.assert_allclose(fit.theta, reference.x, rtol=1e-5)
    assert fit.objective == pytest.approx(2 * reference.cost, rel=1e-8)


def test_undefined_deviations_are_refused():
    box = curve_box(FERULIC, ROOT, "mmol/L")
    with pytest.raises(ValueError, match="wanted observed values other than 0"):
        make_problem(curves, (), np.zeros(3), box, deviation="relative")
    with pytest.raises(ValueError, match="wanted observed values > 0; got -1"):
        make_problem(curves, (), np.array([1.0, -1.0]), box, deviation="log")


def test_collapse_keeps_every_sum_of_squares():
    random = np.random.default_rng(6)
    dose, factor = random.choice([0.0, 1.0, 2.0], 200), random.choice([0.0, 5.0], 200)
    y = random.standard_normal(200)
    first, means, counts, within = collapse((dose, factor), y)
    level = 0.3 * dose[first] + 0.1 * factor[first]
    reduced = np.sum(counts * (means - level) ** 2) + within
    assert reduced == pytest.approx(np.sum((y - 0.3 * dose - 0.1 * factor) ** 2), rel=1e-12)


def test_what_the_data_cannot_tell_is_said():
    """Doses far below the EC50: only the start of the curve is seen."""
    random = np.random.default_rng(7)
    doses = np.array([0.0, 0.0005, 0.001, 0.0015, 0.002, 0.003] * 3)
    y = four(doses, 0.0, 1.0, 1.0, 1.0) + 0.01 * random.standard_normal(18)
    fit = fit_curve(curve_data(doses, y), curve_box(doses, y, "ug/mL"), Settings(starts=32), rows=24)
    doubt = uncertainty(fit)
    assert doubt.interval("ec50")[1] is None
    assert "ec50 is not bounded above by these data" in doubt.warnings
    assert np.all(np.isfinite(draws(fit, 100, 0)))


def test_no_degrees_of_freedom_give_no_intervals():
    doses, y = np.array([0.0, 1.0, 2.0, 4.0]), np.array([1.0, 0.8, 0.4, 0.1])
    fit = fit_curve(curve_data(doses, y), curve_box(doses, y, "ug/mL"), Settings(starts=16), rows=24)
    doubt = uncertainty(fit)
    assert doubt.profiles == ()
    assert doubt.interval("ec50") == (None, None)
    assert any("no interval can be given" in warning for warning in doubt.warnings)


@pytest.mark.parametrize("hill", [0.5, 0.93, 1.0, 3.0])
def test_gradients_at_zero_dose_are_finite(hill):
    gradient = jax.grad(lambda d, e, k: remaining(d, jnp.log(e), k), argnums=(1, 2))
    assert np.all(np.isfinite(gradient(jnp.asarray(0.0), jnp.asarray(2.0), jnp.asarray(hill))))
    theta = jnp.asarray([7.34, 379.4, 0.0078, 0.0147, -0.0079, hill])
    jac = jax.jacfwd(stromal_rate)(theta, (jnp.asarray([0.0, 1e-300, 1e300]), jnp.asarray([0.0, 1e6, 0.0])))
    assert np.all(np.isfinite(jac))


def test_bounds_and_scales_go_there_and_back():
    space = Space.of((Parameter("a", "1", -2.0, 3.0), Parameter("b", "1", 1e-3, 1e3, log=True)))
    theta = np.array([0.7, 12.0])
    back = space.natural(space.from_free(space.to_free(space.scaled(theta))))
    np.testing.assert_allclose(back, theta, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(space.natural(jnp.asarray(space.scaled(theta)))), theta, rtol=1e-12)
    for start in space.starts(50, 0):
        assert np.all(space.natural(space.from_free(start)) >= [-2.0, 1e-3])
    with pytest.raises(ValueError, match="wanted finite bounds low < high"):
        Parameter("a", "1", 1.0, 1.0)
    with pytest.raises(ValueError, match="wanted a positive lower bound"):
        Parameter("a", "1", 0.0, 1.0, log=True)


def test_weightless_rows_are_left_out(ryegrass):
    padded = fit_curve(curve_data(FERULIC, ROOT), curve_box(FERULIC, ROOT, "mmol/L"), Settings(starts=32), rows=24)
    np.testing.assert_allclose(padded.theta, ryegrass.theta, rtol=1e-6)
    assert uncertainty(padded).criteria["bic"] == pytest.approx(uncertainty(ryegrass).criteria["bic"], rel=1e-9)
    assert len(padded.problem.observed) == 24
    assert float(padded.problem.n) == 24.0


def test_weighted_wells_find_scipys_optimum():
    random = np.random.default_rng(8)
    clean = four(FERULIC, 0.5, 8.0, 3.0, 2.5)
    y = clean * (1 + 0.1 * random.standard_normal(24))
    data = curve_data(FERULIC, y, 1.0 / clean**2)
    fit = fit_curve(data, curve_box(FERULIC, y, "mmol/L"), Settings(starts=32))
    theta, _ = curve_fit(four, FERULIC, y, p0=[0.5, 8, 3, 2.5], sigma=clean, xtol=1e-14, ftol=1e-14)
    np.testing.assert_allclose(fit.theta, theta, rtol=1e-5)


def test_censored_rows_count_on_the_wrong_side_only():
    """y = 1, "<2", ">3", "<2", fitted at 1.5, 1.8, 3.5, 2.6: the last is beyond its limit by 0.6."""
    censored = np.array([0.0, -1.0, 1.0, -1.0])
    fitted = np.array([1.5, 1.8, 3.5, 2.6])
    box = (Parameter("a", "1", -1.0, 2.0),)
    problem = make_problem(
        lambda theta, f: theta[0] + f, fitted, np.array([1.0, 2.0, 3.0, 2.0]), box, censored=censored
    )
    theta = jnp.zeros(1)
    np.testing.assert_allclose(problem.deviations(theta), [0.5, 0.0, 0.0, 0.6], rtol=1e-12)
    assert float(problem.n) == 1.0
    assert float(problem.sse(theta)) == pytest.approx(0.25 + 0.36)
    sigma = 0.3
    expected = [
        norm.logpdf(0.5, scale=sigma),
        norm.logcdf(0.2 / sigma),
        norm.logcdf(0.5 / sigma),
        norm.logcdf(-0.6 / sigma),
    ]
    np.testing.assert_allclose(problem.log_likelihood(theta, jnp.asarray(sigma)), expected, rtol=1e-9)
