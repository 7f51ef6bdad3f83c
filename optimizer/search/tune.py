"""From a rule with open numbers to the best numbers that restarts find, with the evidence."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.optimize import OptimizeResult, minimize

from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem
from optimizer.programs import check_64_bits, program
from optimizer.regimens import Rule
from optimizer.search.audit import Audit, audit
from optimizer.search.distinct import distinct
from optimizer.search.exact import satisfies
from optimizer.search.multistart import Progress, Run, run
from optimizer.search.optimize import LIMIT_TOLERANCE, broken, difference
from optimizer.search.result import Result, SearchRecord, Tuned
from optimizer.search.tuning import Tuning
from optimizer.status import Status

METHOD = "primal-dual interior point through smoothed decisions, then Nelder-Mead on the rule itself"
# Restarts begin this far inside the range of each number, as a share of it.
_MARGIN = 0.02
# Ends of restarts from which the rule itself is searched on.
_POLISHED = 3
# The first simplex, and the one at which a search on the rule itself has converged, as shares of the ranges.
_SIMPLEX = 0.08
_SMALLEST = 1e-4
# Numbers are judged by the worst of those that lie this near, as a share of the ranges.
_NEAR = 1e-3
_MOST_LOOKS = 400
_FINER = 4


@program
def _judged(tuning: Tuning, shares: Array) -> tuple[Array, Array]:
    return jax.lax.map(jax.vmap(tuning.judge), shares)


def tune(
    problem: Problem,
    rule: Rule,
    *,
    seed: int = 0,
    restarts: int = 16,
    tolerance: float = 1e-6,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Search the numbers of a rule that make the objective small within the limits, and audit the doses it gives.

    The gradient runs through the closed loop, with decisions smoothed over a width that is annealed; what is reported
    is the rule itself, on which the best restarts are searched on without derivatives.

    Args:
        problem: what is asked.
        rule: with its open numbers and their ranges.
        seed: of the starting points.
        restarts: number of starting points R; the first is the rule as it was written.
        tolerance: projected-gradient (KKT) residual to reach on the smoothed rule.
        progress: is told how the search goes.

    Returns:
        The result; its policy are the doses that the rule gave, its `tuned` the numbers.

    Raises:
        ValueError: 64-bit numbers are switched off, or there is no restart.
    """
    check_64_bits("tune")
    if restarts < 1:
        raise ValueError(f"restarts: wanted at least 1; got {restarts}")
    tell = progress or (lambda _: None)
    problem = _refined(problem)
    tuning = _tuning(problem, rule)
    written = np.clip((rule.written() - rule.lower) / np.maximum(rule.upper - rule.lower, 1e-300), 0.0, 1.0)
    points = _starts(tuning, written, restarts, seed)
    found = run(tuning, jnp.asarray(points), tolerance, tell)
    began = time.perf_counter()
    tell(Progress("rule", restarts, restarts, None))
    ends = np.clip(np.array([state.x for state in found.states]), 0.0, 1.0)
    candidates = np.concatenate([ends, written[None]])
    merits = _merits(tuning, candidates)
    order = np.argsort(merits, kind="stable")
    polished = [] if found.interrupted else [_polish(tuning, candidates[i]) for i in order[:_POLISHED]]
    best = min(polished, key=lambda p: p.fun, default=OptimizeResult(x=candidates[order[0]], success=False))
    clock = {"compile": found.compile_seconds, "search": found.search_seconds, "rule": time.perf_counter() - began}
    began = time.perf_counter()
    trajectory, report = problem.simulate(tuning.policy(jnp.asarray(best.x)))
    doses = np.asarray(trajectory.doses)
    checked = audit(problem, doses, report, 0.0, seed, directions=0)
    clock["audit"] = time.perf_counter() - began
    record = _record(tuning, found, ends, merits[:-1], int(order[0]), tolerance, clock)
    numbers = np.asarray(tuning.numbers(jnp.asarray(best.x)))
    tuned = Tuned(rule.policy.kind, rule.names, numbers, rule.written(), rule.lower, rule.upper)
    status, reason = _verdict(problem, found, doses, checked, bool(best.success), record)
    policy = Schedule(jnp.asarray(doses))
    return Result(problem, policy, trajectory, report, checked, record, status, reason, seed, found.history, tuned)


def _refined(problem: Problem) -> Problem:
    """The problem on finer panels: a decision turns on a burden, and a small error of it may turn it the other way."""
    task = problem.task
    finer = replace(task.system.mesh, uniform=_FINER * task.system.mesh.uniform)
    return replace(problem, task=eqx.tree_at(lambda t: t.system.mesh, task, finer))


def _tuning(problem: Problem, rule: Rule) -> Tuning:
    names = rule.names
    lowest, width = jnp.asarray(rule.lower), jnp.asarray(rule.upper - rule.lower)
    return Tuning(problem.task, problem.limited(rule.policy), _Place(names), lowest, width)


