"""From a problem to the best schedule that restarts find, with the evidence."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.outcome import remark
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Report, Task
from optimizer.programs import check_64_bits, program
from optimizer.search import kkt
from optimizer.search.audit import Audit, audit
from optimizer.search.distinct import distinct
from optimizer.search.exact import NoLevels, make_feasible, round_to_levels, satisfies, without_traces
from optimizer.search.interior_point import State
from optimizer.search.multistart import Progress, Run, run
from optimizer.search.relaxation import relaxed
from optimizer.search.result import Result, SearchRecord
from optimizer.search.starts import inwards, starts
from optimizer.status import Status

METHOD = "primal-dual interior point, exact Hessian"
# Largest relative violation of a limit on states that is let pass.
LIMIT_TOLERANCE = 1e-6
# Distinct optima that are rounded to dose levels.
_ROUNDED = 3
_BLOCK = 16
# The search goes a little further than it is judged by: its own residual and the one measured apart differ by rounding
# and by what limits that are nearly active still carry.
_STRICTER = 0.5


@program
def _look_at_block(task: Task, shares: jax.Array) -> tuple[jax.Array, jax.Array]:
    def one(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        scene = task.simulate(x)
        worst = [jnp.max(reading.excess) for reading in task.readings(scene)]
        return task.objective.evaluate(scene), jnp.max(jnp.stack([jnp.zeros(()), *worst]))

    return jax.vmap(one)(shares)


def _look(task: Task, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Objective as reported, and worst relative excess of a limit on states, of flattened shares [B, n]."""
    # Blocks of one size are compiled once.
    padded = np.concatenate([points, np.repeat(points[:1], -len(points) % _BLOCK, axis=0)])
    blocks = [_look_at_block(task, jnp.asarray(b)) for b in padded.reshape(-1, _BLOCK, points.shape[1])]
    values, excess = (np.concatenate(parts)[: len(points)] for parts in zip(*blocks, strict=True))
    return values, excess


@program
def _pulls(task: Task, state: State) -> jax.Array:
    """Gradient of each limit on states, weighted with its multipliers over time [limits, n]."""

    def excesses(x: jax.Array) -> list[jax.Array]:
        return [reading.excess for reading in task.readings(task.simulate(x))]

    pairs = zip(state.prices, excesses(state.x), strict=True)
    prices = [jnp.maximum(price + state.penalty * excess, 0.0) for price, excess in pairs]

    def weighted(x: jax.Array) -> jax.Array:
        return jnp.stack([jnp.sum(p * e) for p, e in zip(prices, excesses(x), strict=True)])

    return jax.jacrev(weighted)(state.x)


