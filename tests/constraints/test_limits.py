"""Limits on doses: which rows they give, how quickly, and what is refused."""

import time
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

from optimizer.constraints.base import AbstractDoseLimit, Check, ConstraintError, DoseFrame
from optimizer.constraints.checks import dose_checks
from optimizer.constraints.cumulative_dose import CumulativeDose
from optimizer.constraints.dose_bounds import DoseBounds
from optimizer.constraints.dose_change import DoseChange
from optimizer.constraints.dose_levels import DoseLevels
from optimizer.constraints.given import Given
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


# --- limits in continuous time ---------------------------------------------------------------------------


def judged(limits, edges, doses, routes=("bolus", "infusion"), decisions=(0.0, 7.0, 14.0, 21.0)):
    """Checks by name of doses [K, 2] at any edges under limits on weekly decisions."""
    own = frame(decisions, routes=routes)
    for limit in limits:
        limit.apply(own)
    return {c.name: c for c in dose_checks(own, limits, np.asarray(doses, float), np.asarray(edges, float))}


def test_sums_off_the_grid_are_those_of_the_events():
    # 1 on days 0, 5, 10, 15, 20 (drug a); a rate of 2 from day 5 to 10 and of 1 from 10 to 16 (drug b).
    edges = [0.0, 5.0, 10.0, 15.0, 16.0, 20.0, 21.0]
    doses = [[1, 0], [1, 2], [1, 1], [1, 1], [0, 0], [1, 0]]
    limits = [CumulativeDose("a", 4.0), CumulativeDose("a", 2.0, window=10.5), CumulativeDose("b", 20.0, window=7.0)]
    found = judged(limits, edges, doses)
    assert (found["cumulative_dose of a"].value, found["cumulative_dose of a"].violation) == (5.0, 0.25)
    # Any 10.5 days hold three doses (days 0, 5 and 10), any 10 days two, as a window does not hold its end.
    assert found["cumulative_dose of a in 10.5 day"].value == 3.0
    assert judged([CumulativeDose("a", 2.0, window=10.0)], edges, doses)["cumulative_dose of a in 10 day"].value == 2.0
    # The worst seven days of the infusion: all of the faster rate and two days of the slower one.
    assert found["cumulative_dose of b in 7 day"].value == pytest.approx(12.0, rel=1e-14)


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.integers(0, 40), min_size=1, max_size=8, unique=True),
    window=st.integers(1, 30),
    rates=st.lists(st.integers(0, 3), min_size=8, max_size=8),
)
def test_worst_window_against_brute_force(times, window, rates):
    assume(max(times) > 0)
    edges = np.array([*sorted({0, *times}), 41.0])
    doses = np.zeros((len(edges) - 1, 2))
    doses[np.searchsorted(edges, times), 0] = 1.0
    doses[:, 1] = np.resize(rates, len(doses))
    # Off the grid as a decision falls between two events.
    limits = [CumulativeDose(drug, 1.0, window=window + 0.5) for drug in "ab"]
    found = judged(limits, edges, doses, decisions=(0.0, 0.3, 41.0))
    begins = np.arange(-70, 90) * 0.5
    bolus = max(sum(b <= t < b + window + 0.5 for t in times) for b in begins)
    assert found[f"cumulative_dose of a in {window + 0.5:g} day"].value == bolus
    ends = begins + window + 0.5
    overlap = np.clip(np.minimum(ends[:, None], edges[1:]) - np.maximum(begins[:, None], edges[:-1]), 0.0, None)
    if doses[:, 1].any():
        worst = found[f"cumulative_dose of b in {window + 0.5:g} day"].value
        assert worst == pytest.approx(np.max(overlap @ doses[:, 1]), rel=1e-12)


def test_a_window_holds_a_bolus_at_its_start_and_what_flows_after_it():
    both = Given(np.array([0.0, 0.0]), np.array([0.0, 20.0]), np.array([5.0, 1.0]))
    check = CumulativeDose("a", 20.0, window=10.0).judge(frame(), [both, both])
    assert check.value == 15.0
    assert both.until(np.array([0.0, 10.0]), closed=False).tolist() == [0.0, 15.0]
    assert both.until(np.array([0.0, 10.0]), closed=True).tolist() == [5.0, 15.0]


def test_doses_on_decisions_are_judged_as_the_search_has_them_whatever_grid_lists_them():
    # Every two weeks, listed on a grid of its own: a step of 2 to and from the week without.
    limits = [DoseChange("a", 1.0), DoseChange("b", 1.0)]
    found = judged(limits, [0.0, 14.0, 21.0], [[2, 1.5], [2, 1.5]])
    assert found["dose_change of a"].value == 2.0
    assert found["dose_change of b"].value == 0.0


