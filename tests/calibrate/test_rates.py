"""The published colorectal rates: the optimum of each objective, the audit of the published set, odd tables."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares

from optimizer.calibrate import DataError, Settings, audit_rates, read_table
from optimizer.calibrate.audit import published
from optimizer.calibrate.curves import zero_growth
from optimizer.calibrate.rates import fit_direct, fit_two_stage, rate_data, stromal_box
from optimizer.calibrate.rates_report import rates_report

from .synthetic import rates_rows, write_csv

CSV = "data/crc_birth_death_rates.csv"
BEST_SSE = 1.1844031983738e-4
PUBLISHED = (7.34, 379.4, 0.0078, 0.0147, -0.0079, 0.93)


def model(p, drug, factor):
    with np.errstate(over="ignore"):
        d50 = p[0] / (1 + np.exp(-p[2] * (factor - p[1])))
        return p[4] + (p[3] - p[4]) / (1 + (drug / d50) ** p[5])


@pytest.fixture(scope="module")
def table():
    return read_table(CSV, "rates")


@pytest.fixture(scope="module")
def direct(table):
    return rates_report(table, Settings())


@pytest.fixture(scope="module")
def audit(table):
    return audit_rates(table, "kraut2025_caf", Settings(starts=200))


def test_two_hundred_starts_agree_on_the_optimum(direct):
    assert direct.starts == 200
    assert direct.starts_at_optimum > 100
    assert direct.sse == pytest.approx(BEST_SSE, rel=1e-9)


def test_scipy_agrees_on_the_optimum(direct, table):
    drug, factor, net = table["drug"], table["growth_factor"], table["birth"] - table["death"]
    low = np.array([1e-3, -700, 1e-4, 0.005, -0.1, 0.1])
    high = np.array([1e3, 1750, 0.15, 0.05, 0.004, 10])
    random, costs, best = np.random.default_rng(0), [], None
    for _ in range(24):
        start = low + (high - low) * random.uniform(size=6)
        start[[0, 5]] = np.exp(random.uniform(np.log([0.1, 0.3]), np.log([100, 3])))
        fit = least_squares(
            lambda p: 1e3 * (model(p, drug, factor) - net),
            start,
            bounds=(low, high),
            x_scale=np.abs(PUBLISHED),
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
        )
        costs.append(2e-6 * fit.cost)
        best = fit if best is None or fit.cost < best.cost else best
    assert min(costs) >= direct.sse * (1 - 1e-9)
    assert min(costs) == pytest.approx(direct.sse, rel=1e-6)
    ours = np.array([entry.value for entry in direct.parameters])
    np.testing.assert_allclose(ours, best.x, rtol=1e-5)


def test_critical_concentrations_stand_side_by_side(audit):
    both = audit["critical_concentration_ug_per_ml"]
    assert both["published"]["0"] == pytest.approx(0.7055271, abs=5e-8)
    assert both["published"]["27.1"] == pytest.approx(0.8615974, abs=5e-8)
    assert both["two_stage"]["27.1"] == pytest.approx(0.402285, rel=1e-4)
    assert both["direct"]["27.1"] == pytest.approx(0.0979124, rel=1e-5)


def test_the_published_set_is_the_optimum_of_neither_objective(audit):
    published = audit["sets"]["published"]
    assert published["sse"] == pytest.approx(4.360668626e-4, rel=1e-8)
    assert published["sse_over_optimum"] == pytest.approx(3.681743, rel=1e-6)
    assert published["log_likelihood_below_optimum"] == pytest.approx(24 * np.log(3.681743), rel=1e-6)
    assert audit["stage_one_sse"]["published"] > 5 * audit["stage_one_sse"]["two_stage"]
    assert sum("optimum" in sentence for sentence in audit["sentences"]) == 2


def test_stage_one_and_two_are_scipys(table):
    data = rate_data(table)
    stages = fit_two_stage(data, stromal_box(data, "1/h", "ug/mL", "pg/mL"), Settings(starts=64))
    level = np.searchsorted(data.levels, data.growth_factor)
    low, high, hill = stages.first.theta[:3]

    def residual(p):
        return 1e3 * (p[0] + (p[1] - p[0]) / (1 + (data.drug / np.exp(p[3:])[level]) ** p[2]) - data.net)

    start = np.array([low * 1.3, high * 0.9, hill * 0.8, *np.log(stages.first.theta[3:] * 1.5)])
    reference = least_squares(residual, start, x_scale=[0.01, 0.01, *np.ones(9)], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert 2e-6 * reference.cost == pytest.approx(stages.first.sse, rel=1e-6)
    second = least_squares(
        lambda q: q[0] / (1 + np.exp(-q[2] * (data.levels - q[1]))) - stages.first.theta[3:],
        [10.0, 500.0, 0.01],
        x_scale=[10, 500, 0.01],
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    np.testing.assert_allclose(stages.theta[:3], second.x, rtol=1e-4)


def test_nested_models_are_ranked(direct):
    by = {name: entry["bic"] for name, entry in direct.comparisons.items()}
    assert by["stromal"] < by["no effect of the growth factor"] < by["no effect"]
    assert direct.comparisons["stromal, hill = 1"]["sse"] > direct.sse
    assert direct.comparisons["one half-effect concentration a level"]["sse"] < direct.sse


def test_report_is_json_with_the_keys_of_the_issue(direct):
    body = json.loads(json.dumps(direct.to_json(), allow_nan=False))
    assert body["disclaimer"] == "Research use only. Not for clinical decisions."
    assert body["parameters"]["ec50_max"]["unit"] == "ug/mL"
    low, high = body["parameters"]["net_growth_min"]["interval"]
    assert low < body["parameters"]["net_growth_min"]["value"] < high
    assert body["derived"]["critical_concentration_ug_per_ml"] == pytest.approx(0.0979124, rel=1e-5)
    assert body["starts_at_optimum"] <= body["starts"] == 200


def test_published_values_follow_the_units_of_the_table(tmp_path):
    rows = [
        {"egf_ng_per_ml": row["egf_pg_per_ml"] / 1e3, "cetuximab_ng_per_ml": row["cetuximab_ug_per_ml"] * 1e3}
        | {"net_growth_rate_per_day": row["net_growth_rate_per_hour"] * 24}
        for row in rates_rows(PUBLISHED, 0.0)
    ]
    table = read_table(write_csv(tmp_path / "other.csv", rows), "rates")
    given = published(table, "kraut2025_caf")
    assert given["ec50_max"] == pytest.approx(7340.0)
    assert given["shift_slope"] == pytest.approx(7.8)
    assert given["net_growth_max"] == pytest.approx(0.0147 * 24)
    report = rates_report(table, Settings(starts=32))
    assert report.derived["critical_concentration_ug_per_ml"] == pytest.approx(0.8615974, rel=1e-5)
    assert [entry.unit for entry in report.parameters][:4] == ["ng/mL", "ng/mL", "mL/ng", "1/d"]


def test_one_level_is_a_single_curve_and_two_are_refused(tmp_path):
    rows = [
        {"drug_ug_per_ml": row["cetuximab_ug_per_ml"], "net_rate_per_hour": row["net_growth_rate_per_hour"]}
        for row in rates_rows(PUBLISHED, 2e-4)
        if row["egf_pg_per_ml"] == 300
    ]
    report = rates_report(read_table(write_csv(tmp_path / "one.csv", rows), "rates"), Settings(starts=32))
    truth = 7.34 / (1 + np.exp(-0.0078 * (300 - 379.4)))
    assert report.value("ec50") == pytest.approx(truth, rel=0.5)
    two = [row for row in rates_rows(PUBLISHED, 0.0) if row["egf_pg_per_ml"] in (0, 300)]
    with pytest.raises(DataError, match="wanted one growth-factor level, or at least 3"):
        rates_report(read_table(write_csv(tmp_path / "two.csv", two), "rates"), Settings(starts=8))


def test_a_line_that_does_not_respond_is_flagged(tmp_path):
    rows = rates_rows((7.34, 379.4, 0.0078, 0.0147, 0.0147, 0.93), 1e-3)
    report = rates_report(read_table(write_csv(tmp_path / "flat.csv", rows), "rates"), Settings(starts=32))
    assert any(warning.startswith("no response") for warning in report.warnings)


def test_critical_concentration_at_its_edges():
    assert zero_growth((1.0, 0.0, 0.01, 0.01, 0.001, 1.0), 0.0) == np.inf
    assert zero_growth((1.0, 0.0, 0.01, -0.01, -0.02, 1.0), 0.0) == 0.0


def test_the_schedule_hook_sees_every_set(table):
    seen = []

    def consequence(parameters):
        seen.append(parameters["net_growth_max"])
        return {"burden": 1.0}

    out = audit_rates(table, "kraut2025_caf", Settings(starts=200), consequence)
    assert seen[0] == "0.0147 / h"
    assert [out["sets"][name]["schedule"] for name in out["sets"]] == [{"burden": 1.0}] * 3


@pytest.mark.slow
def test_many_distinct_rows_are_screened_and_said():
    random = np.random.default_rng(8)
    drug, factor = 10.0 ** random.uniform(-3, 1, 10_000), random.uniform(0, 700, 10_000)
    net = model(PUBLISHED, drug, factor) + 1e-3 * random.standard_normal(10_000)
    table = read_table(CSV, "rates")
    data = replace(rate_data(table), drug=drug, growth_factor=factor, net=net, counts=np.ones(10_000))
    fit = fit_direct(data, stromal_box(data, "1/h", "ug/mL", "pg/mL"), Settings(starts=8))
    assert "screened on 4000 of 10000 rows" in fit.flags[0]
    np.testing.assert_allclose(fit.theta, PUBLISHED, rtol=0.05)


@pytest.mark.slow
def test_the_two_stage_report_scores_its_composed_parameters(table, audit):
    report = rates_report(table, Settings(method="two-stage"))
    assert report.sse == pytest.approx(audit["sets"]["two_stage"]["sse"], rel=1e-6)
    assert report.extra["stage_one"]["sse"] < BEST_SSE < report.sse
    assert report.derived["critical_concentration_ug_per_ml"] == pytest.approx(0.402285, rel=1e-4)
    for entry in report.parameters:
        low, high = entry.interval
        assert low < entry.value < high
    assert report.draws.values["hill"].shape == (4, 1000)