def optimize(
    problem: Problem,
    *,
    seed: int = 0,
    restarts: int = 16,
    tolerance: float = 1e-6,
    progress: Callable[[Progress], None] | None = None,
    first: np.ndarray | None = None,
) -> Result:
    """Search the schedule that makes the objective small within the limits, and audit it.

    Args:
        problem: what is asked.
        seed: of the starting points; the same seed gives the same bytes.
        restarts: number of starting points R.
        tolerance: projected-gradient (KKT) residual to reach, relative to the projected gradient at the start.
        progress: is told how the search goes.
        first: schedules to start from before all others, such as the optimum of a problem nearby [F, K, N]; they are
            moved inwards from the limits on doses.

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
    began = time.perf_counter()
    points = starts(task, restarts, seed)
    if first is not None and len(first):
        points = jnp.concatenate([inwards(task, first), points])
        restarts = len(points)
    clock["starts"] = time.perf_counter() - began
    found = run(task, points, _STRICTER * tolerance, tell)
    clock |= {"compile": found.compile_seconds, "search": found.search_seconds}
    began = time.perf_counter()
    chosen = _choose(problem, found, tolerance, seed, tell)
    clock["levels"] = time.perf_counter() - began
    began = time.perf_counter()
    trajectory, report = problem.simulate(Schedule(jnp.asarray(chosen.doses)))
    tell(Progress("audit", restarts, restarts, report.total))
    checked = audit(problem, chosen.doses, report, float(found.states[chosen.restart].scale), seed)
    clock["audit"] = time.perf_counter() - began
    status, reason = _verdict(problem, chosen, found, checked, tolerance, points, tell)
    record = SearchRecord(
        method=METHOD,
        restarts=restarts,
        converged=len(chosen.converged),
        distinct_optima=len(chosen.optima),
        optima=chosen.optima,
        iterations=int(found.states[chosen.restart].iterations),
        median_iterations=float(np.median([int(s.iterations) for s in found.states])),
        kkt_residual=chosen.residual,
        tolerance=tolerance,
        level_cost=chosen.level_cost,
        seconds=clock,
    )
    policy = Schedule(jnp.asarray(chosen.doses))
    return Result(problem, policy, trajectory, report, checked, record, status, reason, seed, found.history)


@dataclass(frozen=True)
class _Choice:
    """The restart that is taken, and what became of its schedule.

    Attributes:
        restart: its number.
        doses: what is written out [K, N].
        converged: restarts that reached the tolerance within the limits on states.
        optima: the distinct optima among them.
        residual: KKT residual of the schedule before it was rounded to levels.
        level_cost: objective lost to the levels.
        no_levels: why no rounding was possible.
    """

    restart: int
    doses: np.ndarray
    converged: tuple[int, ...]
    optima: tuple
    residual: float
    level_cost: float | None
    no_levels: str = ""


def _choose(problem: Problem, found: Run, tolerance: float, seed: int, tell: Callable[[Progress], None]) -> _Choice:
    """The best restart that meets the limits; where none does, the one that comes nearest."""
    task = problem.task
    points = np.array([state.x for state in found.states])
    values, excess = _look(task, points)
    # Infeasible ones are ordered by how far they are out, after all feasible ones, and what is not a number comes last.
    out = np.where(np.isfinite(excess) & np.isfinite(values), np.maximum(excess - LIMIT_TOLERANCE, 0.0), np.inf)
    order = np.lexsort((values, out))
    best = int(order[0])
    ended = [bool(state.done) or float(state.residual) <= tolerance for state in found.states]
    converged = tuple(r for r, end in enumerate(ended) if end and out[r] == 0.0)
    optima = distinct(
        [points[r] for r in converged],
        [float(values[r]) for r in converged],
        lambda x: float(_look(task, x[None])[0][0]),
        lambda x: np.asarray(task.doses(jnp.asarray(x))),
    )
    doses = make_feasible(problem, np.asarray(task.doses(jnp.asarray(points[best]))))
    doses = without_traces(problem, doses, lambda batch: _merits(task, batch))
    residual = _residual(task, found.states[best])
    if not problem.levels or found.interrupted:
        return _Choice(best, doses, converged, optima, residual, None)
    tell(Progress("levels", len(found.states), len(found.states), float(values[best])))
    candidates = [doses, *(make_feasible(problem, o.doses) for o in optima[1:_ROUNDED])]
    try:
        rounded = [round_to_levels(problem, c, lambda batch: _merits(task, batch), seed) for c in candidates]
    except NoLevels as error:
        return _Choice(best, doses, converged, optima, residual, None, str(error))
    merits = _merits(task, np.array(rounded))
    pick = int(np.argmin(merits))
    before, after = _look(task, np.array([_shares(task, doses), _shares(task, rounded[pick])]))[0]
    return _Choice(best, rounded[pick], converged, optima, residual, float(after - before))


def _shares(task: Task, doses: np.ndarray) -> np.ndarray:
    return (doses / np.asarray(task.scale)).ravel()


def _merits(task: Task, batch: np.ndarray) -> np.ndarray:
    """Objectives of schedules [B, K, N]; one that breaks a limit on states is worse than any that does not."""
    values, excess = _look(task, (batch / np.asarray(task.scale)).reshape(len(batch), -1))
    return np.where(excess > LIMIT_TOLERANCE, 1e6 * (1.0 + excess), values)


def _residual(task: Task, state: State) -> float:
    """KKT residual where a restart ended, relative to the gradient at its start."""
    if not state.iterations:
        return np.inf
    slope = kkt.gradient(task, state.x, None if task.objective.is_smooth else state.temperature)
    pulls = np.asarray(_pulls(task, state)) if task.state_limits else None
    return kkt.residual(task, np.asarray(state.x), np.asarray(slope), pulls) / float(state.scale)


def _verdict(
    problem: Problem,
    chosen: _Choice,
    found: Run,
    checked: Audit,
    tolerance: float,
    points: jax.Array,
    tell: Callable[[Progress], None],
) -> tuple[Status, str]:
    """Status, and the sentence that says what decided it."""
    if found.interrupted:
        return Status.INTERRUPTED, f"interrupted after {len(chosen.converged)} of {len(found.states)} restarts"
    if not checked.report.finite:
        return Status.SIMULATION_FAILED, remark(checked.trajectory)
    if not satisfies(problem, chosen.doses):
        reason = chosen.no_levels or "no schedule was found that satisfies every dose limit exactly"
        return Status.INFEASIBLE, reason
    wrong = broken(checked.report)
    if wrong:
        return Status.INFEASIBLE, f"{wrong}; {_least_relaxation(problem, points, tolerance, tell)}"
    if not checked.passed:
        return Status.AUDIT_FAILED, difference(checked)
    if not chosen.converged or chosen.residual > tolerance:
        wanted = f"wanted a KKT residual of at most {tolerance:g} of its start"
        return Status.NOT_CONVERGED, f"{wanted}; got {chosen.residual:.1e}"
    count, ways = len(chosen.converged), len(chosen.optima)
    found_by = (
        f"{count} of {len(found.states)} restarts converged, to {ways} distinct optim{'um' if ways == 1 else 'a'}"
    )
    said = remark(checked.trajectory)
    return Status.SOLVED, f"{found_by}; KKT residual {chosen.residual:.1e}{'; ' if said else ''}{said}"


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
    nearest = ends[int(np.argmin(_look(task, ends)[0]))]
    # The excess that is searched may be on another scale (a logarithm) than the share that a reader expects.
    _, report = problem.simulate(Schedule(problem.task.doses(jnp.asarray(nearest))))
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
