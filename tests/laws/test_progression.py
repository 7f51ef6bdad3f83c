"""The time to progression as searched: beside SciPy's integrals, and at the day of the crossing however cold."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.special import spence

from optimizer.objectives.progression import Progression, _mean_softplus, _softplus_integral
from tests.laws.test_terms import scene

TERM = Progression(jnp.asarray(1.2))
DAYS = np.linspace(0.0, 100.0, 41)


def burdened(log_ratio):
    """A patient whose burden is exp(log_ratio) of the first, at 41 times in 100 days."""
    base = scene()
    saved = base.trajectory.times.size
    cut = jax.tree.map(lambda a: a[: DAYS.size] if a.shape[:1] == (saved,) else a, base.trajectory)
    trajectory = dataclasses.replace(cut, times=jnp.asarray(DAYS), burden=jnp.exp(jnp.asarray(log_ratio)))
    return base._replace(
        trajectory=trajectory, grid=dataclasses.replace(base.grid, edges=jnp.array([0.0, 50.0, 100.0]))
    )


def searched(log_ratio, temperature):
    return TERM.smooth(burdened(log_ratio), temperature)


def test_the_integral_of_the_hazard_is_the_dilogarithm():
    x = np.array([-50.0, -3.0, -0.2, 0.0, 0.3, 2.0, 8.0])
    assert np.allclose(_softplus_integral(jnp.asarray(x)), -spence(1.0 + np.exp(x)), rtol=1e-12)
    assert float(_softplus_integral(jnp.asarray(1e4))) == pytest.approx(5e7 + np.pi**2 / 6.0, rel=1e-14)


@pytest.mark.parametrize("ends", [(-3.0, 4.0), (4.0, -3.0), (0.5, 0.55), (-0.5, -0.5), (-200.0, 150.0), (1.0, 1.1001)])
def test_the_mean_hazard_of_a_step_is_the_integrals(ends):
    first, last = ends
    middle = [-first / (last - first)] if first * last < 0 else None
    wanted, _ = quad(lambda u: np.logaddexp(0.0, first + (last - first) * u), 0.0, 1.0, points=middle, epsabs=1e-12)
    assert float(_mean_softplus(jnp.asarray(first), jnp.asarray(last))) == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("temperature", [1.0, 0.3, 0.1, 0.03, 0.01])
def test_survival_is_near_that_of_the_hazard_along_lines(temperature):
    # Rises to just below the threshold, falls, and rises through it.
    ratio = 0.12 * np.sin(DAYS / 9.0) + 0.004 * DAYS
    exponent = (ratio - np.log(1.2)) / np.log(10.0) / (0.05 * temperature)

    def slope(day, y):
        hazard = 20.0 / temperature / 100.0 * np.logaddexp(0.0, np.interp(day, DAYS, exponent))
        return [hazard, np.exp(-y[0])]

    wanted = solve_ivp(slope, (0.0, 100.0), [0.0, 0.0], rtol=1e-8, atol=1e-10, max_step=0.05).y[1, -1]
    assert -100.0 * float(searched(ratio, temperature)) == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("temperature", [1e-2, 1e-3, 1e-4])
def test_however_cold_it_has_the_slope_of_the_crossing(temperature):
    # A straight line crosses between two saved times; tilting it moves the day of the crossing.
    def crossing(tilt):
        return searched(tilt * DAYS, temperature)

    for tilt in (0.0031, 0.0032, 0.0033, 0.0034):
        day = np.log(1.2) / tilt
        value, slope = jax.value_and_grad(crossing)(tilt)
        assert -100.0 * float(value) == pytest.approx(day, abs=80.0 * temperature**0.5)
        assert 100.0 * float(slope) == pytest.approx(day / tilt, rel=3.0 * temperature**0.5)
        bend = float(jax.grad(jax.grad(crossing))(tilt))
        assert np.isfinite(bend)


def test_one_who_never_progresses_has_the_whole_horizon():
    assert float(searched(-0.5 * DAYS / 100.0, 1e-3)) == pytest.approx(-1.0, abs=1e-9)
    assert float(searched(np.full(41, 3.0) * (DAYS > 0.0), 1e-3)) > -0.03
