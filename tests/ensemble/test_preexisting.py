"""Who has a resistant clone from the start: probabilities of a table or of a model, and patients without the clone."""

import csv

import numpy as np
import pytest

from optimizer.ensemble.ensemble import build_ensemble
from optimizer.ensemble.patients import load_patients
from optimizer.ensemble.run import Settings, by_clone, run_chunks
from optimizer.ensemble.summary import _envelope, _equal, summary
from optimizer.files.chunks import Workers
from optimizer.files.faults import DataError
from optimizer.files.run import table_bytes
from optimizer.files.run_directory import DirectoryError
from optimizer.scenario import Scenario, ScenarioError

PROBABILITIES = [0.0, 1.0, 0.05, 0.9, 0.3, 0.6, 0.1]
VARY = {"key": "model.clone[sensitive].cells", "distribution": "lognormal", "cv": 0.3}
CLONE = "model.clone[1].cells"


def two_drugs(**changes):
    """Tables of a tumor in which B helps against the resistant clone alone, and costs as much as A."""
    clones = [
        {"name": name, "resistant": drug == "B", "cells": cells, "growth_rate": "0.03 / day"}
        | {"effect": [{"drug": drug, "law": "linear", "strength": "0.08 / day"}]}
        for name, drug, cells in (("sensitive", "A", 1e9), ("resistant", "B", 1e7))
    ]
    own = {"role": "inhibitor", "route": "infusion", "pk": {"kind": "direct"}, "dose": {"min": 0, "max": 1}}
    base = {
        "model": {"kind": "tumor", "clone": clones},
        "drug": [{"name": name} | own for name in "AB"],
        "decision": {"every": "28 day", "horizon": "84 day"},
        "objective": {"burden": 1.0, "drug_use": 0.3},
        "search": {"restarts": 2},
    }
    return base | changes


