"""Risk from features: a known truth, a public table through the whole chain, and tables that cannot be used."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("sklearn")
pytest.importorskip("skops")

from optimizer.cli import app
from optimizer.files.faults import DataError
from optimizer.risk.table import classes, read_features
from optimizer.risk.train import apply, half_width, save, train
from optimizer.settings import RiskTrainSettings as Settings


def written(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def patients(folder, count, seed, name="features.csv"):
    """The outcome depends on two clinical numbers; the features of the image are chance."""
    rng = np.random.default_rng(seed)
    x, image = rng.normal(size=(count, 2)), rng.normal(size=(count, 3))
    truth = 1.0 / (1.0 + np.exp(-(1.5 * x[:, 0] - x[:, 1])))
    y = (rng.random(count) < truth).astype(int)
    who = [f"p{i}" for i in range(count)]
    header = [
        "patient",
        "diagnostics_Versions_PyRadiomics",
        "Image",
        *(f"original_glcm_F{j}" for j in range(3)),
        "EGFR",
    ]
    rows = [[w, "v3.1", f"{w}.nrrd", *f, k] for w, f, k in zip(who, image.tolist(), y.tolist(), strict=True)]
    features = written(folder / name, header, rows)
    kind = np.where(x[:, 1] > 0, "never", "ever")
    rows = [[w, *c, k] for w, c, k in zip(reversed(who), x[::-1].tolist(), kind[::-1], strict=True)]
    return features, written(folder / f"clinical_{name}", ["id", "age", "pack_years", "smoking"], rows), truth, y


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A model of a known truth, and where it lies."""
    folder = tmp_path_factory.mktemp("risk")
    features, clinical, *_ = patients(folder, 1200, 0)
    trained = train(features, Settings(label="EGFR", clinical=clinical, folds=4, repeats=1, calibration="sigmoid"))
    return save(trained, folder / "model"), folder


def test_probabilities_of_a_known_truth_are_calibrated_and_intervals_cover(known, tmp_path):
    body, folder = known
    assert body["chosen"] in ("logistic", "clinical")
    assert 0.9 < body["models"][body["chosen"]]["calibration_slope"] < 1.1
    assert body["sentence"].startswith("The features add nothing")
    assert body["left_out"] == ["diagnostics_Versions_PyRadiomics", "Image"]
    assert next(iter(body["importance"])) == "clinical"
    features, clinical, truth, y = patients(tmp_path, 2000, 1)
    found = apply(folder / "model", features, clinical)
    assert np.mean((found.low <= y) & (y <= found.high)) == pytest.approx(0.9, abs=0.03)
    assert np.mean(np.abs(found.probability - truth)) < 0.05
    assert found.patients[:2] == ("p0", "p1")


def test_intervals_cover_over_many_seeds_as_they_say():
    """600 patients each time: one training strays by a percent and a half, the mean of many does not."""
    from sklearn.linear_model import LogisticRegression

    from optimizer.risk.model import fit, judged

    def drawn(count, rng):
        x = rng.normal(size=(count, 5))
        return x, (rng.random(count) < 1.0 / (1.0 + np.exp(-(1.5 * x[:, 0] - x[:, 1])))).astype(int)

    covered = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        (x, y), (others, outcome) = drawn(600, rng), drawn(4000, rng)
        found = judged(LogisticRegression(), x, y, 4, 1, seed)
        width = half_width(np.abs(y - found.probability).mean(axis=0), 0.9)
        foretold = fit(LogisticRegression(), x, y).predict_proba(others)[:, 1]
        covered.append(np.mean(np.abs(outcome - foretold) <= width))
    assert np.mean(covered) == pytest.approx(0.9, abs=0.01)
    assert np.mean(np.abs(np.array(covered) - 0.9) <= 0.03) > 0.85


