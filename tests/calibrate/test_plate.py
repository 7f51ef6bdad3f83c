"""Plates to curves: known EC50s and shifts recovered, odd plates flagged, GR metrics against their closed form."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.calibrate import DataError, Settings, read_table
from optimizer.calibrate.dose_response import gr50, gr_values
from optimizer.calibrate.plate import plate_wells
from optimizer.calibrate.plate_report import plate_report

from .synthetic import plate_rows, write_csv

QUICK = Settings(starts=16, draws=250)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = write_csv(tmp_path_factory.mktemp("plate") / "plate.csv", plate_rows())
    return plate_report(read_table(path, "plate"), QUICK)


def test_the_shift_by_fibroblasts_is_recovered(report):
    shift = report.derived["ec50_shift"]["with fibroblasts / alone"]
    assert shift.interval[0] < shift.value < shift.interval[1]
    assert shift.value == pytest.approx(4.0, rel=0.1)
    assert report.value("ec50[alone]") == pytest.approx(0.5, rel=0.15)
    assert report.value("hill[with fibroblasts]") == pytest.approx(1.4, rel=0.15)


def test_one_curve_for_all_is_the_worst_model(report):
    by = {name: entry["bic"] for name, entry in report.comparisons.items()}
    assert max(by, key=lambda name: by[name]) == "one curve for all"


def test_every_well_is_in_the_table(report):
    assert len(report.tables["wells"]) == 48
    assert all(row["fitted"] for row in report.tables["wells"])
    assert report.draws.values["ec50"].shape == (4, 250, 2)


def test_growth_rate_inhibition(report):
    metrics = report.extra["growth_rate_inhibition"]["alone"]
    # GR = 0.5 where viability is 0.25^(1 - log2 1.5), on the curve 0.1 + 0.9 / (1 + (D / 0.5)^1.4)
    level = 0.25 ** (1 - np.log2(1.5))
    expected = 0.5 * (0.9 / (level - 0.1) - 1) ** (1 / 1.4)
    assert metrics["gr50"].value == pytest.approx(expected, rel=0.1)
    assert metrics["gr_max"] < 0


def test_gr_values_at_their_marks():
    np.testing.assert_allclose(gr_values(np.array([1.0, 0.3]), np.array([0.3, 0.3])), [1.0, 0.0], atol=1e-12)
    assert gr50(0.6, 1.0, 1.0) == np.inf
    low, half, hill = -0.4, 2.0, 1.3
    dose = float(gr50(low, half, hill))
    assert low + (1 - low) / (1 + (dose / half) ** hill) == pytest.approx(0.5)


def test_an_unresponsive_and_an_all_dead_plate_are_flagged(tmp_path):
    flat = write_csv(tmp_path / "flat.csv", plate_rows({"alone": 1e6}))
    out = plate_report(read_table(flat, "plate"), QUICK)
    assert any("no response" in warning for warning in out.warnings)
    dead = write_csv(tmp_path / "dead.csv", plate_rows({"alone": 1e-6}, lower=0.0, noise=0.005))
    out = plate_report(read_table(dead, "plate"), QUICK)
    assert any("all wells are dead at every dose" in warning for warning in out.warnings)


def test_one_dose_is_refused(tmp_path):
    rows = [row for row in plate_rows() if row["role"] != "sample" or row["drug_ug_per_ml"] == 1.0]
    path = write_csv(tmp_path / "one.csv", rows)
    with pytest.raises(DataError, match=r"wanted at least 5 different doses of alone .* got 1 \(1\)"):
        plate_report(read_table(path, "plate"), QUICK)


def test_vehicle_is_one_and_blank_is_zero(tmp_path):
    rows = plate_rows(noise=0.0)
    wells = plate_wells(read_table(write_csv(tmp_path / "plate.csv", rows), "plate"))
    expected = 0.1 + 0.9 / (1 + (wells.drug / np.array([0.5, 2.0])[wells.condition]) ** 1.4)
    np.testing.assert_allclose(wells.viability, expected, atol=2e-6)
    np.testing.assert_allclose(wells.start, 0.25, atol=2e-6)


def test_an_unknown_reference_is_refused(tmp_path):
    path = write_csv(tmp_path / "plate.csv", plate_rows())
    with pytest.raises(DataError, match="reference: wanted one of alone; with fibroblasts; got 'x'"):
        plate_report(read_table(path, "plate"), Settings(starts=16, draws=250, reference="x"))
