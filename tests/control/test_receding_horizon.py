"""Plans: what was given is counted, what is left is optimal."""

from copy import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.control import Effort, Inference, Measurement, RecedingHorizonController, load_prior
from optimizer.control.plan_search import _towards, blocks, phase_one
from optimizer.ensemble.ensemble import Ensemble
from optimizer.ensemble.patients import Patients
from optimizer.ensemble.program import build_program
from optimizer.ensemble.risk import Risk
from optimizer.scenario import Scenario
from optimizer.search import multistart
from optimizer.search.iterate import start
from optimizer.search.phase_one import center
from tests.control.conftest import DOSES
from tests.control.hidden import tables


def robust(inference, particles, risk=Risk.MEAN):
    """The one schedule for all particles as a cohort finds it."""
    systems = inference.standing(inference.begin(0), particles)
    patients = Patients((), np.zeros((particles, 0)), tuple(map(str, range(particles))), {})
    ensemble = Ensemble(inference.problem, jax.tree.map(np.asarray, systems), patients, {})
    middle = center(inference.problem.task)
    program = build_program(ensemble, risk, 0.75, middle)
    state = multistart.run(program, jnp.asarray(middle[None]), 1e-8, lambda event: None).states[0]
    return np.asarray(inference.problem.task.doses(state.x)), float(state.value)


@pytest.fixture(scope="module")
def plan_after(controller):
    def find(given, index):
        belief = controller.inference.begin(0)
        return controller.plan(belief, jnp.asarray(given), jnp.asarray(index), jnp.zeros((6, 1)), jnp.asarray(1.0))

    return find


def test_with_nothing_measured_the_plan_is_the_open_loop_robust_schedule(inference, plan_after):
    plan = plan_after(np.zeros((6, 1)), 0)
    doses, value = robust(inference, 16)
    assert bool(plan.converged)
    assert float(plan.objective) == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(plan.doses, doses, atol=1e-5)


def test_what_was_given_is_kept_and_counts_against_the_budget(plan_after):
    plan = plan_after(DOSES, 3)
    assert bool(plan.converged)
    np.testing.assert_array_equal(plan.doses[:3], DOSES[:3])
    assert 7.0 * float(jnp.sum(plan.doses)) == pytest.approx(20.0, abs=1e-4)  # 14 were given, the rest is worth giving


def test_a_budget_that_is_used_up_leaves_nothing_to_give(plan_after):
    given = np.array([[1.0], [1.0], [6.0 / 7.0], [0.0], [0.0], [0.0]])
    plan = plan_after(given, 3)
    np.testing.assert_array_equal(plan.doses[3:], 0.0)
    beyond = plan_after(np.array([[1.0], [1.0], [1.0], [0.0], [0.0], [0.0]]), 3)
    np.testing.assert_array_equal(beyond.doses[3:], 0.0)


def test_the_best_of_what_is_left_is_not_beaten(controller, plan_after):
    belief, given, index = controller.inference.begin(0), jnp.asarray(DOSES), jnp.asarray(2)
    plan = plan_after(DOSES, 2)
    best = float(controller.objective_of(belief, given, index, plan.doses))
    rng = np.random.default_rng(0)
    for _ in range(40):
        ahead = np.clip(np.asarray(plan.doses)[2:] + rng.normal(0.0, 0.1, (4, 1)), 0.0, 1.0)
        ahead *= min(1.0, (20.0 - 7.0 * DOSES[:2].sum()) / (7.0 * ahead.sum()))
        other = np.concatenate([DOSES[:2], ahead])
        assert float(controller.objective_of(belief, given, index, jnp.asarray(other))) > best - 1e-7


def test_a_step_is_pure_and_may_be_mapped(controller, record):
    inference = controller.inference
    controller_states = [controller.init(inference.begin(seed), seed) for seed in (0, 1)]
    new = Measurement(jnp.asarray(4), jnp.asarray(DOSES), record.day[:4], record.shown[:4], record.seen[:4])
    alone = [controller.step(controller_state, new) for controller_state in controller_states]
    again = controller.step(controller_states[0], new)
    for one, other in zip(jax.tree.leaves(alone[0]), jax.tree.leaves(again), strict=True):
        if not jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(one, other)
    together = jax.vmap(controller.step, (0, None))(jax.tree.map(lambda *a: jnp.stack(a), *controller_states), new)
    for i, (_, (plan, updated)) in enumerate(alone):
        np.testing.assert_allclose(together[1][0].doses[i], plan.doses, atol=1e-6)
        np.testing.assert_allclose(together[1][1].ess[i], updated.ess, rtol=1e-9)
    assert float(alone[0][1][0].objective) != float(alone[1][1][0].objective)  # other particles


def test_blocks_ahead_double_in_length():
    found, count = blocks(20, 3)
    assert found.tolist() == [0, 1, 2, 3, 3, 4, 4, 4, 4, *[5] * 8, *[6] * 3]
    assert count == 7
    assert blocks(5, None)[0].tolist() == [0, 1, 2, 3, 4]