def written(folder, rows, header="patient,probability"):
    (folder / "risk.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def at_risk(folder, probabilities=PROBABILITIES, vary=(), **risk):
    """A scenario whose patients have these probabilities."""
    written(folder, [f"p{i},{p}" for i, p in enumerate(probabilities)])
    cohort = {"risk": {"table": "risk.csv"} | risk} | ({"vary": list(vary)} if vary else {})
    return Scenario.from_tables(two_drugs(cohort=cohort), "at_risk", folder=folder)


def test_the_clone_is_there_with_the_patients_probability_in_lognormal_numbers(tmp_path):
    risks = np.repeat([0.0, 1.0, 0.2], 2000).tolist()
    patients = load_patients(at_risk(tmp_path, risks, cv=0.5), None, seed=0)
    cells = patients.values[:, 0].reshape(3, 2000)
    assert (cells[0] == 0.0).all()
    assert (cells[1] > 0.0).all()
    assert np.mean(cells[2] > 0.0) == pytest.approx(0.2, abs=0.03)
    assert np.median(cells[1]) == pytest.approx(1e7, rel=0.05)
    assert np.std(cells[1]) / np.mean(cells[1]) == pytest.approx(0.5, rel=0.08)
    assert (patients.columns()["risk"] == risks).all()
    assert patients.names[:2] == ("p0", "p1")


def test_a_patients_cells_belong_to_index_seed_and_probability(tmp_path):
    scenario = at_risk(tmp_path, [0.5] * 40)
    many, few = load_patients(scenario, 40, seed=1), load_patients(scenario, 7, seed=1)
    assert (many.values[:7] == few.values).all()
    assert (load_patients(scenario, 40, seed=2).values != many.values).any()
    # Whoever has it keeps it, in the same number, when the probability rises.
    more = load_patients(at_risk(tmp_path, [0.8] * 40), 40, seed=1).values
    had = many.values > 0.0
    assert 10 < had.sum() < 30
    assert (more[had] == many.values[had]).all()
    assert (more > 0.0).sum() > had.sum()


def test_other_numbers_vary_as_they_do_without_a_risk(tmp_path):
    both = load_patients(at_risk(tmp_path, vary=[VARY]), None, seed=3)
    alone = load_patients(Scenario.from_tables(two_drugs(cohort={"vary": [VARY]}), "alone"), 7, seed=3)
    assert [place.key for place in both.places] == [VARY["key"], CLONE]
    assert (both.values[:, :1] == alone.values).all()
    assert (both.values[:, 1] == load_patients(at_risk(tmp_path), None, seed=3).values[:, 0]).all()


def test_an_absent_clone_is_a_tumor_without_it(tmp_path):
    ensemble = build_ensemble(at_risk(tmp_path), load_patients(at_risk(tmp_path), None, seed=0))
    assert not ensemble.excluded
    tables = two_drugs()
    tables["model"]["clone"] = tables["model"]["clone"][:1]
    task = Scenario.from_tables(tables, "sensitive").problem().task
    for doses in (task.lower, task.upper):
        trajectory, alone = (t.simulate(doses).trajectory for t in (ensemble.of(0), task))
        assert (np.asarray(trajectory.cells[:, 1]) < 1e-250).all()
        assert np.asarray(trajectory.burden) == pytest.approx(np.asarray(alone.burden), rel=1e-9)


def test_no_cells_at_all_are_still_no_tumor(tmp_path):
    (tmp_path / "cells.csv").write_text("patient,model.clone[0].cells,model.clone[1].cells\nann,1,0\nbob,0,0\n")
    scenario = Scenario.from_tables(two_drugs(cohort={"table": "cells.csv"}), "empty", folder=tmp_path)
    ensemble = build_ensemble(scenario, load_patients(scenario, None, seed=0))
    assert ensemble.excluded == {1: "patient bob: wanted a tumor that stays finite; got one that does not"}


def test_schedules_follow_the_clone_whatever_the_chunk_and_the_part(tmp_path):
    scenario = at_risk(tmp_path, vary=[VARY])
    cohort = run_chunks(scenario, Settings(chunk=7), tmp_path / "one")
    given = cohort.table["doses.B [1]"].sum(axis=1)
    has_it = cohort.table[f"{CLONE} [cell]"] > 0.0
    assert (given[has_it] > 0.5).all()
    assert (given[~has_it] < 1e-5).all()
    assert set(cohort.table["status"]) == {"solved"}
    for i in (2, 1):
        run_chunks(scenario, Settings(chunk=3), tmp_path / "parts", workers=Workers(part=(i, 2)))
    parts = run_chunks(scenario, Settings(chunk=3), tmp_path / "parts")
    assert table_bytes(parts.table) == table_bytes(cohort.table)
    at_risk(tmp_path, [0.5] * 7)
    with pytest.raises(DirectoryError, match=r"wanted source_sha256 = .*, as in the run that is there"):
        run_chunks(scenario, Settings(chunk=7), tmp_path / "one")


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (
            "patient,probability",
            ["p0,0.5", "p1,1.5"],
            'risk.csv:3: column probability: wanted a value of 0 to 1; got "1.5"',
        ),
        ("patient,probability", ["p0,-0.1"], 'risk.csv:2: column probability: wanted a value of 0 to 1; got "-0.1"'),
        ("patient,probability", ["p0,nan"], 'risk.csv:2: column probability: wanted a finite number; got "nan"'),
        ("patient,probability", ["p0,"], "risk.csv:2: column probability: wanted .*; got"),
        ("patient,probability", ["p0,high"], "risk.csv:2: column probability: wanted .*; got .*high"),
        ("patient,chance", ["p0,0.5"], "risk.csv:1: column probability: wanted a column named probability; got"),
        (
            "patient,probability",
            ["p0,0.5", "p0,0.6"],
            "risk.csv:3: column patient: wanted each patient once; got p0 twice",
        ),
        ("patient,probability", [], "risk.csv:1: wanted a header and a row for each patient; got no row"),
    ],
)
def test_a_table_that_is_none_of_risks_is_refused(tmp_path, header, rows, message):
    scenario = at_risk(tmp_path)
    written(tmp_path, rows, header)
    with pytest.raises(DataError, match=message):
        load_patients(scenario, None, seed=0)


def test_too_few_rows_and_no_file_are_refused(tmp_path):
    scenario = at_risk(tmp_path)
    with pytest.raises(DataError, match=r"risk.csv: wanted at least 9 rows, one a patient; got 7"):
        load_patients(scenario, 9, seed=0)
    (tmp_path / "risk.csv").unlink()
    with pytest.raises(DataError, match=r"risk.csv: wanted a file; got"):
        load_patients(scenario, None, seed=0)


def changed(clones, **risk):
    tables = two_drugs(cohort={"risk": {"table": "risk.csv"} | risk})
    tables["model"]["clone"] = [a | b for a, b in zip(tables["model"]["clone"], clones, strict=False)]
    return tables


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (changed([{}, {"resistant": False}]), "cohort.risk.clone: wanted .* resistant and has cells; got none of 0"),
        (changed([{"resistant": True}, {}]), "cohort.risk.clone: wanted the name .*; got none of 2 such clones"),
        (changed([{}, {}], clone="sensitive"), 'cohort.risk.clone: wanted .*: resistant; got "sensitive"'),
        (changed([{"resistant": True}]), 'cohort.risk.clone: wanted another clone .*; got "sensitive" alone'),
        (changed([{}, {}], column="a", model="b"), "cohort.risk: wanted either a column .*; got both"),
        (two_drugs(cohort={"risk": {"table": "r"}, "table": "t"}), "cohort: wanted one of .*; got table and risk"),
        (
            two_drugs(cohort={"risk": {"table": "r"}, "vary": [VARY | {"key": "model.clone[resistant].cells"}]}),
            r"cohort.vary: wanted each number once; got model.clone\[1\].cells, which risk draws",
        ),
    ],
)
def test_a_clone_that_no_risk_can_be_of_is_refused(tables, message):
    with pytest.raises(ScenarioError, match=message):
        Scenario.from_tables(tables, "refused")


