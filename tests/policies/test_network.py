"""The network policy: in the closed loop as by hand, its gradient, its file."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.files.run_directory import to_text
from optimizer.policies.base import Observation
from optimizer.policies.network import INPUTS, Network, first_weights, weight_count
from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.networks import network_document
from optimizer.simulate import rollout

from .test_rules import EVERY, VISITS, loop, tables

HIDDEN, SPAN = 5, EVERY * VISITS


def by_hand(weights, inputs, drugs=1, hidden=HIDDEN):
    """The layers written out."""
    sizes, x, used = [len(INPUTS) + drugs, hidden, hidden, drugs], np.asarray(inputs), 0
    for layer in range(3):
        size = sizes[layer] * sizes[layer + 1]
        matrix = weights[used : used + size].reshape(sizes[layer + 1], sizes[layer])
        bias = weights[used + size : used + size + sizes[layer + 1]]
        used += size + sizes[layer + 1]
        z = matrix @ x + bias
        x = 1.0 / (1.0 + np.exp(-z)) if layer == 2 else np.tanh(z)
    assert used == weights.size
    return x


@pytest.fixture(scope="module")
def network():
    # Far enough from 0 for the decisions to differ.
    weights = 2.0 * first_weights(1, HIDDEN, 3) + 0.1
    return Network(jnp.ones(1), jnp.asarray(weights), hidden=HIDDEN, span=jnp.asarray(SPAN))


@pytest.fixture(scope="module")
def clones():
    return Scenario.from_tables(tables(), "clones").problem()


@pytest.mark.parametrize("delay", [0, 2])
def test_the_network_is_its_loop(clones, network, delay):
    late = Network(network.dose_max, network.weights, hidden=HIDDEN, span=network.span, delay=delay)

    def decide(seen, shares):
        # Before there is a measurement that is late enough, the first one counts.
        heard = [seen[max(i - delay, 0)] for i in range(len(seen))]
        now, before = heard[-1], heard[-2] if len(heard) > 1 else heard[-1]
        change = 7.0 * np.log(now / before) / EVERY
        inputs = [np.log(now / heard[0]), change, np.log(now / min(heard)), (len(seen) - 1) * EVERY / SPAN]
        return float(by_hand(np.asarray(network.weights), [*inputs, shares[-1] if shares else 0.0])[0])

    doses = np.asarray(clones.simulate(late)[0].doses)[:, 0]
    assert doses == pytest.approx(loop(decide), abs=1e-4)
    assert np.ptp(doses) > 0.1


def test_the_gradient_runs_through_the_closed_loop(clones, network):
    task = clones.task

    @jax.jit
    def value(weights):
        policy = eqx.tree_at(lambda p: p.weights, network, weights)
        return task.objective.evaluate(task.scene(rollout(task.system, policy, task.grid)))

    slope = jax.jit(jax.grad(value))(network.weights)
    for seed in range(3):
        way = jnp.asarray(np.random.default_rng(seed).normal(size=slope.size))
        measured = float(value(network.weights + 1e-5 * way) - value(network.weights - 1e-5 * way)) / 2e-5
        assert float(slope @ way) == pytest.approx(measured, rel=1e-5)
        assert abs(measured) > 1e-4
    assert network.smooth(jnp.asarray(0.5)) is network


def test_each_drug_has_a_share_of_its_own():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=weight_count(2, HIDDEN)))
    network = Network(jnp.asarray([2.0, 30.0]), weights, hidden=HIDDEN)
    seen = Observation(jnp.asarray(0), *(jnp.asarray(v) for v in (0.0, 7.0, 1e8, 1e8)))
    dose, memory = network.decide(network.init(), seen)
    wanted = by_hand(np.asarray(weights), np.zeros(6), drugs=2)
    assert np.asarray(dose) == pytest.approx(wanted * [2.0, 30.0], rel=1e-12)
    # The next visit sees what was given.
    later = Observation(jnp.asarray(1), *(jnp.asarray(v) for v in (7.0, 7.0, 1e8, 1e8)))
    inputs = [0.0, 0.0, 0.0, 7.0 / 365.0, *wanted]
    shares = by_hand(np.asarray(weights), inputs, drugs=2)
    assert np.asarray(network.decide(memory, later)[0]) == pytest.approx(shares * [2.0, 30.0], rel=1e-12)


def document(network, **changes):
    return network_document(network, ["drug"], "clones", {"seed": 0}) | changes


def with_file(folder, text):
    (folder / "network.json").write_text(text)
    policy = {"kind": "network", "file": "network.json"}
    return Scenario.from_tables(tables(regimen=[{"name": "n", "policy": policy}]), "clones", folder=folder)


def test_a_file_gives_the_same_bytes_and_doses(tmp_path, clones, network):
    text = to_text(document(network))
    scenario = with_file(tmp_path, text)
    found = scenario.regimens()[0].policy
    assert to_text(document(found)) == text
    doses = np.asarray(clones.simulate(network)[0].doses)
    assert np.asarray(clones.simulate(found)[0].doses).tobytes() == doses.tobytes()
    assert "Research use only" in text
    # What a run writes down needs no file beside it.
    resolved = json.loads(json.dumps(scenario.resolved()))
    again = Scenario.from_tables(resolved["scenario"], "clones", folder="/nowhere")
    assert again.resolved() == scenario.resolved()
    assert np.asarray(clones.simulate(again.regimens()[0].policy)[0].doses).tobytes() == doses.tobytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "adose-network-9"}, 'wanted the format "adose-network-1"; got "adose-network-9"'),
        ({"drugs": ["other"]}, 'wanted a network for "drug"; got one for "other"'),
        ({"drugs": 5}, 'wanted a network for "drug"; got one for no drugs'),
        ({"inputs": ["age"]}, "wanted the inputs and the activation that this version computes; got others"),
        ({"activation": "relu"}, "wanted the inputs and the activation that this version computes; got others"),
        ({"weights": [float("nan")]}, "wanted finite numbers as weights; got something else among them"),
        ({"weights": [1e999]}, "wanted finite numbers as weights; got something else among them"),
        ({"weights": [True]}, "wanted finite numbers as weights; got something else among them"),
        ({"weights": [0.5]}, "regimen[0].policy: wanted 66 weights for 1 drugs and 5 hidden neurons; got 1"),
        ({"hidden": 6}, "regimen[0].policy: wanted 85 weights for 1 drugs and 6 hidden neurons; got 66"),
        ({"span": "-3 day"}, "regimen[0].policy.span: wanted more than 0"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, network, change, message):
    with pytest.raises(ScenarioError) as caught:
        with_file(tmp_path, json.dumps(document(network, **change)))
    assert message in str(caught.value)
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "wanted a JSON document; got text that is none"), ("[" * 10**5, "wanted a JSON document"), ("7", "format")],
)
def test_what_is_no_document_is_refused(tmp_path, text, message):
    with pytest.raises(ScenarioError, match=message):
        with_file(tmp_path, text)


def test_a_file_has_no_keys_beside_it(tmp_path, network):
    (tmp_path / "network.json").write_text(to_text(document(network)))
    for more, message in (({"hidden": 3}, "policy.hidden: wanted no such key"), ({"file": "../n.txt"}, "a .json file")):
        policy = {"kind": "network", "file": "network.json"} | more
        with pytest.raises(ScenarioError, match=message):
            Scenario.from_tables(tables(regimen=[{"name": "n", "policy": policy}]), "clones", folder=tmp_path)
