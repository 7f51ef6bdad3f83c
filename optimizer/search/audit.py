"""The audit: the result simulated again by an adaptive solver that shares no numerics with the search."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from optimizer.problem import Problem, Report
from optimizer.programs import stored
from optimizer.search import kkt
from optimizer.simulate import Grid, Trajectory
from optimizer.simulate.resolution import declared

# Largest difference, relative to one or the value, between search and audit that is let pass.
TOLERANCE = 1e-5
# The same for derivatives, beyond what the differences say of their own error.
GRADIENT_TOLERANCE = 1e-3
RTOL = 1e-9
# Above this many of the fastest time constants over the horizon an explicit method needs too many steps.
_STIFF = 2e5
# Central differences step by these shares of each dose.
_STEPS = (0.04, 0.02, 0.01)
_UNSETTLED = 8.0


@dataclass(frozen=True)
class Audit:
    """What the independent solve says."""

    report: Report  #: objective, terms and constraints as audited
    trajectory: Trajectory  #: the patient on the audit's nodes
    objective_difference: float  #: search minus audit, relative to max(1, |audit|)
    constraint_differences: dict[str, float]  #: by name, the difference in value relative to the limit
    #: worst difference between the search's directional derivatives and those of the audited objective, relative to the
    #: gradient's size (here or at the start); None when not asked for
    gradient_difference: float | None
    #: what the differences of the audited objective say of their own error, relative to the same
    gradient_error: float | None
    rtol: float  #: tolerance of the audit's step controller
    #: whether every difference is below 1e-5 (the derivatives': 1e-3 beyond their own error) and the solve succeeded
    passed: bool


def dense(problem: Problem, doses: np.ndarray, grid: Grid | None = None) -> tuple[Trajectory, Report]:
    """The audit's own simulation of doses [K, N] on a grid (the decisions' when left out), and what it comes to."""
    from optimizer.simulate.adaptive import solve

    task = problem.task
    grid = task.grid if grid is None else grid
    rates = declared(task.system.model, task.system.pharmacokinetics)
    stiff = max(float(np.asarray(rates.layer)[0]), float(rates.fastest)) * float(np.asarray(grid.edges)[-1]) > _STIFF
    trajectory = solve(task.system, stored(doses), grid, RTOL, stiff)
    return trajectory, problem.report(trajectory, grid, is_exact=True)


def audit(
    problem: Problem,
    doses: np.ndarray,
    report: Report,
    slope: float,
    seed: int = 0,
    directions: int = 2,
    grid: Grid | None = None,
) -> Audit:
    """Simulate a schedule adaptively and compare.

    Args:
        problem: what was searched.
        doses: the schedule [K, N].
        report: what the search says of it.
        slope: size of the gradient where the search began [objective per largest dose]; at an optimum the gradient
            itself is nothing to measure a difference against.
        seed: of the directions in which the gradient is compared.
        directions: how many; each costs six adaptive solves. None can be had on another grid.
        grid: intervals of the doses, where they are not the decision grid's.
    """
    trajectory, audited = dense(problem, doses, grid)
    size = max(1.0, abs(audited.total))
    difference = (report.total - audited.total) / size
    by_name = {
        mine.name: (mine.value - theirs.value) / max(abs(theirs.limit), 1e-300)
        for mine, theirs in zip(report.constraints, audited.constraints, strict=True)
        if theirs.is_checked
    }
    # Steps have no derivatives to compare.
    has_slopes = directions and not any(term.at_visits for term in problem.task.objective.terms)
    slopes, error = _gradient(problem, doses, slope, seed, directions) if has_slopes else (None, None)
    passed = (
        audited.finite
        and abs(difference) <= TOLERANCE
        and all(abs(d) <= TOLERANCE for d in by_name.values())
        and (slopes is None or error is None or slopes <= GRADIENT_TOLERANCE + error)
    )
    return Audit(audited, trajectory, difference, by_name, slopes, error, RTOL, bool(passed))


def _gradient(problem: Problem, doses: np.ndarray, slope: float, seed: int, directions: int) -> tuple[float, float]:
    """Worst difference of directional derivatives from those of the audited objective, and the error of the latter.

    Every dose steps by shares of itself, up or down at random: a dose at zero stays there.
    """
    scale = np.asarray(problem.task.scale)
    gradient = np.asarray(kkt.gradient(problem.task, stored((doses / scale).ravel()), None)).reshape(doses.shape)
    moved = doses / scale
    if not moved.any():
        return 0.0, 0.0
    size = max(float(np.sum(np.abs(gradient * moved))), slope * float(np.linalg.norm(moved)), 1e-12)
    rng = np.random.default_rng(seed)
    ways = [rng.choice([-1.0, 1.0], doses.shape) for _ in range(directions)]
    sides = [doses * (1.0 + sign * step * way) for way in ways for step in _STEPS for sign in (1.0, -1.0)]
    with ThreadPoolExecutor(4) as pool:
        totals = [report.total for _, report in pool.map(lambda side: dense(problem, side), sides)]
    pairs = np.reshape(totals, (directions, len(_STEPS), 2))
    found = [extrapolated((pair[:, 0] - pair[:, 1]) / (2.0 * np.array(_STEPS))) for pair in pairs]
    claimed = [float(np.sum(gradient * moved * way)) for way in ways]
    differences = [abs(measured - claim) / size for (measured, _), claim in zip(found, claimed, strict=True)]
    worst = int(np.argmax([d - error / size for d, (_, error) in zip(differences, found, strict=True)]))
    return differences[worst], found[worst][1] / size


def extrapolated(slopes: np.ndarray) -> tuple[float, float]:
    """Richardson's limit of central differences whose step is halved each time, and how far it is from settled."""
    table = [slopes]
    for order in range(1, len(slopes)):
        last = table[-1]
        table.append(last[1:] + (last[1:] - last[:-1]) / (4.0**order - 1.0))
    before, after = np.abs(np.diff(slopes))[-2:]
    # Where they do not come together, as beside a jump, the last difference is only a scale of what may be wrong.
    unsettled = _UNSETTLED * after if after > 0.5 * before else 0.0
    return float(table[-1][-1]), max(abs(float(table[-1][-1] - table[-2][-1])), float(unsettled))
