"""Rules in the closed loop against loops written by hand over SciPy, and what a gradient sees of them."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from optimizer.policies.containment import Containment
from optimizer.policies.dose_modulation import DoseModulation
from optimizer.policies.dose_skipping import DoseSkipping
from optimizer.policies.integral import Integral
from optimizer.policies.limited import Limited
from optimizer.policies.schedule import Schedule
from optimizer.policies.setpoint import Setpoint
from optimizer.policies.threshold import Threshold
from optimizer.scenario import Scenario, ScenarioError
from optimizer.simulate import rollout

GROWTH, KILL = 0.027, 1.5
CELLS = (0.4, 0.004)
VISITS, EVERY = 30, 14.0
MOST = jnp.ones(1)


def tables(**changes):
    """Two competing clones, seen every two weeks."""
    clone = {"growth_rate": f"{GROWTH} / day", "death_rate": "0 / day"}
    effect = [{"drug": "drug", "law": "norton_simon", "strength": KILL}]
    return {
        "model": {
            "kind": "tumor",
            "growth": {"law": "logistic", "capacity": 1.0},
            "cell_floor": 1e-9,
            "clone": [
                {"name": "sensitive", "cells": CELLS[0], "effect": effect, **clone},
                {"name": "resistant", "cells": CELLS[1], "resistant": True, **clone},
            ],
        },
        "drug": [
            {"name": "drug", "route": "infusion", "pk": {"kind": "direct"}, "dose": {"min": 0, "max": 1}},
        ],
        "decision": {"every": f"{EVERY} day", "horizon": f"{EVERY * VISITS} day"},
    } | changes


@pytest.fixture(scope="module")
def clones():
    return Scenario.from_tables(tables(), "clones").problem()


def next_visit(cells, share):
    """Two weeks at a constant share, by SciPy."""

    def field(_, y):
        growth = GROWTH * (1.0 - y.sum()) * y
        return growth * np.array([1.0 - KILL * share, 1.0])

    return solve_ivp(field, (0.0, EVERY), cells, method="DOP853", rtol=1e-11, atol=1e-14).y[:, -1]


def loop(decide):
    """Doses of a rule that is given all burdens seen so far."""
    cells, seen, shares = np.array(CELLS), [], []
    for _ in range(VISITS):
        seen.append(cells.sum())
        shares.append(decide(seen, shares))
        cells = next_visit(cells, shares[-1])
    return np.array(shares)


def threshold(delay=0, least_on=1, least_off=1):
    def decide(seen, shares):
        burden, start = seen[max(len(seen) - 1 - delay, 0)], seen[0]
        was_on = shares[-1] > 0.0 if shares else True
        run = 0
        for share in reversed(shares):
            if (share > 0.0) != was_on:
                break
            run += 1
        # A treatment that begins with the study may be stopped at once.
        may = not shares or run + (least_on if run == len(shares) and was_on else 0) >= (
            least_on if was_on else least_off
        )
        wanted = burden >= 0.7 * start if was_on else burden > 1.1 * start
        return 0.9 * float(wanted if may else was_on)

    return decide


def modulation(seen, shares):
    before = shares[-1] if shares else 1.0
    if len(seen) == 1:
        return before
    change = seen[-1] / seen[-2]
    factor = 1.25 if change > 1.05 else 1.0 / 1.25 if change < 1.0 / 1.05 else 1.0
    return float(np.clip(before * factor, 0.1, 1.0))


def skipping(seen, shares):
    return 1.0 if len(seen) == 1 or seen[-1] > 1.02 * seen[-2] else 0.0


def containment(seen, shares):
    before = shares[-1] if shares else 0.5
    error = np.log(seen[-1] / seen[0] / 1.05)
    trend = np.log(seen[-1] / seen[-2]) if len(seen) > 1 else 0.0
    return float(np.clip(before + (error + trend) / (0.03 * EVERY), 0.0, 1.0))


def setpoint(seen, shares):
    return float(np.clip(2.5 * (seen[-1] / seen[0] - 0.8), 0.0, 1.0))


def integral(seen, shares):
    before = shares[-1] if shares else 0.4
    return float(np.clip(before + 0.05 * EVERY * (seen[-1] / seen[0] - 0.8), 0.0, 1.0))


@pytest.mark.parametrize(
    ("policy", "decide"),
    [
        (Threshold(MOST, 0.7, 1.1, 0.9), threshold()),
        (Threshold(MOST, 0.7, 1.1, 0.9, delay=2), threshold(delay=2)),
        (Threshold(MOST, 0.7, 1.1, 0.9, least_on=5, least_off=6), threshold(least_on=5, least_off=6)),
        (DoseModulation(MOST, 0.25, 0.05, 0.1), modulation),
        (DoseSkipping(MOST, 0.02), skipping),
        (Containment(MOST, 0.03, 1.05), containment),
        (Setpoint(MOST, 2.5, 0.8), setpoint),
        (Integral(MOST, 0.05, 0.8, 0.4), integral),
    ],
    ids=["threshold", "late", "least times", "modulation", "skipping", "containment", "setpoint", "integral"],
)
def test_a_rule_is_its_loop(clones, policy, decide):
    trajectory, _ = clones.simulate(policy)
    assert np.asarray(trajectory.doses)[:, 0] == pytest.approx(loop(decide), abs=1e-4)
    # Something was decided.
    assert np.ptp(trajectory.doses) > 0.1


def test_noise_belongs_to_the_visit_and_the_seed(clones):
    def doses(**changes):
        return np.asarray(clones.simulate(DoseSkipping(MOST, 0.02, noise=0.2, **changes))[0].doses)

    assert (doses(seed=1) == doses(seed=1)).all()
    assert (doses(seed=1) != doses(seed=2)).any()
    shorter = Scenario.from_tables(tables(decision={"every": "14 day", "horizon": "140 day"}), "shorter").problem()
    first = np.asarray(shorter.simulate(DoseSkipping(MOST, 0.02, noise=0.2, seed=1))[0].doses)
    assert (first == doses(seed=1)[:10]).all()


RULES = [
    Threshold(MOST, jnp.asarray(0.7), jnp.asarray(1.1), jnp.asarray(0.9)),
    DoseModulation(MOST, jnp.asarray(0.25), jnp.asarray(0.05), jnp.asarray(0.1)),
    DoseSkipping(MOST, jnp.asarray(0.02)),
    Containment(MOST, jnp.asarray(0.03), jnp.asarray(1.05)),
]
NUMBER = {"threshold": "stop_below", "dose_modulation": "step", "dose_skipping": "band", "containment": "level"}


@pytest.fixture(scope="module")
def value_of(clones):
    task = clones.task

    def value(policy, number, temperature):
        moved = eqx.tree_at(lambda p: getattr(p, NUMBER[p.kind]), policy, number)
        return task.objective.evaluate(task.scene(rollout(task.system, moved.smooth(temperature), task.grid)))

    return value


@pytest.mark.parametrize("policy", RULES, ids=lambda p: p.kind)
def test_the_gradient_runs_through_the_closed_loop(value_of, policy):
    number = getattr(policy, NUMBER[policy.kind])
    value = jax.jit(lambda x: value_of(policy, x, jnp.asarray(0.5)))
    slope = float(jax.jit(jax.grad(lambda x: value_of(policy, x, jnp.asarray(0.5))))(number))
    step = 1e-5 * float(number)
    measured = float(value(number + step) - value(number - step)) / (2.0 * step)
    assert slope == pytest.approx(measured, rel=1e-4)
    assert abs(slope) > 1e-4


@pytest.mark.parametrize("policy", RULES, ids=lambda p: p.kind)
def test_a_smoothed_rule_becomes_the_rule(clones, policy):
    hard = np.asarray(clones.simulate(policy)[0].doses)
    distances = []
    for temperature in (1.0, 1e-2, 1e-6):
        soft = np.asarray(clones.simulate(policy.smooth(jnp.asarray(temperature)))[0].doses)
        distances.append(float(np.abs(soft - hard).mean()))
    # Containment has nothing to smooth.
    assert distances[0] > 1e-3 or policy.kind == "containment"
    assert distances[2] < 1e-6


def test_a_limited_rule_gives_what_is_allowed():
    asked = Schedule(jnp.asarray([[0.62, 0.3], [0.66, 2.0], [1.9, -1.0]]))
    lower, upper = jnp.zeros((3, 2)), jnp.asarray([[1.0, 1.0], [0.6, 1.0], [1.0, 1.0]])
    rule = Limited(asked, lower, upper, (jnp.asarray([0.0, 0.25, 0.5, 0.75, 1.0]), jnp.zeros(0)))
    clipped = rule.smooth(jnp.asarray(0.5))
    from optimizer.policies.base import Observation

    found, soft = [], []
    for k in range(3):
        seen = Observation(jnp.asarray(k), *(jnp.asarray(v) for v in (7.0 * k, 7.0, 1.0, 1.0)))
        found.append(np.asarray(rule.decide(rule.init(), seen)[0]).tolist())
        soft.append(np.asarray(clipped.decide(clipped.init(), seen)[0]).tolist())
    assert found == [[0.5, 0.3], [0.5, 1.0], [1.0, 0.0]]
    assert soft == [[0.62, 0.3], [0.6, 1.0], [1.0, 0.0]]


PSA = {"kind": "psa", "production": "10 ug/L/cell/day", "decay": "0.5 / day"}
PHASES = [
    {"policy": {"kind": "continuous"}, "ends_below": 0.5},
    {"policy": {"kind": "intermittent", "on": "14 day", "off": "28 day"}, "ends_above": 1.3, "ends_after": "140 day"},
    {"policy": {"kind": "continuous", "share": 0.25}},
]


def test_phases_against_a_loop_by_hand():
    """Full dose until half is left, then one visit of three until it has risen above its nadir; then a quarter."""
    scenario = Scenario.from_tables(tables(regimen=[{"name": "r", "phases": PHASES}]), "phases")
    [regimen] = scenario.regimens()
    trajectory, _ = scenario.problem().simulate(regimen.policy, regimen.grid)
    cells, phase, start, first, nadir, shares, phases = np.array(CELLS), 0, 0, sum(CELLS), sum(CELLS), [], []
    for visit in range(VISITS):
        burden = cells.sum()
        nadir = min(nadir, burden)
        over = [burden < 0.5 * first, burden > 1.3 * nadir or visit - start >= 10, False][phase]
        if visit > 0 and over:
            phase, start, first, nadir = phase + 1, visit, burden, burden
        shares.append([1.0, float((visit - start) % 3 == 0), 0.25][phase])
        phases.append(phase)
        cells = next_visit(cells, shares[-1])
    assert set(phases) == {0, 1, 2}
    np.testing.assert_array_equal(np.asarray(trajectory.doses)[:, 0], shares)


def test_a_phase_ends_at_a_grade_of_toxicity():
    """The full dose until neutrophils show grade 2 at a visit, then a fifth of it."""
    marrow = {"kind": "myelosuppression", "drug": "drug", "slope": "0.6 L/mg", "baseline": "5e9 cell/L"}
    reduced = [
        {"policy": {"kind": "continuous"}, "ends_grade": 2},
        {"policy": {"kind": "continuous", "share": 0.2}},
    ]
    own = tables(regimen=[{"name": "r", "phases": reduced}])
    own["model"] |= {"mechanism": [marrow | {"transit_time": "89 hour", "feedback": 0.16}]}
    own["drug"] = [{**own["drug"][0], "pk": {"kind": "first_order", "elimination": "2 / day"}}]
    own["drug"][0]["dose"] = {"max": "2 mg/L/day"}
    own["model"]["clone"] = [{**clone} for clone in own["model"]["clone"]]
    own["model"]["clone"][0]["effect"] = [{"drug": "drug", "law": "linear", "strength": "0.01 L/mg/day"}]
    scenario = Scenario.from_tables(own, "graded")
    [regimen] = scenario.regimens()
    trajectory, _ = scenario.problem().simulate(regimen.policy, regimen.grid)
    given, edges = np.asarray(trajectory.doses)[:, 0], np.asarray(regimen.grid.edges)
    counts = np.interp(edges[:-1], trajectory.times, trajectory.observables["neutrophils"])
    [first, *_] = np.flatnonzero(counts < 1.5e9)
    assert 0 < first < VISITS - 1
    np.testing.assert_allclose(given, np.where(np.arange(VISITS) < first, 2.0, 0.4))
    resolved = scenario.resolved()["scenario"]
    assert Scenario.from_tables(resolved, "again").resolved()["scenario"] == resolved
    with pytest.raises(ScenarioError, match="wanted a model with neutrophils beside ends_grade"):
        Scenario.from_tables(tables(regimen=[{"name": "r", "phases": reduced}]), "none")


@pytest.mark.parametrize(
    ("endpoint", "more"),
    [
        ({"kind": "burden_factor", "factor": 1.2, "confirm": "28 day"}, {}),
        ({"kind": "recist", "least": "0 mm"}, {}),
        ({"kind": "psa_pcwg3", "least": "0 ug/L"}, {"observation": [PSA]}),
    ],
    ids=lambda given: given.get("kind", "") if isinstance(given, dict) else "",
)
def test_a_phase_ends_at_progression(endpoint, more):
    """The full dose until progression, read anew from the start of each phase; then half, then a quarter."""
    half, quarter = ({"policy": {"kind": "continuous", "share": share}} for share in (0.5, 0.25))
    phases = [PHASES[0] | {"ends_below": 0.9}, half | {"ends_progression": True}, quarter]
    scenario = Scenario.from_tables(
        tables(endpoint=endpoint, regimen=[{"name": "r", "phases": phases}], **more), "switch"
    )
    [regimen] = scenario.regimens()
    trajectory, _ = scenario.problem().simulate(regimen.policy, regimen.grid)
    given, edges = np.asarray(trajectory.doses)[:, 0], np.asarray(regimen.grid.edges)[:-1]
    burden = np.exp(np.interp(edges, trajectory.times, np.log(trajectory.burden)))
    begun = int(np.flatnonzero(burden < 0.9 * burden[0])[0])
    found = scenario.endpoint()
    read = dataclasses.replace(found, every=0.0).assess(
        edges[begun:] - edges[begun], np.array([float(found.of_burden(jnp.asarray(b))) for b in burden[begun:]])
    )
    assert read.day is not None
    over = edges[begun] + read.day + found.confirm
    confirmed = edges[np.flatnonzero(edges >= over - 1e-9)[0]]
    wanted = np.where(edges < edges[begun], 1.0, np.where(edges < confirmed, 0.5, 0.25))
    np.testing.assert_allclose(given, wanted)
    assert {1.0, 0.5, 0.25} == set(given)
    resolved = scenario.resolved()["scenario"]
    assert Scenario.from_tables(resolved, "again").resolved()["scenario"] == resolved
    with pytest.raises(ScenarioError, match=r"wanted \[endpoint\] beside ends_progression; got none"):
        Scenario.from_tables(tables(regimen=[{"name": "r", "phases": phases}]), "none")


def test_phases_are_written_out_as_they_were_read():
    scenario = Scenario.from_tables(tables(regimen=[{"name": "r", "phases": PHASES}]), "phases")
    resolved = scenario.resolved()["scenario"]
    assert resolved["regimen"][0]["phases"][1]["ends_after"] == "140.0 day"
    assert Scenario.from_tables(resolved, "again").resolved()["scenario"] == resolved


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        ([], "regimen[0].phases: wanted at least one phase; got none"),
        (PHASES[:2], "regimen[0].phases[1]: wanted no end of the last phase; got one"),
        ([{"policy": {"kind": "continuous"}}, PHASES[2]], "regimen[0].phases[0]: wanted one of ends_after, ends_below"),
        (
            [PHASES[0], {"policy": {"kind": "continuous", "every": "7 day"}}],
            "regimen[0].phases[1].policy.every: wanted no",
        ),
    ],
)
def test_phases_without_an_end_are_refused(phases, said):
    with pytest.raises(ScenarioError) as refused:
        Scenario.from_tables(tables(regimen=[{"name": "r", "phases": phases}]), "phases")
    assert said in str(refused.value)


def test_the_last_phase_of_a_rule_that_remembers_begins_afresh():
    """Adaptive therapy that begins with a rest would be one that remembers the phase before."""
    at50 = {"kind": "threshold", "stop_below": 0.5, "restart_above": 1.0}
    phases = [{"policy": {"kind": "continuous"}, "ends_after": "28 day"}, {"policy": at50}]
    scenario = Scenario.from_tables(tables(regimen=[{"name": "r", "phases": phases}]), "phases")
    [regimen] = scenario.regimens()
    doses = np.asarray(scenario.problem().simulate(regimen.policy, regimen.grid)[0].doses)[:, 0]
    alone = Scenario.from_tables(tables(regimen=[{"name": "r", "policy": at50}]), "alone")
    [regimen] = alone.regimens()
    # Both treat from the start, and the threshold is that of day 0 in both.
    np.testing.assert_array_equal(
        doses, np.asarray(alone.problem().simulate(regimen.policy, regimen.grid)[0].doses)[:, 0]
    )
