"""The optimized schedule beside the regimens that it has to beat, under one simulator and one objective."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, product
from typing import Any

import numpy as np

from optimizer.endpoints.base import AbstractEndpoint
from optimizer.endpoints.burden_factor import BurdenFactor
from optimizer.outcome import Outcome, cumulative_dose, outcome, remark
from optimizer.policies.schedule import Schedule
from optimizer.problem import Check, Problem, Report
from optimizer.programs import stored
from optimizer.regimens import Regimen
from optimizer.search.audit import dense
from optimizer.search.feasible import make_feasible, satisfies
from optimizer.search.multistart import cores
from optimizer.search.result import Result
from optimizer.search.screening import LIMIT_TOLERANCE, evaluate
from optimizer.simulate import Grid, Trajectory

OPTIMIZED = "optimized"
# Which solver made the numbers of an entry.
ADAPTIVE, FIXED = "adaptive (audit)", "fixed nodes (search)"
# Constant doses are tried at these shares of the largest ones that the limits allow; so many of the best are improved,
# with differences of so large a share.
_SHARES = np.r_[0.0, np.geomspace(0.005, 0.1, 5), np.linspace(0.2, 1.0, 10)]
_BEGUN, _STEP = 2, 1e-5


@dataclass(frozen=True)
class Entry:
    """One way of dosing as compared."""

    name: str  #: of the regimen
    grid: Grid  #: its intervals
    trajectory: Trajectory  #: the patient, on the audit's nodes where its solver succeeded
    report: Report  #: under the problem's objective and constraints
    outcome: Outcome  #: what it came to
    solver: str  #: which one made these numbers
    #: the same with each drug's doses multiplied so that they sum to the optimized schedule's; None for the optimized
    #: schedule itself, for rules, and where nothing is given
    scaled: "Entry | None" = None

    @property
    def broken(self) -> tuple[Check, ...]:
        """The constraints that it breaks."""
        return tuple(c for c in self.report.constraints if c.violation > LIMIT_TOLERANCE)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Limits that have no meaning for its doses."""
        return tuple(c.name for c in self.report.constraints if not c.is_checked)

    @property
    def is_audited(self) -> bool:
        """Whether its numbers are the audit's."""
        return self.solver == ADAPTIVE

    @property
    def remark(self) -> str:
        """What its numbers do not say; empty when that is nothing."""
        return remark(self.trajectory)

    def to_json(self) -> dict[str, Any]:
        """The contract's keys, with the objective and the worst violation of a constraint."""
        return {
            "name": self.name,
            **self.outcome.to_json(),
            "objective": {"total": self.report.total, "terms": self.report.terms},
            "violation": self.report.violation,
            "violated": [c.name for c in self.broken],
            "not_checked": list(self.unchecked),
            "solver": self.solver,
            "remark": self.remark,
            "scaled": None if self.scaled is None else self.scaled.to_json(),
        }


def compare(
    problem: Problem,
    regimens: Sequence[Regimen],
    result: Result | None = None,
    endpoint: AbstractEndpoint = BurdenFactor(),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Entry, ...]:
    """Every regimen, the best constant dose, no treatment and the largest doses; the optimized schedule first.

    Args:
        problem: model, objective and limits; a regimen may break the limits, which its report says.
        regimens: those of the scenario.
        result: the optimized schedule, which also sets the cumulative doses that regimens are scaled to.
        endpoint: what counts as progression.
        progress: is told how many regimens of how many are simulated.

    Returns:
        One entry each; a name that the scenario already uses is not repeated.
    """
    entries = []
    if result is not None:
        found, searched = (result.audit.trajectory, result.audit.report), (result.trajectory, result.report)
        entries.append(entry_of(problem, OPTIMIZED, problem.task.grid, endpoint, found, searched))
    goal = np.array(list(entries[0].outcome.cumulative_dose.values())) if entries else None
    listed, done = list(regimens), count(1)
    listed += [r for r in _standard(problem) if r.name not in {known.name for known in listed}]
    scaled = [None if goal is None else _scaled(problem, regimen, goal) for regimen in listed]

    def simulated(regimen: Regimen) -> Entry:
        entry = _entry(problem, regimen, endpoint)
        progress(next(done), len(listed))
        return entry

    progress(0, len(listed))
    with ThreadPoolExecutor(cores()) as pool:
        found = [*pool.map(simulated, listed)]
        more = pool.map(lambda regimen: None if regimen is None else _entry(problem, regimen, endpoint), scaled)
        entries += [replace(entry, scaled=other) for entry, other in zip(found, more, strict=True)]
    return tuple(entries)


def _entry(problem: Problem, regimen: Regimen, endpoint: AbstractEndpoint) -> Entry:
    """By the audit's solver; a rule is asked for its doses on the search's nodes first."""
    policy, name, grid = problem.delivered(regimen.policy), regimen.name, regimen.grid
    if isinstance(policy, Schedule):
        searched, doses = None, policy.doses
    else:
        searched = problem.simulate(policy, grid)
        doses = searched[0].doses
    found = dense(problem, np.asarray(doses), grid)
    if not found[1].finite:
        searched = searched or problem.simulate(policy, grid)
    return entry_of(problem, name, grid, endpoint, found, searched)


def entry_of(
    problem: Problem,
    name: str,
    grid: Grid,
    endpoint: AbstractEndpoint,
    found: tuple[Trajectory, Report],
    searched: tuple[Trajectory, Report] | None,
) -> Entry:
    """What a way of dosing came to by its audit; by the search's nodes where the audit's solver did not succeed."""
    system, decided, solver = problem.task.system, problem.task.grid, ADAPTIVE
    if not found[1].finite and searched is not None and searched[1].finite:
        found, solver = searched, FIXED
    verdict = endpoint.read(system, found[0], np.asarray(decided.edges))
    came_to = outcome(found[0], grid, system.drugs, system.routes, verdict, decided)
    return Entry(name, grid, *found, came_to, solver)


