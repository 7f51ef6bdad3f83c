"""Endpoints where many patients are judged: the table's day is what the endpoint reads of that patient's own course."""

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.analysis.comparison import compare
from optimizer.analysis.map_run import regimen_map
from optimizer.analysis.pareto import trace, two_terms
from optimizer.control.trial import Settings as TrialSettings, prepare
from optimizer.control.trial_run import run_trial
from optimizer.ensemble.ensemble import build_ensemble
from optimizer.ensemble.evaluate import evaluate
from optimizer.ensemble.patients import load_patients
from optimizer.ensemble.run import Settings, run_chunks
from optimizer.ensemble.survival import grades
from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario
from optimizer.simulate import rollout
from tests.endpoints.test_scenarios import PSA, TWO_CLONES, growing

FASTER = {"key": "model.clone[resistant].growth_rate", "distribution": "lognormal", "cv": 0.5}
RARER = {"key": "model.clone[resistant].cells", "distribution": "lognormal", "cv": 2.0}
MANY = {**TWO_CLONES, "objective": {"burden": 1.0, "drug_use": 0.05}, "cohort": {"vary": [FASTER, RARER]}}
ENDPOINTS = [
    {"kind": "psa_pcwg3"},
    {"kind": "recist", "every": "56 day"},
    {"kind": "volume_factor", "factor": 1.5, "confirm": "28 day"},
    {"kind": "burden_factor", "factor": 1.5, "every": "28 day"},
]


def read(scenario, system, doses):
    """What the endpoint says of one course, visit by visit."""
    grid = scenario.problem().task.grid
    return scenario.endpoint().read(system, rollout(system, Schedule(jnp.asarray(doses)), grid), np.asarray(grid.edges))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint["kind"])
def test_schedules_of_many_patients_are_read_at_visits(endpoint):
    scenario = growing(**{**MANY, "endpoint": endpoint})
    ensemble = build_ensemble(scenario, load_patients(scenario, 5, 1))
    doses = np.stack([np.zeros((12, 1)), np.full((12, 1), 2.0), np.tile([[2.0], [0.0]], (6, 1))])
    found, days = evaluate(ensemble, doses, scenario.progression()), set()
    for i, s in np.ndindex(5, 3):
        wanted = read(scenario, ensemble.system(i), doses[s])
        days.add(wanted.day)
        assert found.progression[i, s] == (np.inf if wanted.day is None else wanted.day)
        assert found.after[i, s] == wanted.after
    assert len(days) > 2


def test_a_cohort_is_read_by_the_endpoint(tmp_path):
    scenario = growing(**MANY)
    found = run_chunks(scenario, Settings(patients=3), tmp_path / "run")
    assert found is not None
    table, key = found.table, "doses.water [mg/L/day]"
    for i in range(3):
        wanted = read(scenario, found.ensemble.system(i), np.asarray(table[key])[i][:, None])
        assert table["personalised.progression_day"][i] == (np.inf if wanted.day is None else wanted.day)
        assert table["personalised.progression_after_day"][i] == wanted.after


def test_a_trial_is_read_from_its_samples_with_their_errors(tmp_path):
    """As a clinic would: PSA as it was measured, visits without a result left out."""
    noisy = {**PSA, "noise": 0.2, "missing": 0.3}
    scenario = growing(**{**MANY, "observation": [noisy], "regimen": []})
    settings = TrialSettings(patients=5, restarts=0, policies=("continuous", "AT50"))
    found = run_trial(prepare(scenario, settings), tmp_path / "run")
    assert found is not None
    table, log, endpoint, plain = found.table, found.decisions, scenario.endpoint(), 0
    for i in range(5):
        for name in ("continuous", "AT50"):
            own = (np.asarray(log["patient"]) == i) & (np.array(log["policy"]) == name)
            wanted = endpoint.assess(np.asarray(log["day"])[own], np.asarray(log["measured.psa [ug/L]"])[own])
            [row] = np.flatnonzero((np.asarray(table["patient"]) == i) & (np.array(table["policy"]) == name))
            day = table["progression_day"][row]
            assert day == (np.inf if wanted.day is None else wanted.day)
            assert table["progression_after_day"][row] == wanted.after
            doses = np.asarray(log["dose.water [mg/L/day]"])[own][:, None]
            plain += day != (read(scenario, found.trial.ensemble.system(i), doses).day or np.inf)
    assert plain > 0  # errors move some of the days


def test_a_map_is_read_by_the_endpoint():
    full = {"name": "full", "dose": [{"drug": "water", "amount": "2 mg/L/day", "start": "0 day"}]}
    more = {**MANY, "endpoint": {"kind": "recist"}, "regimen": [full]}
    scenario = growing(**more)
    key = "model.clone[resistant].growth_rate"
    axes = f"{key}=0.02:0.06 / day:3", "model.clone[resistant].cells=1e6:1e8:2"
    days = regimen_map(scenario, *axes, regimen="full").quantities["progression_day"].values
    numbers = [(cells, rate) for cells in (1e6, 1e8) for rate in (0.02, 0.04, 0.06)]
    for day, (cells, rate) in zip(days.ravel(), numbers, strict=True):
        clones = [dict(clone) for clone in TWO_CLONES["model"]["clone"]]
        clones[1] |= {"cells": cells, "growth_rate": f"{rate} / day"}
        own = growing(**{**more, "model": {**TWO_CLONES["model"], "clone": clones}})
        [entry] = [e for e in compare(own.problem(), own.regimens(), None, own.endpoint()) if e.name == "full"]
        wanted = entry.outcome.time_to_progression_day
        assert np.isnan(day) if wanted is None else day == wanted


def test_a_front_of_the_endpoint_needs_no_such_term_in_the_objective():
    scenario = growing(**{**MANY, "search": {"restarts": 1}})
    terms = two_terms(scenario, "endpoint,drug_use")
    assert [term.kind for term in terms] == ["endpoint", "drug_use"]
    front, problem = trace(scenario, terms, 2), scenario.problem()
    days = {
        entry.name: entry.outcome.time_to_progression_day for entry in compare(problem, [], None, scenario.endpoint())
    }
    [untreated] = [point.terms[0] for point in front.regimens if point.name == "no treatment"]
    assert untreated == pytest.approx(-(days["no treatment"] or 336.0) / 336.0)
    assert front.points[-1].terms[0] < untreated


def test_grades_of_neutropenia_are_those_of_each_patient():
    tables = Scenario.load("scenarios/docetaxel_neutropenia.toml").resolved()["scenario"]
    vary = {"key": "model.mechanism[0].baseline", "distribution": "lognormal", "cv": 0.4}
    scenario = Scenario.from_tables({**tables, "cohort": {"vary": [vary]}}, "graded")
    ensemble = build_ensemble(scenario, load_patients(scenario, 4, 2))
    upper = np.asarray(ensemble.problem.upper)
    doses = np.stack([share * upper for share in (0.0, 0.3, 1.0)])
    found, grid = evaluate(ensemble, doses).grade, ensemble.task.grid
    for i, s in np.ndindex(4, 3):
        counts = rollout(ensemble.system(i), Schedule(jnp.asarray(doses[s])), grid).observables["neutrophils"]
        assert found[i, s] == sum(float(jnp.min(counts)) < count for count in (2e9, 1.5e9, 1e9, 0.5e9))
    assert len(np.unique(found)) > 1
    assert sum(grades(found[:, 2])["neutropenia"].values()) == 4
    assert grades(None) == {}
