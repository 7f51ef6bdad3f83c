"""What is believed of a resistant clone that may be there from the start: by the risk, and by what is measured."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.control import Inference, load_prior
from optimizer.control.trial import Settings, prepare
from optimizer.control.trial_run import run_trial
from optimizer.files.faults import DataError
from optimizer.files.toml import toml_text
from optimizer.observations import MEASURED, Record
from optimizer.scenario import Scenario
from tests.control.conftest import SMALL
from tests.ensemble.test_preexisting import VARY, two_drugs, written

RISKS, SEEN = (0.02, 0.4, 0.9), 0.5
OBSERVED = [{"kind": "burden", "noise": SEEN}]


def at_risk(folder, **changes):
    """Patients with these risks, whose burden is measured; the clone's cells are known where it is there."""
    written(folder, [f"p{i},{p}" for i, p in enumerate(RISKS)])
    cohort = {"cohort": {"risk": {"table": "risk.csv", "cv": 0.0}}, "observation": OBSERVED}
    return Scenario.from_tables(two_drugs(**cohort) | changes, "at_risk", folder=folder)


@pytest.fixture(scope="module")
def inference(tmp_path_factory):
    scenario = at_risk(tmp_path_factory.mktemp("belief"))
    return Inference(scenario, load_prior(scenario), scenario.channels(), particles=256)


def present(inference, belief):
    """Weight of the particles that have the clone."""
    there = np.asarray(jax.vmap(inference.prior.numbers)(belief.z))[:, -1] > 0.0
    weights = np.exp(np.asarray(belief.log_weights))
    assert weights.sum() == pytest.approx(1.0)
    return weights[there].sum()


@pytest.mark.parametrize("patient", range(3))
def test_the_belief_begins_at_the_patients_risk(inference, patient):
    belief = inference.begin(seed=0, patient=patient)
    assert present(inference, belief) == pytest.approx(RISKS[patient], abs=0.03)
    assert len(np.unique(np.asarray(belief.log_weights))) == 2


@pytest.mark.parametrize("patient", range(3))
def test_a_measurement_changes_the_odds_as_bayes_has_it(inference, patient):
    """Two hypotheses and a normal error: the posterior odds are the prior's times the ratio of the densities."""
    task = inference.problem.task
    doses = jnp.asarray([[1.0, 0.0]] * 3)
    particles = jnp.asarray([[0.0, -1.0], [0.0, 1.0]])
    record = Record(jnp.asarray([84.0]), jnp.zeros((1, 1)), jnp.full((1, 1), MEASURED))
    without, with_it = (float(inference.followed(z, doses, record, jax.random.key(0)).at.mean[0, 0]) for z in particles)
    assert with_it - without > SEEN
    shown = without + 0.7 * (with_it - without)
    seen = Record(record.day, jnp.full((1, 1), shown), record.seen)
    belief, _ = inference.update(jax.random.key(1), inference.begin(0, patient), doses, seen, jnp.ones((1, 1), bool))
    log_ratio = 0.5 * ((shown - without) ** 2 - (shown - with_it) ** 2) / SEEN**2
    odds = RISKS[patient] / (1.0 - RISKS[patient]) * np.exp(log_ratio)
    assert present(inference, belief) == pytest.approx(odds / (1.0 + odds), abs=0.1)
    assert task.grid.count == 3


def test_patients_who_stand_for_all_have_the_clone_as_often_as_all(inference):
    members = inference.members(400, 1.5)
    share = np.mean(np.asarray(members.systems.model.initial_cells)[:, 1] > 0.0)
    assert share == pytest.approx(np.mean(RISKS), abs=0.07)


FAST = {"particles": 32, "plan_particles": 8, "plan_iterations": 8, "restarts": 0, "policies": ("replan",)}


def test_a_trial_plans_for_each_patient_by_his_own_risk(tmp_path):
    scenario = at_risk(tmp_path)
    trial = prepare(scenario, Settings(**FAST))
    log = run_trial(trial, tmp_path / "run").decisions
    given = np.asarray(log["dose.B [1]"])[np.asarray(log["day"]) == 0.0]
    assert given[0] < 0.3 < given[2]
    again = run_trial(replace(trial, settings=Settings(**FAST, chunk=1, seed=0)), tmp_path / "again").decisions
    for name, column in log.items():
        assert np.array_equal(np.asarray(column), np.asarray(again[name]), equal_nan=name.startswith("replan")), name


def test_a_trial_needs_the_risk_of_every_hidden_patient(tmp_path):
    scenario = at_risk(tmp_path)
    truth = two_drugs(cohort={"vary": [VARY]})
    (tmp_path / "truth.toml").write_text(toml_text(truth))
    with pytest.raises(DataError, match=r"risk.csv: wanted at least 4 rows, one a patient; got 3"):
        prepare(scenario, Settings(**FAST, patients=4, truth=tmp_path / "truth.toml"))


def replanned(folder, *more):
    (folder / "s.toml").write_text(toml_text(at_risk(folder).resolved()["scenario"]))
    options = ["--particles", "64", "--plan-particles", "8", "--restarts", "1", "--no-plot", "--json", *more]
    return CliRunner().invoke(app, ["replan", str(folder / "s.toml"), "--out", str(folder / "out"), *options])


def test_replan_begins_at_the_risk_of_the_patient_who_is_named(tmp_path):
    told = replanned(tmp_path, "--patient", "p1")
    assert told.exit_code == 0, told.stderr
    (number,) = json.loads(told.stdout)["belief"]["numbers"].values()
    assert number["present"] == pytest.approx(RISKS[1], abs=0.05)
    assert number["before"]["present"] == number["present"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "model.clone[resistant].cells above 0" in page


@pytest.mark.parametrize(("name", "got"), [((), "none"), (("--patient", "bob"), "bob")])
def test_a_patient_whom_nobody_knows_is_refused(tmp_path, name, got):
    told = replanned(tmp_path, *name)
    assert told.exit_code == 3
    assert f"--patient: wanted one of the patients of cohort.risk, p0, p1, p2; got {got}" in told.stderr


def test_a_patient_without_a_risk_is_refused(tmp_path):
    told = CliRunner().invoke(app, ["replan", str(SMALL), "--patient", "ann", "--out", str(tmp_path / "out")])
    assert told.exit_code == 3
    assert "--patient: wanted a risk in [cohort] of" in told.stderr
