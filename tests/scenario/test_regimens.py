"""Decisions, limits, and regimens to compare with."""

import time

import numpy as np
import pytest

from optimizer.constraints.base import AbstractDoseLimit, AbstractStateLimit
from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario, ScenarioError, schema, tables
from optimizer.scenario.schema import FAMILIES
from optimizer.simulate import rollout

from .conftest import COMPETING, POLICIES, STROMAL
from .helpers import faults, load

WEEKLY = '[[regimen]]\nname = "r"\n[[regimen.dose]]\ndrug = "cetuximab"\namount = "{} ug/mL"\nevery = "7 day"\n'


def test_edges():
    assert load(STROMAL).grid().edges.tolist() == [*(7.0 * k for k in range(13)), 90.0]
    text = STROMAL.replace('every = "7 day"\nhorizon = "90 day"', 'edges = ["0 day", "1 week", "240 hour"]')
    assert load(text).grid().edges.tolist() == [0.0, 7.0, 10.0]


def test_limits_are_those_of_the_file():
    text = (
        STROMAL
        + """
[[constraint]]
kind = "dose_levels"
drug = "cetuximab"
levels = ["1 ug/mL", "2000 ng/mL"]
[[constraint]]
kind = "concentration_ceiling"
drug = "cetuximab"
limit = "5 ug/mL"
[[constraint]]
kind = "rest_period"
start = "14 day"
stop = "28 day"
every = "28 day"
[[constraint]]
kind = "burden_ceiling"
factor = 2
"""
    )
    problem = load(text).problem()
    assert problem.levels["cetuximab"].tolist() == [0.0, 1.0, 2.0]
    assert [limit.kind for limit in problem.task.state_limits] == ["concentration_ceiling", "burden_ceiling"]
    assert problem.upper[:4, 0].tolist() == [3.0, 3.0, 0.0, 0.0]
    assert problem.task.state_limits[0].drug == 0


def test_every_limit_is_a_dose_or_a_state_limit():
    for cls in schema.classes("limit").values():
        assert issubclass(cls, AbstractDoseLimit) != issubclass(cls, AbstractStateLimit)


def test_contradicting_limits_name_the_file_and_the_limit():
    text = STROMAL.replace('max = "3 ug/mL"', 'min = "1 ug/mL", max = "3 ug/mL"')
    text += '[[constraint]]\nkind = "cumulative_dose"\ndrug = "cetuximab"\nlimit = "5 ug/mL"\n'
    with pytest.raises(ScenarioError, match="test: constraint: cumulative_dose of cetuximab: no schedule satisfies"):
        load(text).problem()


def dosed(*entries, text=STROMAL, name="r"):
    """The only regimen of a scenario, with the doses of the entries."""
    doses = "".join(f'[[regimen.dose]]\ndrug = "cetuximab"\n{entry}\n' for entry in entries)
    return load(f'{text}[[regimen]]\nname = "{name}"\n{doses}')


def given(scenario):
    """Times and doses that are not zero."""
    regimen = scenario.regimens()[0]
    assert isinstance(regimen.policy, Schedule)
    edges, doses = np.asarray(regimen.grid.edges), np.asarray(regimen.policy.doses)[:, 0]
    return [(float(edges[k]), float(doses[k])) for k in np.flatnonzero(doses)]


def test_regimens():
    once = given(dosed('amount = "2 ug/mL"'))
    assert once == [(0.0, 2.0)]
    assert given(dosed('amount = "2 ug/mL"\ndays = [10, "2 day"]')) == [(2.0, 2.0), (10.0, 2.0)]
    cycle = dosed('amount = "2 ug/mL"', 'amount = "1 ug/mL"\nstart = "7 day"\nevery = "7 day"\nstop = "22 day"')
    assert given(cycle) == [(0.0, 2.0), (7.0, 1.0), (14.0, 1.0), (21.0, 1.0)]
    assert given(dosed('amount = "0 ug/mL"')) == []


def test_regimen_on_the_decision_grid_shares_it():
    scenario = load(STROMAL + WEEKLY.format(1))
    regimen = scenario.regimens()[0]
    assert regimen.grid.edges.tolist() == scenario.grid().edges.tolist()
    assert regimen.policy.doses.shape == (13, 1)
    refined = dosed('amount = "1 ug/mL"\nevery = "10 day"').regimens()[0].grid.edges.tolist()
    assert set(refined) == {*(7.0 * k for k in range(13)), *(10.0 * k for k in range(9)), 90.0}


def test_infusions_last_until_the_next_one():
    text = STROMAL.replace('name = "cetuximab"', 'name = "cetuximab"\nroute = "infusion"')
    text = text.replace("3 ug/mL", "3 ug/mL/day")
    held = dosed('amount = "2 ug/mL/day"', text=text)
    assert given(held) == [(7.0 * k, 2.0) for k in range(13)]
    short = dosed('amount = "2 ug/mL/day"\nevery = "14 day"\nduration = "7 day"\nstop = "28 day"', text=text)
    assert given(short) == [(0.0, 2.0), (14.0, 2.0)]
    long = faults(
        f'{text}[[regimen]]\nname = "r"\n[[regimen.dose]]\ndrug = "cetuximab"\namount = "1 ug/mL/day"\n'
        'every = "1 day"\nduration = "2 day"\n'
    )
    assert "regimen[0].dose[0].duration: wanted at most 1 day" in long[0]


