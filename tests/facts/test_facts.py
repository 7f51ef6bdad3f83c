"""Facts 1 to 8, 11 and 12 of the design, each by a test that fails where it is violated.

They are numbered as in the list that the project started from; each was measured, and cost somebody dearly.
"""

import ast
from pathlib import Path
from typing import ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array

import optimizer
from optimizer.constraints.cumulative_dose import CumulativeDose
from optimizer.constraints.dose_levels import DoseLevels
from optimizer.mesh import Mesh
from optimizer.models.base import AbstractModel
from optimizer.objectives.burden import Burden
from optimizer.pharmacology.direct import Direct
from optimizer.pharmacology.effects import hill, power
from optimizer.pharmacology.first_order import FirstOrder
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem
from optimizer.search import kkt
from optimizer.search.feasible import make_feasible, satisfies
from optimizer.simulate import Grid, System, adaptive, rollout
from optimizer.simulate.resolution import choose_mesh
from tests.oracle.stromal_scipy import CAF, GENERAL
from tests.simulate.systems import mean_log_burden, simulate, system_of, value_and_slope

FOUR = Grid(jnp.array([0.0, 7.0, 14.0, 21.0, 28.0]))


class Filled(NamedTuple):
    level: Array


class Leaky(AbstractModel):
    """c' = u - 1.2 c, the drug's level u driving it directly."""

    kind: ClassVar[str] = "leaky"

    def initial_state(self):
        return Filled(jnp.zeros(()))

    def vector_field(self, t, y, conc):
        return Filled(conc[0] - 1.2 * y.level)

    def burden(self, y):
        return y.level

    def resistant(self, y):
        return 0.0 * y.level

    def fastest_rate(self):
        return jnp.asarray(1.2)


class TestFact1StepsThatSeeTheGradient:
    """An adaptive controller sees the error of the value, not of the gradient; fixed, capped steps do not need to."""

    truth = -np.expm1(-1.2 * 7.0) / 1.2

    @pytest.mark.parametrize("dose", [0.0, 1.0])
    def test_fixed_steps_have_the_gradient(self, dose):
        mesh = choose_mesh(Leaky(), (Direct(),), 7.0)
        built = System(Leaky(), (Direct(),), ("u",), ("infusion",), mesh)
        week = Grid(jnp.array([0.0, 7.0]))

        def final(u):
            return rollout(built, Schedule(u[None, None]), week).burden[-1]

        assert float(jax.jit(jax.grad(final))(jnp.asarray(dose))) == pytest.approx(self.truth, rel=1e-3)

    def test_adaptive_steps_do_not(self):
        def final(u):
            term = diffrax.ODETerm(lambda t, y, u: u - 1.2 * y)
            controller = diffrax.PIDController(rtol=1e-7, atol=1e-7)
            out = diffrax.diffeqsolve(
                term, diffrax.Tsit5(), 0.0, 7.0, 0.1, jnp.zeros(()), u, stepsize_controller=controller
            )
            return out.ys[-1]

        assert abs(float(jax.jit(jax.grad(final))(jnp.zeros(()))) - self.truth) > 0.1

    def test_steps_are_capped_by_the_fastest_rate(self):
        for longest in (0.1, 7.0, 100.0):
            mesh = choose_mesh(Leaky(), (Direct(),), longest)
            steps = np.diff(np.asarray(mesh.edges(jnp.asarray(longest))))
            # The method is stable up to 3.3 time constants a step.
            assert steps.max() * 1.2 <= 0.4 + 1e-9

    def test_only_the_audit_solves_adaptively(self):
        root = Path(optimizer.__file__).parent
        users = {
            path.relative_to(root).as_posix()
            for path in root.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            and "diffrax" in (getattr(node, "module", None) or node.names[0].name)
        }
        assert users == {"simulate/adaptive.py"}


class TestFact2EveryDoseEdgeIsAStepBoundary:
    """A dose edge inside a step is skipped or smeared."""

    grid = Grid(jnp.array([0.0, 30.0, 30.1, 37.3, 90.0]))

    @pytest.mark.parametrize("route", ["bolus", "infusion"])
    def test_a_brief_dose_between_long_intervals_is_whole(self, route):
        built = System(system_of(CAF).model, (FirstOrder(0.144),), ("u",), (route,), Mesh(3))
        doses = jnp.array([[0.0], [2.0], [0.0], [1.0]])
        trajectory = simulate(built, doses, self.grid)
        times, conc = np.asarray(trajectory.times).reshape(4, -1), np.asarray(trajectory.conc).reshape(4, -1)
        assert np.allclose(times[:, 0], self.grid.edges[:-1], rtol=1e-15)
        assert np.allclose(times[:, -1], self.grid.edges[1:], rtol=1e-15)
        jump = conc[1:, 0] - conc[:-1, -1]
        assert np.allclose(jump, np.asarray(doses[1:, 0]) if route == "bolus" else 0.0, atol=1e-15)
        filled = 2.0 if route == "bolus" else 2.0 * -np.expm1(-0.0144) / 0.144
        left = np.exp(-0.144 * (37.3 - (30.0 if route == "bolus" else 30.1)))
        assert conc[2, -1] == pytest.approx(filled * left, rel=1e-13)

    def test_the_audit_does_not_step_over_it_either(self):
        built = System(system_of(CAF).model, (FirstOrder(0.144),), ("u",), ("infusion",), Mesh(3))
        audited = adaptive.solve(built, jnp.array([[0.0], [2.0], [0.0], [1.0]]), self.grid)
        conc = np.asarray(audited.conc).reshape(4, -1)
        assert conc[2, -1] == pytest.approx(2.0 * -np.expm1(-0.0144) / 0.144 * np.exp(-0.144 * 7.2), rel=1e-8)


