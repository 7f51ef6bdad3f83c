"""Tablets, infusions of a length of their own, loading doses and patients already on drug: against SciPy and sums."""

import math
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from optimizer.files.event_tables import read_schedule, write_schedule
from optimizer.files.events import DoseEvent, order_of
from optimizer.files.faults import DataError
from optimizer.files.prescriptions import Form, as_decided, as_given
from optimizer.pharmacology.first_order import divided_decay
from optimizer.pharmacology.one_compartment import OneCompartment
from optimizer.pharmacology.oral import Oral
from optimizer.pharmacology.two_compartment import TwoCompartment
from optimizer.scenario import Scenario, ScenarioError
from optimizer.simulate import rollout
from optimizer.simulate.adaptive import solve
from optimizer.simulate.forms import Infused, Tablets

ORAL = {"kind": "oral", "volume": "50 L", "clearance": "60 L/day", "absorption": "20 / day", "lag": "1 hour"}
TWO = {
    "kind": "two_compartment",
    "volume": "50 L",
    "clearance": "60 L/day",
    "peripheral_volume": "60 L",
    "exchange": "100 L/day",
}


def tables(drug: dict, doses: list[dict], horizon: str = "14 day") -> dict:
    """One clone under one drug, with a regimen."""
    effect = {"drug": "a", "law": "hill", "emax": "0.12 / day", "ec50": "1 ug/mL", "hill": 2.0}
    clone = {"name": "s", "cells": 1e8, "growth_rate": "0.05 / day", "death_rate": "0 / day", "effect": [effect]}
    return {
        "model": {"kind": "tumor", "clone": [clone]},
        "drug": [{"name": "a"} | drug],
        "decision": {"every": "7 day", "horizon": horizon},
        "objective": {"burden": 1.0},
        "regimen": [{"name": "r", "dose": [{"drug": "a"} | dose for dose in doses]}],
    }


def tablets(**more) -> dict:
    return {"route": "oral", "every": "12 hour", "pk": ORAL, "dose": {"max": "300 mg/day"}} | more


def infused(**more) -> dict:
    return {"route": "infusion", "duration": "1 hour", "pk": TWO, "dose": {"max": "600 mg"}} | more


def levels(data: dict) -> tuple[Scenario, np.ndarray, np.ndarray]:
    """Times and concentrations of the regimen on the search's nodes; the audit and a file's second reading agree."""
    scenario = Scenario.from_tables(data, "test")
    problem, regimen = scenario.problem(), scenario.regimens()[0]
    found, _ = problem.simulate(regimen.policy, regimen.grid)
    checked = solve(problem.task.system, regimen.policy.doses, regimen.grid)
    assert bool(found.ok & checked.ok)
    assert np.allclose(np.log(found.burden[-1]), np.log(checked.burden[-1]), rtol=1e-7)
    assert float(found.conc[-1, 0]) == pytest.approx(float(checked.conc[-1, 0]), rel=1e-7)
    again = Scenario.from_tables(scenario.resolved()["scenario"], "test")
    assert again.resolved() == scenario.resolved()
    return scenario, np.asarray(found.times), np.asarray(found.conc)[:, 0]


def bateman(age, amount, volume=50.0, k=1.2, ka=20.0, lag=1.0 / 24.0):
    """Level some time after a tablet [mg/L]."""
    t = np.maximum(age - lag, 0.0)
    if k == ka:
        return amount / volume * ka * t * np.exp(-k * t)
    return amount / volume * ka / (ka - k) * (np.exp(-k * t) - np.exp(-ka * t))


def test_tablets_are_superposed():
    data = tables(
        tablets(),
        [{"amount": "200 mg/day", "stop": "7 day"}, {"amount": "80 mg/day", "start": "7 day"}],
    )
    _, times, conc = levels(data)
    wanted = sum(bateman(times - 0.5 * i, 100.0 if i < 14 else 40.0) for i in range(28))
    assert np.allclose(conc, wanted, rtol=1e-10, atol=1e-12)
    # The tablets, not their mean.
    assert conc[times > 5.0].max() > 1.2 * conc[(times > 5.0) & (times < 7.0)].min()


