"""A training makes its loss small, is judged on others, writes what can be read, and stops when it is told to."""

import csv
import json
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.control import body, decide, document_of, learn, train_run as run_room
from optimizer.control.assays import BurdenAssays
from optimizer.control.closed_loop import Conduct, Feedback, closed_loop
from optimizer.control.comparators import at50
from optimizer.control.decisions import to_csv
from optimizer.control.train import TrainingSet, temperature_at, train
from optimizer.control.train_run import AT50, CONTINUOUS, NETWORK, TUNED, _split, _verdict
from optimizer.control.tune import open_rule, tuned
from optimizer.ensemble import Ensemble, Risk
from optimizer.files.run_directory import to_text
from optimizer.policies.network import Network, first_weights
from optimizer.report.plots.control import training_figure
from optimizer.scenario import Scenario, ScenarioError
from optimizer.simulate import rollout
from optimizer.status import Status
from tests.policies.test_network import by_hand

from .conftest import COHORT, SCENARIO, STEPS, scenario_of


def mean(learned, name):
    return float(np.mean(learned.outcomes[name].evaluation.objective))


def test_it_learns_and_holds_others_longer(learned):
    first, best = learned.training.history[0], learned.training.best
    assert best.loss < first.loss - 0.05
    assert best.objective == min(look.objective for look in learned.training.history)
    assert mean(learned, NETWORK) < mean(learned, CONTINUOUS) - 0.02
    assert mean(learned, TUNED) < mean(learned, AT50) + 1e-9
    assert learned.split.are_others
    assert learned.held_out == 24
    assert learned.audit.passed
    assert learned.status in (Status.SOLVED, Status.NOT_CONVERGED)
    assert (learned.status is Status.SOLVED) == learned.training.converged
    assert "in the last tenth of 80 steps" in learned.reason


def test_a_patient_is_simulated_as_alone(learned, clones):
    """The network's doses in one of the held-out patients, by the rollout of that patient's own system."""
    ensemble, policy = learned.split.ensemble, learned.split.ensemble.problem.limited(learned.network)
    task = ensemble.of(learned.split.count + 3)
    alone = float(jax.jit(lambda: task.objective.evaluate(task.scene(rollout(task.system, policy, task.grid))))())
    assert float(learned.outcomes[NETWORK].evaluation.objective[3]) == pytest.approx(alone, abs=1e-12)
    days = -alone * float(task.grid.horizon)
    assert float(learned.outcomes[NETWORK].evaluation.progression[3]) == pytest.approx(days, abs=1e-6)


def test_the_same_seed_gives_the_same_bytes(learned, clones, settings):
    again = learn(clones, settings)
    assert to_text(document_of(again)) == to_text(document_of(learned))
    assert {n: c.evaluation.objective.tobytes() for n, c in again.outcomes.items()} == {
        n: c.evaluation.objective.tobytes() for n, c in learned.outcomes.items()
    }


def test_the_loss_has_the_gradient_that_differences_say(learned):
    members = learned.split.ensemble.members(0, 6)
    controller = Feedback(learned.split.ensemble.problem.limited(learned.network), True)
    training_set = TrainingSet(
        members, controller, BurdenAssays(jnp.asarray(0.1), 36), Risk.CVAR, 0.5, jnp.asarray(0.1)
    )
    any_draw = jax.jit(jax.value_and_grad(lambda w, draw: training_set.loss(w, jnp.asarray(0.7), draw)))

    def both(weights, draw=0):
        return any_draw(weights, jnp.asarray(draw))

    at = jnp.asarray(first_weights(1, 8, 1))
    way = jnp.asarray(np.random.default_rng(0).normal(size=at.size))
    measured = float(both(at + 1e-6 * way)[0] - both(at - 1e-6 * way)[0]) / 2e-6
    assert float(both(at)[1] @ way) == pytest.approx(measured, rel=1e-4)
    # Each step measures anew.
    assert len({float(both(at, draw)[0]) for draw in (0, 1, 2)}) == 3
    assert abs(measured) > 1e-3


def test_the_temperature_falls_and_stays():
    found = [float(temperature_at(jnp.asarray(float(step)), 100)) for step in (0, 35, 70, 100)]
    assert found == pytest.approx([1.0, 0.1**0.5, 0.1, 0.1])


def test_noise_belongs_to_the_patient(learned):
    ensemble = learned.split.ensemble
    controller = Feedback(ensemble.problem.limited(at50(ensemble.problem)), True)
    task = ensemble.of(0)

    @jax.jit
    def given(noise, number):
        assays = BurdenAssays(noise, task.grid.count)(number)
        return controller.control(task, assays, Conduct(1.0))[0].doses

    def doses(noise, number):
        return np.asarray(given(jnp.asarray(noise), jnp.asarray(number)))

    assert (doses(0.3, 1) == doses(0.3, 1)).all()
    assert (doses(0.3, 1) != doses(0.3, 2)).any()
    assert (doses(0.0, 1) == doses(0.0, 2)).all()


