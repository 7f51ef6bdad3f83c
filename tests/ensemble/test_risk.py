"""The objectives of many patients as one number, its smooth form, and the survival curve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from optimizer.ensemble.risk import Risk, risk_of, smoothed
from optimizer.ensemble.survival import survival

VALUES = np.random.default_rng(5).gamma(2.0, 1.5, 23)


@pytest.mark.parametrize("alpha", [0.0, 0.35, 0.9, 0.99])
def test_cvar_is_its_definition(alpha):
    found = minimize_scalar(
        lambda t: t + np.mean(np.maximum(VALUES - t, 0.0)) / (1.0 - alpha),
        bracket=(VALUES.min(), VALUES.max()),
        tol=1e-12,
    )
    assert risk_of(Risk.CVAR, VALUES, alpha) == pytest.approx(found.fun, abs=1e-8)


def test_cvar_lies_between_the_mean_and_the_worst():
    assert risk_of(Risk.CVAR, VALUES, 0.0) == pytest.approx(risk_of(Risk.MEAN, VALUES, 0.0), abs=1e-12)
    assert risk_of(Risk.CVAR, VALUES, 1.0 - 1.0 / len(VALUES)) == pytest.approx(VALUES.max(), abs=1e-12)


def test_cvar_of_a_normal_distribution():
    z = np.random.default_rng(0).standard_normal(400_000)
    tail = quad(lambda x: x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), 1.2815515655446004, 12.0)[0] / 0.1
    assert risk_of(Risk.CVAR, z, 0.9) == pytest.approx(tail, abs=0.01)


@pytest.mark.parametrize("risk", list(Risk))
def test_the_smooth_form_becomes_the_risk(risk):
    share = jnp.full(len(VALUES), 1.0 / len(VALUES))
    found = smoothed(risk, jnp.asarray(VALUES), share, 0.8, jnp.asarray(1e-6))
    assert float(found.value) == pytest.approx(risk_of(risk, VALUES, 0.8), abs=1e-4)
    assert float(jnp.sum(found.weights)) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("risk", list(Risk))
def test_weights_and_curvature_are_derivatives(risk):
    share = np.full(len(VALUES), 1.0 / (len(VALUES) - 1))
    share[4] = 0.0

    def whole(values):
        return smoothed(risk, values, jnp.asarray(share), 0.8, jnp.asarray(0.3))

    here = whole(jnp.asarray(VALUES))
    step = 1e-5 * np.eye(len(VALUES))
    slopes = [float(whole(VALUES + s).value - whole(VALUES - s).value) / 2e-5 for s in step]
    assert np.asarray(here.weights) == pytest.approx(np.array(slopes), abs=1e-8)
    rows = [np.asarray(whole(VALUES + s).weights - whole(VALUES - s).weights) / 2e-5 for s in step]
    d = np.asarray(here.curvature)
    closed = np.diag(d) - np.outer(d, d) / d.sum() if d.any() else np.zeros((d.size, d.size))
    assert np.array(rows) == pytest.approx(closed, abs=1e-7)
    assert float(jax.grad(lambda v: whole(v).value)(jnp.asarray(VALUES))[4]) == pytest.approx(0.0, abs=1e-12)


def test_survival_is_the_product_limit():
    days = np.array([10.0, 20.0, 20.0, np.inf, 40.0, np.inf])
    curve = survival(days, 100.0)
    assert curve.days.tolist() == [0.0, 10.0, 20.0, 40.0]
    # 5/6, then 3/5 of those, then 2/3 of those: Kaplan and Meier's product.
    assert curve.share == pytest.approx([1.0, 5 / 6, 5 / 6 * 3 / 5, 5 / 6 * 3 / 5 * 2 / 3])
    assert curve.median == 20.0
    assert survival(np.full(3, np.inf), 100.0).median is None