class _Place(tuple):
    """From a limited rule to its open numbers: equal for equal names, so that nothing is compiled twice."""

    __slots__ = ()

    def __call__(self, limited: Any) -> tuple[Any, ...]:
        return tuple(getattr(limited.rule, name) for name in self)


def _starts(tuning: Tuning, written: np.ndarray, restarts: int, seed: int) -> np.ndarray:
    """The rule as written and random numbers, all strictly inside the ranges [R, P]."""
    drawn = [np.random.default_rng([seed, r]).uniform(size=written.size) for r in range(1, restarts)]
    inside = _MARGIN + (1.0 - 2.0 * _MARGIN) * np.array([written, *drawn])
    return np.where(np.asarray(tuning.upper) > 0.0, inside, 0.0)


def _merits(tuning: Tuning, shares: np.ndarray) -> np.ndarray:
    """Objectives of the rule itself [B]; one that breaks a limit is worse than any that does not.

    The worst of numbers that are all but the same counts: the objective of a rule has steps, and a threshold that is
    only good to its fourth digit is not good.
    """
    count = shares.shape[1]
    near = _NEAR * np.concatenate([np.zeros((1, count)), np.eye(count), -np.eye(count)])
    blocks = np.clip(shares[:, None] + near, 0.0, np.asarray(tuning.upper))
    values, excess = (np.asarray(a) for a in _judged(tuning, jnp.asarray(blocks)))
    merits = np.where(excess > LIMIT_TOLERANCE, 1e6 * (1.0 + excess), values)
    return np.max(np.where(np.isfinite(merits), merits, np.inf), axis=1)


def _polish(tuning: Tuning, start: np.ndarray) -> OptimizeResult:
    """Nelder and Mead 1965 (doi 10.1093/comjnl/7.4.308) on the rule itself, whose objective has steps."""
    free = np.asarray(tuning.upper) > 0.0

    def whole(x: np.ndarray) -> np.ndarray:
        out = start.copy()
        out[free] = x
        return out

    # Inwards where a step outwards would leave the range.
    step = np.where(start[free] > 0.5, -_SIMPLEX, _SIMPLEX)
    simplex = np.concatenate([start[free][None], start[free] + np.diag(step)])
    options = {"initial_simplex": simplex, "xatol": _SMALLEST, "fatol": 1e-9, "maxfev": _MOST_LOOKS}
    found = minimize(
        lambda x: float(_merits(tuning, whole(x)[None])[0]),
        start[free],
        method="Nelder-Mead",
        bounds=[(0.0, 1.0)] * int(free.sum()),
        options=options,
    )
    return OptimizeResult(x=whole(found.x), fun=found.fun, success=found.success)


def _record(
    tuning: Tuning,
    found: Run,
    ends: np.ndarray,
    merits: np.ndarray,
    best: int,
    tolerance: float,
    clock: dict[str, float],
) -> SearchRecord:
    converged = [r for r, state in enumerate(found.states) if bool(state.done)]
    optima = distinct(
        [ends[r] for r in converged],
        [float(merits[r]) for r in converged],
        lambda x: float(_merits(tuning, x[None])[0]),
        lambda x: np.asarray(tuning.numbers(jnp.asarray(x)))[None],
    )
    chosen = found.states[min(best, len(found.states) - 1)]
    return SearchRecord(
        method=METHOD,
        restarts=len(found.states),
        converged=len(converged),
        distinct_optima=len(optima),
        optima=optima,
        iterations=int(chosen.iterations),
        median_iterations=float(np.median([int(s.iterations) for s in found.states])),
        kkt_residual=float(chosen.residual) / max(float(chosen.scale), 1e-300),
        tolerance=tolerance,
        level_cost=None,
        seconds=clock,
    )


def _verdict(
    problem: Problem, found: Run, doses: np.ndarray, checked: Audit, polished: bool, record: SearchRecord
) -> tuple[Status, str]:
    if found.interrupted:
        return Status.INTERRUPTED, f"interrupted after {record.converged} of {record.restarts} restarts"
    if not checked.report.finite:
        return Status.SIMULATION_FAILED, "the audit's solver ran out of steps or met a number that is not finite"
    wrong = broken(checked.report)
    if not wrong and not satisfies(problem, doses):
        wrong = "the doses that the rule gives do not satisfy every dose limit exactly"
    if wrong:
        return Status.INFEASIBLE, f"{wrong}; no numbers of the rule within their ranges were found that would do"
    if not checked.passed:
        return Status.AUDIT_FAILED, difference(checked)
    if not polished:
        return Status.NOT_CONVERGED, f"wanted a simplex of {_SMALLEST:g} of the ranges in {_MOST_LOOKS} looks; got none"
    return Status.SOLVED, (
        f"{record.converged} of {record.restarts} restarts converged on the smoothed rule; the rule itself was "
        f"searched on from the best {_POLISHED} to {_SMALLEST:g} of the ranges"
    )
