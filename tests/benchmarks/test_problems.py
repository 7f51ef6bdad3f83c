"""Contenders are given our problem: the same equations, limits and patients; the same doses are worth the same."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.contenders import build, casadi_expert, casadi_fatrop, casadi_usual
from benchmarks.contenders.ours import problem_of, value
from benchmarks.contenders.paper import Paper
from benchmarks.problems import BENCHMARKS

# Largest difference of the objective at the even schedule, relative to its size: odeint solves the full equations, the
# usual program leaves out the layer behind a dose, the expert's rounds the corner of the blocker.
TOLERANCE = {
    "colorectal": (1e-6, 2e-5, 1e-4),
    "bistable": (2e-6, 4e-3, 1e-4),
    "persisters": (1e-6, 1e-5, 5e-5),
    "long": (1e-6, 1e-6, 1e-5),
}


@pytest.fixture(scope="module", params=list(BENCHMARKS))
def case(request):
    """A benchmark, a patient who differs from the typical one in every number, and our problem for that patient."""
    benchmark = BENCHMARKS[request.param]
    varied = len(benchmark.equations.typical) - bool(benchmark.temperatures)
    patient = np.array(benchmark.equations.typical[:varied]) * np.linspace(0.95, 1.1, varied)
    return benchmark, patient, problem_of(benchmark, patient)


def ours(case, temperature=1.0):
    benchmark, _, problem = case
    shares = (benchmark.setting.start() / benchmark.setting.most).ravel()
    return float(value(problem.task, jnp.asarray(shares), jnp.asarray(temperature)))


def test_limits_are_those_of_the_scenario(case):
    benchmark, _, problem = case
    setting = benchmark.setting
    np.testing.assert_allclose(setting.edges, np.asarray(problem.task.grid.edges))
    np.testing.assert_allclose(np.broadcast_to(setting.most, problem.upper.shape), problem.upper)
    assert not problem.lower.any()
    np.testing.assert_allclose(setting.budget[np.isfinite(setting.budget)], [row.limit for row in problem.rows])


def test_equations_are_ours(case):
    benchmark, patient, problem = case
    doses = benchmark.setting.start()
    paper = Paper(benchmark).objective(doses, patient)
    if benchmark.temperatures:
        assert paper == pytest.approx(float(problem.loss(jnp.asarray(doses))), rel=1e-6)
        return
    programs = [casadi_usual.Program(benchmark), casadi_expert.program(benchmark)]
    found = [paper, *(program.objective(doses, patient) for program in programs)]
    for theirs, tolerance in zip(found, TOLERANCE[benchmark.name], strict=True):
        assert theirs == pytest.approx(ours(case), rel=tolerance)


@pytest.mark.parametrize("name", ["colorectal", "bistable"])
def test_stages_are_the_same_program(name):
    benchmark = BENCHMARKS[name]
    program = casadi_expert.program(benchmark)
    whole, stages = program.solve(), casadi_fatrop.Fatrop(benchmark, program).solve()
    assert not whole.note
    assert not stages.note
    found = [program.objective(benchmark.setting.inside(answer.doses)) for answer in (whole, stages)]
    assert found[1] == pytest.approx(found[0], rel=1e-6)


def test_what_a_contender_is_not_given_is_said():
    with pytest.raises(NotImplementedError, match="not for clones"):
        build("fatrop", BENCHMARKS["clones"])


def test_smoothed_survival_is_the_crossing_when_cold():
    benchmark = BENCHMARKS["clones"]
    problem, program = problem_of(benchmark), casadi_usual.Program(benchmark)
    doses = benchmark.setting.start()
    crossing = float(problem.loss(jnp.asarray(doses)))
    assert program.objective(doses, temperature=1e-3) == pytest.approx(crossing, rel=1e-2)
    assert ours((benchmark, None, problem), 1e-3) == pytest.approx(crossing, rel=2e-3)


def test_doses_are_put_inside_the_limits():
    setting = BENCHMARKS["colorectal"].setting
    doses = setting.inside(np.full((setting.intervals, 2), 5.0))
    assert (doses <= setting.most).all()
    assert (doses.sum(axis=0) <= setting.budget).all()
    np.testing.assert_allclose(doses.sum(axis=0), setting.budget)
