"""From a problem to the best schedule that restarts find, with the evidence."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

import jax
import numpy as np

from optimizer.outcome import remark
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Report, Task
from optimizer.programs import check_64_bits, stored
from optimizer.search import kkt
from optimizer.search.audit import Audit, audit, dense
from optimizer.search.basins import SMALLER, search
from optimizer.search.feasible import NoLevels, make_feasible, round_to_levels, satisfies, without_traces
from optimizer.search.multistart import Progress, Run, prepare, run
from optimizer.search.phase_one import center
from optimizer.search.relaxation import relaxed
from optimizer.search.result import Optimum, Result, SearchRecord
from optimizer.search.screening import LIMIT_TOLERANCE, Screened, chosen, evaluate, inside, screen
from optimizer.search.solutions import Solutions
from optimizer.status import Status

METHOD = "scored starts, primal-dual interior point with exact Hessian, hops between basins"
# Distinct optima that are rounded to dose levels.
_ROUNDED = 3
# The search goes a little further than it is judged by: its own residual and the one measured apart differ by rounding
# and by what limits that are nearly active still carry.
_STRICTER = 0.5
# A limit on states that the audit finds broken by no more than this is searched again more strictly, so many times.
_JUST = 1e-3
_BACK_OFFS = 3


def optimize(
    problem: Problem,
    *,
    seed: int = 0,
    restarts: int = 16,
    tolerance: float = 1e-6,
    progress: Callable[[Progress], None] | None = None,
    first: np.ndarray | None = None,
    known: Sequence[np.ndarray] = (),
) -> Result:
    """Search the schedule that makes the objective small within the limits, and audit it.

    Args:
        problem: what is asked.
        seed: of the starting points; the same seed gives the same bytes.
        restarts: descents R, from the best of thousands of scored starts and from schedules drawn unseen in turn; more
            follow where a schedule around the best optimum is better than that.
        tolerance: projected-gradient (KKT) residual to reach, relative to the projected gradient at the start; or what
            the objective could still fall by to first order, relative to its spread over the starts.
        progress: is told how the search goes.
        first: schedules to start from before all others, such as the optimum of a problem nearby [F, K, N]; they are
            moved off the limits on doses, to the inside.
        known: schedules [K, N] to score among the starts, such as regimens; they may break the limits.

    Returns:
        The result; its status says whether it is one to be believed. A search that the user interrupts returns the best
        schedule so far.

    Raises:
        ValueError: 64-bit numbers are switched off, or there is no restart.

    Example:
        >>> from optimizer.scenario import Scenario
        >>> problem = Scenario.load("scenarios/crc_caf_cetuximab.toml").problem()
        >>> optimize(problem, restarts=1).status.ok
        True
    """
    check_64_bits("optimize")
    if restarts < 1:
        raise ValueError(f"restarts: wanted at least 1; got {restarts}")
    tell = progress or (lambda _: None)
    task, clock = problem.task, {}
    # The search's programs are compiled while starts are scored, and those that judge the result while it searches.
    beside = ThreadPoolExecutor(2)
    beside.submit(lambda: prepare(task, stored(center(task))))
    rehearsed = beside.submit(_rehearse, problem)
    beside.shutdown(wait=False)
    began = time.perf_counter()
    tell(Progress("starts", 0, restarts, None))
    screened = screen(task, seed, known)
    points = chosen(task, screened, restarts, seed)
    if first is not None and len(first):
        shares = (first / np.asarray(task.scale)).reshape(len(first), -1)
        points = stored(np.concatenate([inside(task, screened, shares), points]))
    clock["starts"] = time.perf_counter() - began
    strict = _STRICTER * tolerance
    found, tried = search(task, screened, points, strict, seed, tell)
    wait([rehearsed])
    clock |= {"levels": 0.0, "audit": 0.0}
    strictly = problem
    for _ in range(_BACK_OFFS + 1):
        began = time.perf_counter()
        choice = _choose(strictly, screened, found, tolerance, seed, tell)
        clock["levels"] += time.perf_counter() - began
        began = time.perf_counter()
        policy = Schedule(stored(choice.doses))
        trajectory, report = problem.simulate(policy)
        total, state = len(found.states), found.states[choice.solutions.best]
        tell(Progress("audit", total, total, report.total))
        checked = audit(problem, choice.doses, report, float(state.scale), seed)
        clock["audit"] += time.perf_counter() - began
        if found.interrupted or not _is_just_beyond(report, checked):
            break
        strictly = _backed_off(strictly, checked)
        begun = inside(task, screened, np.asarray(state.x)[None])
        found = found.joined(run(strictly.task, stored(begun), strict, tell))
    clock |= {"compile": found.compile_seconds, "search": found.search_seconds}
    hops = total - len(points)
    record = _recorded(choice, found, screened, (hops, tried), tolerance, clock)
    status, reason = _verdict(problem, choice, found, checked, record, points, tell)
    return Result(problem, policy, trajectory, report, checked, record, status, reason, seed, found.history)


def _is_just_beyond(report: Report, checked: Audit) -> bool:
    """Whether the search meets its limits on states, and the audit finds one of them broken by the search's error."""
    return checked.report.finite and report.violation <= LIMIT_TOLERANCE < checked.report.violation <= _JUST


