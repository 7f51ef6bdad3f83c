"""The cohorts of patients: published times to progression, from the tables that the project carries."""

import csv
import math
import tomllib

import numpy as np
import pytest

from optimizer.control.assays import Changes
from optimizer.control.prior import load_prior
from optimizer.control.trial import Settings, prepare
from optimizer.control.trial_run import run_trial
from optimizer.ensemble.patients import load_patients
from optimizer.scenario import Scenario

from .hidden import ROOT

PUBLISHED = ROOT / "tests" / "published" / "data" / "synthetic_patients_lv.csv"


def long(name, horizon):
    """A shipped cohort over so many days."""
    data = tomllib.loads((ROOT / "scenarios" / f"{name}.toml").read_text())
    decision = data["decision"] | {"horizon": f"{horizon} day"}
    return Scenario.from_tables(data | {"decision": decision}, name, folder=ROOT / "scenarios")


def test_rules_on_the_synthetic_patients_are_the_published_ones(tmp_path):
    """Continuous: the crossing rounded down; AT50 with weekly decisions: to the week in which it lies."""
    settings = Settings(policies=("continuous", "AT50"), restarts=0, changes=Changes(noise=0.0))
    table = run_trial(prepare(long("synthetic_patients", 5000), settings), tmp_path / "run").table
    with PUBLISHED.open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert table["name"][::2] == [row["patient"] for row in rows]
    days = {name: table["progression_day"][np.array(table["policy"]) == name] for name in settings.policies}
    assert [math.floor(day) for day in days["continuous"]] == [int(row["ttp_continuous_day"]) for row in rows]
    assert (abs(days["AT50"] - [float(row["ttp_at50_weekly_day"]) for row in rows]) < 7.0).all()
    assert (days["AT50"] <= table["ideal_bound_day"][::2]).all()


@pytest.mark.parametrize(("name", "count", "unknown"), [("synthetic_patients", 10, 3), ("prostate_patients", 67, 5)])
def test_the_belief_is_the_spread_of_the_cohort(name, count, unknown):
    scenario = Scenario.load(ROOT / "scenarios" / f"{name}.toml")
    patients, prior = load_patients(scenario, None, 0), load_prior(scenario)
    assert patients.values.shape == (count, unknown)
    assert not patients.faults
    assert prior.count == unknown
    # Both clones of a patient die alike: the two columns are one number.
    assert patients.values[:, -1] == pytest.approx(patients.values[:, -2])
    covariance = prior.root @ prior.root.T
    assert covariance[-1, -2] == pytest.approx(covariance[-1, -1])
