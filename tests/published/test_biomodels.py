"""Tumors under drugs from BioModels (CC0): courses and gradients of doses against roadrunner, from the same files.

`courses.json` is printed by `tests/oracle/roadrunner_courses.py`: states at the end of each interval by CVODE, and
differences of the fourth order of the logarithm of the tumor at the end.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario, ScenarioError
from optimizer.simulate import adaptive, rollout

pytest.importorskip("libsbml")
FOLDER = Path(__file__).parents[1] / "equations" / "sbml"
WANTED = json.loads((FOLDER / "courses.json").read_text())
# Effector cells of this model meet each other within 7 seconds: the fixed steps of a search are too long for that.
TOO_STIFF = {"BIOMD0000000913"}


def scenario(name):
    """The file under its drugs."""
    case = WANTED[name]
    drugs, given = case.get("control") or case["doses"], np.array(case["given"])
    own = {"control": drugs} if "control" in case else {"doses": {state: f"drug_{state}" for state in drugs}}
    drug = (
        [{"name": d, "route": "infusion", "pk": {"kind": "direct"}} for d in drugs]
        if "control" in case
        else [{"name": f"drug_{d}", "route": "bolus", "pk": {"kind": "given"}} for d in drugs]
    )
    for each, most in zip(drug, given.max(0), strict=True):
        each["dose"] = {"max": float(most) if "control" in case else f"{float(most)} mg"}
    model = {"kind": "sbml", "file": f"{name}.xml", "time_unit": case["unit"], "burden": " + ".join(case["burden"])}
    decision = {"every": f"{case['every']} day", "horizon": f"{case['every'] * len(given)} day"}
    return Scenario.from_tables({"model": model | own, "drug": drug, "decision": decision}, name, folder=FOLDER)


@pytest.mark.parametrize("name", WANTED)
def test_courses_are_those_of_roadrunner(name):
    own, doses = scenario(name), jnp.asarray(WANTED[name]["given"])
    wanted, grid = WANTED[name]["states"], own.grid()
    solved = adaptive.solve(own.system(), doses, grid)
    assert set(wanted) <= set(solved.observables)
    for state, course in wanted.items():
        found = np.asarray(solved.observables[state]).reshape(grid.count, -1)[:, -1]
        assert found == pytest.approx(course, rel=1e-6, abs=1e-9 * max(course)), state


@pytest.mark.parametrize("name", [name for name in WANTED if name not in TOO_STIFF])
def test_gradients_are_differences_of_roadrunner(name):
    task, case = scenario(name).problem().task, WANTED[name]

    def burden(x):
        return jnp.log(rollout(task.system, Schedule(x), task.grid).burden[-1])

    value, slope = jax.jit(jax.value_and_grad(burden))(jnp.asarray(case["given"]))
    tumor = sum(case["states"][part][-1] for part in case["burden"])
    assert float(value) == pytest.approx(np.log(tumor), abs=1e-5)
    differences = np.array(case["gradient"])
    assert np.all(np.abs(np.asarray(slope) - differences) < 1e-5 * np.abs(differences).max(0))


def test_a_model_too_fast_for_a_search_is_refused():
    """L' = -3 L^2 + ... at L = 2000: 12,000 a day, and 4096 steps in a week."""
    own = scenario(*TOO_STIFF)
    with pytest.raises(
        ScenarioError, match=r"model: wanted rates of at most 1\.46e\+03 / day, as 4096 steps in 7 days"
    ) as said:
        own.problem()
    assert float(str(said.value).split("got one of ")[1].split(" / ")[0]) == pytest.approx(12_000, rel=0.2)
