"""The published secretion fit reproduced, its audit, and the approach to a plateau in time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from optimizer.calibrate import DataError, Settings, audit_secretion, read_table
from optimizer.calibrate.secretion import fit_secretion, groups_of, secretion_report

from .synthetic import write_csv

CSV = "data/caf_egf_secretion.csv"


@pytest.fixture(scope="module")
def table():
    return read_table(CSV, "secretion")


@pytest.fixture(scope="module")
def report(table):
    return secretion_report(table, Settings())


def test_the_published_values_are_the_optimum(report):
    """s 65.7, Dhat 0.0049, mean maximum 27.1, to the digits printed."""
    assert report.value("secretion_slope") == pytest.approx(65.7, abs=0.05)
    assert report.value("secretion_midpoint") == pytest.approx(0.0049, abs=5e-5)
    assert report.value("growth_factor_max") == pytest.approx(27.1, abs=0.05)
    assert report.starts_at_optimum > 50


def test_scipy_finds_the_same(report, table):
    names, group = groups_of(table)
    drug, y = table["drug"], table["growth_factor"]

    def residual(p):
        return 1 - y * (1 + np.exp(-p[0] * (drug - p[1]))) / p[2:][group]

    start = np.array([50.0, 0.0, *(y[group == i].max() for i in range(len(names)))])
    fit = least_squares(residual, start, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14)
    assert report.derived["objective_at_optimum"] == pytest.approx(2 * fit.cost, rel=1e-6)
    assert report.value("secretion_slope") == pytest.approx(fit.x[0], rel=1e-4)
    assert report.value("growth_factor_max") == pytest.approx(fit.x[2:].mean(), rel=1e-4)


@pytest.mark.parametrize("deviation", ["relative"])
def test_other_residuals_give_other_values(table, deviation):
    fit, _ = fit_secretion(table, Settings(starts=64, deviation=deviation))
    assert abs(fit.value("secretion_slope") - 65.7) > 1.0


def test_the_audit_says_that_it_is_the_optimum(table):
    audit = audit_secretion(table, "kraut2025_caf", Settings(starts=64))
    assert 1.0 <= audit["objective_over_optimum"] < 1.0001
    assert "it is the optimum to the digits printed" in audit["sentences"][0]


def test_draws_carry_the_scenarios_names(report):
    values = report.draws.values
    assert set(values) == {
        "secretion_slope",
        "secretion_midpoint",
        "growth_factor_max",
        "growth_factor_max_by_group",
    }
    np.testing.assert_allclose(values["growth_factor_max"], values["growth_factor_max_by_group"].mean(axis=-1))
    assert report.fragment.tables["model"]["growth_factor_max"].endswith(" pg/mL")


def test_a_plateau_reached_before_the_first_sample_is_not_timed():
    report = secretion_report(read_table("data/caf_egf_timeseries.csv", "secretion"), Settings(starts=64))
    assert any("growth_factor_turnover is not bounded above" in warning for warning in report.warnings)
    assert report.value("growth_factor_plateau") == pytest.approx(332.5, rel=0.01)


def test_a_known_rise_is_recovered(tmp_path):
    rows = [
        {"cell_line": line, "time_hour": t, "egf_pg_per_ml": top * (1 - np.exp(-0.05 * t))}
        for line, top in (("a", 300.0), ("b", 200.0))
        for t in (0, 6, 12, 24, 48, 96)
    ]
    report = secretion_report(read_table(write_csv(tmp_path / "s.csv", rows), "secretion"), Settings(starts=32))
    assert report.value("growth_factor_turnover") == pytest.approx(0.05, rel=1e-5)


def test_tables_without_doses_or_times_are_refused(tmp_path):
    rows = [{"cell_line": "a", "egf_pg_per_ml": 1.0}]
    with pytest.raises(DataError, match="wanted doses or times; got neither"):
        secretion_report(read_table(write_csv(tmp_path / "s.csv", rows), "secretion"), Settings())
    rows = [{"cell_line": "a", "drug_ug_per_ml": 1.0, "egf_pg_per_ml": 1.0}]
    with pytest.raises(DataError, match="wanted at least 3 different doses; got 1"):
        secretion_report(read_table(write_csv(tmp_path / "s.csv", rows), "secretion"), Settings())
