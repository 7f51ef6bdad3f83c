"""The command `adose replan`, and what it says."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.control.measurements import read_measurements
from optimizer.files.event_tables import read_events
from optimizer.files.events import to_grid
from optimizer.files.faults import DataError, TableWarning
from optimizer.observations import BELOW, MEASURED, MISSING, OVER, UNDER, Assay, Channel
from optimizer.observations.burden import Burden
from optimizer.observations.psa import Psa
from optimizer.scenario import Scenario
from tests.control.conftest import NOISE, SMALL, log_cells

GIVEN = "TIME,AMT,RATE,DRUG\n0,7,1,drug\n14,7,1,drug\n21,7,0.5,drug\n"  # the last one is the schedule being followed


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replan")
    given = np.array([[1.0], [0.0], [1.0], [0.0], [0.0], [0.0]])
    days = np.array([0.0, 7.0, 14.0, 21.0])
    cells = np.exp(log_cells(days, np.log(1.4e8), 0.07, given) + NOISE * np.array([0.5, -0.8, 0.3, 0.9]))
    rows = "\n".join(f"{day:g},{value!r}" for day, value in zip(days, cells.tolist(), strict=True))
    (folder / "obs.csv").write_text(f"day,burden [cell]\n{rows}\n")
    (folder / "given.csv").write_text(GIVEN)
    return folder


def run(files, *more):
    options = ["--given", str(files / "given.csv"), "--observations", str(files / "obs.csv"), "--particles", "256"]
    return CliRunner().invoke(app, ["replan", str(SMALL), *options, "--plan-particles", "8", *more])


@pytest.fixture(scope="module")
def ran(files):
    result = run(files, "--out", str(files / "out"), "--json")
    assert result.exit_code == 0, result.stderr
    return result, json.loads(result.stdout)


def test_what_was_given_is_kept_and_what_is_written_is_exact(files, ran):
    result, document = ran
    names = ["replan.json", "replan.png", "replan.svg", "report.html", "schedule.csv"]
    assert sorted(path.name for path in (files / "out").iterdir()) == names
    assert (files / "out" / "replan.json").read_text() == result.stdout
    edges = np.arange(7) * 7.0
    _, doses = to_grid(read_events(files / "out" / "schedule.csv"), ["drug"], 42.0, {"drug": "infusion"}, edges)
    np.testing.assert_array_equal(doses[:3, 0], [1.0, 0.0, 1.0])
    np.testing.assert_array_equal(doses[:, 0], document["schedule"]["doses"]["drug"])
    assert 7.0 * doses.sum() <= 20.0
    assert doses.max() <= 1.0
    budget = document["budgets"][0]
    assert (budget["limit"], budget["given"], budget["left"]) == (20.0, 14.0, 6.0)
    assert document["next"] == {"day": 21.0, "doses": {"drug": doses[3, 0]}}
    assert document["status"] == "solved"
    assert document["audit"]["passed"]
    assert "Research use only" in document["research_use_only"]


def test_what_is_believed_is_what_the_command_says(ran, inference, exact, record):
    _, document = ran
    numbers = document["belief"]["numbers"]
    cells, growth = (numbers[f"model.clone[tumor].{name}"] for name in ("cells", "growth_rate"))
    assert cells["before"]["median"] == pytest.approx(1e8, rel=0.1)
    assert growth["interval_90"][0] < 0.07 < growth["interval_90"][1]
    width = np.ptp(growth["interval_90"]) / np.ptp(growth["before"]["interval_90"])
    assert 0.1 < width < 0.9
    told = document["identifiability"]
    assert told["decides"]
    assert told["profile_width"]["model.clone[tumor].growth_rate"]["with_prior"] == pytest.approx(width, rel=0.25)
    assert document["fit"]["fits"]
    assert 0.01 < document["fit"]["posterior_predictive_p"] < 1.0


def test_every_visit_says_what_it_changed(ran):
    _, document = ran
    assert [visit["day"] for visit in document["visits"]] == [0.0, 7.0, 14.0, 21.0]
    assert all(0.0 <= visit["plan_changed_by"] <= 1.0 for visit in document["visits"])
    assert all(0.0 < visit["expected_p"]["burden"] <= 1.0 for visit in document["visits"])
    forecasts = [visit["forecast"]["burden"] for visit in document["visits"]]
    for visit, (low, high) in zip(document["visits"], (own["interval_90"] for own in forecasts), strict=True):
        assert low < visit["measured"]["burden"] < high
    widths = [np.log(own["interval_90"][1] / own["interval_90"][0]) for own in forecasts]
    assert [len(visit["forecast"]) for visit in document["visits"]] == [1] * 4
    assert widths[3] < widths[0]  # what was measured before makes the next visit narrower


def test_staying_the_course_costs_what_the_two_predictions_differ_by(ran):
    _, document = ran
    plan, course = (document["prediction"][name] for name in ("plan", "course"))
    staying = document["staying_the_course"]
    assert staying["course"] == "the schedule being followed"
    assert staying["doses"]["drug"] == [1.0, 0.0, 1.0, 0.5, 0.5, 0.0]
    assert staying["objective"] == pytest.approx(course["objective"]["risk"] - plan["objective"]["risk"])
    # The course gives 21 of a budget of 20: it may do better only because it breaks that limit.
    assert staying["objective"] == pytest.approx(-KILL_OF_ONE_DAY + roughness(staying, document), abs=2e-3)
    for prediction in (plan, course):
        bands = np.array([prediction["burden"][q] for q in ("0.05", "0.25", "0.5", "0.75", "0.95")])
        assert np.all(np.diff(bands, axis=0) > 0.0)
        chances = prediction["probability_of_progression"]
        assert np.all(np.diff(chances) >= 0.0)


KILL_OF_ONE_DAY = 0.08 / np.log(10.0)


def roughness(staying, document):
    """Difference of the roughness terms, 0.2 times the mean square step of the doses."""
    both = [np.array(staying["doses"]["drug"]), np.array(document["schedule"]["doses"]["drug"])]
    return 0.2 * float(np.mean(np.diff(both[0]) ** 2) - np.mean(np.diff(both[1]) ** 2))


def test_the_same_input_gives_the_same_bytes(files, ran):
    again = run(files, "--out", str(files / "again"), "--json", "--no-plot")
    assert again.stdout == ran[0].stdout


def test_a_patient_of_another_kind_is_said_not_to_fit(files, tmp_path):
    days = np.array([0.0, 7.0, 14.0, 21.0])
    rows = "\n".join(f"{day:g},{value:g}" for day, value in zip(days, [1e8, 4e9, 1e7, 3e9], strict=True))
    (tmp_path / "obs.csv").write_text(f"day,burden [cell]\n{rows}\n")
    (tmp_path / "given.csv").write_text(GIVEN)
    result = run(tmp_path, "--out", str(tmp_path / "out"), "--no-plot")
    assert "does not fit the model" in result.stdout
    assert "burden on day" in result.stdout


def test_what_was_given_beyond_a_limit_is_named(files, tmp_path):
    (tmp_path / "obs.csv").write_text((files / "obs.csv").read_text())
    (tmp_path / "given.csv").write_text("TIME,AMT,RATE,DRUG\n0,21,1,drug\n")
    result = run(tmp_path, "--out", str(tmp_path / "out"))
    assert result.exit_code == 4
    assert "cumulative_dose of drug: wanted at most 20; got 21" in result.stderr
    assert not (tmp_path / "out").exists()


CHANNELS = (Channel(Burden(), Assay()), Channel(Psa(production=1.0, decay=0.1, detection_limit=0.1), Assay()))


@pytest.mark.parametrize(
    "text",
    [
        "day [week],psa [ng/mL],burden [cell]\n0,4,\n1,<0.1,1e8\n2,.,2e8\n",
        "time_week,psa_ng_per_ml,burden\n0,4,NA\n1,<0.1,1e8\n2,NA,2e8\n",
        "TIME [h];PSA [mg/L];BURDEN\n0,0;0,004;.\n168;< 0,0001;1e8\n336;;2e8\n",
    ],
)
@pytest.mark.filterwarnings("ignore::optimizer.files.faults.TableWarning")
def test_a_table_is_read_with_its_units_and_what_is_not_there(tmp_path, text):
    path = tmp_path / "obs.csv"
    path.write_text(text)
    found = read_measurements(path, CHANNELS)
    np.testing.assert_array_equal(found.days, [0.0, 7.0, 14.0])
    np.testing.assert_array_equal(found.seen, [[MISSING, MEASURED], [MEASURED, BELOW], [MEASURED, MISSING]])
    assert found.values[0, 1] == pytest.approx(4.0)
    assert float(found.record(CHANNELS).shown[0, 1]) == pytest.approx(np.log(4.0))
    assert jnp.all(jnp.isfinite(found.record(CHANNELS).shown))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "wanted a header with the names of the columns; got an empty file"),
        ("burden [cell]\n1e8\n", ":1: column day: wanted a column named day or days or time"),
        ("day,burdn [cell]\n0,1e8\n", ":1: column burden: wanted at least one of burden [cell], psa [ug/L]; got the"),
        ("day,burden [mL]\n0,1e8\n", ":1: column burden [mL]: wanted a unit in the header, such as burden [cell]"),
        ("day,burden [cell]\n0,many\n", ':2: column burden [cell]: wanted a finite number; got "many"'),
        ("day,burden [cell]\n0,-1\n", "column burden [cell]: wanted more than 0 (or below a limit"),
        ("day,burden [cell]\n0,nan\n", 'column burden [cell]: wanted a finite number; got "nan"'),
        ("day,burden [cell]\n7,1e8\n7,1e8\n", ":3: column day: wanted a later day than 7; got 7"),
        ("day,burden [cell]\n-10,1e8\n0,1e8\n", ":2: column day: wanted a day from 0 on, where what is simulated"),
        ("day,psa [ug/L]\n0,0.01\n", 'wanted at least the detection limit 0.1 ug/L, or "<0.1"; got 0.01'),
        ("day,burden [cell]\n0\n", ":2: wanted 2 cells, as in the header; got 1"),
        ("day,burden [cell],burden [cell]\n0,1,1\n", "column burden [cell]: wanted one column of that name; got 2"),
        ("day,burden,psa\n0,1,1\n0,1,1\n", ":3: column day: wanted a later day than 0; got 0"),
        ("id,day,burden\na,0,1\nb,7,1\n", ":2: column id: wanted one patient; got a, b"),
        ("day,burden,treatment\n0,1,1\n", "column treatment: wanted no such column without --given"),
    ],
)
def test_a_wrong_table_gets_one_clear_message(tmp_path, text, message):
    path = tmp_path / "obs.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_measurements(path, CHANNELS, is_treated=False)
    assert message in str(caught.value)


def test_censored_values_have_limits_of_their_own(tmp_path):
    path = tmp_path / "obs.csv"
    path.write_text("day,psa [ug/L],arm\n0,<0.5,1\n7,>80,1\n14,<0.1,1\n")
    with pytest.warns(TableWarning, match=r"columns that are not read: arm \(arm: looks like treatment\)"):
        found = read_measurements(path, CHANNELS)
    assert found.seen[:, 1].tolist() == [UNDER, OVER, BELOW]
    assert found.values[:, 1].tolist() == [0.5, 80.0, pytest.approx(0.1)]


def test_one_quantity_may_be_the_dependent_variable_of_an_event_table(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text("ID,TIME,EVID,AMT,DV\n1,0,1,7,.\n1,0,0,.,1e8\n1,7,0,.,2e8\n")
    with pytest.warns(TableWarning, match="columns that are not read: AMT"):
        found = read_measurements(path, CHANNELS[:1])
    assert found.days.tolist() == [0.0, 7.0]
    assert found.values[:, 0].tolist() == [1e8, 2e8]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--today", "7"], "--today: wanted no day before the last measurement, day 21; got 7"),
        (["--today", "40"], "--today: wanted a day from 0 to the last decision, day 35; got 40"),
        (["--observations", "nowhere.csv"], "wanted a file; got nothing of that name"),
        (["--posterior", "nowhere.nc"], "wanted a NetCDF file as adose calibrate writes it"),
    ],
)
def test_a_wrong_request_gets_one_clear_message(files, tmp_path, more, message):
    result = run(files, *more, "--out", str(tmp_path / "out"))
    assert result.exit_code == 3
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_doses_between_decisions_are_given_on_their_days(files, tmp_path):
    (tmp_path / "obs.csv").write_text((files / "obs.csv").read_text())
    (tmp_path / "given.csv").write_text("TIME,AMT,RATE,DRUG\n3,2,1,drug\n14,7,1,drug\n")
    result = run(tmp_path, "--out", str(tmp_path / "out"), "--json", "--no-plot")
    schedule = json.loads(result.stdout)["schedule"]
    assert schedule["day"][:6] == [0.0, 3.0, 5.0, 7.0, 14.0, 21.0]
    assert schedule["doses"]["drug"][:5] == [0.0, 1.0, 0.0, 0.0, 1.0]


def test_doses_between_decisions_from_today_on_are_refused(files, tmp_path):
    (tmp_path / "obs.csv").write_text((files / "obs.csv").read_text())
    (tmp_path / "given.csv").write_text("TIME,AMT,RATE,DRUG\n23,3,1,drug\n")
    result = run(tmp_path, "--out", str(tmp_path / "out"))
    assert result.exit_code == 3
    assert "wanted doses that begin and end on days of decisions from today on; got one that" in result.stderr


@pytest.mark.parametrize(
    ("replaced", "by", "message"),
    [
        ('[[observation]]\nkind = "burden"\nnoise = 0.3\n', "", "wanted at least one [[observation]]"),
        ('kind = "burden"', 'kind = "variant_fraction"\nclone = "other"', 'observation[0].clone: wanted "tumor"'),
        ("noise = 0.3", 'every = "7 day"\ndays = ["0 day"]', "wanted either every or days"),
        ("noise = 0.3", 'days = ["7 day", "0 day"]', "observation[0].days: wanted days that increase"),
        (
            "noise = 0.3",
            'noise = 0.3\n[[observation]]\nkind = "burden"',
            'wanted each quantity once; got "burden" twice',
        ),
        ("noise = 0.3", "noise = -0.3", "observation[0].noise: wanted at least 0"),
    ],
)
def test_wrong_assays_get_one_clear_message(tmp_path, replaced, by, message):
    text = Path(SMALL).read_text()
    assert replaced in text
    (tmp_path / "wrong.toml").write_text(text.replace(replaced, by))
    result = CliRunner().invoke(app, ["replan", str(tmp_path / "wrong.toml"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 3
    assert message in result.stderr


def test_assays_resolve_to_themselves():
    scenario = Scenario.load("scenarios/competing_clones_trial.toml")
    resolved = scenario.resolved()["scenario"]
    assert [entry["kind"] for entry in resolved["observation"]] == ["burden", "variant_fraction"]
    assert Scenario.from_tables(resolved, "again").resolved()["scenario"] == resolved


def test_a_model_that_does_not_fit_is_never_solved(files, tmp_path):
    """A burden that jumps twentyfold each week is no line: the next dose is a rule's, and the exit code says it."""
    rows = "\n".join(f"{day},{value}" for day, value in ((0, 1e8), (7, 2e9), (14, 1e8), (21, 2e9)))
    (tmp_path / "jumps.csv").write_text(f"day,burden [cell]\n{rows}\n")
    options = ["--given", str(files / "given.csv"), "--observations", str(tmp_path / "jumps.csv")]
    options += ["--particles", "64", "--plan-particles", "4", "--restarts", "1", "--no-plot", "--json"]
    result = CliRunner().invoke(app, ["replan", str(SMALL), *options, "--out", str(tmp_path / "out")])
    assert result.exit_code == 5, result.stderr
    document = json.loads(result.stdout)
    assert document["status"] == "misfit"
    assert "what was measured does not fit the model: planned is the dose of the best rule" in document["reason"]
    assert "Solved" not in result.stderr
    found = document["misfit"]
    assert found["active"]
    # The first jump is out of the question; after it the noise that is learned leaves room for the others, and yet so
    # much noise is none.
    assert found["visits_outside_99_percent"] >= 1
    assert not document["fit"]["fits"]
    doses = document["schedule"]["doses"]["drug"]
    # The tumor is above where the rule begins again: its share of the largest dose, held, as far as the limit lets it.
    assert doses[4:] == pytest.approx([doses[3]] * 2)
    assert 0.0 < doses[3] <= found["fallback"]["share"]
    assert 7.0 * sum(doses) <= 20.0
    assert 7.0 * sum(doses) == pytest.approx(min(20.0, 14.0 + 21.0 * found["fallback"]["share"]))
    assert document["next"]["doses"]["drug"] == doses[3]