def test_steps_off_the_grid():
    limits = [DoseChange("a", 1.0), DoseChange("b", 1.0)]
    found = judged(limits, [0.0, 5.0, 10.0, 21.0], [[1, 1.5], [2, 0], [2, 1]])
    # A rate is 1.5 from the start on, which is no step, and then falls to zero.
    assert (found["dose_change of b"].value, found["dose_change of b"].violation) == (1.5, 0.5)
    assert not found["dose_change of a"].is_checked
    assert np.isnan(found["dose_change of a"].value)
    over = judged(limits, [0.0, 5.0, 10.0, 21.0], [[0.5, 0], [2, 0], [2, 0]])["dose_change of a"]
    assert (over.is_checked, over.violation) == (True, 0.5)


def test_rests_off_the_grid():
    rest = RestPeriod(7.0, 9.0, every=7.0)
    found = judged([rest], [0.0, 6.9, 7.5, 10.0, 21.0], [[1, 0], [1, 0], [0, 0], [0, 0]])
    assert found["rest_period"].violation == 0.0
    assert judged([rest], [0.0, 8.5, 10.0, 21.0], [[0, 0], [1, 0], [0, 0]])["rest_period"].violation == 1.0
    # Begun before the rest, an infusion flows on in it; one that ends where the rest begins does not.
    assert judged([rest], [0.0, 6.0, 7.5, 21.0], [[0, 0], [0, 2], [0, 0]])["rest_period"].value == 2.0
    assert judged([rest], [0.0, 6.0, 7.0, 21.0], [[0, 0], [0, 2], [0, 0]])["rest_period"].value == 0.0
    assert (
        judged([RestPeriod(15.0, 16.0)], [0.0, 15.5, 21.0], [[0, 0], [1, 0]], decisions=(0.0, 15.0, 21.0))[
            "rest_period"
        ].value
        == 1.0
    )


def test_bounds_and_levels_off_the_grid():
    limits = [DoseBounds("a", maximum=1.0, start=7.0, stop=14.0), DoseBounds("b", minimum=0.5, stop=7.0)]
    edges = [0.0, 3.0, 8.0, 21.0]
    found = judged(limits, edges, [[3, 0.5], [2, 0.25], [2, 0]])
    assert (found["largest dose of a"].value, found["largest dose of a"].limit) == (2.0, 1.0)
    assert (found["smallest dose of b"].value, found["smallest dose of b"].limit) == (0.25, 0.5)
    assert found["smallest dose of b"].violation == 0.5
    # Boluses that are given are large enough; how often they must be has no meaning here.
    small = judged([DoseBounds("a", minimum=1.0)], edges, [[1, 0], [0, 0], [2, 0]])["smallest dose of a"]
    assert not small.is_checked
    levels = judged([DoseLevels("a", quantum=0.5)], edges, [[1, 0], [1.6, 0], [0, 0]])["dose_levels of a"]
    assert (levels.value, levels.limit, levels.violation) == (1.6, 1.5, pytest.approx(1.0 / 16.0))


def test_a_smallest_dose_that_is_not_given_is_a_fault_on_the_grid():
    found = judged(
        [DoseBounds("a", minimum=1.0), DoseLevels("b", quantum=0.5)], [0.0, 7.0, 14.0, 21.0], np.zeros((3, 2))
    )
    assert found["smallest dose of a"].violation == 1.0
    assert found["dose_levels of b"].violation == 0.0


class HouseRule(AbstractDoseLimit):
    """A limit of one's own that only knows decisions."""

    kind: ClassVar[str] = "house_rule"

    def apply(self, frame: DoseFrame) -> None:
        """Nothing to tighten."""


def test_a_limit_that_knows_decisions_alone_says_that_it_was_not_checked():
    found = judged([HouseRule()], [0.0, 5.0, 21.0], [[1, 0], [1, 0]])
    assert not found["house_rule"].is_checked


def test_a_limit_that_is_broken_from_below_asks_for_at_least():
    """The neutrophils fell to 4e9 where 6e9 were wanted: "at most 6e9" would contradict itself."""
    assert Check("nadir", 4e9, 6e9, 1.0 / 3.0).wanted == "at least 6e+09"
    assert Check.at_most("burden", 3.0, 2.0).wanted == "at most 2"
