"""The time to progression as searched: beside SciPy's integrals, without jumps, the day of the crossing when cold."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.stats import laplace

from optimizer.objectives.progression import Progression, _mean_survival, _spent
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


def hazard(x):
    """Mean of max(0, x + e), e of Laplace's distribution: the integral of its distribution function."""
    return quad(laplace.cdf, -np.inf, x, epsabs=1e-13)[0] if x < 5.0 else x + 0.5 * np.exp(-x)


@pytest.mark.parametrize(
    "ends", [(-3.0, 4.0), (4.0, -3.0), (0.5, 0.505), (-0.003, 0.002), (-0.5, -0.5), (-200.0, 150.0), (1.0, 1.0101)]
)
def test_the_hazard_is_integrated_along_a_line(ends):
    first, last = ends
    middle = [-first / (last - first)] if first * last < 0 else None
    wanted, _ = quad(lambda u: hazard(first + (last - first) * u), 0.0, 1.0, points=middle, epsabs=1e-12)
    assert float(_spent(*map(jnp.asarray, (first, last, 3.0)))) == pytest.approx(3.0 * wanted, rel=1e-7)


# Where the hazard is a line, or a line from the crossing on, the ramp is what it is.
@pytest.mark.parametrize("ends", [(30.0, 50.0), (50.0, 30.0), (40.0, 40.0), (-3e4, 2e4), (2e4, -3e4)])
@pytest.mark.parametrize("spent", [0.01, 0.3, 2.0, 8.0, 40.0, 1e4])
def test_survival_along_a_ramp_is_its_integral(ends, spent):
    first, last = ends
    most = spent / float(_spent(*map(jnp.asarray, (first, last, 1.0))))

    def left(u):
        there = first + (last - first) * u
        lost = (np.maximum(there, 0.0) + np.maximum(first, 0.0)) / 2.0 * abs(u)
        if first * last < 0.0:
            lost = (np.maximum(there, 0.0) ** 2 - np.maximum(first, 0.0) ** 2) / 2.0 / (last - first)
        return np.exp(-most * lost)

    edges = np.unique([0.0, *np.geomspace(1e-8, 1.0, 60), *np.clip(0.6 + np.geomspace(1e-8, 0.4, 60), 0.0, 1.0), 0.6])
    wanted = sum(quad(left, a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise(edges))
    assert float(_mean_survival(*map(jnp.asarray, (first, last, most)))) == pytest.approx(wanted, rel=2e-4, abs=1e-4)


@pytest.mark.parametrize(("temperature", "apart"), [(1.0, 0.1), (0.3, 0.1), (0.1, 0.1), (0.03, 0.2), (0.01, 0.4)])
def test_survival_is_near_that_of_the_hazard_along_lines(temperature, apart):
    # Rises to just below the threshold, falls, and rises through it; saved times are 2.5 days apart.
    ratio = 0.12 * np.sin(DAYS / 9.0) + 0.004 * DAYS
    exponent = (ratio - np.log(1.2)) / np.log(10.0) / (0.05 * temperature)

    def slope(day, y):
        above = np.interp(day, DAYS, exponent)
        return [20.0 / temperature / 100.0 * (max(above, 0.0) + 0.5 * np.exp(-abs(above))), np.exp(-y[0])]

    wanted = solve_ivp(slope, (0.0, 100.0), [0.0, 0.0], rtol=1e-8, atol=1e-10, max_step=0.2).y[1, -1]
    assert -100.0 * float(searched(ratio, temperature)) == pytest.approx(wanted, abs=apart)


@pytest.fixture(scope="module")
def crossing():
    """Day of progression as searched, its slope and its bend, by the day on which a straight line crosses."""
    base = burdened(0.0 * DAYS)

    def searched(day, temperature):
        trajectory = dataclasses.replace(base.trajectory, burden=jnp.exp(np.log(1.2) / day * DAYS))
        return -100.0 * TERM.smooth(base._replace(trajectory=trajectory), temperature)

    def slope(day, temperature):
        value, slope = jax.value_and_grad(searched)(day, temperature)
        return slope, (value, slope)

    def all_three(day, temperature):
        bend, (value, slope_) = jax.grad(slope, has_aux=True)(day, temperature)
        return value, slope_, bend

    return jax.jit(jax.vmap(all_three, (0, None)))


@pytest.mark.parametrize("temperature", [0.3, 0.15, 0.03, 1e-2, 1e-3])
def test_the_day_of_a_crossing_moves_it_evenly_and_without_jumps(crossing, temperature):
    # Over two steps; less and finer where survival falls within less than a day.
    days = jnp.linspace(50.0, 55.0, 2001) if temperature > 0.02 else jnp.linspace(52.2, 52.8, 2001)
    value, slope, bend = crossing(days, temperature)
    step = float(days[1] - days[0])
    moved = np.diff(value) - 0.5 * step * (slope[1:] + slope[:-1])
    assert np.abs(moved).max() < 0.01 * step
    turned = np.diff(slope) - 0.5 * step * (bend[1:] + bend[:-1])
    assert np.abs(turned).max() < 0.02
    if temperature <= 0.03:
        assert np.abs(value - days).max() < 80.0 * temperature
        assert slope.min() > 0.4
        assert slope.max() < 1.7


def test_one_who_never_progresses_has_the_whole_horizon():
    assert float(searched(-0.5 * DAYS / 100.0, 1e-3)) == pytest.approx(-1.0, abs=1e-9)
    assert float(searched(np.full(41, 3.0) * (DAYS > 0.0), 1e-3)) > -0.03
