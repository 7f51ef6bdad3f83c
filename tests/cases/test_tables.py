"""Tables as clinics, laboratories and NONMEM users write them; each case with its right value and its source."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from optimizer.analysis.map import request
from optimizer.analysis.repeated import batches
from optimizer.calibrate.tables import read_table
from optimizer.cli import app
from optimizer.cli.schedule import from_table
from optimizer.control.replan import read_asked
from optimizer.ensemble.patients import load_patients
from optimizer.files.faults import DataError, TableWarning
from optimizer.scenario import Scenario, ScenarioError
from optimizer.search.audit import audit
from optimizer.settings import OptionError, ReplanSettings
from optimizer.simulate.steady import steady_state

ROOT = Path(__file__).parents[2]
VOLUME, K = 20.0, 26.4 / 20.0


def scenario(route: str = "bolus", pk: dict | None = None, **more) -> Scenario:
    """One clone of 1e9 cells that grows by 0.03 a day under one drug: 20 L, cleared at 26.4 L/day."""
    kinetics = {"kind": "one_compartment", "volume": "20 L", "clearance": "26.4 L/day"} | (pk or {})
    effect = {"drug": "drugA", "law": "linear", "strength": "0.005 L/mg/day"}
    clone = {"name": "s", "cells": 1e9, "growth_rate": "0.03 / day", "effect": [effect]}
    most = "5000 mg" if route == "bolus" else "5000 mg/day"
    tables = {
        "model": {"kind": "tumor", "growth": {"law": "exponential"}, "clone": [clone]},
        "drug": [{"name": "drugA", "route": route, "pk": kinetics, "dose": {"max": most}}],
        "decision": {"every": "7 day", "horizon": "28 day"},
        "objective": {"burden": 1.0},
    }
    return Scenario.from_tables(tables | more, "case")


def given(folder: Path, text: str, own: Scenario, time_unit: str | None = None):
    """The problem and the regimen of a table."""
    path = folder / "schedule.csv"
    path.write_text(text)
    return from_table(own, own.problem(), path, time_unit)


def simulated(folder: Path, text: str, own: Scenario):
    """Times and concentrations [mg/L] of a table of doses, once the audit agrees; and the report."""
    problem, regimen = given(folder, text, own)
    trajectory, report = problem.simulate(regimen.policy, regimen.grid)
    checked = audit(problem, np.asarray(trajectory.doses), report, 0.0, directions=0, grid=regimen.grid)
    assert checked.passed
    for found in (trajectory, checked.trajectory):
        yield np.asarray(found.times), np.asarray(found.conc)[:, 0], checked.report


# --- case 02: a scan before the first dose (jmpost issue 215) -------------------------------------------------


def test_a_measurement_before_day_0_is_refused_by_replan(tmp_path):
    table = tmp_path / "observations.csv"
    table.write_text("day,burden [cell]\n-10,0.40\n0,0.5\n14,0.42\n")
    file = ROOT / "scenarios" / "competing_clones_trial.toml"
    options = ["--observations", str(table), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["replan", str(file), *options])
    assert result.exit_code == 3
    assert "observations.csv:2: column day: wanted a day from 0 on" in result.stderr
    assert not (tmp_path / "out").exists()


# --- case 03: covariates and dates of NONMEM data sets (mrgsolve issue 467, nlmixr2 issue 153, pknca issue 49) -


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ID,TIME,AMT,EVID,RACE,SEX\n1,0,100,1,2,1\n", "RACE, SEX"),
        ("ID,DATE,TIME,AMT\n1,45352,0,100\n", "DATE"),
        ("ID,TIME,AMT,HRATE\n1,0,100,72\n", "HRATE"),
    ],
)
def test_covariates_are_left_out_by_name(tmp_path, text, said):
    with pytest.warns(TableWarning, match=f"columns that are not read: {said}$"):
        _, regimen = given(tmp_path, text, scenario())
    assert np.asarray(regimen.policy.doses)[:, 0].tolist() == [100.0, 0.0, 0.0, 0.0]


# --- case 05: times in hours (all 29 tables of mrgsolve/nmtests) ----------------------------------------------


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("ID,TIME,AMT,II,ADDL\n1,0,100,24,2\n", "h"),
        ("ID,TIME [h],AMT,II,ADDL\n1,0,100,24,2\n", None),
        ("ID,TIME (h),AMT,II,ADDL\n1,0,100,24,2\n", None),
        ("ID,TIME_hour,AMT\n1,0,100\n1,24,100\n1,48,100\n", None),
        ("id,time_h,amt_g\n1,0,0.1\n1,24,0.1\n1,48,0.1\n", None),
        ("ID,TIME,AMT,II [h],ADDL\n1,0,100,24,2\n", None),
    ],
)
def test_daily_doses_are_daily_in_hours_too(tmp_path, text, unit):
    _, regimen = given(tmp_path, text, scenario(), unit)
    doses = np.asarray(regimen.policy.doses)[:, 0]
    assert np.asarray(regimen.grid.edges)[:-1][doses > 0].tolist() == [0.0, 1.0, 2.0]
    assert set(doses) == {0.0, 100.0}


def test_hours_without_a_unit_are_doubted(tmp_path):
    longer = scenario(decision={"every": "7 day", "horizon": "84 day"})
    with pytest.warns(TableWarning, match="times are read as days and look like hours"):
        given(tmp_path, "ID,TIME,AMT,II,ADDL\n1,0,100,24,2\n", longer)


# --- case 08: treatment on and off (a trial of intermittent androgen deprivation) -----------------------------


def test_treatment_that_was_on_and_off_is_read(tmp_path):
    rows = "".join(f"P7,{15 * i},{int(i < 6 or 12 <= i < 16)},{10 - i / 4}\n" for i in range(25))
    path = tmp_path / "psa.csv"
    path.write_text(f"patient,time_day,treatment,psa_ng_per_ml\n{rows}")
    assert read_table(path, "timeseries")["treatment"].sum() == 10.0
    path.write_text(path.read_text().replace("treatment", "arm"))
    with pytest.raises(
        DataError, match=r'column arm: wanted the doses as rows .* got "arm", which looks like treatment'
    ):
        read_table(path, "timeseries")


# --- case 09: a lag longer than the time between doses (mrgsolve issue 270) -----------------------------------


def test_doses_of_a_table_keep_their_own_lag(tmp_path):
    """Eight doses of 100 mg every 6 h, a lag of 9.6 h: the sum of Bateman's curves, each later by the lag."""
    pk = {"kind": "oral", "absorption": "36/day", "lag": "0.4 day"}
    for times, conc, _ in simulated(tmp_path, "ID,TIME,AMT,II,ADDL\n1,0,100,0.25,7\n", scenario(pk=pk)):
        since = np.maximum(times[:, None] - 0.25 * np.arange(8) - 0.4, 0.0)
        right = 100.0 / VOLUME * 36.0 / (36.0 - K) * (np.exp(-K * since) - np.exp(-36.0 * since))
        assert conc == pytest.approx(right.sum(axis=1), abs=1e-6)