class TestFact3OnlyTheStatusOfAFailedLaneTells:
    """A failed lane of a vmapped solve returns finite numbers."""

    def test_a_bad_patient_is_named_by_ok(self):
        good = system_of(CAF)
        bad = eqx.tree_at(lambda s: s.model.growth_rate, good, jnp.array([jnp.nan]))
        both = jax.tree.map(lambda a, b: jnp.stack([a, b, a]), good, bad)
        doses = jnp.full((4, 1), 0.5)
        run = eqx.filter_jit(eqx.filter_vmap(lambda s: rollout(s, Schedule(doses), FOUR)))
        trajectory = run(both)
        assert trajectory.ok.tolist() == [True, False, True]
        assert np.all(np.isfinite(trajectory.burden[0]))
        assert np.array_equal(trajectory.burden[0], trajectory.burden[2])


class TestFact4OneBadPatientDoesNotPoisonTheOthers:
    """Parameters are replaced before the solve and the result is masked after it: masking alone is not enough."""

    def test_gradient_of_a_cohort(self):
        good = system_of(CAF)
        rates = jnp.array([0.35, jnp.nan, 0.30])
        doses = jnp.full((4, 1), 0.5)

        def one(rate, doses):
            patient = eqx.tree_at(lambda s: s.model.growth_rate, good, rate[None])
            return mean_log_burden(doses, patient, FOUR)

        def cohort(doses, rates, known):
            return jnp.sum(jnp.where(known, jax.vmap(one, (0, None))(rates, doses), 0.0))

        slope = jax.jit(jax.grad(cohort))
        known = jnp.isfinite(rates)
        replaced = slope(doses, jnp.where(known, rates, 0.35), known)
        without = slope(doses, jnp.array([0.35, 0.35, 0.30]), known)
        assert np.array_equal(replaced, without)
        assert np.all(np.isfinite(replaced))
        assert np.all(np.isnan(slope(doses, rates, known)))


class TestFact5NoLockstep:
    """Under vmap adaptive steps run in lockstep: what the search runs has no loop of unknown length."""

    def test_rollout_and_its_gradient_have_no_while(self):
        built = system_of(CAF)
        traced = jax.make_jaxpr(lambda d: jax.grad(mean_log_burden)(d, built, FOUR))(jnp.ones((4, 1)))
        text = str(traced)
        assert "scan[" in text
        assert "while[" not in text


def tiny(*limits) -> Problem:
    """Four weekly doses against the caf tumor, four mg/L in all."""
    budget = CumulativeDose("drug 0", 4.0)
    return Problem.build(system_of(CAF), FOUR, 1.0 * Burden(), [0.0], [3.0], [budget, *limits])


class TestFact6AStallIsNotAnOptimum:
    """Adam followed by projection on a dose budget does not move at all, and calls it converged."""

    @staticmethod
    def residual(problem, doses):
        _, slope = value_and_slope(jnp.asarray(doses), problem.task.system, FOUR)
        scale = np.asarray(problem.task.scale)
        return kkt.residual(problem.task, (doses / scale).ravel(), (np.asarray(slope) * scale).ravel())

    def test_the_residual_flags_it(self):
        problem = tiny()
        rule = optax.adam(0.1)
        doses = jnp.ones((4, 1))
        memory = rule.init(doses)
        for _ in range(30):
            _, slope = value_and_slope(doses, problem.task.system, FOUR)
            step, memory = rule.update(slope, memory)
            doses = doses + step
            doses = doses - jnp.maximum(jnp.sum(doses) - 4.0, 0.0) / 4.0
        stalled = np.asarray(doses)
        assert np.abs(stalled - 1.0).max() < 0.2  # the optimum is more than one away, as below
        assert self.residual(problem, stalled) > 1e-2
        best = scipy_optimum(problem)
        assert np.abs(best - 1.0).max() > 1.0
        assert self.residual(problem, best) < 1e-4 * self.residual(problem, stalled)


def scipy_optimum(problem):
    from scipy.optimize import minimize

    def merit(x):
        value, slope = value_and_slope(jnp.asarray(x[:, None]), problem.task.system, FOUR)
        return float(value), np.asarray(slope, dtype=float)[:, 0]

    budget = {"type": "ineq", "fun": lambda x: 4.0 - x.sum(), "jac": lambda x: -np.ones(4)}
    start = np.array([2.0, 1.0, 0.6, 0.4])
    options = {"ftol": 1e-15, "maxiter": 300}
    out = minimize(merit, start, jac=True, method="SLSQP", bounds=[(0.0, 3.0)] * 4, constraints=budget, options=options)
    return np.clip(out.x, 0.0, 3.0)[:, None]