def _scaled(problem: Problem, regimen: Regimen, goal: np.ndarray) -> Regimen | None:
    """The regimen with each drug's doses multiplied to sum to `goal` [N]; a drug it does not give stays out."""
    if not isinstance(regimen.policy, Schedule) or regimen.grid.other is not None:
        return None
    doses = np.asarray(regimen.policy.doses)
    total = cumulative_dose(doses, np.asarray(regimen.grid.edges), problem.task.system.routes)
    if not total.any():
        return None
    factors = np.where(total > 0.0, goal / np.where(total > 0.0, total, 1.0), 0.0)
    return Regimen(f"{regimen.name}, scaled", Schedule(stored(doses * factors)), regimen.grid)


def _standard(problem: Problem) -> list[Regimen]:
    """The best constant dose, no treatment, and the largest doses, whatever the other limits say of them."""
    grid = problem.task.grid
    untreated, most = np.zeros_like(problem.upper), problem.upper
    named = {"best constant dose": best_constant(problem), "no treatment": untreated, "maximum dose": most}
    return [Regimen(name, Schedule(stored(doses)), grid) for name, doses in named.items()]


def best_constant(problem: Problem) -> np.ndarray:
    """The best schedule [K, N] that gives one dose of each drug at every decision, within the dose limits.

    Rests cut it off where they apply; where the largest dose differs between intervals, the least of them counts.
    Sequential quadratic programming by central differences from the best of some mixtures, then the better allowed
    level beside the best dose; exact in the dose limits, blind to limits on states, which the report of it says.
    """
    from scipy.optimize import LinearConstraint, minimize

    lower, upper, scale = problem.lower, problem.upper, np.asarray(problem.task.scale)
    # A row's limit on one level: its coefficients summed over the intervals that are free to give it.
    rows = [(np.sum(np.where(upper > 0.0, row.coefficients, 0.0), axis=0) * scale, row.limit) for row in problem.rows]
    # Rolling windows give the same row again and again.
    unique = np.unique([[*r, b] for r, b in rows if np.any(r > 0.0)] or np.zeros((0, len(scale) + 1)), axis=0)
    given = np.where(upper > 0.0, upper, np.inf).min(axis=0)
    high = np.where(np.isfinite(given), given, 0.0) / scale
    low = np.minimum(lower.max(axis=0) / scale, high)

    def values(levels: np.ndarray) -> np.ndarray:
        doses = np.clip((levels * scale)[:, None], lower, upper) / scale
        found = evaluate(problem.task, doses.reshape(len(levels), -1))[0]
        return np.where(np.isfinite(found), found, np.inf)

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        above, below = np.clip(x + _STEP * np.eye(x.size), low, high), np.clip(x - _STEP * np.eye(x.size), low, high)
        found, width = values(np.concatenate([x[None], above, below])), np.diag(above - below)
        rise = found[1 : 1 + x.size] - found[1 + x.size :]
        return float(found[0]), np.where(width > 0.0, rise / np.where(width > 0.0, width, 1.0), 0.0)

    most: Any = unique[:, -1]
    limits = [LinearConstraint(unique[:, :-1], -np.inf, most)] if len(unique) else []
    how: Any = {"bounds": np.stack([low, high], -1), "constraints": limits, "options": {"ftol": 1e-12}}
    best, least = np.zeros(scale.size), np.inf
    for start in _mixtures(unique[:, :-1], most, low, high, values):
        found = minimize(loss, start, jac=True, method="SLSQP", **how)
        if np.isfinite(found.fun) and found.fun < least:
            best, least = found.x, float(found.fun)

    def given_always(dose: np.ndarray) -> np.ndarray:
        return make_feasible(problem, np.clip(np.broadcast_to(dose, lower.shape), lower, upper))

    beside = [problem.levels.get(drug, np.zeros(0)) for drug in problem.task.system.drugs]
    places = [int(np.searchsorted(levels, dose)) for levels, dose in zip(beside, best * scale, strict=True)]
    near = [levels[max(at - 1, 0) : at + 1] for levels, at in zip(beside, places, strict=True)]
    choices = product(*(pair if pair.size else [dose] for pair, dose in zip(near, best * scale, strict=True)))
    rounded = [dose for dose in map(np.array, choices) if satisfies(problem, given_always(dose))]
    return given_always(min(rounded, key=lambda dose: values((dose / scale)[None])[0], default=best * scale))


def _mixtures(
    matrix: np.ndarray, most: np.ndarray, low: np.ndarray, high: np.ndarray, values: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """The lowest dips of an objective along all drugs together and along each alone, within its limits [B, N]."""
    drugs = low.size
    ways = np.concatenate([np.ones((1, drugs)), np.eye(drugs)[: drugs if drugs > 1 else 0]])
    reach = [min([1.0, *(b / r for r, b in zip(matrix @ way, most, strict=True) if r > 0.0)]) for way in ways]
    tried = np.clip(_SHARES[:, None] * (np.array(reach)[:, None] * ways)[:, None], low, high)
    scores = np.pad(values(tried.reshape(-1, drugs)).reshape(tried.shape[:2]), ((0, 0), (1, 1)), constant_values=np.inf)
    here = scores[:, 1:-1]
    dips = np.where((here <= scores[:, :-2]) & (here <= scores[:, 2:]), here, np.inf).ravel()
    return tried.reshape(-1, drugs)[np.argsort(dips, kind="stable")[:_BEGUN]]