ORAL = {"kind": "oral", "absorption": "36 / day", "lag": "0.4 day"}


def test_a_dose_within_the_lag_of_another_is_refused_where_the_kinetics_keep_one_alone(tmp_path):
    """A replan's patient, points of a map, and patients of a cohort, whose grids are one for all."""
    burden = [{"kind": "burden", "noise": 0.1, "every": "7 day"}]
    vary = [{"key": "drug[drugA].pk.lag", "distribution": "lognormal", "cv": 0.3}]
    own = scenario(pk=ORAL, observation=burden, cohort={"vary": vary})
    table = tmp_path / "given.csv"
    for times, wrong in (((0.0, 0.25), True), ((0.0, 0.5), False), ((6.75,), True)):
        table.write_text("TIME,AMT\n" + "".join(f"{time},100\n" for time in times))
        if wrong:
            with pytest.raises(
                ScenarioError, match=r"given\.csv: wanted no dose within the lag of drugA, 0\.4 day.* 0\.25"
            ):
                read_asked(own, ReplanSettings(given=table, today=7.0, particles=4), lambda _: None)
        else:
            assert read_asked(own, ReplanSettings(given=table, today=7.0, particles=4), lambda _: None).index == 2
    asked = request(own, "drug[drugA].amount=10:100 mg:2", "decision.every=0.25:7 day:3", last=7.0)
    with pytest.raises(OptionError, match=r"wanted no dose within the lag of drugA.*got one after 0\.25 day"):
        batches(own.plan, asked.numbers, asked.points(), 7.0, None)
    asked = request(
        own,
        "drug[drugA].amount=10:100 mg:2",
        "drug[drugA].pk.lag=0.1:0.45 day:3",
        ["decision.every=0.44 day"],
        last=7.0,
    )
    with pytest.raises(OptionError, match=r"wanted no dose within the lag of drugA, 0\.45 day"):
        batches(own.plan, asked.numbers, asked.points(), 7.0, None)
    often = scenario(pk=ORAL, cohort={"vary": vary}, decision={"every": "0.45 day", "horizon": "9 day"})
    patients = load_patients(often, 60, 0)
    late = np.flatnonzero(patients.values[:, 0] >= 0.45)
    assert 0 < late.size < 60
    assert sorted(patients.faults) == late.tolist()


