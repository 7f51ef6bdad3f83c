"""Endpoints of scenarios: what a file says, and what tables of one patient then show."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.analysis.comparison import compare
from optimizer.endpoints.burden_factor import BurdenFactor
from optimizer.endpoints.psa_pcwg3 import PsaPcwg3
from optimizer.endpoints.recist import Recist
from optimizer.policies.schedule import Schedule
from optimizer.report.document import compared_document, run_document
from optimizer.scenario import Scenario, ScenarioError
from optimizer.search.optimize import optimize
from optimizer.status import Status
from tests.small import small

PSA = {"kind": "psa", "production": "1e-8 ug/L/cell/day", "decay": "0.5 / day", "every": "28 day"}


def growing(**more):
    """1e9 cells that double every 28 days whatever is given, for a year: 20 ug/L of PSA, 26.7 mm across."""
    tables = {
        "model": {
            "kind": "tumor",
            "clone": [{"name": "all", "cells": 1e9, "growth_rate": f"{math.log(2.0) / 28.0!r} / day"}],
        },
        "drug": [
            {
                "name": "water",
                "route": "infusion",
                "pk": {"kind": "first_order", "elimination": "1 / day"},
                "dose": {"max": "2 mg/L/day"},
            }
        ],
        "decision": {"every": "28 day", "horizon": "336 day"},
        "objective": {"burden": 1.0},
    }
    return Scenario.from_tables({**tables, **more}, "growing")


@pytest.mark.parametrize(
    ("endpoint", "day", "after"),
    [
        ({"kind": "burden_factor", "factor": 3.0}, 28.0 * np.log2(3.0), 28.0 * np.log2(3.0)),
        ({"kind": "burden_factor", "factor": 3.0, "every": "28 day"}, 56.0, 28.0),
        ({"kind": "volume_factor"}, 56.0, 28.0),  # four times at the second visit
        # A ball that doubles is 26 % wider: 20 % and 6.9 mm after one visit of 28 days, 12 % after one of 14.
        ({"kind": "recist", "every": "14 day"}, 28.0, 14.0),
        # Day 84 is the first that counts; the rise goes on.
        ({"kind": "psa_pcwg3"}, 84.0, 56.0),
    ],
)
def test_a_table_of_one_patient_goes_by_the_endpoint(endpoint, day, after):
    scenario = growing(endpoint=endpoint, observation=[PSA])
    entry = compare(scenario.problem(), [], None, scenario.endpoint())[0]
    assert entry.outcome.time_to_progression_day == pytest.approx(day, abs=1e-6)
    assert entry.outcome.progression_after_day == pytest.approx(after, abs=1e-6)
    assert compared_document(scenario, [entry])["endpoint"] == endpoint["kind"]


def test_without_an_endpoint_it_is_the_factor_of_progression():
    endpoint = growing(progression={"factor": 1.7}).endpoint()
    assert isinstance(endpoint, BurdenFactor)
    assert endpoint.factor == 1.7
    assert growing(endpoint={"kind": "burden_factor", "factor": 1.6}).progression_factor == 1.6
    inherited = growing(endpoint={"kind": "burden_factor"}, progression={"factor": 1.5}).endpoint()
    assert isinstance(inherited, BurdenFactor)
    assert inherited.factor == 1.5


def test_what_was_resolved_reads_the_same():
    for more in (
        {"endpoint": {"kind": "psa_pcwg3", "least": "3 ug/L"}, "observation": [PSA]},
        {"endpoint": {"kind": "burden_factor", "factor": 2.0, "confirm": "28 day", "every": "28 day"}},
    ):
        scenario = growing(**more)
        tables = scenario.resolved()["scenario"]
        assert Scenario.from_tables(tables, "growing").resolved()["scenario"] == tables


def test_an_observation_gives_the_visits_and_an_endpoint_its_own():
    days = {**PSA, "days": ["0 day", "100 day", "400 day"]}
    del days["every"]
    endpoint = growing(endpoint={"kind": "psa_pcwg3"}, observation=[days]).endpoint()
    assert isinstance(endpoint, PsaPcwg3)
    scenario = growing(endpoint={"kind": "psa_pcwg3"}, observation=[days])
    # One visit within the year after the ignored weeks: nothing confirms it.
    assert compare(scenario.problem(), [], None, endpoint)[0].outcome.time_to_progression_day is None
    scenario = growing(endpoint={"kind": "psa_pcwg3", "every": "50 day"}, observation=[days])
    found = compare(scenario.problem(), [], None, scenario.endpoint())[0].outcome
    assert (found.time_to_progression_day, found.progression_after_day) == (100.0, 50.0)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"endpoint": {"kind": "psa_pcwg3"}}, 'endpoint.kind: wanted an [[observation]] of kind "psa"'),
        ({"endpoint": {"kind": "ca125_gcig"}, "observation": [PSA]}, "which ca125_gcig reads; got psa"),
        ({"endpoint": {"kind": "recits"}}, 'got "recits"'),
        ({"endpoint": {"kind": "recist", "least": "5 ug/L"}}, "endpoint.least"),
        (
            {"endpoint": {"kind": "burden_factor", "factor": 2.0}, "progression": {"factor": 1.2}},
            "endpoint.factor: wanted that of [progression], which is 1.2; got 2",
        ),
    ],
)
def test_faults_are_sentences(more, said):
    with pytest.raises(ScenarioError) as caught:
        growing(**more)
    assert said in str(caught.value)


def test_another_endpoint_says_what_it_is_not_used_for():
    assert any("term progression" in note for note in growing(endpoint={"kind": "recist"}).notes)
    assert not any("term progression" in note for note in growing(endpoint={"kind": "burden_factor"}).notes)
    assert isinstance(growing(endpoint={"kind": "recist"}).endpoint(), Recist)


def test_grades_of_neutropenia_are_in_the_table_and_a_limit():
    """The grade is that of the lowest count; a limit on the grade is one on the count below which the next begins."""
    scenario = Scenario.load("scenarios/docetaxel_neutropenia.toml")
    tables = scenario.resolved()["scenario"]
    tables["constraint"] = [{"kind": "toxicity_grade", "worst": 2}, {"kind": "nadir", "limit": "1e9 cell/L"}]
    limited = Scenario.from_tables(tables, "graded")
    for entry in compare(limited.problem(), limited.regimens()):
        least = float(np.min(entry.trajectory.observables["neutrophils"]))
        assert entry.outcome.neutropenia_grade == sum(least < count for count in (2e9, 1.5e9, 1e9, 0.5e9))
        checks = {check.name: check for check in entry.report.constraints}
        assert checks["toxicity_grade"].violation == pytest.approx(checks["nadir"].violation, abs=1e-9)
        assert (checks["toxicity_grade"].value > 2.0) == (checks["nadir"].violation > 0.0)
    assert compare(small(), [])[0].outcome.neutropenia_grade is None


# Two clones in competition under a drug that kills one of them: PSA is held for longer where the other is kept at bay.
TWO_CLONES = {
    "model": {
        "kind": "tumor",
        "growth": {"law": "logistic", "capacity": 3e9},
        "clone": [
            {
                "name": "sensitive",
                "cells": 1e9,
                "growth_rate": "0.04 / day",
                "effect": [{"drug": "water", "law": "linear", "strength": "0.06 L/mg/day"}],
            },
            {"name": "resistant", "cells": 1e7, "resistant": True, "growth_rate": "0.03 / day"},
        ],
    },
    "decision": {"every": "28 day", "horizon": "336 day"},
    "endpoint": {"kind": "psa_pcwg3"},
    "observation": [PSA],
    "objective": {"endpoint": 1.0, "drug_use": 0.05},
    "search": {"restarts": 2},
}


def test_a_schedule_is_searched_for_the_day_at_visits():
    scenario = growing(**TWO_CLONES)
    problem = scenario.problem()
    result = optimize(problem, restarts=2)
    entries = compare(problem, [], result, scenario.endpoint())
    assert result.status is Status.SOLVED, result.reason
    days = {entry.name: entry.outcome.time_to_progression_day or 336.0 for entry in entries}
    own = days.pop("optimized")
    assert own >= max(days.values()) + 28.0
    found = run_document(scenario, result, entries)["objective"]
    assert found["terms"]["endpoint"] == pytest.approx(-own / 336.0, abs=1e-12)
    assert abs(found["searched"]["endpoint"] - found["terms"]["endpoint"]) < 28.0 / 336.0


def test_a_limit_on_the_day_is_kept():
    """The least drug that holds PSA until a day: no visit before shows progression, and smaller doses would not do."""
    more = {"objective": {"drug_use": 1.0}, "constraint": [{"kind": "term", "term": "endpoint", "limit": -0.5}]}
    scenario = growing(**{**TWO_CLONES, **more})
    result = optimize(scenario.problem(), restarts=2)
    assert result.status is Status.SOLVED, result.reason
    found = scenario.endpoint().read(result.problem.task.system, result.trajectory, np.asarray(scenario.plan.edges))
    assert found.day is not None
    assert found.day >= 168.0
    less = result.problem.task.doses(jnp.asarray(0.97 * (result.doses / np.asarray(result.problem.task.scale)).ravel()))
    trajectory, _ = result.problem.simulate(Schedule(less))
    sooner = scenario.endpoint().read(result.problem.task.system, trajectory, np.asarray(scenario.plan.edges)).day
    assert sooner is not None
    assert sooner < 168.0


def test_a_term_at_visits_wants_visits():
    for more in ({}, {"endpoint": {"kind": "burden_factor"}}):
        with pytest.raises(ScenarioError) as caught:
            growing(objective={"endpoint": 1.0}, **more)
        assert "objective.endpoint: wanted [endpoint] read at visits beside it" in str(caught.value)