@pytest.mark.parametrize("clearance", [60.0, 1000.0])  # the second: as fast as the absorption
def test_tablets_split_and_end(clearance):
    pk = Tablets(Oral(50.0, clearance, 20.0, 0.8, 0.1), jnp.asarray(0.5), 14)
    k = clearance / 50.0
    whole = pk.evolve(pk.evolve(pk.initial(), 100.0, 7.0), 40.0, 3.3)
    parts = pk.evolve(pk.evolve(pk.evolve(pk.initial(), 100.0, 7.0), 40.0, 1.55), 40.0, 1.75)
    assert np.allclose(parts, whole, rtol=1e-12, atol=1e-12)
    given = [50.0] * 14 + [20.0] * 7
    wanted = sum(bateman(10.3 - 0.5 * i, 0.8 * a, k=k, lag=0.1) for i, a in enumerate(given))
    assert float(pk.concentration(whole, 0.0)) == pytest.approx(wanted, rel=1e-12)
    assert math.isnan(float(pk.concentration(pk.evolve(pk.initial(), 100.0, 7.5), 0.0)))
    total = float(pk.exposure(pk.evolve(whole, 0.0, 6.0), sum(given)))
    assert total == pytest.approx(0.8 * sum(given) / clearance, rel=1e-3)


@pytest.mark.parametrize("absorption", [20.0, 1.3, 1.2, 1.2 + 1e-9])  # the elimination is 1.2 a day
@pytest.mark.parametrize("lag", [0.0, 0.1])
def test_the_closed_form_of_tablets_is_their_sum(absorption, lag):
    """From an interval that began between two tablets, with one that waits, to just before and after the next ones."""
    inner, every = Oral(50.0, 60.0, absorption, 0.8, lag), 0.5
    pk = Tablets(inner, jnp.asarray(every), 30)
    start = pk.evolve(pk.initial(), 70.0, 1.05)
    ages = np.array([0.04, 0.06, 0.44, 0.46, 0.6, 3.3, 6.949, 6.951, 14.0])
    found = np.asarray(jax.vmap(pk.evolve, (None, None, 0))(start, 100.0, jnp.asarray(ages)))
    for tau, state in zip(1.05 + ages, found, strict=True):
        taken = every * np.arange(np.ceil((tau - 1e-9) / every))
        amounts = np.where(taken < 1.05, 0.8 * 35.0, 0.8 * 50.0)
        open_for = tau - taken - lag
        has_opened = open_for >= 0.0
        gut = np.sum(amounts * np.exp(-absorption * np.maximum(open_for, 0.0)) * has_opened)
        filled = absorption * np.array([divided_decay(absorption, 1.2, max(t, 0.0)) for t in open_for.tolist()])
        wanted = [gut, np.sum(amounts * filled), tau - taken[-1], np.sum(amounts * ~has_opened)]
        assert np.allclose(state, wanted, rtol=1e-12, atol=1e-12)


def by_scipy(times, doses, length, primed=(0.0, 0.0)):
    """Levels of the two compartments, the rate of each infusion in an interval of its own."""
    k10, k12, k21 = 60.0 / 50.0, 100.0 / 50.0, 100.0 / 60.0
    state, out = np.array(primed), np.zeros_like(times)
    edges = sorted({0.0, *(t for t, _ in doses), *(t + length for t, _ in doses), float(times[-1])})
    for start, end in pairwise(edges):
        rate = sum(amount / length for t, amount in doses if t <= start < t + length - 1e-12)
        inside = (times >= start) & (times <= end)
        found = solve_ivp(
            lambda _, y, rate=rate: [rate - (k10 + k12) * y[0] + k21 * y[1], k12 * y[0] - k21 * y[1]],
            (start, end),
            state,
            method="LSODA",
            rtol=1e-11,
            atol=1e-12,
            dense_output=True,
        )
        out[inside], state = found.sol(times[inside])[0] / 50.0, found.y[:, -1]
    return out


def test_an_infusion_of_an_hour_needs_no_edges():
    scenario, times, conc = levels(tables(infused(), [{"amount": "400 mg", "every": "7 day"}]))
    assert scenario.grid().count == 2
    assert np.allclose(conc, by_scipy(times, [(0.0, 400.0), (7.0, 400.0)], 1.0 / 24.0), rtol=1e-7, atol=1e-9)


def test_infusions_that_overlap_are_no_number():
    pk = Infused(TwoCompartment(5.0, 9.0, 30.0, 12.0), jnp.asarray(0.3))
    runs = pk.evolve(pk.bolus(pk.initial(), 10.0), 0.0, 0.2)
    assert not np.isfinite(pk.bolus(runs, 1.0)).all()
    assert np.isfinite(pk.bolus(runs, 0.0)).all()


