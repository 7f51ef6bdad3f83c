"""How often the outlier rule takes a good well for an odd one, whether it finds odd ones, and unequal spread."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.calibrate.replicates import outlying, unequal, variance, weights

LEVELS = 0.1 + 0.9 / (1 + (np.array([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]) / 0.5) ** 1.4)
NOISE = {"constant": 0.03 * np.ones(8), "in proportion": 0.08 * LEVELS, "both": np.hypot(0.01, 0.06 * LEVELS)}


def plate(noise: str, replicates: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Viabilities of clean Gaussian wells at eight doses, and the dose of each."""
    group = np.repeat(np.arange(8), replicates)
    return LEVELS[group] + NOISE[noise][group] * random.standard_normal(len(group)), group


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("replicates", [3, 4])
def test_one_in_two_hundred_good_wells_is_lost_at_most(noise, replicates):
    random, wells, lost = np.random.default_rng(3), 0, 0
    for _ in range(60):
        values, group = plate(noise, replicates, random)
        wells, lost = wells + len(values), lost + int(outlying(values, group, 3).sum())
    assert lost <= 0.005 * wells


def test_odd_wells_are_found_and_triplicates_left_alone_by_default():
    values, group = plate("constant", 4, np.random.default_rng(4))
    values[[9, 21]] += np.array([0.4, -0.3])
    assert np.flatnonzero(outlying(values, group)).tolist() == [9, 21]
    few = group != 2
    assert not outlying(values[(np.arange(32) % 4 > 0)], group[(np.arange(32) % 4 > 0)]).any()
    assert np.flatnonzero(outlying(values[few], group[few])).tolist() == [17]


def test_spread_that_rises_with_the_level_is_weighted_and_said():
    random = np.random.default_rng(5)
    group = np.repeat(np.arange(8), 40)
    values = LEVELS[group] * (1 + 0.1 * random.standard_normal(len(group)))
    found = weights(values, group)
    assert found.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(found[::40] * LEVELS**2, found[0] * LEVELS[0] ** 2, rtol=0.25)
    assert unequal(values, group)
    assert not unequal(*plate("constant", 6, random))
    assert variance(LEVELS, 5 * LEVELS**2, np.full(8, 5.0)) == pytest.approx((0.0, 1.0), abs=1e-9)
    assert np.all(weights(LEVELS, np.arange(8)) == 1.0)
