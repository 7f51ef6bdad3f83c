"""What the descents of a search came to: the best end that meets the limits, on dose levels where there are any."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import numpy as np

from optimizer.problem import Problem, Task
from optimizer.programs import stored
from optimizer.search import kkt
from optimizer.search.basins import SMALLER
from optimizer.search.feasible import NoLevels, make_feasible, round_to_levels, without_traces
from optimizer.search.multistart import Progress, Run
from optimizer.search.result import Optimum
from optimizer.search.screening import LIMIT_TOLERANCE, Screened, evaluate
from optimizer.search.solutions import Solutions

# Distinct optima that are rounded to dose levels.
_ROUNDED = 3


@dataclass(frozen=True)
class Choice:
    """What the descents came to."""

    solutions: Solutions  #: their ends
    doses: np.ndarray  #: what is written out [K, N]
    optima: tuple[Optimum, ...]  #: the distinct optima
    left: kkt.Stationarity  #: how far the schedule was from stationary before it was rounded to levels
    is_start: bool  #: whether the schedule is a start, better than all ends
    level_cost: float | None = None  #: objective lost to the levels
    no_levels: str = ""  #: why no rounding was possible


def choose(
    problem: Problem, screened: Screened, found: Run, tolerance: float, seed: int, tell: Callable[[Progress], None]
) -> Choice:
    """The best end that meets the limits, on levels where there are any; else the one that comes nearest."""
    task = problem.task
    points = np.array([state.x for state in found.states])
    left = [kkt.Stationarity(0.0, 0.0) if bool(s.done) else kkt.stationarity(task, s) for s in found.states]
    close = [is_close(one, tolerance, screened.spread) for one in left]
    values, excess = evaluate(task, points)
    solutions = Solutions(points, values, excess, np.array(close) & (excess <= LIMIT_TOLERANCE) & np.isfinite(values))
    optima = solutions.distinct(lambda x: float(evaluate(task, x[None])[0][0]), lambda x: doses_of(task, x))
    state, best = found.states[solutions.best], solutions.best
    least, reached = screened.best, (max(excess[best], LIMIT_TOLERANCE), values[best])
    offered = max(screened.excess[least], LIMIT_TOLERANCE), screened.values[least] + SMALLER * screened.spread
    is_start = not np.isfinite(values[best]) or bool(offered < reached)
    if is_start:
        state = state._replace(x=stored(screened.points[least]))
    doses = make_feasible(problem, doses_of(task, state.x))
    doses = without_traces(problem, doses, lambda batch: _merits(task, batch))
    choice = Choice(solutions, doses, optima, kkt.stationarity(task, state), is_start)
    if not problem.levels or found.interrupted:
        return choice
    tell(Progress("levels", len(found.states), len(found.states), float(values[best])))
    return _on_levels(problem, choice, seed)


def is_close(left: kkt.Stationarity, tolerance: float, spread: float) -> bool:
    return left.residual <= tolerance or left.gap <= tolerance * spread


def _on_levels(problem: Problem, choice: Choice, seed: int) -> Choice:
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


def doses_of(task: Task, shares: np.ndarray | jax.Array) -> np.ndarray:
    """Doses [K, N] of scaled ones [K N], found without a program."""
    scale = np.asarray(task.scale)
    return np.asarray(shares).reshape(-1, scale.size) * scale


def _merits(task: Task, batch: np.ndarray) -> np.ndarray:
    """Objectives of schedules [B, K, N]; one that breaks a limit on states is worse than any that does not."""
    values, excess = evaluate(task, (batch / np.asarray(task.scale)).reshape(len(batch), -1))
    return np.where(excess > LIMIT_TOLERANCE, 1e6 * (1.0 + excess), values)
