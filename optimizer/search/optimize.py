"""From a problem to the best schedule that restarts find, with the evidence."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import chain

import numpy as np
from jaxtyping import Array, Float

from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Report, Task
from optimizer.programs import check_64_bits, stored
from optimizer.search import kkt
from optimizer.search.audit import Audit, audit, dense
from optimizer.search.basins import search
from optimizer.search.choice import Choice, choose
from optimizer.search.dynamic_program import Certificate, dynamic_program
from optimizer.search.multistart import Progress, Run, prepare, run
from optimizer.search.phase_one import center
from optimizer.search.result import Result, SearchRecord
from optimizer.search.screening import LIMIT_TOLERANCE, Screened, chosen, inside, screen
from optimizer.search.verdict import verdict

METHOD = "scored starts, primal-dual interior point with exact Hessian, hops between basins"
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
    known: Iterable[np.ndarray] = (),
    certify: bool = False,
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
        certify: whether to ask a dynamic program, too, what the least objective is near; for small problems.

    Returns:
        The result; its status says whether it is one to be believed. A search that the user interrupts returns the best
        schedule so far.

    Raises:
        ValueError: 64-bit numbers are switched off, or there is no restart.
        OptionError: `certify` for a problem that is not small.

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
    certificate = _certified(problem, restarts, tell) if certify else None
    known = known if certificate is None else chain([certificate.doses], known)
    rehearsed = _built_beside(problem)
    began = time.perf_counter()
    tell(Progress("starts", 0, restarts, None))
    screened = screen(task, seed, known)
    points = _begun(task, screened, first, chosen(task, screened, restarts, seed))
    clock["starts"] = time.perf_counter() - began
    strict = _STRICTER * tolerance
    found, tried = search(task, screened, points, strict, seed, tell)
    wait([rehearsed])
    clock |= {"levels": 0.0, "audit": 0.0}
    strictly = problem
    for _ in range(_BACK_OFFS + 1):
        began = time.perf_counter()
        choice = choose(strictly, screened, found, tolerance, seed, tell)
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
    status, reason = verdict(problem, choice, found, checked, record, points, tell)
    whole = (problem, policy, trajectory, report, checked, record, status, reason, seed, found.history)
    return Result(*whole, certificate=certificate)


def _certified(problem: Problem, restarts: int, tell: Callable[[Progress], None]) -> Certificate:
    tell(Progress("dynamic program", 0, restarts, None))
    return dynamic_program(problem)


def _built_beside(problem: Problem) -> Future[None]:
    """Have the search's programs built while starts are scored, and those that judge beside it; the latter's end."""
    task, beside = problem.task, ThreadPoolExecutor(2)
    beside.submit(lambda: prepare(task, stored(center(task))))
    judging = beside.submit(_rehearse, problem)
    beside.shutdown(wait=False)
    return judging


def _begun(task: Task, screened: Screened, first: np.ndarray | None, points: Array) -> Float[Array, "R n"]:
    """Points to descend from, schedules [F, K, N] that were asked for before all others."""
    if first is None or not len(first):
        return points
    shares = (first / np.asarray(task.scale)).reshape(len(first), -1)
    return stored(np.concatenate([inside(task, screened, shares), points]))


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


def _recorded(
    choice: Choice, found: Run, screened: Screened, effort: tuple[int, int], tolerance: float, clock: dict[str, float]
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