def test_a_public_table_goes_through_the_whole_chain(tmp_path):
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    names = [f"original_firstorder_{name.replace(' ', '_')}" for name in data.feature_names]
    x = data.data.astype(object)
    x[3, 2] = "NA"
    rows = [[f"p{i}", "v3", *map(str, row), data.target_names[data.target[i]]] for i, row in enumerate(x)]
    file = written(tmp_path / "f.csv", ["patient", "diagnostics_Versions", *names, "diagnosis"], rows)
    options = ["--label", "diagnosis", "--folds", "3", "--repeats", "1", "--out", str(tmp_path / "m"), "--json"]
    done = CliRunner().invoke(app, ["risk", "train", str(file), *options])
    assert done.exit_code == 0, done.stderr
    body = json.loads(done.stdout)
    assert body == json.loads((tmp_path / "m" / "risk.json").read_text())
    assert body["classes"] == {"0": "benign", "1": "malignant"}
    assert body["models"][body["chosen"]]["auc"] > 0.97
    assert "no clinical model" in body["sentence"]
    said = CliRunner().invoke(app, ["risk", "apply", str(tmp_path / "m"), str(file)])
    assert said.exit_code == 0, said.stderr
    found = list(csv.DictReader(said.stdout.splitlines()))
    assert [row["patient"] for row in found] == [f"p{i}" for i in range(569)]
    right = [(float(row["probability"]) > 0.5) == (k == 0) for row, k in zip(found, data.target, strict=True)]
    assert np.mean(right) > 0.95


def test_a_model_that_was_changed_or_is_none_is_refused(known, tmp_path):
    import shutil

    _, folder = known
    copy = shutil.copytree(folder / "model", tmp_path / "copy")
    with (copy / "model.skops").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"model\.skops: wanted the digest in risk\.json; got another"):
        apply(copy, folder / "features.csv")
    with pytest.raises(DataError, match="wanted a model that adose risk train wrote; got"):
        apply(tmp_path / "none", folder / "features.csv")
    with pytest.raises(DataError, match='wanted the column "age", which the model was trained on; got none'):
        apply(folder / "model", folder / "features.csv")


HEADER = ["patient", "original_glcm_A", "EGFR"]
TABLES = {
    "label": (["patient", "original_glcm_A"], [["a", 1]], 'f.csv:1: wanted the label "EGFR"; got the columns'),
    "one class": (HEADER, [[f"p{i}", i, "wild"] for i in range(30)], 'wanted two classes; got 1: "wild"'),
    "three": (HEADER, [[f"p{i}", i, i % 3] for i in range(30)], "wanted two classes; got 3"),
    "NaN": (HEADER, [["a", 1, 0], ["b", 2, "nan"], ["c", 3, 1]], "f.csv:3: column EGFR: wanted a label; got none"),
    "nobody": (HEADER, [], "f.csv:1: wanted a header and a row for each patient; got no row"),
    "few": (
        HEADER,
        [[f"p{i}", i, i % 2] for i in range(12)],
        "wanted at least 10 patients of each class, two for",
    ),
    "twice": (HEADER, [["a", 1, 0], ["a", 2, 1]], 'column patient: wanted each patient once; got "a" twice'),
    "no feature": (["patient", "diagnostics_A", "EGFR"], [["a", 1, 0]], "wanted at least one column of numbers"),
    "empty": (HEADER, [[f"p{i}", "NA", i % 2] for i in range(30)], "wanted at least one column with numbers; got none"),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_that_cannot_be_used_are_sentences(tmp_path, case):
    header, rows, said = TABLES[case]
    file = written(tmp_path / "f.csv", header, rows)
    done = CliRunner().invoke(app, ["risk", "train", str(file), "--label", "EGFR", "--out", str(tmp_path / "m")])
    assert done.exit_code == 3
    # After what is being done, one line.
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "m").exists()


def test_clinical_patients_are_found_by_name(tmp_path):
    file = written(tmp_path / "f.csv", HEADER, [["a", 1, 0], ["b", 2, 1]])
    with pytest.raises(DataError, match=r'wanted a row for each patient of .*; got none for "b"'):
        read_features(file, "EGFR", written(tmp_path / "c.csv", ["patient", "age"], [["a", 40]]))
    with pytest.raises(DataError, match="wanted a column of patients, such as patient; got none"):
        read_features(file, "EGFR", written(tmp_path / "d.csv", ["age"], [[40], [50]]))
    rows = [["b", 50, "m"], ["a", "", "f"], ["c", 1, "m"], ["d", 2, "f"]]
    found = read_features(file, "EGFR", written(tmp_path / "e.csv", ["patient", "age", "sex"], rows))
    assert found.names == ("original_glcm_A", "age", "sex = f", "sex = m")
    assert found.groups == ("original glcm", "clinical", "clinical", "clinical")
    assert np.array_equal(found.values, [[1, np.nan, 1, 0], [2, 50, 0, 1]], equal_nan=True)
    assert classes(found, file, "EGFR")[0].tolist() == [0, 1]


def test_the_conformal_quantile_counts_one_patient_more():
    assert half_width(np.arange(1, 10) / 10, 0.9) == 0.9
    assert half_width(np.arange(1, 9) / 10, 0.9) == 1.0