def _backed_off(problem: Problem, checked: Audit) -> Problem:
    """The problem with each limit on states searched more strictly by twice what the audit finds beyond it."""
    limits, task = problem.task.state_limits, problem.task
    beyond = np.array([check.violation for check in checked.report.constraints[-len(limits) :]])
    margins = 2.0 * beyond + (0.0 if task.margins is None else np.asarray(task.margins))
    return replace(problem, task=replace(task, margins=stored(margins)))


def _rehearse(problem: Problem) -> None:
    """Build the programs that judge a result, by judging the smallest doses."""
    problem.simulate(Schedule(stored(problem.lower)))
    dense(problem, problem.lower)
    kkt.gradient(problem.task, problem.task.lower, None)


@dataclass(frozen=True)
class _Choice:
    """What the descents came to.

    Attributes:
        solutions: their ends.
        doses: what is written out [K, N].
        optima: the distinct optima.
        left: how far the schedule was from stationary before it was rounded to levels.
        is_start: whether the schedule is a start, better than all ends.
        level_cost: objective lost to the levels.
        no_levels: why no rounding was possible.
    """

    solutions: Solutions
    doses: np.ndarray
    optima: tuple[Optimum, ...]
    left: kkt.Stationarity
    is_start: bool
    level_cost: float | None = None
    no_levels: str = ""


def _recorded(
    choice: _Choice, found: Run, screened: Screened, effort: tuple[int, int], tolerance: float, clock: dict[str, float]
) -> SearchRecord:
    """How the search went; the effort is hops and schedules tried."""
    state = found.states[choice.solutions.best]
    return SearchRecord(
        method=METHOD,
        restarts=len(found.states),
        converged=int(choice.solutions.converged.sum()),
        distinct_optima=len(choice.optima),
        optima=choice.optima,
        iterations=int(state.iterations),
        median_iterations=float(np.median([int(s.iterations) for s in found.states])),
        kkt_residual=choice.left.residual,
        tolerance=tolerance,
        level_cost=choice.level_cost,
        seconds=clock,
        starts=len(screened.points),
        hops=effort[0],
        tried=effort[1],
        last_improvement=choice.solutions.last_improvement + 1,
        gap=choice.left.gap,
        spread=screened.spread,
    )


def _choose(
    problem: Problem, screened: Screened, found: Run, tolerance: float, seed: int, tell: Callable[[Progress], None]
) -> _Choice:
    """The best end that meets the limits, on levels where there are any; else the one that comes nearest."""
    task = problem.task
    points = np.array([state.x for state in found.states])
    left = [kkt.Stationarity(0.0, 0.0) if bool(s.done) else kkt.stationarity(task, s) for s in found.states]
    close = [_is_close(one, tolerance, screened.spread) for one in left]
    values, excess = evaluate(task, points)
    solutions = Solutions(points, values, excess, np.array(close) & (excess <= LIMIT_TOLERANCE) & np.isfinite(values))
    optima = solutions.distinct(lambda x: float(evaluate(task, x[None])[0][0]), lambda x: _doses(task, x))
    state, best = found.states[solutions.best], solutions.best
    least, reached = screened.best, (max(excess[best], LIMIT_TOLERANCE), values[best])
    offered = max(screened.excess[least], LIMIT_TOLERANCE), screened.values[least] + SMALLER * screened.spread
    is_start = not np.isfinite(values[best]) or bool(offered < reached)
    if is_start:
        state = state._replace(x=stored(screened.points[least]))
    doses = make_feasible(problem, _doses(task, state.x))
    doses = without_traces(problem, doses, lambda batch: _merits(task, batch))
    choice = _Choice(solutions, doses, optima, kkt.stationarity(task, state), is_start)
    if not problem.levels or found.interrupted:
        return choice
    tell(Progress("levels", len(found.states), len(found.states), float(values[best])))
    return _on_levels(problem, choice, seed)