# --- case 12: bolus and infusion of one drug (FOLFOX; mrgsolve/nmtests 17, PKPDsim PR 81) ---------------------


@pytest.mark.parametrize("route", ["infusion", "bolus"])
def test_bolus_and_infusion_of_one_drug_superpose(tmp_path, route):
    """400 mg at once and 2400 mg over 46 h from the same time on; all that is given is cleared at 26.4 L/day."""
    text = "ID,TIME,AMT,RATE,DRUG\n1,0,400,0,drugA\n1,0,2400,1252.1739,drugA\n"
    end = 2400.0 / 1252.1739
    for times, conc, report in simulated(tmp_path, text, scenario(route)):
        infused = 1252.1739 / 26.4 * (np.exp(-K * np.maximum(times - end, 0.0)) - np.exp(-K * times))
        assert conc == pytest.approx(20.0 * np.exp(-K * times) + infused, abs=1e-5)
        assert not [check for check in report.constraints if check.is_checked]


def test_sums_of_both_routes_count_against_a_limit(tmp_path):
    limit = {"kind": "cumulative_dose", "drug": "drugA", "limit": "1500 mg"}
    text = "ID,TIME,AMT,RATE\n1,0,400,0\n1,0,1200,600\n"
    for *_, report in simulated(tmp_path, text, scenario(constraint=[limit])):
        (check,) = (check for check in report.constraints if check.is_checked)
        assert (check.value, check.limit) == (pytest.approx(1600.0), 1500.0)


def test_a_level_that_is_the_dose_takes_no_bolus(tmp_path):
    effect = {"drug": "drugA", "law": "linear", "strength": "0.005 / day"}
    clone = {"name": "s", "cells": 1e9, "growth_rate": "0.03 / day", "effect": [effect]}
    drug = {"name": "drugA", "route": "infusion", "pk": {"kind": "direct"}, "dose": {"max": 1}}
    own = scenario(drug=[drug], model={"kind": "tumor", "growth": {"law": "exponential"}, "clone": [clone]})
    with pytest.raises(DataError, match=r"wanted doses of drugA by its route, infusion \(direct\); got a bolus"):
        given(tmp_path, "TIME,AMT\n0,1\n", own)


