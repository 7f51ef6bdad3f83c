"""The audit: the result simulated again by an adaptive solver that shares no numerics with the search."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from optimizer.problem import Problem, Report
from optimizer.search import kkt
from optimizer.simulate import Grid
from optimizer.simulate.resolution import declared

# Largest difference, relative to one or the value, between search and audit that is let pass.
TOLERANCE = 1e-5
# Above this many of the fastest time constants over the horizon an explicit method needs too many steps.
_STIFF = 2e5


@dataclass(frozen=True)
class Audit:
    """What the independent solve says.

    Attributes:
        report: objective, terms and constraints as audited.
        objective_difference: search minus audit, relative to max(1, |audit|).
        constraint_differences: by name, the difference in value relative to the limit.
        gradient_difference: worst difference between the search's directional derivatives and central differences of
            the audited objective, relative to the gradient's size (here or at the start); None when not asked for.
        rtol: tolerance of the audit's step controller.
        passed: whether every difference is below 1e-5 (the derivatives': 1e-3) and the solve succeeded.
    """

    report: Report
    objective_difference: float
    constraint_differences: dict[str, float]
    gradient_difference: float | None
    rtol: float
    passed: bool


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
        directions: how many; each costs two adaptive solves. None can be had on another grid.
        grid: intervals of the doses, where they are not the decision grid's.
    """
    from optimizer.simulate.adaptive import solve

    task = problem.task
    grid, rtol = task.grid if grid is None else grid, 1e-9
    rates = declared(task.system.model, task.system.pharmacokinetics)
    stiff = float(max(rates.layer[0], rates.fastest) * grid.horizon) > _STIFF

    def simulated(candidate: np.ndarray) -> Report:
        return problem.report(solve(task.system, jnp.asarray(candidate), grid, rtol, stiff), grid)

    audited = simulated(doses)
    size = max(1.0, abs(audited.total))
    difference = (report.total - audited.total) / size
    by_name = {
        mine.name: (mine.value - theirs.value) / max(abs(theirs.limit), 1e-300)
        for mine, theirs in zip(report.constraints, audited.constraints, strict=True)
    }
    slopes = _gradient_difference(problem, doses, simulated, slope, seed, directions) if directions else None
    passed = (
        audited.finite
        and abs(difference) <= TOLERANCE
        and all(abs(d) <= TOLERANCE for d in by_name.values())
        and (slopes is None or slopes <= 1e-3)
    )
    return Audit(audited, difference, by_name, slopes, rtol, bool(passed))


def _gradient_difference(
    problem: Problem, doses: np.ndarray, simulated, slope: float, seed: int, directions: int
) -> float:
    """Directional derivatives against central differences, in random directions that keep doses non-negative."""
    scale = np.asarray(problem.task.scale)
    gradient = np.asarray(kkt.gradient(problem.task, jnp.asarray((doses / scale).ravel()), None)).reshape(doses.shape)
    rng = np.random.default_rng(seed)
    worst = 0.0
    # A dose at zero cannot go below it; it is held, and its neighbors are moved.
    movable = doses > 2e-4 * scale
    if not movable.any():
        return 0.0
    size = max(float(np.sum(np.abs(gradient * movable))), slope * np.sqrt(movable.sum()), 1e-12)
    ways = [rng.choice([-1.0, 1.0], doses.shape) * movable for _ in range(directions)]
    sides = [doses + sign * 1e-4 * scale * way for way in ways for sign in (1.0, -1.0)]
    with ThreadPoolExecutor(len(sides)) as pool:
        totals = [report.total for report in pool.map(simulated, sides)]
    for way, above, below in zip(ways, totals[::2], totals[1::2], strict=True):
        measured = (above - below) / 2e-4
        claimed = float(np.sum(gradient * way))
        worst = max(worst, abs(measured - claimed) / size)
    return worst