def test_a_model_makes_the_probabilities_from_features(tmp_path):
    pytest.importorskip("skops")
    from optimizer.risk.train import apply, save, train
    from optimizer.settings import RiskTrainSettings

    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 2))
    y = (x[:, 0] + 0.3 * rng.normal(size=80) > 0.0).astype(int)
    with (tmp_path / "features.csv").open("w", newline="") as file:
        rows = [[f"p{i}", *own, k] for i, (own, k) in enumerate(zip(x.tolist(), y.tolist(), strict=True))]
        csv.writer(file).writerows([["patient", "a", "b", "mutant"], *rows])
    save(train(tmp_path / "features.csv", RiskTrainSettings(label="mutant", folds=2, repeats=1)), tmp_path / "model")
    scenario = at_risk(tmp_path, table="features.csv", model="model")
    patients = load_patients(scenario, 9, seed=0)
    assert (patients.risk == apply(tmp_path / "model", tmp_path / "features.csv").probability[:9]).all()
    assert np.ptp(patients.risk) > 0.5
    at_risk(tmp_path, table="risk.csv", model="model")
    with pytest.raises(DataError, match=r"risk.csv: wanted the column .*a.*, which the model was trained on; got none"):
        load_patients(at_risk(tmp_path, table="risk.csv", model="model"), None, seed=0)
    with pytest.raises(DataError, match=r"nowhere: wanted a model that adose risk train wrote"):
        load_patients(at_risk(tmp_path, table="features.csv", model="nowhere"), None, seed=0)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Thirteen patients, all of them typical but for the clone, and what their cohort comes to."""
    folder = tmp_path_factory.mktemp("judged")
    cohort = run_chunks(
        at_risk(folder, np.linspace(0.0, 1.0, 13).tolist(), cv=0.0), Settings(restarts=1), folder / "run"
    )
    return cohort, summary(cohort)


def test_the_value_of_a_risk_is_that_of_a_choice_by_its_probability(judged):
    cohort, body = judged
    value, table = body["value_of_risk"], cohort.table
    has_it = table[f"{CLONE} [cell]"] > 0.0
    assert cohort.schedules == ("personalised", "population", "typical", "absent", "present")
    assert value["with_the_clone"] == has_it.sum()
    # All without the clone are one patient, and so are all with it.
    for name, group in (("absent", ~has_it), ("present", has_it)):
        assert table[f"{name}.objective"][group] == pytest.approx(table["personalised.objective"][group], abs=1e-5)
    names = ("absent", "population", "present")
    mean = {name: [np.mean(table[f"{name}.objective"][group]) for group in (~has_it, has_it)] for name in names}
    expected = np.array([(1.0 - p) * mean[name][0] + p * mean[name][1] for name in names for p in table["risk"]])
    expected = expected.reshape(3, 13)
    assert value["of_the_probability"] == pytest.approx(expected.mean(axis=1).min() - expected.min(axis=0).mean())
    assert 0.0 < value["of_the_probability"] < value["of_the_clone"]
    p = value["threshold"]
    assert (1.0 - p) * mean["absent"][0] + p * mean["absent"][1] == pytest.approx(
        (1.0 - p) * mean["present"][0] + p * mean["present"][1]
    )
    assert [entry["schedule"] for entry in value["schedules_by_probability"]] == list(names)
    starts = [entry["from"] for entry in value["schedules_by_probability"]]
    assert starts[0] == 0.0 < starts[1] < p < starts[2] < 1.0
    for s, name in enumerate(names):
        assert value["patients_by_schedule"][name] == np.sum(expected.argmin(axis=0) == s)


def test_the_sentence_says_the_numbers(judged):
    value = judged[1]["value_of_risk"]
    assert f"present from {value['schedules_by_probability'][2]['from']:.2g} on" in value["sentence"]
    assert f"(of absent and present alone: from {value['threshold']:.2g} on)" in value["sentence"]
    assert f"by {value['of_the_probability']:.3g}, knowing who has the clone by" in value["sentence"]


def test_where_nobody_or_everybody_has_the_clone_there_is_no_such_value(tmp_path):
    scenario = at_risk(tmp_path, [1.0, 1.0])
    assert by_clone(build_ensemble(scenario, load_patients(scenario, None, seed=0))) == []


def test_a_schedule_that_is_better_for_both_leaves_no_threshold():
    best, other = np.array([1.0, 2.0]), np.array([1.5, 3.0])
    assert _equal(best, other) is None
    assert _envelope(np.array([other, best, other])) == [(0.0, 1)]