# --- steady state (SS), of NONMEM's habits --------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 400.0])
def test_a_first_dose_may_find_a_steady_state(tmp_path, rate):
    """100 mg every 12 h for ever and on: every interval is the last one, whose end is the trough of a sum of decays."""
    text = f"TIME,AMT,RATE,II,ADDL,SS\n0,100,{rate},0.5,55,1\n"
    length, last = (100.0 / rate, rate / 26.4) if rate else (0.0, 0.0)
    trough = 5.0 / np.expm1(0.5 * K) if not rate else last * np.expm1(K * length) / np.expm1(0.5 * K)
    for times, conc, _ in simulated(tmp_path, text, scenario("infusion" if rate else "bolus")):
        assert conc[times == times[-1]] == pytest.approx(trough, rel=1e-6)
        assert conc.min() == pytest.approx(trough, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TIME,AMT,II,SS\n7,100,1,1\n", "column SS: wanted SS 1 at the first dose of drugA, on day 0, without a lag"),
        (
            "TIME,AMT,RATE,II,SS\n0,100,50,1,1\n",
            "column SS: wanted an infusion of at most the interval, 1 day; got 2 day",
        ),
        ("TIME,AMT,II,SS\n0,100,1,2\n", "csv:2: column SS: wanted 0, or 1 for a first dose that finds a steady state"),
    ],
)
def test_other_steady_states_are_refused_by_name(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        given(tmp_path, text, scenario())


def test_kinetics_that_never_settle_have_no_steady_state():
    from optimizer.pharmacology.one_compartment import OneCompartment

    with pytest.raises(ValueError, match="kinetics with a steady state in closed form"):
        steady_state(OneCompartment(volume=1.0, clearance=1e-30), 1.0, 0.0, 1.0)


# --- case 14: missing and censored values (R exports, PK-Sim PR 222, nlmixr issue 645) -------------------------


def test_missing_values_of_r_are_missing(tmp_path):
    text = "ID,TIME,AMT,RATE,II,ADDL,EVID\n1,0,100,NA,NA,NA,1\n1,3,NA,NA,NA,NA,0\n"
    _, regimen = given(tmp_path, text, scenario())
    assert np.asarray(regimen.policy.doses)[:, 0].tolist() == [100.0, 0.0, 0.0, 0.0]


PSA = "patient,time_day,evid,amt_mg,ii_day,addl,psa_ng_per_ml\nP7,0,1,1000,1,89,\n"
VALUES = ("14.1", "5.5", "<1.0", ".", "NA", "", "1.17")


@pytest.mark.parametrize(
    ("old", "new", "unit"),
    [
        ("", "", "ng/mL"),
        ("psa_ng_per_ml", "psa_ug_per_l", "ug/L"),
        ("psa_ng_per_ml", "PSA [ug/L]", "ug/L"),
        ("psa_ng_per_ml", "diameter_mm", "mm"),
        ("psa_ng_per_ml", "vaf [%]", "percent"),
        ("patient,time_day,evid,amt_mg,ii_day,addl,psa_ng_per_ml", "ID,TIME,EVID,AMT,II,ADDL,DV", "relative"),
        ("patient,time_day,evid,amt_mg,ii_day,addl", "PATIENT,TIME_DAY,EVID,AMT_MG,II_DAY,ADDL", "ng/mL"),
    ],
)
def test_one_convention_of_missing_and_censored_values(tmp_path, old, new, unit):
    rows = "".join(f"P7,{15 * i},0,,,,{value}\n" for i, value in enumerate(VALUES))
    path = tmp_path / "psa.csv"
    path.write_text((PSA + rows).replace(old, new))
    table = read_table(path, "timeseries")
    assert table.units["burden"] == unit
    np.testing.assert_array_equal(table["burden"][1:], [14.1, 5.5, 1.0, np.nan, np.nan, np.nan, 1.17])
    assert table.censored["burden"][1:].tolist() == [0, 0, -1, 0, 0, 0, 0]


# --- case 15: plates as readers and public data sets have them -------------------------------------------------

DOSES, SIGNALS = [0.01, 0.1, 1.0, 10.0], [20350, 19381, 8743, 2254]
LONG = "plate,well,role,cell_line,drug_umol_per_l,signal_rlu\n"
BLANKS = "1,A01,blank,X,,315\n1,A02,blank,X,,322\n"
CONTROLS = "1,A07,vehicle,X,,20549\n1,A08,vehicle,X,,21488\n"


def plate(doses=DOSES, signals=SIGNALS, header=LONG, blanks=BLANKS, controls=CONTROLS) -> str:
    samples = "".join(f"1,B0{i},sample,X,{d},{s}\n" for i, (d, s) in enumerate(zip(doses, signals, strict=True), 1))
    return header + blanks + controls + samples


@pytest.mark.parametrize(
    ("text", "scale", "says"),
    [
        (plate(), 1.0, ""),
        (plate(header=LONG.upper()), 1.0, ""),
        (plate(header=LONG.replace("drug_umol_per_l", "drug [uM]")), 1.0, ""),
        (plate([10.0, 100.0, 1000, 10000], header=LONG.replace("umol_per_l", "nM")), 1e-3, ""),
        (plate().replace("blank", "Blank").replace("vehicle", "DMSO").replace("sample", "Sample"), 1.0, ""),
        (plate(controls=CONTROLS.replace("vehicle,X,,", "sample,X,0,")), 1.0, ""),
        (plate(signals=[f'"{s:,}"' for s in SIGNALS]), 1.0, "is read as 20350 .thousands commas."),
        (plate().replace(",", ";").replace(".", ","), 1.0, "decimal comma"),
    ],
)
def test_plates_of_the_same_numbers_are_the_same(tmp_path, text, scale, says):
    path = tmp_path / "plate.csv"
    path.write_text(text)
    table = read_table(path, "plate")
    assert (scale * table["drug"][-4:]).tolist() == pytest.approx(DOSES)
    assert table["signal"].tolist() == [315.0, 322.0, 20549.0, 21488.0, *SIGNALS]
    assert table["content"][:2].tolist() == ["blank", "blank"]
    assert set(table["content"][-4:]) == {"sample"}
    assert bool(says) == bool([note for note in table.notes if says and says.strip(".").split(" .")[0] in note])


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("cell_line,drug_umol_per_l,viability\nX,0.01,0.97\nX,1,0.41\n", {"viability"}),
        ("drug1.conc,drug2.conc,effect\n0,0,1\n1,0,0.4\n", {"viability", "second_drug"}),
        (
            "cell_line,agent,concentration,cell_count,cell_count__ctrl,cell_count__time0\nX,lap,0.01,20040,20700,5000\n",
            {"signal", "control", "time_zero"},
        ),
        (
            "plate,well,role,drug1_umol_per_l,drug2_umol_per_l,signal_rlu\n1,A1,vehicle,,,205\n1,A2,sample,1,0,100\n",
            {"signal", "second_drug"},
        ),
    ],
)
def test_normalized_counted_and_paired_plates_are_read(tmp_path, text, roles):
    path = tmp_path / "plate.csv"
    path.write_text(text)
    table = read_table(path, "plate")
    assert {"signal", "viability", "control", "time_zero", "second_drug"} & set(table.columns) == roles
    assert np.nanmax(table["drug"]) <= 1.0