def test_an_inner_point_is_found_where_there_is_one():
    rng, find = np.random.default_rng(0), jax.jit(phase_one)
    for _ in range(20):
        matrix, point = rng.normal(size=(6, 5)), rng.uniform(0.05, 0.95, 5)
        bound = matrix @ point + 0.02
        limits = jnp.zeros(5), jnp.ones(5), jnp.asarray(matrix), jnp.asarray(bound)
        inner = find(*limits)
        assert float(jnp.min(limits[3] - limits[2] @ inner)) > 0.0
        assert float(jnp.min(jnp.minimum(inner, 1.0 - inner))) > 0.0
        wished = jnp.asarray(rng.uniform(size=5))
        moved = _towards(wished, inner, *limits)
        assert float(jnp.min(limits[3] - limits[2] @ moved)) > 0.0
        if np.all(matrix @ wished < bound - 0.1):
            np.testing.assert_allclose(moved, inner + 0.95 * (wished - inner), atol=1e-12)


@pytest.mark.parametrize("risk", [Risk.MEAN, Risk.CVAR, Risk.WORST])
def test_derivatives_are_by_what_is_open(risk):
    cohort = Scenario.load("scenarios/competing_clones_trial.toml").resolved()["scenario"]["cohort"]
    scenario = Scenario.from_tables(tables(cohort=cohort), "twelve decisions")
    inference = Inference(scenario, load_prior(scenario), scenario.channels(), particles=16)
    controller = RecedingHorizonController(inference, Effort(risk=risk, alpha=0.5, particles=3, singly=2), rows=1)
    given = jnp.full((12, 1), 0.7)
    program = controller.program(inference.begin(0), given, jnp.asarray(3)).spread_over(jnp.asarray(0.1))
    x = jnp.where(program.upper > 0.0, jnp.linspace(0.3, 0.8, program.upper.size), 0.0)
    state = start(program, x)._replace(temperature=jnp.asarray(0.2))
    find = jax.jit(lambda z: program.derive(state._replace(x=z)))
    value, _, slope, (hessian, _) = find(x)
    looked, exact = jax.jit(jax.value_and_grad(lambda z: program.evaluate(z, jnp.asarray(0.2))[0]))(x)
    assert float(value) == pytest.approx(float(looked), rel=1e-12)
    np.testing.assert_allclose(slope, exact, atol=1e-9 * float(jnp.max(jnp.abs(exact))))
    steps = 1e-5 * np.eye(x.size)
    measured = np.stack([np.asarray(find(x + step)[2] - find(x - step)[2]) / 2e-5 for step in steps])
    np.testing.assert_allclose(hessian, measured, atol=1e-5 * np.max(np.abs(measured)))


def test_the_dose_of_a_rule_leaves_what_limits_on_sums_leave(controller):
    """The limit is 20 dose days: 14 were given by two weeks of whole doses, 6 are left."""
    plan = jnp.asarray([[1.0], [1.0], [0.0], [0.0], [0.0], [0.0]])
    dose = controller._within(plan, jnp.asarray(2), jnp.asarray([1.0]))
    assert float(dose[0]) == pytest.approx(6.0 / 7.0)
    assert float(controller._within(plan, jnp.asarray(2), jnp.asarray([0.3]))[0]) == pytest.approx(0.3)


def test_treatment_is_not_stopped_for_good_while_the_burden_rises(controller):
    state = controller.init(controller.inference.begin(0), 0)
    given = jnp.asarray([[1.0], [1.0], [0.0], [0.0], [0.0], [0.0]])
    stops, later = state._replace(plan=given), state._replace(plan=given.at[5].set(0.5))
    k, yes, no = jnp.asarray(2), jnp.asarray(True), jnp.asarray(False)
    assert int(controller._overruled(stops, k, yes)) == 2
    assert int(controller._overruled(stops, k, no)) == 0
    assert int(controller._overruled(later, k, yes)) == 0
    lenient = copy(controller)
    lenient.may_stop = True
    assert int(lenient._overruled(stops, k, yes)) == 0
    doubted = stops._replace(check=stops.check.after(1e-6))
    assert int(lenient._overruled(doubted, k, no)) == 1


def test_a_change_of_dose_costs_unless_the_file_says_what_it_costs(controller):
    scenario = Scenario.load("scenarios/competing_clones_trial.toml")
    inference = Inference(scenario, load_prior(scenario), scenario.channels(), particles=16)

    def kinds(own, change):
        found = RecedingHorizonController(own, Effort(particles=2, change=change), rows=1)
        given = jnp.zeros((own.problem.task.grid.count, 1))
        return [term.kind for term in found.program(own.begin(0), given, jnp.asarray(0)).task.objective.terms]

    assert kinds(inference, 0.01).count("roughness") == 1
    assert "roughness" not in kinds(inference, 0.0)
    assert kinds(controller.inference, 0.01).count("roughness") == 1  # the file has a term of its own