def _is_close(left: kkt.Stationarity, tolerance: float, spread: float) -> bool:
    return left.residual <= tolerance or left.gap <= tolerance * spread


def _on_levels(problem: Problem, choice: _Choice, seed: int) -> _Choice:
    """The best of what some optima come to on the levels that are allowed."""
    task = problem.task
    others = [(optimum.objective, make_feasible(problem, optimum.doses)) for optimum in choice.optima[1:_ROUNDED]]
    rounded, merits = [], []
    try:
        for value, doses in [(-np.inf, choice.doses), *others]:
            if not merits or value < min(merits):  # levels only cost: what is worse without them is not tried
                rounded.append(round_to_levels(problem, doses, lambda batch: _merits(task, batch), seed))
                merits.append(float(_merits(task, rounded[-1][None])[0]))
    except NoLevels as error:
        return replace(choice, no_levels=str(error))
    best = rounded[int(np.argmin(merits))]
    before, after = evaluate(task, np.array([_shares(task, choice.doses), _shares(task, best)]))[0]
    return replace(choice, doses=best, level_cost=float(after - before))


def _shares(task: Task, doses: np.ndarray) -> np.ndarray:
    return (doses / np.asarray(task.scale)).ravel()


def _doses(task: Task, shares: np.ndarray | jax.Array) -> np.ndarray:
    scale = np.asarray(task.scale)
    return np.asarray(shares).reshape(-1, scale.size) * scale


def _merits(task: Task, batch: np.ndarray) -> np.ndarray:
    """Objectives of schedules [B, K, N]; one that breaks a limit on states is worse than any that does not."""
    values, excess = evaluate(task, (batch / np.asarray(task.scale)).reshape(len(batch), -1))
    return np.where(excess > LIMIT_TOLERANCE, 1e6 * (1.0 + excess), values)


def _verdict(
    problem: Problem,
    choice: _Choice,
    found: Run,
    checked: Audit,
    record: SearchRecord,
    points: jax.Array,
    tell: Callable[[Progress], None],
) -> tuple[Status, str]:
    """Status, and the sentence that says what decided it."""
    if found.interrupted:
        return Status.INTERRUPTED, f"interrupted after {record.converged} of {record.restarts} restarts"
    if not checked.report.finite:
        return Status.SIMULATION_FAILED, remark(checked.trajectory)
    if not satisfies(problem, choice.doses):
        reason = choice.no_levels or "no schedule was found that satisfies every dose limit exactly"
        return Status.INFEASIBLE, reason
    wrong = broken(checked.report)
    if wrong:
        return Status.INFEASIBLE, f"{wrong}; {_least_relaxation(problem, points, record.tolerance, tell)}"
    if not checked.passed:
        return Status.AUDIT_FAILED, difference(checked)
    if not _is_close(choice.left, record.tolerance, record.spread):
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


def _what_is_left(choice: _Choice, record: SearchRecord) -> str:
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
    return f"{worst.name}: wanted at most {worst.limit:.6g}; the nearest schedule reaches {worst.value:.6g}"


def _least_relaxation(problem: Problem, points: jax.Array, tolerance: float, tell: Callable[[Progress], None]) -> str:
    """What would do: the smallest relative relaxation of all limits on states together."""
    task = relaxed(problem.task)
    found = run(task, points, max(tolerance, 1e-5), tell)
    ends = np.array([state.x for state in found.states])
    nearest = ends[int(np.nanargmin(evaluate(task, ends)[0]))]
    # The excess that is searched may be on another scale (a logarithm) than the share that a reader expects.
    _, report = problem.simulate(Schedule(stored(_doses(problem.task, nearest))))
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