def test_crossings_of_an_infusion():
    pk = Infused(OneCompartment(5.0, 5.0), jnp.asarray(0.5))
    state = pk.bolus(pk.initial(), 10.0)
    up, down = (float(t) for t in pk.crossings(state, jnp.zeros(()), jnp.asarray(1.0)))
    assert 0.0 < up < 0.5 < down
    for time in (up, down):
        assert float(pk.concentration(pk.evolve(state, 0.0, time), 0.0)) == pytest.approx(1.0, rel=1e-9)


def test_a_loading_dose_is_superposed():
    pk = {"kind": "one_compartment", "volume": "5 L", "clearance": "2 L/day"}
    doses = [{"amount": "10 mg/day"}, {"amount": "40 mg", "route": "bolus"}]
    drug = {"route": "infusion", "pk": pk, "dose": {"max": "20 mg/day"}}
    _, times, conc = levels(tables(drug, doses))
    assert np.allclose(conc, 8.0 * np.exp(-0.4 * times) + 5.0 * -np.expm1(-0.4 * times), rtol=1e-10)


@pytest.mark.parametrize("drug", [tablets, infused])
def test_steady_state_is_where_long_treatment_leads(drug):
    amount = "100 mg/day" if drug is tablets else "100 mg"
    long = [{"amount": amount, "every": "7 day"}]
    data = tables(drug(), long, "140 day")
    system = Scenario.from_tables(data, "test").system()
    doses = Scenario.from_tables(data, "test").regimens()[0].policy
    grid = Scenario.from_tables(data, "test").grid()
    conc = rollout(system, doses, grid).conc[:, 0]
    said = "50 mg every 12 hour" if drug is tablets else "100 mg every 7 day"
    once = Scenario.from_tables(tables(drug(steady_state=said), long), "test")
    start, found, _ = levels(tables(drug(steady_state=said), long))
    assert start.resolved() == once.resolved()
    assert float(found[0]) == 0.0
    primed = rollout(once.system(), once.regimens()[0].policy, once.grid()).conc[:, 0]
    assert np.allclose(primed[: len(primed) // 2], conc[-(len(primed) // 2) :], rtol=1e-6, atol=1e-9)


FORMS = {"t": Form(every=0.5), "i": Form(duration=0.25)}


def test_tables_have_what_is_given():
    decided = [
        DoseEvent(0.0, "t", 700.0, rate=100.0),
        DoseEvent(7.0, "t", 70.0, rate=10.0),
        DoseEvent(0.0, "i", 8.0),
        DoseEvent(3.0, "i", 2.0, rate=1.0),
    ]
    given = as_given(decided, FORMS)
    assert given[0] == DoseEvent(0.0, "t", 50.0, interval=0.5, additional=13)
    assert given[2] == DoseEvent(0.0, "i", 8.0, rate=32.0)
    assert as_decided(given, FORMS) == sorted(decided, key=order_of)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (DoseEvent(0.3, "t", 50.0), "wanted a day that is a multiple of 0.5"),
        (DoseEvent(0.0, "t", 50.0, rate=100.0), "wanted tablets, RATE 0"),
        (DoseEvent(0.0, "i", 8.0), "wanted its RATE or DUR, 0.25 day"),
    ],
)
def test_tables_that_say_otherwise_are_refused(event, said):
    with pytest.raises(DataError, match=said):
        as_decided([event], FORMS)


@pytest.mark.parametrize("drug", [tablets, infused])
def test_a_schedule_is_read_again(drug, tmp_path):
    scenario = Scenario.from_tables(tables(drug(), [{"amount": "30 mg/day" if drug is tablets else "30 mg"}]), "test")
    doses, target = np.array([[120.0], [60.0]]), scenario.target()
    write_schedule(tmp_path / "s.csv", target, scenario.plan.edges, doses)
    edges, again, other, _ = read_schedule(tmp_path / "s.csv", target)
    assert np.array_equal(edges, scenario.plan.edges)
    assert np.allclose(again, doses, rtol=1e-14)
    assert not other.any()


def test_trials_refuse_a_loading_dose():
    from optimizer.control.comparators import _check

    pk = {"kind": "one_compartment", "volume": "5 L", "clearance": "2 L/day"}
    doses = [{"amount": "10 mg/day"}, {"amount": "40 mg", "route": "bolus"}]
    drug = {"route": "infusion", "pk": pk, "dose": {"max": "20 mg/day"}}
    scenario = Scenario.from_tables(tables(drug, doses), "test")
    with pytest.raises(ScenarioError, match="by each drug's own route"):
        _check(scenario, scenario.problem(), "r", scenario.regimens()[0].policy)
