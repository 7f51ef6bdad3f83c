"""`calibrate`: its directory, its refusals, its draws and its figures."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from optimizer.calibrate import DataError, Settings, calibrate
from optimizer.cli import app
from optimizer.ensemble.patients import load_patients
from optimizer.report.plots.calibration import save_figures
from optimizer.scenario import Scenario
from tests.small import tables

CRC = "data/crc_birth_death_rates.csv"
IC50 = "data/lapatinib_ic50.csv"


@pytest.fixture(scope="module")
def crc(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "fits" / "crc"
    report = calibrate(CRC, "rates", out, starts=200, draw=save_figures)
    return out, report


def test_the_directory_is_whole(crc):
    out, _ = crc
    names = {path.name for path in out.iterdir()}
    assert names >= {"fit.json", "posterior.nc", "scenario_fragment.toml", "fit.png", "residuals.png", "profiles.png"}
    assert [path.name for path in out.parent.iterdir()] == ["crc"]
    body = json.loads((out / "fit.json").read_text())
    assert body["disclaimer"] == "Research use only. Not for clinical decisions."
    assert body["method"] == "direct"
    assert body["table"]["file"] == "crc_birth_death_rates.csv"


def test_the_fragment_is_read_back(crc):
    out, report = crc
    fragment = tomllib.loads((out / "scenario_fragment.toml").read_text())
    assert fragment["cohort"] == {"posterior": "posterior.nc"}
    number, unit = fragment["model"]["ec50_max"].split(" ")
    assert (float(number), unit) == (report.value("ec50_max"), "ug/mL")
    assert set(fragment["model"]) == {
        *("kind", "preset", "ec50_max", "shift_midpoint", "shift_slope"),
        *("net_growth_max", "net_growth_min", "hill"),
    }
    resolved = Scenario.from_tables(tables() | {"model": fragment["model"]}, "pasted").resolved()
    clone = resolved["scenario"]["model"]["clone"][0]
    assert float(clone["net_growth_max"].split()[0]) == pytest.approx(24.0 * report.value("net_growth_max"), rel=1e-12)
    scenario = Scenario.load(out / "scenario_fragment.toml")
    assert scenario.grid().count == 26
    assert not load_patients(scenario, 5, 0).faults


def test_the_draws_are_read_back(crc):
    out, report = crc
    with xr.open_dataset(out / "posterior.nc", group="posterior", engine="h5netcdf") as data:
        assert data["ec50_max"].shape == (4, 1000)
        assert data["net_growth_min"].attrs["units"] == "1/h"
        assert data.attrs["source"].startswith("Laplace approximation")
        np.testing.assert_array_equal(data["hill"].values, report.draws.values["hill"])
    with xr.open_dataset(out / "posterior.nc", group="observed_data", engine="h5netcdf") as data:
        assert data["observed"].shape == (48,)


def test_the_same_seed_gives_the_same_files(tmp_path):
    for name in ("a", "b"):
        calibrate(IC50, "ic50", tmp_path / name, seed=3)
    first, second = ((tmp_path / name / "fit.json").read_bytes() for name in ("a", "b"))
    assert first == second
    calibrate(IC50, "ic50", tmp_path / "b", seed=4)
    assert (tmp_path / "b" / "fit.json").read_bytes() != first


def test_nothing_is_left_of_a_run_that_fails(tmp_path):
    def broken(report, directory):
        raise RuntimeError("no ink")

    with pytest.raises(RuntimeError, match="no ink"):
        calibrate(IC50, "ic50", tmp_path / "fit", draw=broken)
    assert list(tmp_path.iterdir()) == []
    calibrate(IC50, "ic50", tmp_path / "fit")
    before = (tmp_path / "fit" / "fit.json").read_bytes()
    with pytest.raises(RuntimeError, match="no ink"):
        calibrate(IC50, "ic50", tmp_path / "fit", seed=9, draw=broken)
    assert (tmp_path / "fit" / "fit.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["fit"]


def test_what_is_not_a_calibration_is_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(DataError, match=r"wanted a new directory or an earlier run with fit\.json"):
        calibrate(IC50, "ic50", tmp_path / "thesis")
    with pytest.raises(DataError, match=r"out: .*chapter\.tex: wanted a directory; got a file"):
        calibrate(IC50, "ic50", tmp_path / "thesis" / "chapter.tex")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "rate"}, "kind: wanted one of rates, secretion, plate, ic50, timeseries, petab; got 'rate'"),
        ({"method": "three"}, "method: wanted direct or two-stage; got 'three'"),
        ({"kind": "ic50", "file": IC50, "method": "two-stage"}, "method: wanted direct for a table of kind ic50"),
        ({"against": "nobody1999"}, "against: wanted one of kraut2025_caf; got 'nobody1999'"),
        ({"kind": "ic50", "file": IC50, "against": "kraut2025_caf"}, "against: wanted kind rates or secretion"),
        ({"starts": 0}, "starts: wanted at least 1; got 0"),
        ({"level": 1.5}, "level: wanted a number between 0 and 1"),
        ({"loss": "tukey"}, "loss: wanted one of linear"),
        ({"loss": "huber", "bayes": True}, "bayes: wanted loss linear; got huber"),
        ({"hierarchical": True}, "hierarchical: wanted kind plate or timeseries"),
        ({"method": "two-stage", "bayes": True}, "bayes: wanted method direct"),
        ({"file": "data/none.csv"}, "none.csv: wanted a file"),
    ],
)
def test_mistakes_are_refused_by_name(tmp_path, changes, message):
    arguments = {"file": CRC, "kind": "rates", "out": tmp_path / "fit"} | changes
    with pytest.raises(DataError, match=message):
        calibrate(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_lapatinib_becomes_clones(tmp_path):
    report = calibrate(IC50, "ic50", tmp_path / "fit")
    assert report.derived["fold_resistance"] == {"BT-474": pytest.approx(4.4 / 0.056)}
    assert next(clone["name"] for clone in report.extra["clones"]) == "BT-474 sensitive"
    assert sum("is assumed, not measured" in warning for warning in report.warnings) == 2
    spread = np.log(report.draws.values["ec50"][..., 2]).std()
    assert spread == pytest.approx(0.4 / 6.5, rel=0.05)


def test_phases_are_told_and_settings_kept(tmp_path):
    told = []
    report = calibrate(IC50, "ic50", tmp_path / "fit", progress=told.append, level=0.5, chains=2)
    assert told == ["read", "write"]
    kept = report.to_json()["settings"]
    assert (kept["level"], kept["chains"], kept["outliers"]) == (0.5, 2, "auto")
    assert report.draws.values["ec50"].shape == (2, 1000, 4)


def test_every_setting_is_an_option():
    words = CliRunner().invoke(app, ["calibrate", "--help"], env={"COLUMNS": "200"}).stdout
    for own in fields(Settings):
        if own.name not in ("model", "progress"):
            assert f"--{own.name.replace('_', '-')}" in words