def test_the_tuned_rule_is_no_worse_than_a_grid(learned):
    ensemble = learned.split.ensemble
    members, assays, conduct = ensemble.members(0, 24), BurdenAssays(jnp.zeros(()), 36), Conduct(1.2)
    rule = open_rule(None, ensemble.problem, 1.2, delay=0)
    controller, numbers, value = tuned(members, assays, ensemble.problem, rule, Risk.MEAN, 0.9)
    found = closed_loop(members, controller, assays, conduct)
    assert float(np.mean(found.evaluation.objective)) == pytest.approx(value, abs=1e-12)
    assert tuple(numbers) == rule.names
    best = np.array(list(numbers.values()))
    assert ((rule.lower <= best) & (best <= rule.upper)).all()
    rng, others = np.random.default_rng(0), []
    for _ in range(20):
        numbers = jnp.asarray(rng.uniform(rule.lower, rule.upper))
        other = Feedback(ensemble.problem.limited(rule.with_numbers(numbers)), True)
        others.append(float(np.mean(closed_loop(members, other, assays, conduct).evaluation.objective)))
    assert value <= min(others) + 1e-9


def test_decisions_are_those_of_the_network(learned, tmp_path):
    document = document_of(learned)
    text = to_csv(decide(learned.network, 28.0), learned.network, ["drug"], {"drug": "1"})
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) > 100
    lowest = "lowest burden [of the first]"
    for row in rows:
        day, burden, change, low = (
            float(row[name]) for name in ("day [day]", "burden [of the first]", "change in a week [percent]", lowest)
        )
        # Digits behind the point are as many as a person reads.
        inputs = [np.log(burden), np.log1p(change / 100.0), np.log(burden / low), day / 1008.0]
        inputs.append(float(row["last share [1]"]))
        share = by_hand(np.array(document["weights"]), inputs, hidden=8)[0]
        assert float(row["share of drug [1]"]) == pytest.approx(share, rel=1e-4, abs=1e-6)
        assert float(row["dose of drug [1]"]) == pytest.approx(share, rel=1e-4, abs=1e-6)
        assert low <= min(1.0, burden)
    assert np.ptp([float(row["share of drug [1]"]) for row in rows]) > 0.2


