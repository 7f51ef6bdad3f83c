"""What a fitted parameter set leads to."""

import pytest

from optimizer.analysis.consequence import best_schedule
from optimizer.calibrate.report import quantity
from tests.small import BEST_KNOWN


@pytest.mark.slow
def test_the_published_set_leads_to_the_best_known_schedule():
    published = {"net_growth_max": quantity(0.0147, "1/h"), "hill": quantity(0.93, "1")}
    found = best_schedule(published)
    assert found["status"] == "solved"
    assert found["mean_log10_burden"] == pytest.approx(BEST_KNOWN["caf"]["objective"], rel=1e-6)
    assert found["mean_log10_burden"] < found["mean_log10_burden_weekly_1_ug_per_ml"]
    assert len(found["doses_ug_per_ml"]) == 26
    assert 25.9 < sum(found["doses_ug_per_ml"]) <= 26.01