def test_a_grid_of_signals_says_no_doses(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("<>,1,2,3\nA,315,322,20549\nB,20350,19381,8743\n")
    with pytest.raises(DataError, match=r"wide\.csv:1: wanted one row a well.* got a grid of signals alone"):
        read_table(path, "plate")


GRID = "<>,1,2,3\nA,315,20549,8743\nB,322,21488,9054\n"


@pytest.mark.parametrize(
    "text",
    [
        GRID + "drug [uM]\n<>,1,2,3\nA,blank,DMSO,1\nB,blank,DMSO,3\n",
        "signal_rlu,,,\n" + GRID + ",,,\ndrug_nM,1,2,3\nA,Blank,0,1000\nB,Blank,0,3000\n",
        GRID
        + "role\n<>,1,2,3\nA,blank,vehicle,sample\nB,blank,vehicle,sample\ndrug_umol_per_l\n<>,1,2,3\nA,,,1\nB,,,3\n",
        GRID.replace(",", ";") + "drug [uM]\n<>;1;2;3\nA;blank;DMSO;1,0\nB;blank;DMSO;3,0\n",
        "drug [uM]\n<>,1,2,3\nA,blank,DMSO,1\nB,blank,DMSO,3\nsignal\n" + GRID,
        "signal\n" + (GRID + "drug [uM]\n<>,1,2,3\nA,blank,DMSO,1\nB,blank,DMSO,3\n").replace(",", "\t"),
        (GRID + "drug [uM]\n<>,1,2,3\nA,blank,DMSO,1\nB,blank,DMSO,3\n").replace(",1,2,3", ",01,02,03"),
        GRID + "drug [uM]\n<>,1,2,3\nA,blank,DMSO,1\nB,blank,DMSO,3\n"
        "type\n<>,1,2,3\nA,blank,vehicle,sample\nB,blank,vehicle,sample\n",
    ],
    ids=["words", "corners", "roles", "semicolons", "doses first", "tabs under a name", "zeros", "words and roles"],
)
def test_grids_of_signals_and_doses_are_one_row_a_well(tmp_path, text):
    path = tmp_path / "wide.csv"
    path.write_text(text)
    table = read_table(path, "plate")
    dosed = table["drug"] > 0
    scale = 1e-3 if "nM" in text else 1.0
    assert table["well"].tolist() == ["A1", "A2", "A3", "B1", "B2", "B3"]
    assert table["signal"].tolist() == [315.0, 20549.0, 8743.0, 322.0, 21488.0, 9054.0]
    assert (scale * table["drug"][dosed]).tolist() == [1.0, 3.0]
    assert table["well"][dosed].tolist() == ["A3", "B3"]
    assert [table["content"][i] for i in (0, 3)] == ["blank", "blank"]
    assert [table["content"][i] for i in (2, 5)] == ["sample", "sample"]


# --- case 18: a time course from simulate ---------------------------------------------------------------------


def test_simulate_writes_a_time_course(tmp_path):
    file = tmp_path / "scenario.toml"
    file.write_text(TOML)
    (tmp_path / "schedule.csv").write_text("ID,TIME,AMT\n1,14,100\n1,0,100\n1,7,100\n")
    options = ["--schedule", str(tmp_path / "schedule.csv"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["simulate", str(file), *options])
    assert result.exit_code == 0, result.stderr
    names = ["overview.png", "overview.svg", "report.html", "report.json"]
    names += ["schedule.csv", "trajectory.csv", "trajectory.nc"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    with xr.open_dataset(tmp_path / "out" / "trajectory.nc", engine="h5netcdf") as found:
        times, conc = found["time"].to_numpy(), found["concentration"].to_numpy()[:, 0]
        assert found["concentration"].attrs["units"] == "mg/L"
    starts = np.array([0.0, 7.0, 14.0])
    # Of two rows of one time the first is before the dose.
    after = np.searchsorted(times, starts, side="right") - 1
    for start, row in zip(starts, after, strict=True):
        assert conc[row] == pytest.approx(sum(5.0 * np.exp(-K * (start - t)) for t in starts if t <= start), rel=1e-6)
    rows = (tmp_path / "out" / "trajectory.csv").read_text().splitlines()
    header = "regimen,time [day],burden [cell],resistant [cell],cells.s [cell],concentration.drugA [mg/L]"
    assert rows[0] == header
    assert len(rows) == len(times) + 1


TOML = """
[model]
kind = "tumor"
growth = { law = "exponential" }
[[model.clone]]
name = "s"
cells = 1e9
growth_rate = "0.03 / day"
effect = [{ drug = "drugA", law = "linear", strength = "0.005 L/mg/day" }]
[[drug]]
name = "drugA"
route = "bolus"
pk = { kind = "one_compartment", volume = "20 L", clearance = "26.4 L/day" }
dose = { max = "5000 mg" }
[decision]
every = "7 day"
horizon = "28 day"
[objective]
burden = 1.0
"""


# --- faults of tables and scenarios that once were tracebacks --------------------------------------------------


@pytest.mark.parametrize("text", ["drug = 5", "drug = true", 'drug = "a"', "drug = [[]]"])
def test_a_drug_that_is_none_beside_a_regimen_is_a_sentence(tmp_path, text):
    file = tmp_path / "scenario.toml"
    head, _, tail = TOML.partition("[[drug]]")
    regimen = '\n[[regimen]]\nname = "r"\ndose = [{ drug = "drugA", amount = "1 mg", every = "7 day" }]\n'
    file.write_text(f"{text}\n{head}[decision]{tail.partition('[decision]')[2]}{regimen}")
    result = CliRunner().invoke(app, ["check", str(file)])
    assert result.exit_code == 3
    assert re.search(r"scenario\.toml:1: drug", result.stderr)


@pytest.mark.parametrize("kind", ["rates", "timeseries", "plate"])
def test_long_cells_and_old_line_ends_are_no_tracebacks(tmp_path, kind):
    path = tmp_path / "table.csv"
    path.write_text(f"time,drug_ug_per_ml\r0,{'x' * 140_000}\r")
    with pytest.raises(DataError, match=r"table\.csv:2: wanted cells separated by commas; got field larger than"):
        read_table(path, kind)
    path.write_bytes(b"patient,time_day,psa_ng_per_ml\ra,0,1\ra,1,2\r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_table(path, "timeseries")["burden"].tolist() == [1.0, 2.0]
