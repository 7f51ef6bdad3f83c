"""Limits on doses: which rows they give, how quickly, and what is refused."""

import time

import numpy as np
import pytest

from optimizer.constraints.base import ConstraintError, DoseFrame
from optimizer.constraints.cumulative_dose import CumulativeDose
from optimizer.constraints.dose_bounds import DoseBounds
from optimizer.constraints.dose_change import DoseChange
from optimizer.constraints.dose_levels import DoseLevels
from optimizer.constraints.rest_period import RestPeriod
from optimizer.objectives.burden import Burden
from optimizer.problem import Problem
from optimizer.simulate import Grid
from tests.oracle.stromal_scipy import CAF
from tests.simulate.systems import system_of


def frame(edges=(0.0, 1.0, 2.0, 4.0, 7.0), most=3.0, routes=("bolus", "infusion")):
    """Two drugs on an uneven grid."""
    shape = (len(edges) - 1, 2)
    return DoseFrame(("a", "b"), routes, np.asarray(edges), np.zeros(shape), np.full(shape, most))


def applied(limit, **options):
    out = frame(**options)
    limit.apply(out)
    return out


def test_total_counts_boluses_and_integrates_infusions():
    for drug, weights in (("a", [1.0, 1.0, 1.0, 1.0]), ("b", [1.0, 1.0, 2.0, 3.0])):
        (row,) = applied(CumulativeDose(drug, 5.0)).rows
        assert np.array_equal(row.coefficients[:, "ab".index(drug)], weights)
        assert np.sum(row.coefficients) == sum(weights)
        assert row.limit == 5.0


def test_rolling_windows_start_at_decisions_and_are_maximal():
    rows = applied(CumulativeDose("a", 5.0, window=3.0)).rows
    # [0, 3) holds three doses; [1, 4) no more than it; [2, 5) the last two; [4, 7) no more than that.
    assert [np.flatnonzero(row.coefficients[:, 0]).tolist() for row in rows] == [[0, 1, 2], [2, 3]]
    brute = [
        {k for k, t in enumerate((0.0, 1.0, 2.0, 4.0)) if start <= t < start + 3.0}
        for start in np.arange(0.0, 7.0, 0.25)
    ]
    maximal = {frozenset(w) for w in brute if w and not any(w < other for other in brute)}
    assert {frozenset(np.flatnonzero(row.coefficients[:, 0]).tolist()) for row in rows} == maximal


def test_largest_step_binds_neighbors_both_ways():
    rows = applied(DoseChange("b", 0.5)).rows
    assert len(rows) == 6
    doses = np.array([[0.0, 1.0], [0.0, 1.5], [0.0, 1.0], [0.0, 2.0]])
    excess = [np.sum(row.coefficients * doses) - row.limit for row in rows]
    assert sorted(excess) == [-1.5, -1.0, -1.0, 0.0, 0.0, 0.5]


@pytest.mark.parametrize(
    "limit", [CumulativeDose("a", 5.0, window=7.0), DoseChange("a", 0.5)], ids=["rolling window", "largest step"]
)
def test_many_intervals_are_quick_and_take_little_memory(limit):
    big = frame(np.arange(5001.0) / 6.0)
    began = time.process_time()
    limit.apply(big)
    assert time.process_time() - began < 2.0
    assert sum(row.weights.size for row in big.rows) < 3e5


def test_bounds_tighten_and_a_loading_dose_widens():
    out = applied(DoseBounds("a", minimum=1.0, maximum=5.0, start=1.0, stop=4.0))
    assert out.lower[:, 0].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert out.upper[:, 0].tolist() == [3.0, 5.0, 5.0, 3.0]
    assert out.upper[:, 1].tolist() == [3.0] * 4


def test_rest_comes_again():
    out = applied(RestPeriod(start=1.0, stop=2.0, drug="b", every=3.0))
    assert out.upper[:, 1].tolist() == [3.0, 0.0, 3.0, 0.0]
    assert out.upper[:, 0].tolist() == [3.0] * 4


def test_levels_are_decimals():
    out = applied(DoseLevels("a", quantum=0.1), most=0.35)
    assert out.levels["a"].tolist() == [0.0, 0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (DoseBounds("a", start=9.0), "starts between day 9 and the horizon"),
        (DoseBounds("c"), "wanted one of the drugs a, b, got 'c'"),
        (RestPeriod(start=3.0, stop=2.0), "wanted stop after start"),
        (RestPeriod(start=8.0, stop=9.0), "no decision interval starts"),
        (DoseLevels("a"), "wanted either a quantum or a list"),
        (DoseLevels("a", quantum=1e-9), "more than 100000 levels"),
    ],
)
def test_limits_that_do_not_fit_are_refused(limit, message):
    with pytest.raises(ConstraintError, match=message):
        limit.apply(frame())


def test_rest_against_a_smallest_dose_is_refused():
    out = applied(DoseBounds("a", minimum=1.0))
    with pytest.raises(ConstraintError, match="a has a smallest dose above zero in the rest"):
        RestPeriod(start=0.0, stop=2.0).apply(out)


def test_more_limits_than_the_search_can_hold_are_refused():
    grid = Grid.regular(every=0.02, horizon=100.0)
    with pytest.raises(ConstraintError, match=r"dose limits: wanted at most 2e\+07 limits times doses"):
        Problem.build(system_of(CAF), grid, 1.0 * Burden(), [0.0], [3.0], [DoseChange("drug 0", 0.5)])
