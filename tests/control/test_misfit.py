"""The test of the model at each visit: what turns it, what brings it back, and how often it errs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.control.prediction import ModelCheck, tail_of


def after(*tails):
    check = ModelCheck.start()
    for p in tails:
        check = check.after(p)
    return check


@pytest.mark.parametrize(
    ("tails", "misfits"),
    [
        ((0.5, 0.005), False),
        ((0.5, 0.005, 0.3, 0.005), False),
        ((0.5, 0.005, 0.005), True),
        ((0.5, 5e-5), True),
        ((5e-5, 0.3, 0.3), True),
        ((5e-5, 0.3, 0.3, 0.3), False),
        ((5e-5, 0.3, 0.3, 0.005, 0.3, 0.3), True),
    ],
)
def test_a_far_visit_or_two_in_a_row_turn_it_and_three_that_fit_bring_it_back(tails, misfits):
    assert bool(after(*tails).misfits) == misfits


def test_a_visit_without_a_result_changes_nothing():
    before, later = after(0.005), after(0.005, np.nan)
    assert all(bool(a == b) for a, b in zip(before, later, strict=True))
    assert bool(after(0.005, np.nan, 0.005).misfits)


def test_the_tail_of_a_visit_pays_for_its_number_of_results():
    assert float(tail_of(jnp.asarray([0.01, np.nan, 0.4]))) == pytest.approx(0.02)
    assert float(tail_of(jnp.asarray([0.9, 0.8]))) == 1.0
    assert np.isnan(float(tail_of(jnp.asarray([np.nan]))))


def test_a_right_model_is_seldom_doubted():
    """Tails of a right model are uniform: 2 of 10,000 visits turn it."""
    tails = jnp.asarray(np.random.default_rng(0).uniform(size=(2000, 40)))

    def ever(row):
        return jnp.any(jax.lax.scan(lambda c, p: (c.after(p), c.after(p).misfits), ModelCheck.start(), row)[1])

    share = float(jnp.mean(jax.vmap(ever)(tails)))
    assert 0.002 < share < 0.016  # 40 visits at 2e-4 each: 0.8 %
