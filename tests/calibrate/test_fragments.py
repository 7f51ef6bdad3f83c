"""What a calibration writes as a scenario loads and runs as it stands, for every kind; else the report says why not."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from optimizer.calibrate import Settings, TimeSeriesModel, calibrate, read_table
from optimizer.calibrate.fragment import fragment_text, stromal
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.timeseries_report import timeseries_report
from optimizer.cli import app
from optimizer.ensemble.patients import load_patients
from optimizer.scenario import Scenario

from .synthetic import patient_rows, plate_rows, rates_rows, write_csv

QUICK = {"starts": 16, "draws": 50}
CRC = (7.34, 379.4, 0.0078, 0.0147, -0.0079, 0.93)


def treated(t):
    return {"id": "a", "time_day": t, "treatment": int(t < 90), "psa_ng_per_ml": 14 * np.exp(-0.02 * min(t, 90))}


TABLES = {
    "one curve": (
        "rates",
        lambda: [
            {"drug_nM": r["cetuximab_ug_per_ml"], "net_rate_per_hour": r["net_growth_rate_per_hour"]}
            for r in rates_rows(CRC, 2e-4)
            if r["egf_pg_per_ml"] == 300
        ],
        {},
    ),
    "plate": ("plate", lambda: plate_rows({"a": 0.5}), {}),
    "two conditions": (
        "plate",
        plate_rows,
        {"reference": "with fibroblasts", "assay_time": 48.0, "doubling_time": 30.0},
    ),
    "doses": ("timeseries", lambda: patient_rows("p"), {"growth": "logistic", "free": ("elimination_rate",)}),
    "treatment": ("timeseries", lambda: [treated(t) for t in range(0, 240, 10)], {}),
    "treatment, Norton-Simon": (
        "timeseries",
        lambda: [treated(t) for t in range(0, 240, 10)],
        {"effect": "norton_simon", "growth": "logistic"},
    ),
}


SLOW = ("two conditions", "Norton-Simon", "treatment, Norton-Simon", "plateau", "conditions", "patients", "untreated")


def cases(known):
    """The names, those of long checks marked."""
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in known]


def runs(place):
    """The fragment's model under the largest doses, simulated, and patients drawn from the posterior beside it."""
    scenario = Scenario.load(place / "scenario_fragment.toml")
    doses = jnp.broadcast_to(
        jnp.asarray([drug.maximum for drug in scenario.plan.drugs]), (len(scenario.plan.edges) - 1, 1)
    )
    assert np.isfinite(float(scenario.problem().loss(doses)))
    patients = load_patients(scenario, 5, 0)
    assert not patients.faults
    assert len(patients.places) >= 2
    return scenario


@pytest.mark.parametrize("name", cases(TABLES))
def test_fragments_load_and_run(tmp_path, name):
    kind, rows, settings = TABLES[name]
    report = calibrate(write_csv(tmp_path / "table.csv", rows()), kind, tmp_path / "fit", **QUICK, **settings)
    scenario = runs(tmp_path / "fit")
    for note in report.fragment.notes:
        assert f"# {note}" in scenario.text
    model = scenario.plan.model
    if name == "doses":
        clone, unit = model.clones[0], 1e9
        assert clone.numbers["cells"] == pytest.approx(report.value("initial_burden") * unit)
        assert clone.effects[0][1].values["ec50"] == pytest.approx(report.value("ec50"))
        assert scenario.plan.drugs[0].pk.values["clearance"] == pytest.approx(report.value("elimination_rate"))
    if name == "two conditions":
        assert model.clones[0].numbers["growth_rate"] == pytest.approx(24 * np.log(2) / 30)
        assert not any("assumed" in note for note in report.fragment.notes)


@pytest.mark.slow
def test_the_scenario_of_secretion_runs(tmp_path):
    report = calibrate("data/caf_egf_secretion.csv", "secretion", tmp_path / "fit", **QUICK)
    assert runs(tmp_path / "fit").plan.model.whole["secretion_slope"] == pytest.approx(report.value("secretion_slope"))


def test_the_command_checks_and_simulates_what_it_wrote(tmp_path):
    rows = [treated(t) for t in range(0, 240, 10)]
    table = write_csv(tmp_path / "psa.csv", rows)
    out = tmp_path / "fit"
    done = CliRunner().invoke(
        app,
        ["calibrate", str(table), "--kind", "timeseries", "--out", str(out), "--starts", "8", "--no-plot", "--json"],
    )
    assert done.exit_code == 0, done.stderr
    fitted = json.loads(done.stdout)["parameters"]
    assert fitted["growth_rate"]["value"] < 1e-3  # flat after treatment, as the rows were made
    checked = CliRunner().invoke(app, ["check", str(out / "scenario_fragment.toml")])
    assert checked.exit_code == 0, checked.stderr


MISSING = {
    "ic50": ("ic50", "data/lapatinib_ic50.csv", {}, "neither a growth rate nor a largest effect"),
    "plateau": ("secretion", "data/caf_egf_timeseries.csv", {}, "decay and secretion together"),
    "conditions": ("plate", plate_rows, {}, "one of 2 conditions: --reference"),
    "patients": ("timeseries", lambda: patient_rows("p") + patient_rows("q", seed=1), {}, "one of 2 patients"),
    "Norton-Simon": ("timeseries", lambda: patient_rows("p"), {"effect": "norton_simon"}, "saturates"),
    "untreated": (
        "timeseries",
        lambda: [{"id": "a", "time_day": t, "psa_ng_per_ml": 4 * 1.02**t} for t in range(0, 90, 10)],
        {},
        "no dose is in the table",
    ),
}


@pytest.mark.parametrize("name", cases(MISSING))
def test_what_cannot_be_a_scenario_says_why(tmp_path, name):
    kind, rows, settings, why = MISSING[name]
    table = rows if isinstance(rows, str) else write_csv(tmp_path / "table.csv", rows())
    report = calibrate(table, kind, tmp_path / "fit", **QUICK, **settings)
    assert not (tmp_path / "fit" / "scenario_fragment.toml").exists()
    assert any(w.startswith("no scenario is written: ") and why in w for w in report.warnings)


def test_numbers_that_the_model_does_not_take_are_no_scenario(tmp_path):
    rows = [{"drug_nM": d, "net_rate_per_hour": 0.01} for d in range(5)]
    molar = stromal(read_table(write_csv(tmp_path / "molar.csv", rows), "rates"), {})
    assert "doses in nmol/L are no mass in a volume" in molar.notes[0]
    table = read_table("data/caf_egf_secretion.csv", "secretion")
    found = stromal(table, {"secretion_midpoint": (-0.01, "ug/mL")})
    assert not found.tables
    assert "secretion_midpoint is -0.01 ug/mL, and the stroma model takes at least 0" in found.notes[0]


def test_a_function_of_ones_own_is_no_scenario(tmp_path):
    rows = [{"id": "a", "time_day": t, "psa_ng_per_ml": 40 * np.exp(-0.1 * t)} for t in range(0, 30, 3)]
    table = read_table(write_csv(tmp_path / "psa.csv", rows), "timeseries")
    box = (Parameter("start", "ng/mL", 1.0, 1e3, log=True), Parameter("decline", "1/d", 1e-3, 10.0, log=True))
    model = TimeSeriesModel("decline", lambda p, t, _: p[0] * np.e ** (-p[1] * t), box, {})
    report = timeseries_report(table, Settings(starts=8, draws=20, model=model))
    assert "a function" in report.fragment.notes[0]
    assert "[model]" not in fragment_text(report)
