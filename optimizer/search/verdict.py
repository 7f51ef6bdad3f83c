"""Whether the result of a search is one to be believed, and the sentence that says why."""

from collections.abc import Callable

import jax
import numpy as np

from optimizer.outcome import is_below_zero, remark
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Report
from optimizer.programs import stored
from optimizer.search.audit import Audit
from optimizer.search.choice import Choice, doses_of, is_close
from optimizer.search.feasible import satisfies
from optimizer.search.multistart import Progress, Run, run
from optimizer.search.relaxation import relaxed
from optimizer.search.result import SearchRecord
from optimizer.search.screening import LIMIT_TOLERANCE, evaluate
from optimizer.status import Status


def verdict(
    problem: Problem,
    choice: Choice,
    found: Run,
    checked: Audit,
    record: SearchRecord,
    points: jax.Array,
    tell: Callable[[Progress], None],
) -> tuple[Status, str]:
    """Status, and the sentence that says what decided it."""
    if found.interrupted:
        return Status.INTERRUPTED, f"interrupted after {record.converged} of {record.restarts} restarts"
    if not checked.report.finite or is_below_zero(checked.trajectory):
        return Status.SIMULATION_FAILED, remark(checked.trajectory)
    if not satisfies(problem, choice.doses):
        reason = choice.no_levels or "no schedule was found that satisfies every dose limit exactly"
        return Status.INFEASIBLE, reason
    wrong = broken(checked.report)
    if wrong:
        return Status.INFEASIBLE, f"{wrong}; {least_relaxation(problem, points, record.tolerance, tell)}"
    if not checked.passed:
        return Status.AUDIT_FAILED, difference(checked)
    if not is_close(choice.left, record.tolerance, record.spread):
        return Status.NOT_CONVERGED, _what_is_left(choice, record)
    said = remark(checked.trajectory)
    return Status.SOLVED, f"{effort(record)}{'; ' if said else ''}{said}"


def effort(record: SearchRecord) -> str:
    """How the best schedule was found, and what is left to find by its slopes."""
    total, ways = record.restarts, len(record.optima)
    said = [
        f"best of {total} descents from {record.starts:,} starts, {record.often}",
        f"last improvement at descent {record.last_improvement}",
        f"{record.converged} of {total} converged, to {ways} distinct optim{'um' if ways == 1 else 'a'}",
        f"KKT residual {record.kkt_residual:.1e}",
    ]
    if record.kkt_residual > record.tolerance:
        said.append(f"flat: to first order no schedule within the dose limits is better by more than {record.gap:.1e}")
    return "; ".join(said)


def _what_is_left(choice: Choice, record: SearchRecord) -> str:
    """Why the best schedule is not called an optimum."""
    total = record.restarts
    if choice.is_start:
        return f"the best schedule is one of {record.starts:,} starts; none of {total} descents ended at a better one"
    wanted = (
        f"wanted at most {record.tolerance * record.spread:.1e}, {record.tolerance:g} of its spread over the starts"
    )
    return (
        f"the best of {total} descents had not converged: by its slopes the objective could fall by {record.gap:.1e}, "
        f"{wanted}; KKT residual {record.kkt_residual:.1e}, {record.converged} of {total} converged"
    )


def broken(report: Report) -> str:
    """The constraint that is violated most."""
    worst = max(report.constraints, key=lambda c: c.violation, default=None)
    if worst is None or worst.violation <= LIMIT_TOLERANCE:
        return ""
    return f"{worst.name}: wanted {worst.wanted}; the nearest schedule reaches {worst.value:.6g}"


def least_relaxation(problem: Problem, points: jax.Array, tolerance: float, tell: Callable[[Progress], None]) -> str:
    """What would do: the smallest relative relaxation of all limits on states together."""
    task = relaxed(problem.task)
    found = run(task, points, max(tolerance, 1e-5), tell)
    ends = np.array([state.x for state in found.states])
    nearest = ends[int(np.nanargmin(evaluate(task, ends)[0]))]
    # The excess that is searched may be on another scale (a logarithm) than the share that a reader expects.
    _, report = problem.simulate(Schedule(stored(doses_of(problem.task, nearest))))
    if report.violation <= LIMIT_TOLERANCE:
        return "schedules that meet the limits on states exist, but the search for the best one did not reach them"
    least = [f"{c.name} to {c.value:.6g}" for c in report.constraints if c.violation > LIMIT_TOLERANCE]
    return f"the least relaxation found that would do: {', '.join(least)}"


def difference(checked: Audit) -> str:
    """Where search and audit differ most."""
    if abs(checked.objective_difference) > 1e-5:
        return f"the objective differs by {checked.objective_difference:.1e} (relative)"
    name = max(checked.constraint_differences, key=lambda n: abs(checked.constraint_differences[n]), default="")
    if name and abs(checked.constraint_differences[name]) > 1e-5:
        return f"{name} differs by {checked.constraint_differences[name]:.1e} (relative to its limit)"
    wanted, error = "that of the audited objective", f"known to {checked.gradient_error:.1e}"
    return f"the gradient differs by {checked.gradient_difference:.1e} (relative) from {wanted}, {error}"