def test_the_report_and_the_figure_say_it(learned):
    found = body(learned)
    assert json.loads(json.dumps(found, default=float))["network"] == {"hidden": 8, "weights": 129}
    held_out = found["held_out"]
    assert list(held_out) == [NETWORK, TUNED, AT50, CONTINUOUS]
    assert held_out[NETWORK]["over_network"] == {"mean": 0.0, "standard_error": 0.0, "share_of_patients": 0.0}
    assert held_out[CONTINUOUS]["over_network"]["mean"] == pytest.approx(
        mean(learned, CONTINUOUS) - mean(learned, NETWORK)
    )
    assert held_out[CONTINUOUS]["mean_share_of_largest_dose"] == 1.0
    assert len(found["training"]["history"]) == 1 + STEPS // 10
    figure = training_figure(learned)
    legends = [text.get_text() for ax in figure.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
    assert {"loss (smoothed)", "objective", "kept"} <= set(legends)
    assert any(text.startswith("network (median") for text in legends)
    assert "Research use only" in figure.get_supxlabel()


def verdict(learned, **changes):
    """What is said of the same network after another training."""
    training = replace(learned.training, **changes)
    problem = learned.split.ensemble.problem
    return _verdict(problem, problem.limited(learned.network), training, 0)[1:]


def test_the_verdict_says_what_went_wrong(learned):
    best, history = learned.training.best, learned.training.history
    breaks, lost = best._replace(excess=0.3), (*history[:-1], history[-1]._replace(loss=float("nan")))
    status, reason = verdict(learned, best=breaks)
    assert status is Status.INFEASIBLE
    assert reason == (
        "a limit is passed by 0.3 in some patient; no weights were found that keep every limit in every patient"
    )
    assert verdict(learned, history=lost) == (Status.SIMULATION_FAILED, "a number was not finite after 80 steps")
    assert verdict(learned, best=breaks, interrupted=True)[0] is Status.INTERRUPTED
    assert "passed by 0.3" in verdict(learned, best=breaks, interrupted=True)[1]
    assert verdict(learned, fall=0.1)[0] is Status.NOT_CONVERGED
    assert verdict(learned, fall=0.001)[0] is Status.SOLVED


def test_sums_of_doses_are_kept(learned):
    """The price pulls the doses of all patients under a limit on their sum."""
    limit = {"kind": "cumulative_dose", "drug": "drug", "limit": "300 day"}
    tables = learned.scenario.resolved()["scenario"] | {"constraint": [limit]}
    problem = Scenario.from_tables(tables, "sums").problem()
    ensemble = replace(learned.split.ensemble, problem=problem)
    members, assays = ensemble.members(0, 24), BurdenAssays(jnp.zeros(()), 36)
    # Weights whose first doses are nearly twice the budget.
    start = first_weights(1, 8, 1)
    network = Network(jnp.ones(1), jnp.asarray(start), hidden=8, span=jnp.asarray(1008.0))
    training_set = TrainingSet(
        members, Feedback(problem.limited(network), True), assays, Risk.MEAN, 0.9, jnp.asarray(0.1)
    )
    found = train(training_set, start, STEPS)
    # At first the limit is broken.
    assert found.history[0].excess > 0.5
    assert found.best.excess <= 1e-6
    came = closed_loop(members, training_set.with_weights(jnp.asarray(found.weights)), assays, Conduct(1.0))
    assert 100.0 < 28.0 * 36 * float(np.max(came.given)) <= 300.0 + 1e-6


def test_without_a_cohort_the_typical_patient_is_alone(tmp_path, settings):
    found = _split(scenario_of(tmp_path, SCENARIO), settings)
    assert (found.count, len(found.ensemble.included), found.are_others) == (1, 1, False)


def test_a_table_is_split(tmp_path, settings, monkeypatch):
    everybody = lambda _, patients: Ensemble(None, None, patients, {})  # noqa: E731
    monkeypatch.setattr(run_room, "build_ensemble", everybody)
    rows = "\n".join(f"{cells}" for cells in (0.002, 0.004, 0.008, 0.016))
    (tmp_path / "table.csv").write_text(f"model.clone[resistant].cells\n{rows}\n")
    scenario = scenario_of(tmp_path, f'{SCENARIO}[cohort]\ntable = "table.csv"\n')
    found = _split(scenario, replace(settings, patients=3))
    assert (found.count, len(found.ensemble.included), found.are_others) == (3, 4, True)
    with pytest.raises(ScenarioError, match="fewer than the 4 patients of the table"):
        _split(scenario, replace(settings, patients=4))


def run(*arguments):
    done = CliRunner().invoke(app, ["train", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clones.toml").write_text(SCENARIO + COHORT)
    return tmp_path


SMALL = ("clones.toml", "--patients", "24", "--held-out", "24", "--width", "8", "--steps", str(STEPS))


def test_a_run_writes_what_a_scenario_can_name(folder, learned):
    done = run(*SMALL, "--json", "--out", "run")
    assert done.exit_code == learned.status.exit_code, done.stderr
    files = ["decisions.csv", "network.json", "report.html", "resolved.json"]
    files += ["train.json", "training.png", "training.svg"]
    assert sorted(path.name for path in (folder / "run").iterdir()) == files
    assert done.stdout == (folder / "run" / "train.json").read_text()
    written = json.loads((folder / "run" / "network.json").read_text())
    assert written["weights"] == document_of(learned)["weights"]
    named = '[[regimen]]\nname = "trained"\npolicy = { kind = "network", file = "run/network.json" }\n'
    (folder / "clones.toml").write_text(SCENARIO + COHORT + named)
    again = CliRunner().invoke(app, ["simulate", "clones.toml", "--regimen", "trained", "--json"])
    assert again.exit_code == 0, again.stderr
    problem = learned.split.ensemble.problem
    total = problem.simulate(learned.network)[1].total
    assert json.loads(again.stdout)["objective"]["total"] == pytest.approx(total, abs=1e-5)


def test_an_interrupted_run_keeps_the_best(folder, monkeypatch):
    @contextmanager
    def impatient():
        def tell(event):
            if event.phase == "train" and event.done >= 20:
                raise KeyboardInterrupt

        yield tell

    monkeypatch.setattr(import_module("optimizer.cli.train"), "progress", impatient)
    done = run(*SMALL, "--no-plot", "--out", "run")
    assert done.exit_code == 130
    document = json.loads((folder / "run" / "train.json").read_text())
    assert document["status"] == "interrupted"
    assert document["reason"] == "interrupted after 20 of 80 steps"
    assert document["training"]["best"]["step"] in (0, 10, 20)
    assert "tuned rule" not in document["held_out"]
    assert "the best network so far was kept" in done.stderr
    assert json.loads((folder / "run" / "network.json").read_text())["trained"]["status"] == "interrupted"


def test_nothing_to_keep_is_nothing_written(learned):
    members = learned.split.ensemble.members(0, 24)
    controller = Feedback(learned.split.ensemble.problem.limited(Network(jnp.ones(1), jnp.zeros(129), hidden=8)), True)
    training_set = TrainingSet(members, controller, BurdenAssays(jnp.zeros(()), 36), Risk.MEAN, 0.9, jnp.asarray(0.1))

    def tell(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(training_set, np.zeros(129), STEPS, tell)


def test_mistakes_are_sentences(folder):
    assert "--alpha: wanted at least 0 and less than 1; got 1" in run(*SMALL, "--alpha", "1").stderr
    assert "--noise: wanted at least 0" in run(*SMALL, "--noise", "-1").stderr
    (folder / "clones.toml").write_text(SCENARIO + COHORT.replace("resistant", "other"))
    done = run(*SMALL)
    assert done.exit_code == 3
    assert "cohort.vary[0].key" in done.stderr
    assert not (folder / "runs").exists()
