"""Progression that is known to lie between two visits: the curve, its median and the hazard ratio."""

import numpy as np
import pytest
from scipy.optimize import minimize

from optimizer.ensemble.survival import between, compared, hazard_ratio, hazard_ratio_at_visits, survival

END = 336.0


def visited(days, every):
    """The visit that shows each progression, infinite where none does, and the last one before."""
    visits = np.arange(0.0, END + 1.0, every)
    place = np.searchsorted(visits, days)
    day = np.where(place < visits.size, visits[np.minimum(place, visits.size - 1)], np.inf)
    return day, visits[np.minimum(place, visits.size) - 1]


def test_visits_that_all_share_give_the_estimate_of_kaplan_and_meier():
    day, after = visited(np.random.default_rng(0).exponential(150.0, 200), 28.0)
    plain, found = survival(day, END), survival(day, END, after)
    for one, other in zip(plain, found, strict=True):
        assert other == pytest.approx(one, abs=1e-12)
    assert between(found.median, after) == {"median_after_day": found.median - 28.0}
    assert between(None, after) == {"median_after_day": None}
    assert between(5.0, None) == {}


def test_visits_of_ones_own_give_the_most_likely_curve():
    rng = np.random.default_rng(3)
    each = zip(rng.exponential(150.0, 30), [28.0, 42.0, 70.0] * 10, strict=True)
    pairs = [visited(np.array([t]), every) for t, every in each]
    day, after = (np.concatenate(part) for part in zip(*pairs, strict=True))
    found, ends = survival(day, END, after), np.append(np.unique(day[np.isfinite(day)]), np.inf)
    within = (after[:, None] < ends) & (ends <= day[:, None])

    def loss(mass):
        return -np.sum(np.log(np.maximum(within @ mass, 1e-300)))

    whole = {"type": "eq", "fun": lambda mass: mass.sum() - 1.0}
    how = {"ftol": 1e-14, "maxiter": 2000}
    best = minimize(
        loss, np.full(ends.size, 1 / ends.size), bounds=[(0, 1)] * ends.size, constraints=whole, options=how
    )
    ours = np.append(-np.diff(found.share), found.share[-1])
    assert loss(ours) == pytest.approx(best.fun, abs=1e-6)
    # By the visits alone it is another curve.
    assert np.max(np.abs(survival(day, END).share - found.share)) > 0.02


def test_a_hazard_ratio_of_rare_visits_is_not_drawn_to_one():
    """Patients under half the hazard, seen every 28 days and every 112."""
    rng = np.random.default_rng(1)
    ours, theirs = rng.exponential(300.0, 600), rng.exponential(150.0, 600)
    whole = hazard_ratio(np.where(ours < END, ours, np.inf), np.where(theirs < END, theirs, np.inf), END)
    for every in (28.0, 112.0):
        (mine, mine_after), (other, other_after) = visited(ours, every), visited(theirs, every)
        found = hazard_ratio_at_visits(mine, other, mine_after, other_after)
        assert found["ratio"] == pytest.approx(whole["ratio"], rel=0.04)
        assert found["interval_95"] == pytest.approx(whole["interval_95"], rel=0.06)
    assert hazard_ratio(mine, other, END)["ratio"] > 1.1 * whole["ratio"]
    told = compared(mine, other, END, [mine_after, other_after])
    assert told["hazard_ratio"] == found


def test_the_hazard_ratio_is_the_most_likely_one():
    """Two arms, two visits: numbers of events in closed form where the hazards are free in both arms."""
    # Of 100, 20 fall by the first visit and 16 of the rest by the second: hazards -ln 0.8 and -ln 0.8; the other arm 36
    # and 23.04 of 64: twice as much at both visits, so that proportional hazards fit without a remainder.
    mine = np.repeat([1.0, 2.0, np.inf], [2000, 1600, 6400])
    theirs = np.repeat([1.0, 2.0, np.inf], [3600, 2304, 4096])
    found = hazard_ratio_at_visits(mine, theirs, *(np.where(np.isfinite(d), d - 1.0, 2.0) for d in (mine, theirs)))
    assert found["ratio"] == pytest.approx(0.5, abs=1e-5)


def test_arms_that_never_meet_have_no_ratio():
    early, late = np.full(4, 28.0), np.full(4, 308.0)
    assert hazard_ratio_at_visits(early, late, early - 28.0, late - 28.0) is None
    assert hazard_ratio_at_visits(np.full(4, np.inf), late, np.full(4, END), late - 28.0) is None
