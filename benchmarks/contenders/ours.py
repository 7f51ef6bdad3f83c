"""Ours, and SciPy's SLSQP on our gradient."""

from collections.abc import Sequence
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import LinearConstraint, minimize

from benchmarks.contenders.base import Answer
from benchmarks.problems.base import Benchmark
from optimizer.ensemble import build_ensemble, load_patients
from optimizer.ensemble.alone import descend
from optimizer.ensemble.ensemble import Ensemble, with_system
from optimizer.problem import Problem, Task
from optimizer.programs import program
from optimizer.scenario import Scenario
from optimizer.scenario.build import build_system
from optimizer.scenario.keys import substituted
from optimizer.search.feasible import make_feasible
from optimizer.search.fewer_nodes import agree, on_panels_of, searched
from optimizer.search.landscape import Landscape
from optimizer.search.quadrature import QuadratureProgram

TOLERANCE = 1e-6
_descend = program(descend)


@jax.jit
def value(task: Task, shares: jax.Array, temperature: jax.Array) -> jax.Array:
    """The objective as searched."""
    return task.evaluate(shares, temperature)[0]


value_and_gradient = jax.jit(jax.value_and_grad(value.__wrapped__, argnums=1))


def problem_of(benchmark: Benchmark, patient: Sequence[float] | None = None) -> Problem:
    """Our problem, with the typical patient's system or another one's."""
    scenario = Scenario.load(benchmark.path)
    problem = scenario.problem()
    if patient is None:
        return problem
    places = load_patients(scenario, 1, 0).places
    system = build_system(substituted(scenario.plan, places, list(patient)), problem.task.system.mesh)
    return replace(problem, task=with_system(problem.task, jax.tree.map(jnp.asarray, system)))


def ensemble_of(benchmark: Benchmark, patients: int) -> tuple[Ensemble, np.ndarray]:
    """That many patients, and the numbers in which they differ [P, V]."""
    scenario = Scenario.load(benchmark.path)
    drawn = load_patients(scenario, patients, 0)
    return build_ensemble(scenario, drawn), drawn.values


class Ours:
    """The search of `optimizer.ensemble`, compiled when it is built: from one start, as everybody here.

    Args:
        benchmark: what is asked.
    """

    def __init__(self, benchmark: Benchmark):
        self.benchmark, self.problem = benchmark, problem_of(benchmark)
        setting = benchmark.setting
        self.point = jnp.asarray((setting.start() / setting.most).ravel())
        self.searched = searched(self.problem.task, self.point[None])
        self._doses(self.problem)

    def _doses(self, problem: Problem) -> tuple[np.ndarray, int, bool]:
        own: Landscape = self.searched
        if isinstance(own, QuadratureProgram):
            own = eqx.tree_at(lambda q: q.task, own, problem.task)
        elif isinstance(own, Task):
            own = on_panels_of(own.system.mesh, problem.task)
        found = jax.block_until_ready(_descend(own, self.point, jnp.asarray(TOLERANCE)))
        if not agree(problem.task, own, np.asarray(found.x)[None])[0]:
            found = jax.block_until_ready(_descend(problem.task, self.point, jnp.asarray(TOLERANCE)))
        doses = make_feasible(problem, np.asarray(problem.task.doses(found.x)))
        return doses, int(found.iterations), bool(found.done)

    def solve(self, patient: Sequence[float] | None = None) -> Answer:
        """One patient; an iteration is one value, gradient and Hessian."""
        problem = self.problem if patient is None else problem_of(self.benchmark, patient)
        doses, iterations, done = self._doses(problem)
        return Answer(doses, iterations, iterations, "" if done else "not converged")


class Slsqp:
    """SLSQP, limits as they are, our value and gradient.

    Args:
        benchmark: what is asked.
    """

    def __init__(self, benchmark: Benchmark):
        self.benchmark, self.problem = benchmark, problem_of(benchmark)
        self._look(self.problem.task, (benchmark.setting.start() / benchmark.setting.most).ravel(), 1.0)

    @staticmethod
    def _look(task: Task, shares: np.ndarray, temperature: float) -> tuple[float, np.ndarray]:
        found, slope = value_and_gradient(task, jnp.asarray(shares), jnp.asarray(temperature))
        return float(found), np.asarray(slope)

    def solve(self, patient: Sequence[float] | None = None) -> Answer:
        """From the even schedule; where there are temperatures, down through them."""
        task = (self.problem if patient is None else problem_of(self.benchmark, patient)).task
        setting = self.benchmark.setting
        x, iterations, evaluations = (setting.start() / setting.most).ravel(), 0, 0
        limits = [LinearConstraint(np.asarray(task.matrix), ub=np.asarray(task.bound))] if len(task.bound) else []
        for temperature in self.benchmark.temperatures or (1.0,):
            out = minimize(
                lambda z, t=temperature: self._look(task, z, t),
                x,
                jac=True,
                method="SLSQP",
                bounds=[(0.0, 1.0)] * x.size,
                constraints=limits,
                options={"maxiter": 300, "ftol": 1e-9},
            )
            x, iterations, evaluations = np.clip(out.x, 0.0, 1.0), iterations + out.nit, evaluations + out.nfev
        return Answer(x.reshape(setting.intervals, -1) * setting.most, iterations, evaluations, _why(out))


def _why(out) -> str:
    return "" if out.success else str(out.message)


def build(benchmark: Benchmark) -> Ours:
    """The contender."""
    return Ours(benchmark)