@pytest.mark.parametrize(("replaced", "status"), [("", "misfit"), ("limit", "solved"), ("may_stop", "solved")])
def test_a_plan_that_stops_for_good_while_the_burden_rises_is_never_solved(files, tmp_path, replaced, status):
    """Where drug costs more than any burden, nothing is planned; a limit or the file may ask for it."""
    text = SMALL.read_text().replace("roughness = 0.2", "roughness = 0.2\ndrug_use = 50.0")
    if replaced == "may_stop":
        text += "\n[progression]\nmay_stop = true\n"
    elif replaced:
        text = text.replace('limit = "20 day"', 'limit = "14 day"')
    (tmp_path / "small.toml").write_text(text)
    given = tmp_path / "given.csv"
    given.write_text(GIVEN.replace("21,7,0.5,drug\n", ""))
    options = ["--given", str(given), "--observations", str(files / "obs.csv"), "--particles", "64"]
    options += ["--plan-particles", "4", "--restarts", "1", "--no-plot", "--json", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["replan", str(tmp_path / "small.toml"), *options])
    document = json.loads(result.stdout)
    assert (document["status"], result.exit_code) == (status, 0 if status == "solved" else 5), document["reason"]
    found, doses = document["misfit"], document["schedule"]["doses"]["drug"][3:]
    assert document["fit"]["fits"]
    assert not found["active"]
    assert found["overruled"] == (status == "misfit")
    assert any(doses) == found["overruled"]
    if found["overruled"]:
        said = "the plan would stop treatment for good while the measured burden rises: planned is the dose of the"
        assert document["reason"].startswith(said)
        assert "Solved" not in result.stderr
        assert result.stderr.splitlines()[-3].startswith("Misfit: what was measured contradicts the model or its plan")
