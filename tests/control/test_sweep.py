"""Sweeps of assays: the same patients, the same draws of noise, scaled; what one more measurement is worth."""

import csv
import json

import numpy as np
import pytest

from optimizer.control.assays import Changes, changed
from optimizer.control.sweep import options_of, run_sweep
from optimizer.files.chunks import Workers
from optimizer.files.run import columns_of
from optimizer.scenario import ScenarioError

from .hidden import files, shared


@pytest.fixture(scope="module")
def trial():
    return shared()


@pytest.fixture(scope="module")
def swept(trial, tmp_path_factory):
    """Two visit intervals, two noises, and the directory."""
    out = tmp_path_factory.mktemp("sweep") / "run"
    axes = options_of(["visit_every=28,56", "noise=0,0.3"])
    return run_sweep(trial, axes, out, lambda result, place: None, {"jax": "1"}), out


def errors(out, name):
    path = out / name / "decisions" / "000000000.parquet"
    log = columns_of(path.read_bytes(), path, {})
    own = (log["patient"] == 0) & (np.array(log["policy"]) == "AT50")
    return np.log(log["measured.burden [cell]"][own] / log["burden"][own])


def test_each_combination_has_a_directory_and_a_row(swept):
    sweep, out = swept
    folders = sorted(path.name for path in out.iterdir() if path.is_dir())
    wanted = [f"visit_every_{days}-noise_{noise}" for days in (28, 56) for noise in (0, 0.3)]
    assert folders == sorted(wanted)
    assert len(sweep["rows"]) == 4 * len(shared().rows)
    with (out / "sweep.csv").open() as handle:
        assert len(list(csv.DictReader(handle))) == len(sweep["rows"])
    document = json.loads((out / "sweep.json").read_text())
    assert document["axes"] == {"visit_every": [28.0, 56.0], "noise": [0.0, 0.3]}


def test_noise_is_the_same_draws_scaled(swept, trial):
    _, out = swept
    assert errors(out, "visit_every_28-noise_0") == pytest.approx(0.0, abs=1e-9)
    often, seldom = (errors(out, f"visit_every_{days}-noise_0.3") for days in (28, 56))
    assert np.std(often) > 0.1
    assert seldom[::2] == pytest.approx(often[::2], abs=1e-9)
    assert np.isnan(seldom[1::2]).all()


def test_fewer_visits_are_fewer_measurements(swept):
    sweep, _ = swept
    found = {(row["visit_every"], row["policy"]): row for row in sweep["rows"] if row["noise"] == 0.0}
    assert found[28.0, "continuous"]["measurements"] > 1.5 * found[56.0, "continuous"]["measurements"]
    same = [found[days, "continuous"]["mean_without_progression_day"] for days in (28.0, 56.0)]
    assert same[0] == same[1]


def test_what_a_measurement_is_worth_is_a_difference(swept):
    sweep, _ = swept
    worth = next(w for w in sweep["worth"] if w["policy"] == "AT50" and w["noise"] == 0.0)
    rows = [row for row in sweep["rows"] if row["policy"] == "AT50" and row["noise"] == 0.0]
    means = [row["mean_without_progression_day"] for row in rows]
    more = rows[0]["measurements"] - rows[1]["measurements"]
    assert worth["mean_day"] == pytest.approx(means[0] - means[1])
    assert worth["mean_day_each"] == pytest.approx((means[0] - means[1]) / more)
    assert any("AT50, noise 0: visits every 28 instead of 56 days" in sentence for sentence in sweep["sentences"])


def test_a_sweep_goes_on_to_the_same_bytes(swept, trial):
    sweep, out = swept
    whole = files(out)
    (out / "visit_every_56-noise_0" / "chunks" / "000000002.parquet").unlink()
    (out / "sweep.json").unlink()
    run_sweep(trial, sweep["axes"], out, lambda result, place: None, {"jax": "1"})
    assert files(out) == whole


def test_a_part_of_a_sweep_makes_what_is_missing(swept, trial):
    sweep, out = swept
    whole = files(out)
    (out / "visit_every_56-noise_0" / "chunks" / "000000002.parquet").unlink()
    assert run_sweep(trial, sweep["axes"], out, pytest.fail, {"jax": "1"}, workers=Workers(part=(2, 2))) is None
    assert run_sweep(trial, sweep["axes"], out, lambda result, place: None, {"jax": "1"}) == sweep
    assert files(out) == whole


def test_other_channels_are_measured_no_more_often_than_they_are(trial):
    every = [float(c.assay.every) for c in changed(trial.scenario.channels(), Changes(visit_every=28.0))]
    assert every == [28.0, 56.0]
    noises = [float(c.assay.noise) for c in changed(trial.scenario.channels(), Changes(noise=0.0))]
    assert noises == [0.0, 0.4]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("visits=7", 'wanted one of "visit_every", "noise", "delay", "missing"; got "visits"'),
        ("noise=a", "noise: wanted numbers of at least 0"),
        ("visit_every=0", "visit_every: wanted numbers above 0"),
        ("missing=0.95", "missing: wanted numbers of at least 0 and at most 0.9"),
        ("noise=0.1,0.1", "wanted different values of noise"),
    ],
)
def test_values_that_cannot_be_swept_are_refused(text, what):
    with pytest.raises(ScenarioError, match=what):
        options_of([text])
