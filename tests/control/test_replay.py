"""Courses are read as they are, cut by the protocol, and forecast from what came before alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.control import course_fit, replay as room
from optimizer.control.courses import Course, read_courses, rests
from optimizer.control.prior import load_prior
from optimizer.control.replay import CORRECTED, CYCLE, EVIDENCE, MEAN, WITH_CYCLE, replay
from optimizer.files.faults import DataError, TableWarning
from optimizer.scenario import Scenario, ScenarioError
from optimizer.settings import ReplaySettings

ROOT = Path(__file__).parents[2]
COURSES, MODEL = ROOT / "data/courses.csv", ROOT / "examples/courses/washout.toml"
REAL = ROOT.parent / "shared/data/clinical/bruchovsky2006.csv"
SETTINGS = ReplaySettings(model=(str(MODEL),), rounds=10, groups=4)


def written(folder, text):
    path = folder / "courses.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_days_and_units_and_limits_are_understood(tmp_path):
    text = "id,day,psa [ug/mL],on_treatment\nA,10,0.02,yes\nA,38,<0.0001,1\nA,66,0.0005,off\nA,94,,0\nB,0,0.001,0\n"
    a, b = read_courses(written(tmp_path, text))
    assert (a.patient, b.patient) == ("A", "B")
    assert a.days.tolist() == [0.0, 28.0, 56.0]
    assert a.psa.tolist() == [20.0, 0.1, 0.5]
    assert a.signs.tolist() == [0.0, -1.0, 0.0]
    assert (a.changes.tolist(), a.levels.tolist()) == ([0.0, 56.0], [1.0, 0.0])


def test_dates_are_days(tmp_path):
    text = "patient,date,psa,on_treatment\nA,2024-03-01,2,1\nA,2024-02-01,4,1\nA,2024-04-01,1,0\n"
    (course,) = read_courses(written(tmp_path, text))
    assert course.days.tolist() == [0.0, 29.0, 60.0]
    assert course.psa.tolist() == [4.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patient,day,psa,on\nA,0,3,1\nA,9,3,perhaps\n", ":3: column on: wanted 1 \\(on\\) or 0 \\(off\\).*perhaps"),
        ("patient,date,psa,on\nA,1.2.2024,3,1\n", ":2: column date: wanted a date such as 2024-03-31; got 1.2.2024"),
        ("patient,psa,on\nA,3,1\n", "wanted one column of day or date; got neither"),
        ("patient,day,psa,on\nA,0,,1\n", ":2: column psa: wanted a PSA of patient A"),
        ("patient,day,psa,on\nA,0,-3,1\n", ":2: column psa: wanted a value of 0 to inf"),
    ],
)
def test_faults_name_the_cell(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_courses(written(tmp_path, text))


def course():
    days = np.array([0.0, 50.0, 100.0, 150.0, 200.0, 250.0, 300.0, 330.0, 400.0, 450.0])
    psa = np.array([20.0, 1.0, 0.5, 4.0, 12.0, 1.0, 0.4, 3.0, 9.0, 2.0])
    changes, levels = np.array([0.0, 100.0, 200.0, 300.0, 400.0]), np.array([1.0, 0.0, 1.0, 0.0, 1.0])
    return Course("A", days, psa, np.zeros(10), changes, levels)


def test_the_second_rest_is_forecast_and_the_first_repeated():
    cut = rests(course())
    assert cut.stops == (100.0, 300.0)
    assert cut.course.days.tolist() == [0.0, 50.0, 100.0, 150.0, 200.0, 250.0, 300.0, 330.0, 400.0]
    assert cut.course.days[cut.first].tolist() == [100.0, 150.0, 200.0]
    assert cut.course.days[cut.ahead].tolist() == [300.0, 330.0, 400.0]
    # 30 days after the stop lie between days 0 and 50 of the first rest.
    between = 0.4 * np.log(0.6) + 0.6 * np.log(4.1)
    np.testing.assert_allclose(cut.repeated(cut.course.logs), [np.log(0.6), between, np.log(12.1)])


def test_one_rest_is_too_few():
    whole = course()
    assert rests(replace(whole, changes=whole.changes[:3], levels=whole.levels[:3])) is None
    # A rest before any treatment is none of those that are counted.
    assert rests(replace(whole, changes=whole.changes[:4], levels=1.0 - whole.levels[:4])) is None


@pytest.fixture(scope="module")
def found():
    return replay(COURSES, SETTINGS)


def test_the_model_that_is_nearly_true_forecasts_better_than_the_cycle_before(found):
    told = found.summary()
    assert (told["patients"], len(told["left_out"])) == (7, 3)
    forecasts = told["forecasts"]
    assert list(forecasts) == [CYCLE, "model 1: washout", EVIDENCE, MEAN, CORRECTED, WITH_CYCLE]
    for name in ("model 1: washout", MEAN, CORRECTED):
        assert forecasts[name]["median_error"] < forecasts[CYCLE]["median_error"]
        assert forecasts[name]["better_than_previous_cycle"] >= 4
    assert forecasts[MEAN] == forecasts[EVIDENCE] == forecasts["model 1: washout"]
    assert 0.75 < told["band"]["covered"] < 1.0


def test_errors_are_of_the_logarithm(found):
    row, last = found.table()[0], found.rests[0]
    own = [visit for visit in found.visits() if visit["patient"] == row["patient"]]
    assert len(own) == row["forecast"] == last.ahead.sum()
    missed = [np.log(visit["forecast"] + 0.1) - np.log(visit["psa"] + 0.1) for visit in own]
    assert row[f"error of {CORRECTED}"] == pytest.approx(np.sqrt(np.mean(np.square(missed))))
    inside = [visit["low"] <= visit["psa"] <= visit["high"] for visit in own]
    assert row["inside the band"] == pytest.approx(np.mean(inside))


def test_a_forecast_does_not_depend_on_what_is_forecast(found, monkeypatch):
    def changed(path, time_unit):
        courses = list(read_courses(path, time_unit))
        at = [c.patient for c in courses].index(found.rests[0].course.patient)
        later = courses[at].days >= found.rests[0].stops[1]
        courses[at] = replace(courses[at], psa=np.where(later, 7.0, courses[at].psa))
        return tuple(courses)

    monkeypatch.setattr(room, "read_courses", changed)
    other = replay(COURSES, SETTINGS)
    for name in (CYCLE, "model 1: washout", EVIDENCE, MEAN, WITH_CYCLE):
        np.testing.assert_array_equal(other.forecasts[name][0], found.forecasts[name][0])
        # Those that are forecast under what this patient's whole course teaches do change.
        assert name == CYCLE or np.any(other.forecasts[name][1] != found.forecasts[name][1])
    # Others' errors, of which shares are learned, come from populations that have this patient.
    np.testing.assert_allclose(other.forecasts[CORRECTED][0], found.forecasts[CORRECTED][0], atol=0.1)


def test_models_without_psa_are_refused():
    scenario = ROOT / "scenarios/competing_clones_trial.toml"
    assert Scenario.load(scenario).plan.cohort is not None
    with pytest.raises(ScenarioError, match="wanted one of kind psa; got another or none"):
        replay(COURSES, replace(SETTINGS, model=(str(scenario),)))


def test_clones_that_only_some_patients_have_are_refused(monkeypatch):
    monkeypatch.setattr(course_fit, "load_prior", lambda scenario: replace(load_prior(scenario), risks=object()))
    with pytest.raises(ScenarioError, match=r"cohort\.risk: wanted none, as a clone"):
        replay(COURSES, SETTINGS)


def test_too_few_patients_are_refused(tmp_path):
    text = "\n".join(line for line in COURSES.read_text(encoding="utf-8").splitlines() if line[:3] in ("pat", "M01"))
    with pytest.raises(DataError, match="wanted at least 4 patients with a PSA in a first and two in a second rest"):
        replay(written(tmp_path, text), SETTINGS)


def test_the_command_writes_every_table(tmp_path):
    words = ["replay", str(COURSES), "--model", str(MODEL), "--rounds", "2", "--groups", "2"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert "Second rest from treatment of 7 patients" in result.output
    body = json.loads((tmp_path / "run/replay.json").read_text(encoding="utf-8"))
    assert len(body["table"]) == body["patients"] == 7
    lines = [(tmp_path / "run" / name).read_text("utf-8").splitlines() for name in ("patients.csv", "forecasts.csv")]
    assert [len(each) - 1 for each in lines] == [7, body["band"]["measurements"]]
    assert (tmp_path / "run/replay.png").stat().st_size > 10_000
    assert "measurements lie in the 90 % bands" in (tmp_path / "run/report.html").read_text()


def test_no_model_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["replay", str(COURSES), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert "--model: wanted at least one scenario" in result.output


@pytest.mark.skipif(not REAL.exists(), reason="shared/data/clinical/bruchovsky2006.csv is not here")
def test_the_real_courses_are_read_and_cut():
    with pytest.warns(TableWarning, match="columns that are not read: testosterone, cyproterone, leuprolide, cycle"):
        courses = read_courses(REAL)
    cut = [found for found in map(rests, courses) if found is not None]
    assert (len(courses), len(cut)) == (72, 66)
    errors = [np.sqrt(np.mean((r.repeated(r.course.logs) - r.measured) ** 2)) for r in cut]
    assert np.median(errors) == pytest.approx(0.6077, abs=1e-4)
