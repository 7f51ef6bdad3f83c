"""The audit catches what a search may get wrong, and what it catches decides how the run ended."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.search import audit as auditing, basins, kkt, optimize, verdict
from optimizer.search.audit import audit
from optimizer.search.multistart import Run
from optimizer.status import Status
from tests.small import small, tables


@pytest.fixture(scope="module")
def honest(small_problem, small_result):
    return audit(small_problem, small_result.doses, small_result.report, 1.0)


def without_gradient(problem, doses, report):
    return audit(problem, doses, report, 1.0, directions=0)


def test_what_is_right_passes(honest):
    assert honest.passed
    assert honest.gradient_difference < 1e-5
    assert honest.gradient_error < 1e-6


@pytest.mark.parametrize(("factor", "passes"), [(1.00005, False), (0.99995, False), (1.000001, True)])
def test_an_objective_that_is_not_so(small_problem, small_result, factor, passes):
    report = dataclasses.replace(small_result.report, total=small_result.report.total * factor)
    checked = without_gradient(small_problem, small_result.doses, report)
    assert checked.passed is passes
    assert checked.objective_difference == pytest.approx(factor - 1.0, rel=1e-2)


def test_a_constraint_whose_value_is_not_so(small_problem, small_result):
    first, *others = small_result.report.constraints
    wrong = dataclasses.replace(first, value=first.value + 5e-5 * first.limit)
    report = dataclasses.replace(small_result.report, constraints=(wrong, *others))
    checked = without_gradient(small_problem, small_result.doses, report)
    assert not checked.passed
    assert checked.constraint_differences[first.name] == pytest.approx(5e-5, rel=1e-3)


def test_a_gradient_that_is_not_so(small_problem, small_result, monkeypatch):
    right = kkt.gradient

    def wrong(task, shares, temperature):
        return right(task, shares, temperature) * 1.01

    monkeypatch.setattr(kkt, "gradient", wrong)
    checked = audit(small_problem, small_result.doses, small_result.report, 0.0)
    assert not checked.passed
    assert 1e-3 < checked.gradient_difference < 0.011
    assert "the gradient differs by" in verdict.difference(checked)


def test_differences_that_do_not_settle_accuse_nobody(small_problem, small_result, monkeypatch):
    """Where the audited objective jumps beside the schedule its differences say so, and no gradient is called wrong."""
    honest, base = auditing.dense, small_result.doses

    def jumpy(problem, doses, grid=None):
        trajectory, report = honest(problem, doses, grid)
        return trajectory, dataclasses.replace(report, total=report.total + 0.1 * float(np.sum(doses) > np.sum(base)))

    monkeypatch.setattr(auditing, "dense", jumpy)
    checked = audit(small_problem, base, small_result.report, 0.0)
    assert checked.gradient_difference > 1.0
    assert checked.gradient_error > checked.gradient_difference
    assert checked.passed


def test_a_solve_that_fails(small_problem, small_result, monkeypatch):
    honest = auditing.dense

    def failed(problem, doses, grid=None):
        trajectory, report = honest(problem, doses, grid)
        return trajectory, dataclasses.replace(report, finite=False)

    monkeypatch.setattr(auditing, "dense", failed)
    assert not without_gradient(small_problem, small_result.doses, small_result.report).passed


def test_extrapolated_differences_of_a_polynomial_are_exact():
    steps = np.array([0.04, 0.02, 0.01])
    slopes = 3.0 + 5.0 * steps**2 - 7.0 * steps**4
    found, error = auditing.extrapolated(slopes)
    assert found == pytest.approx(3.0, abs=1e-12)
    assert 0.0 < error < 1e-4


# --- what it means for a run ------------------------------------------------------------------------------


def test_a_failed_audit_is_no_solution(small_problem, small_result, monkeypatch):
    lie = dataclasses.replace(small_result.audit, passed=False, objective_difference=2e-3)
    monkeypatch.setattr(optimize, "audit", lambda *a, **k: lie)
    result = optimize.optimize(small_problem, restarts=4)
    assert result.status is Status.AUDIT_FAILED
    assert result.reason == "the objective differs by 2.0e-03 (relative)"
    assert result.status.exit_code == 5


def test_a_search_that_stopped_early_is_no_solution(small_problem, small_result, monkeypatch):
    honest = basins.run

    def stopped(task, points, *rest) -> Run:
        found = honest(task, points, *rest)
        states = [
            eqx.tree_at(lambda s: (s.x, s.done, s.residual), state, (point, jnp.asarray(False), jnp.asarray(1.0)))
            for state, point in zip(found.states, points, strict=True)
        ]
        return dataclasses.replace(found, states=states)

    monkeypatch.setattr(basins, "run", stopped)
    result = optimize.optimize(small_problem, restarts=4)
    assert result.status is Status.NOT_CONVERGED
    assert result.search.converged == 0
    assert result.search.kkt_residual > 1e-3


def test_a_limit_that_the_audit_finds_just_broken_is_searched_more_strictly(monkeypatch):
    """The search's error of a limit must not make a schedule infeasible; what is written meets the audited limit."""
    ceiling = {"kind": "final_ceiling", "factor": 2.0}
    problem = small(constraint=[*tables()["constraint"], ceiling])
    honest, seen = optimize.audit, []

    def further(problem, doses, report, *rest):
        """An audit to which every limit on states is 2e-5 nearer."""
        checked = honest(problem, doses, report, *rest)
        *kept, ceiling = checked.report.constraints
        beyond = np.log(ceiling.value / ceiling.limit) + 2e-5
        seen.append(float(beyond))
        changed = dataclasses.replace(ceiling, violation=max(float(beyond), 0.0))
        return dataclasses.replace(
            checked, report=dataclasses.replace(checked.report, constraints=(*kept, changed)), passed=True
        )

    monkeypatch.setattr(optimize, "audit", further)
    result = optimize.optimize(problem, restarts=2)
    assert seen[0] > 1e-5
    assert seen[-1] <= 1e-6
    assert len(seen) == 2
    assert result.status is Status.SOLVED