class TestFact7NoDrugHasAGradient:
    """(D / D50)^k with k < 1 has an infinite slope at D = 0: its gradient must be finite, and right in the limit."""

    @pytest.mark.parametrize("exponent", [0.5, 0.93, 1.0, 2.0])
    def test_power(self, exponent):
        slope = jax.grad(power)
        assert np.isfinite(slope(0.0, exponent))
        for x in (1e-11, 1e-6, 0.3):
            assert float(slope(x, exponent)) == pytest.approx(exponent * x ** (exponent - 1.0), rel=1e-12)
            assert float(hill(x, exponent)) == pytest.approx(x**exponent / (1.0 + x**exponent), rel=1e-12)
        assert float(hill(0.0, exponent)) == 0.0

    @pytest.mark.parametrize("parameters", [CAF, GENERAL], ids=["k below one", "k above one"])
    def test_schedules_without_drug(self, parameters):
        built = system_of(parameters)
        value, slope = value_and_slope(jnp.zeros((4, 1)), built, FOUR)
        assert np.all(np.isfinite(slope))
        growth = parameters["clones"][0]["net_growth_max"]
        exact = 8.0 + growth * 14.0 / np.log(10.0)
        assert float(value) == pytest.approx(exact, rel=1e-9)
        if parameters is CAF:
            # The slope grows without bound towards no drug, and every dose helps.
            near = [np.asarray(value_and_slope(jnp.full((4, 1), d), built, FOUR)[1]) for d in (1e-3, 1e-5)]
            assert np.all(np.asarray(slope) < near[1])
            assert np.all(near[1] < near[0])
            assert np.all(near[0] < 0.0)
        else:
            assert np.allclose(slope, 0.0, atol=1e-6)

    def test_little_drug_against_central_differences(self):
        built = system_of(CAF)
        doses = np.array([[0.0], [1e-6], [0.0], [1e-4]])
        _, slope = value_and_slope(jnp.asarray(doses), built, FOUR)
        for k in (1, 3):
            step = np.zeros((4, 1))
            step[k] = 0.01 * doses[k]
            sides = [float(value_and_slope(jnp.asarray(doses + s * step), built, FOUR)[0]) for s in (1.0, -1.0)]
            assert float(slope[k, 0]) == pytest.approx((sides[0] - sides[1]) / (2.0 * step[k, 0]), rel=1e-3)


class TestFact8WrittenDosesHoldEveryLimit:
    """A solver's "optimal" may exceed a bound by 1e-8; vials and pumps deliver whole quanta."""

    def test_a_hair_too_much_is_too_much(self):
        problem = tiny()
        good = np.array([[3.0], [1.0], [0.0], [0.0]])
        assert satisfies(problem, good)
        for excess in (
            [[3.0 + 1e-8], [0.5], [0.0], [0.0]],
            [[3.0], [1.0 + 1e-8], [0.0], [0.0]],
            [[-1e-12], [0], [0], [0]],
        ):
            wrong = np.array(excess)
            assert not satisfies(problem, wrong)
            settled = make_feasible(problem, wrong)
            assert satisfies(problem, settled)
            assert np.abs(settled - wrong).max() < 1e-6

    def test_whole_quanta(self):
        problem = tiny(DoseLevels("drug 0", quantum=0.1))
        assert satisfies(problem, np.array([[0.3], [0.7], [0.0], [3.0]]))
        assert not satisfies(problem, np.array([[3 * 0.1], [0.7], [0.0], [2.9]]))  # 0.30000000000000004
        assert not satisfies(problem, np.array([[0.35], [0.7], [0.0], [2.9]]))


class TestFact11ExhaustedStepsAreAStatus:
    """A solve that ran out of steps is silently wrong unless it is asked."""

    def test_the_audit_says_so(self, monkeypatch):
        built = system_of(GENERAL)
        grid, doses = Grid(jnp.array([0.0, 3.0])), jnp.array([[1.4]])
        assert bool(adaptive.solve(built, doses, grid).ok)
        monkeypatch.setattr(adaptive, "_MOST_STEPS", 20)
        short = adaptive.solve(built, doses, grid, rtol=1.0000001e-9)  # another tolerance: compiled anew
        assert not bool(short.ok)


class TestFact12ConstantsDoNotPromote:
    """np.float64 constants, even np.log(10), promote float32 to float64 under x64 and break scan carries."""

    @pytest.mark.parametrize("parameters", [CAF, GENERAL], ids=["caf", "general"])
    def test_single_precision_stays(self, parameters):
        assert jax.config.jax_enable_x64

        def single(tree):
            return jax.tree.map(lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, tree)

        built, grid = single(system_of(parameters)), single(FOUR)
        out = eqx.filter_eval_shape(simulate, built, jnp.ones((4, 1), jnp.float32), grid)
        kinds = {leaf.dtype for leaf in jax.tree.leaves(out) if jnp.issubdtype(leaf.dtype, jnp.floating)}
        assert kinds == {jnp.dtype("float32")}
