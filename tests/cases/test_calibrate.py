"""Files as laboratories and clinics write them, and what `calibrate` must make of them.

What is expected of `ok.csv` and `psa.csv` is what SciPy finds in the same data; the others hold the same measurements.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optimizer.calibrate import DataError, Settings, read_table
from optimizer.calibrate.dose_response import box, curve_data, fit_curve
from optimizer.calibrate.plate import plate_wells
from optimizer.calibrate.rates import rate_data
from optimizer.calibrate.timeseries import builtin, fit_series, patient_series

HERE = Path(__file__).parent / "calibrate"
QUICK = Settings(starts=32)


def wells(name):
    table = read_table(HERE / f"{name}.csv", "plate")
    return plate_wells(table), table


def curve(found):
    fit = fit_curve(curve_data(found.drug, found.viability), box(found.drug, found.viability, "umol/L"), QUICK)
    return {name: fit.value(name) for name in fit.names}


def test_a_plate_gives_scipys_curve():
    values = curve(wells("ok")[0])
    assert values == pytest.approx({"lower": 0.0712342, "upper": 0.975011, "ec50": 0.775897, "hill": 1.55766}, rel=1e-5)


@pytest.mark.parametrize("name", ["caps", "dmso", "nM", "thousand", "zero_as_sample", "twodrugs"])
def test_the_same_plate_in_other_words_is_the_same(name):
    """Capitals, DMSO and Blank, nM, 20,549, dose 0 as the control, a second drug of which there is none."""
    (found, table), (plain, _) = wells(name), wells("ok")
    assert found.conditions == plain.conditions
    scale = {"nmol/L": 1e-3, "umol/L": 1.0}[table.units["drug"]]
    np.testing.assert_allclose(found.drug[found.drug > 0] * scale, plain.drug, rtol=1e-12)
    np.testing.assert_allclose(found.viability[found.drug > 0], plain.viability, rtol=1e-12)


@pytest.mark.parametrize("name", ["normalized", "gr", "noblank"])
def test_viabilities_counts_and_plates_without_blanks_give_nearly_the_curve(name):
    """Normalized by means in place of medians, and signals with their background."""
    found, _ = wells(name)
    assert curve(found)["ec50"] == pytest.approx(0.7759, rel=0.03)
    assert np.all(np.isfinite(found.start)) == (name == "gr")
    assert any("no well is blank" in flag for flag in found.flags) == (name == "noblank")


def test_viabilities_in_percent_are_shares_of_the_control(tmp_path):
    text = (HERE / "normalized.csv").read_text().replace("viability", "viability [%]")
    rows = [row.rsplit(",", 1) for row in text.splitlines()]
    text = "\n".join([",".join(rows[0]), *(f"{row},{100 * float(value)!r}" for row, value in rows[1:])])
    (tmp_path / "percent.csv").write_text(text)
    found, plain = plate_wells(read_table(tmp_path / "percent.csv", "plate")), wells("normalized")[0]
    np.testing.assert_allclose(found.viability, plain.viability, rtol=1e-14)


@pytest.mark.parametrize("word", ["OD", "rlu", "RFU"])
def test_signals_by_the_name_of_their_unit(tmp_path, word):
    (tmp_path / "ok.csv").write_text((HERE / "ok.csv").read_text().replace("signal_rlu", word))
    found = plate_wells(read_table(tmp_path / "ok.csv", "plate"))
    assert found.viability.tolist() == wells("ok")[0].viability.tolist()


def test_births_and_deaths_in_two_units(tmp_path):
    path = tmp_path / "rates.csv"
    rows = "".join(f"0,{dose},{0.02 - dose / 1000},{0.24 + dose / 100}\n" for dose in range(5))
    path.write_text("egf_pg_per_ml,drug_ug_per_ml,birth_rate_per_hour,death_rate_per_day\n" + rows)
    assert rate_data(read_table(path, "rates")).net == pytest.approx(
        [0.01 - dose * (1 / 1000 + 1 / 2400) for dose in range(5)], rel=1e-12
    )


def test_a_grid_of_signals_alone_is_refused_with_the_reason():
    with pytest.raises(DataError, match="a grid of signals alone, which says no doses"):
        wells("wide_comma")


def patient(name, settings):
    series = patient_series(read_table(HERE / f"{name}.csv", "timeseries"))
    model = builtin(series, "ng/mL", settings)
    (fit,) = fit_series(series, model, settings)
    return fit


@pytest.fixture(scope="module")
def psa():
    return patient("psa", QUICK)


def test_a_series_gives_scipys_parameters(psa):
    for name, value in {"initial_burden": 11.9092, "growth_rate": 0.0201561, "drug_effect": 0.142681}.items():
        assert psa.value(name) == pytest.approx(value, rel=1e-4)


def test_a_column_of_treatment_decides_the_fit():
    """Truth: 12 ng/mL at first, 0.02 / d without drug; dropping the column gave 0.84 and 2.8e-5."""
    fit = patient("psa_treatment", QUICK)
    assert fit.value("initial_burden") == pytest.approx(12.0, rel=0.2)
    assert fit.value("growth_rate") == pytest.approx(0.02, rel=0.2)
    assert fit.value("drug_effect") == pytest.approx(0.06, rel=0.3)
    assert "half-life" not in " ".join(fit.flags)


def test_values_below_their_limit_bound_the_fit(psa):
    """Every value below 1 replaced by "<1.0": growth is seen, the fit stays below the limit there."""
    fit = patient("psa_below", QUICK)
    assert fit.value("growth_rate") == pytest.approx(psa.value("growth_rate"), rel=0.3)
    censored = np.asarray(fit.problem.censored) == -1
    assert censored.sum() == 15
    assert np.all(fit.predicted()[censored] < 1.3)
    assert float(fit.problem.n) == len(censored) - 15


def test_a_diameter_is_the_volume_of_a_sphere_and_a_share_of_the_dna_no_burden(tmp_path):
    rows = "".join(f"p,{day},{10 * np.exp(0.01 * day):.6f}\n" for day in range(0, 60, 6))
    (tmp_path / "d.csv").write_text("patient,time_day,diameter_mm\n" + rows)
    (series,) = patient_series(read_table(tmp_path / "d.csv", "timeseries"))
    np.testing.assert_allclose(np.diff(np.log(series.values)) / 6.0, 0.03, rtol=1e-4)
    assert series.values[0] == pytest.approx(np.pi / 6 * 1000)
    (tmp_path / "v.csv").write_text("patient,time_day,vaf_percent\n" + rows)
    with pytest.raises(DataError, match=r"wanted a burden .*; got a share of the DNA"):
        patient_series(read_table(tmp_path / "v.csv", "timeseries"))