def test_regimen_above_the_largest_dose_is_noted():
    scenario = dosed('amount = "5 ug/mL"')
    given = 'regimen "r" gives cetuximab 5 mg/L on day 0'
    assert scenario.notes == (f"{given}, more than the largest dose of the search, 3 mg/L",)
    assert scenario.resolved()["notes"] == list(scenario.notes)
    loading = '[[constraint]]\nkind = "dose_bounds"\ndrug = "cetuximab"\nmaximum = "5 ug/mL"\nstop = "7 day"\n'
    assert dosed('amount = "5 ug/mL"', text=STROMAL + loading).notes == ()


@pytest.fixture
def with_policies(monkeypatch):
    """Policies for the time of a test."""
    family = FAMILIES["policy"]._replace(package=f"{__package__}.example_policies", hidden=())
    monkeypatch.setitem(FAMILIES, "policy", family)
    caches = (schema.branches, tables.scenario_spec)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("with_policies")
def test_policies():
    scenario = load(COMPETING + POLICIES)
    steady, adaptive = scenario.regimens()
    assert (steady.name, steady.policy.kind) == ("continuous", "continuous")
    assert steady.policy.dose_max.tolist() == [1.0]
    assert steady.grid.count == 1500
    assert (float(adaptive.policy.stop_below), float(adaptive.policy.restart_above)) == (0.5, 1.0)
    assert rollout(scenario.system(), adaptive.policy, adaptive.grid).doses.shape == (1500, 1)
    resolved = scenario.resolved()
    policy = {"kind": "threshold", "stop_below": 0.5, "restart_above": 1.0, "every": "1.0 day"}
    assert resolved["scenario"]["regimen"][1] == {"name": "AT50", "policy": policy}
    assert Scenario.from_tables(resolved["scenario"], "test").resolved() == resolved
    named = load(COMPETING + POLICIES.replace('"1 day" }', '"10 day", drug = "drug", level = 0.5 }')).regimens()[1]
    assert (named.policy.drug, float(named.policy.level), named.grid.count) == (0, 0.5, 150)


@pytest.mark.usefixtures("with_policies")
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"threshold"', '"treshold"', 'kind: wanted one of "continuous", "threshold", "sequence"; got "treshold", did'),
        ('"1 day" }', '"2000 day" }', "regimen[1].policy.every: wanted at most the horizon, 1500 day; got 2000 day"),
        ("restart_above = 1.0", 'restart_above = "1 mg"', "regimen[1].policy.restart_above: wanted a pure number"),
        ('"1 day" }', '"1 day", drug = "d" }', 'regimen[1].policy.drug: wanted "drug"; got "d"'),
        ("stop_below = 0.5, ", "", "regimen[1].policy.stop_below: wanted this key"),
    ],
)
def test_policies_refused(old, new, said):
    found = faults(COMPETING + POLICIES.replace(old, new))
    assert len(found) == 1
    assert said in found[0]


def test_too_many():
    many = "".join(f'[[regimen]]\nname = "r{i}"\ndose = []\n' for i in range(101))
    assert faults(STROMAL + many) == ("test: regimen: wanted at most 100 of them; got 101",)
    dense = 'amount = "1 ug/mL"\nevery = "10 min"'
    doses = "".join(f'[[regimen.dose]]\ndrug = "cetuximab"\n{dense}\nstart = "{i} min"\n' for i in range(1, 9))
    start = time.process_time()
    assert faults(f'{STROMAL}[[regimen]]\nname = "r"\n{doses}') == (
        "test: regimen[0]: wanted at most 20000 doses; got more",
    )
    assert time.process_time() - start < 2.0


def test_dense_regimens_are_read_up_to_the_limit_and_no_further():
    dense = '[[regimen.dose]]\ndrug = "cetuximab"\namount = "1 ug/mL"\nevery = "10 min"\n'
    seconds = []
    for count in (10, 100):
        text = STROMAL + "".join(f'[[regimen]]\nname = "r{i}"\n{dense}' for i in range(count))
        start = time.process_time()
        assert faults(text) == ("test: regimen[7]: wanted at most 100000 doses in all regimens; got more",)
        seconds.append(time.process_time() - start)
    assert seconds[1] < 4.0 * seconds[0]


def test_days_of_a_cycle():
    """Doses on days 1 and 8 of cycles of three weeks, from day 7 until day 50."""
    days = 'cycle = "21 day"\non = [8, 1]\nstart = "7 day"\nstop = "50 day"\n'
    scenario = load(STROMAL + WEEKLY.format(1).replace('every = "7 day"\n', days))
    (regimen,) = scenario.regimens()
    assert isinstance(regimen.policy, Schedule)
    given = np.asarray(regimen.grid.edges)[:-1][np.asarray(regimen.policy.doses)[:, 0] > 0.0]
    assert given.tolist() == [7.0, 14.0, 28.0, 35.0, 49.0]
    again = Scenario.from_tables(scenario.resolved()["scenario"], "again")
    assert again.resolved()["scenario"] == scenario.resolved()["scenario"]


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ('cycle = "21 day"\n', "wanted cycle together with on, the days within it that have a dose; got one of them"),
        ("on = [1]\n", "wanted cycle together with on"),
        ('cycle = "21 day"\non = [22]\n', "got 21 day and [22]"),
        ('cycle = "21 day"\non = [1]\nevery = "7 day"\n', "got every and cycle"),
        ('cycle = "21 day"\non = [0]\n', "wanted a whole number from 1"),
    ],
)
def test_cycles_that_make_no_sense(days, said):
    (fault,) = faults(STROMAL + WEEKLY.format(1).replace('every = "7 day"\n', days))
    assert said in fault
