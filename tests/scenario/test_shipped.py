"""The shipped scenarios, what they resolve to, and what loading costs."""

import json
import subprocess
import sys

import numpy as np
import pytest

from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario

from .conftest import COMPETING, ROOT, SHIPPED, STROMAL
from .helpers import load

WEEKLY = '[[regimen]]\nname = "r"\n[[regimen.dose]]\ndrug = "cetuximab"\namount = "{} ug/mL"\nevery = "7 day"\n'


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped(path):
    scenario = Scenario.load(path)
    problem = scenario.problem()
    trajectory, report = problem.simulate(Schedule(problem.lower))
    assert report.finite
    assert np.isfinite(report.total)
    assert trajectory.doses.shape == (scenario.grid().count, len(scenario.plan.drugs))
    for regimen in scenario.regimens():
        assert problem.simulate(regimen.policy, regimen.grid)[1].finite, regimen.name
    assert scenario.title != scenario.name
    assert scenario.doi


@pytest.mark.parametrize("text", [STROMAL + WEEKLY.format(1), COMPETING, *(path.read_text() for path in SHIPPED)])
def test_resolved_is_a_scenario_again(text):
    scenario = load(text, folder=ROOT)
    resolved = scenario.resolved()
    again = Scenario.from_tables(json.loads(json.dumps(resolved, allow_nan=False))["scenario"], "test")
    assert again.resolved() == resolved
    assert resolved == load(text, folder=ROOT).resolved()
    assert again.plan.drugs == scenario.plan.drugs
    assert np.array_equal(again.plan.edges, scenario.plan.edges)
    for ours, theirs in zip(scenario.plan.constraints, again.plan.constraints, strict=True):
        assert ours.kind == theirs.kind
        assert {name: theirs.values[name] for name in ours.values} == dict(ours.values)


def test_resolved_spells_units_out():
    model = load(STROMAL).resolved()["scenario"]["model"]
    assert model["secretion_rate"] == "0.024 / cell/day"
    assert model["clone"][0]["net_growth_max"] == "0.3528 / day"
    assert model["clone"][0]["ec50_max"] == "7.34 mg/L"
    competing = load(COMPETING).resolved()["scenario"]
    assert competing["drug"][0]["dose"] == {"min": 0.0, "max": 1.0}
    effect = {"drug": "drug", "law": "norton_simon", "strength": 1.5, "cytostatic": 1.0}
    assert competing["model"]["clone"][0]["effect"] == [effect]
    assert competing["objective"] == {"progression": {"weight": 1.0, "factor": 1.2}}


def test_defaults():
    scenario = load(STROMAL)
    assert (scenario.seed, scenario.restarts, scenario.tolerance) == (0, 16, 1e-6)
    assert (scenario.title, scenario.doi, scenario.progression_factor) == ("test", (), 1.2)
    assert [term.kind for term in scenario.objective().terms] == ["burden"]
    weighted = load(STROMAL + "[objective]\nburden = 0.7\nprogression = { weight = 2, factor = 1.5 }\n").objective()
    assert weighted.weights.tolist() == [0.7, 2.0]
    assert float(weighted.terms[1].factor) == 1.5


def test_importing_scenarios_is_light():
    heavy = ("diffrax", "matplotlib", "pandas")
    code = f"import sys, optimizer.scenario; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert done.stdout.strip() == "[]"


def test_loading_builds_no_arrays(monkeypatch):
    import jax.numpy as jnp

    def fail(*_, **__):
        raise AssertionError("an array was built")

    monkeypatch.setattr(jnp, "asarray", fail)
    monkeypatch.setattr(jnp, "zeros", fail)
    for path in SHIPPED:
        Scenario.load(path).resolved()
