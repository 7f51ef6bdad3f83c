"""Paired and survival tests of two policies on the same patients, against SciPy, closed forms and a fit by hand."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import ttest_rel, wilcoxon

from optimizer.ensemble.survival import compared, hazard_ratio, holm, mean_difference, signed_rank, stratified

MINE = np.array([120.0, 300.0, np.inf, 80.0, 210.0, 150.0, np.inf, 95.0])
THEIRS = np.array([100.0, 260.0, 330.0, 85.0, 180.0, 150.0, 310.0, 90.0])
HORIZON = 400.0


def partial_likelihood(log_ratio):
    """Minus the logarithm of Cox's partial likelihood, the days of all being different."""
    days = [(d, 1.0) for d in MINE] + [(d, 0.0) for d in THEIRS]
    value = 0.0
    for day, x in days:
        if np.isfinite(day):
            at_risk = [y for other, y in days if other >= day]
            value -= log_ratio * x - np.log(np.sum(np.exp(log_ratio * np.array(at_risk))))
    return value


def test_the_hazard_ratio_maximizes_the_partial_likelihood():
    found = hazard_ratio(MINE, THEIRS, HORIZON)
    exact = minimize_scalar(partial_likelihood, bracket=(-2.0, 2.0)).x
    assert np.log(found["ratio"]) == pytest.approx(exact, abs=1e-6)
    low, high = found["interval_95"]
    curvature = (
        partial_likelihood(exact + 1e-3) + partial_likelihood(exact - 1e-3) - 2 * partial_likelihood(exact)
    ) / 1e-6
    assert np.log(high / low) == pytest.approx(2 * 1.959964 / np.sqrt(curvature), rel=1e-3)
    assert hazard_ratio(np.full(3, np.inf), THEIRS[:3], HORIZON) is None
    assert hazard_ratio(np.array([10.0, 20.0]), np.array([30.0, 40.0]), HORIZON) is None


def test_the_difference_in_restricted_mean_time_is_that_of_a_paired_t_test():
    gain = np.minimum(MINE, HORIZON) - np.minimum(THEIRS, HORIZON)
    found = ttest_rel(np.minimum(MINE, HORIZON), np.minimum(THEIRS, HORIZON)).confidence_interval(0.95)
    told = mean_difference(gain)
    assert told["day"] == pytest.approx(gain.mean())
    assert told["interval_95"] == pytest.approx([found.low, found.high])
    assert mean_difference(gain[:1])["interval_95"] == [None, None]


def test_patients_who_do_not_differ_do_not_count():
    gain = np.minimum(MINE, HORIZON) - np.minimum(THEIRS, HORIZON)
    assert (gain == 0.0).sum() == 1
    assert signed_rank(gain)["p"] == pytest.approx(wilcoxon(gain[gain != 0.0], method="asymptotic").pvalue)
    assert signed_rank(np.zeros(4)) is None
    assert signed_rank(np.array([1.0, 2.0, 3.0]))["p"] == pytest.approx(0.25)
    # Six of seven who differ held longer.
    assert stratified(MINE, THEIRS)["statistic"] == pytest.approx(25.0 / 7.0)
    assert stratified(MINE, MINE) is None


def test_a_comparison_says_all_of_it():
    told = compared(MINE, THEIRS, HORIZON)
    assert (told["patients_longer"], told["patients_shorter"]) == (6, 1)
    assert told["log_rank"]["p"] > told["wilcoxon"]["p"]
    nothing = compared(np.full(3, np.inf), np.full(3, np.inf), HORIZON)
    assert nothing["log_rank"] is nothing["wilcoxon"] is nothing["hazard_ratio"] is None


def test_p_values_are_corrected_step_by_step():
    assert holm([0.01, None, 0.04, 0.03]) == [0.03, None, 0.06, 0.06]
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []
