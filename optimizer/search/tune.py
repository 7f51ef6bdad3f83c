"""From a rule with open numbers to the best numbers that restarts find, with the evidence."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.policies.base import AbstractPolicy
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Report, Task
from optimizer.programs import check_64_bits, program
from optimizer.regimens import Rule
from optimizer.search.audit import Audit, audit
from optimizer.search.dynamic_program import dynamic_program
from optimizer.search.feasible import satisfies
from optimizer.search.multistart import Progress
from optimizer.search.result import Result, SearchRecord, Tuned
from optimizer.search.screening import LIMIT_TOLERANCE, in_blocks
from optimizer.search.solutions import Solutions
from optimizer.search.verdict import broken, difference
from optimizer.simulate import Trajectory, rollout
from optimizer.status import Status

METHOD = "differential evolution on the rule itself, each set of numbers judged by the worst of those around it"
# Sets of numbers that are scored before any restart, and members and generations of a restart.
_SCORED, _MEMBERS, _GENERATIONS = 2048, 8, 60
# A population whose objectives differ by less than this share of them has converged.
_SAME = 1e-4
# Numbers are judged by the worst of those that lie this near, as shares of the ranges: a threshold that is only good to
# its fourth digit is not good, nor a burden that comes as near to a limit as a simulation is exact.
_NEAR = (1e-3, 1e-5)
# Standard deviation of the last population about the best numbers, as a share of the ranges.
_AROUND = 0.02
# A limit that is broken makes a set of numbers worse than any that keeps all.
_BROKEN = 1e6
_FINER = 4
# Ends that are audited, best first, until one agrees.
_AUDITED = 4
# Linear limits on doses are kept with this much room, as a share of the largest dose, so that rounding breaks none.
_ROOM = 1e-9


class Tuning(eqx.Module):
    """What is searched: open numbers of a rule, as shares of their ranges."""

    task: Task  #: system, grid, objective and limits
    rule: AbstractPolicy  #: the rule, within the limits on single doses
    names: tuple[str, ...] = eqx.field(static=True)  #: of its open numbers [P]
    lowest: Float[Array, "P"]  #: of each number [P]
    width: Float[Array, "P"]  #: of the range of each number [P]

    def numbers(self, shares: Array) -> Array:
        """The open numbers [P]."""
        return self.lowest + shares * self.width

    def policy(self, shares: Array) -> AbstractPolicy:
        """The rule with its open numbers at these shares of their ranges."""
        return self.rule.with_numbers(self.names, self.numbers(shares))

    def judge(self, shares: Array) -> tuple[Scalar, Scalar]:
        """Objective as reported, and worst excess of a limit on states or on sums of the doses that the rule gives."""
        task = self.task
        scene = task.scene(rollout(task.system, self.policy(shares), task.grid))
        sums = task.matrix @ (scene.trajectory.doses / task.scale).ravel() - task.bound + _ROOM
        worst = [*(jnp.max(reading.excess) for reading in task.readings(scene)), jnp.max(sums, initial=0.0)]
        return task.objective.evaluate(scene), jnp.max(jnp.stack([jnp.zeros(()), *worst]))


@program
def _judged(tuning: Tuning, shares: Array) -> tuple[Array, Array]:
    values, excess = jax.vmap(tuning.judge)(shares)
    return jnp.asarray(values), jnp.asarray(excess)


def tune(
    problem: Problem,
    rule: Rule,
    *,
    seed: int = 0,
    restarts: int = 16,
    tolerance: float = 1e-6,
    progress: Callable[[Progress], None] | None = None,
    certify: bool = False,
) -> Result:
    """Search the numbers of a rule that make the objective small within the limits, and audit the doses it gives.

    Differential evolution (Storn and Price 1997, doi 10.1023/A:1008202821328): the objective of a rule has steps, and
    its numbers are few. A set of numbers counts for as much as the worst of those around it.

    Args:
        problem: what is asked.
        rule: with its open numbers and their ranges.
        seed: of the numbers that are tried; the same seed gives the same bytes.
        restarts: populations R, which begin from the best of thousands of sets of numbers, the rule as it was written
            among them.
        tolerance: of the search of a schedule; not of use here.
        progress: is told how the search goes.
        certify: whether to ask a dynamic program, too, what the least objective of any schedule is near.

    Returns:
        The result; its policy are the doses that the rule gave, its `tuned` the numbers.

    Raises:
        ValueError: 64-bit numbers are switched off, or there is no restart.
        OptionError: `certify` for a problem that is not small.
    """
    check_64_bits("tune")
    if restarts < 1:
        raise ValueError(f"restarts: wanted at least 1; got {restarts}")
    tell = progress or (lambda _: None)
    certificate = dynamic_program(problem) if certify else None
    problem, clock = _refined(problem), {}
    lowest, width = jnp.asarray(rule.lower), jnp.asarray(rule.upper - rule.lower)
    tuning = Tuning(problem.task, problem.limited(rule.policy), rule.names, lowest, width)
    began = time.perf_counter()
    tell(Progress("compile", 0, restarts, None))
    scored = _scored(tuning, rule, seed)
    clock["compile"], began = time.perf_counter() - began, time.perf_counter()
    ends, history, interrupted = _evolved(tuning, scored, restarts, seed, tell)
    clock["search"], began = time.perf_counter() - began, time.perf_counter()
    solutions = _solutions(ends)
    tell(Progress("audit", restarts, restarts, float(solutions.values[solutions.best])))
    best, trajectory, report, checked = _audited(problem, tuning, solutions, seed)
    clock["audit"] = time.perf_counter() - began
    record = _record(tuning, solutions, ends, best, tolerance, clock)
    numbers = np.asarray(tuning.numbers(jnp.asarray(solutions.points[best])))
    tuned = Tuned(rule.policy.kind, rule.names, numbers, rule.written(), rule.lower, rule.upper)
    doses = np.asarray(trajectory.doses)
    status, reason = _verdict(problem, doses, checked, interrupted, bool(ends[best].success), record)
    policy = Schedule(jnp.asarray(doses))
    whole = (problem, policy, trajectory, report, checked, record, status, reason, seed, history)
    return Result(*whole, tuned, certificate)


def _refined(problem: Problem) -> Problem:
    """The problem on finer panels: a decision turns on a burden, and a small error of it may turn it the other way."""
    task = problem.task
    finer = replace(task.system.mesh, uniform=_FINER * task.system.mesh.uniform)
    return replace(problem, task=eqx.tree_at(lambda t: t.system.mesh, task, finer))


def _merits(tuning: Tuning, shares: np.ndarray, near: tuple[float, ...] = _NEAR) -> np.ndarray:
    """Worst objective of the rule itself around sets of numbers [B]; one that breaks a limit is worse than any."""
    count = shares.shape[1]
    moves = np.concatenate([np.zeros((1, count)), *(s * d * np.eye(count) for d in near for s in (1.0, -1.0))])
    around = np.clip(shares[:, None] + moves, 0.0, np.where(np.asarray(tuning.width) > 0.0, 1.0, 0.0))
    values, excess = in_blocks(_judged, tuning, around.reshape(-1, count))
    merits = np.where(excess > LIMIT_TOLERANCE, _BROKEN * (1.0 + excess), values)
    return np.max(np.where(np.isfinite(merits), merits, np.inf).reshape(len(shares), -1), axis=1)


def _scored(tuning: Tuning, rule: Rule, seed: int) -> np.ndarray:
    """The rule as written, then sets of numbers anywhere in their ranges, best first [B, P]."""
    written = np.clip((rule.written() - rule.lower) / np.maximum(rule.upper - rule.lower, 1e-300), 0.0, 1.0)
    drawn = np.random.default_rng(seed).uniform(size=(_SCORED, written.size))
    return np.concatenate([written[None], drawn[np.argsort(_merits(tuning, drawn, ()), kind="stable")]])


def _evolved(
    tuning: Tuning, scored: np.ndarray, restarts: int, seed: int, tell: Callable[[Progress], None]
) -> tuple[list[Any], np.ndarray, bool]:
    """End of each population, its best objective in each generation [rounds, R + 1], and whether the user stopped it.

    Half of a population are scored numbers, a different half of each, the other half lies anywhere; the last population
    are the ends of all others and numbers around the best of them.
    """
    ends, histories, members = [], [], max(16, _MEMBERS * scored.shape[1])
    try:
        for r in range(restarts + 1):
            best = min((end.fun for end in ends), default=None)
            tell(Progress("search", r, restarts, best))
            rng = np.random.default_rng([seed, r])
            kept = scored[r::restarts][: members // 2]
            others = rng.uniform(size=(members - len(kept), scored.shape[1]))
            if r == restarts:
                kept = np.array([end.x for end in sorted(ends, key=lambda end: end.fun)])[: members // 2]
                others = kept[0] + _AROUND * rng.normal(size=(members - len(kept), scored.shape[1]))
            first = np.clip(np.concatenate([kept, others]), 0.0, 1.0)
            values: list[float] = []
            ends.append(_population(tuning, first, rng, values))
            histories.append(values)
    except KeyboardInterrupt:
        if not ends:
            raise
        return ends, _table(histories), True
    return ends, _table(histories), False


def _population(tuning: Tuning, first: np.ndarray, rng: np.random.Generator, values: list[float]) -> Any:
    init: Any = first
    return scipy.optimize.differential_evolution(
        lambda shares: _merits(tuning, np.atleast_2d(shares.T)),
        bounds=[(0.0, 1.0)] * first.shape[1],
        init=init,
        maxiter=_GENERATIONS,
        tol=_SAME,
        rng=rng,
        polish=False,
        updating="deferred",
        vectorized=True,
        callback=lambda intermediate_result: values.append(float(intermediate_result.fun)),
    )


def _table(histories: list[list[float]]) -> np.ndarray:
    """Histories side by side; one that has ended keeps its last value."""
    rounds = max(len(values) for values in histories)
    return np.array([np.pad(values, (0, rounds - len(values)), mode="edge") for values in histories]).T


def _solutions(ends: list[Any]) -> Solutions:
    merits = np.array([end.fun for end in ends])
    excess = np.where(merits < _BROKEN, 0.0, merits / _BROKEN)
    return Solutions(np.array([end.x for end in ends]), merits, excess, np.array([bool(end.success) for end in ends]))


def _audited(
    problem: Problem, tuning: Tuning, solutions: Solutions, seed: int
) -> tuple[int, Trajectory, Report, Audit]:
    """The best end that the audit agrees with, and what it came to; the best of all where it agrees with none."""
    tried = []
    for best in solutions.order[:_AUDITED]:
        trajectory, report = problem.simulate(tuning.policy(jnp.asarray(solutions.points[best])))
        checked = audit(problem, np.asarray(trajectory.doses), report, 0.0, seed, directions=0)
        tried.append((int(best), trajectory, report, checked))
        if checked.passed:
            return tried[-1]
    return tried[0]


def _record(
    tuning: Tuning, solutions: Solutions, ends: list[Any], best: int, tolerance: float, clock: dict
) -> SearchRecord:
    optima = solutions.distinct(
        lambda x: float(_merits(tuning, x[None])[0]), lambda x: np.asarray(tuning.numbers(jnp.asarray(x)))[None]
    )
    return SearchRecord(
        method=METHOD,
        restarts=len(ends),
        converged=int(solutions.converged.sum()),
        distinct_optima=len(optima),
        optima=optima,
        iterations=int(ends[best].nit),
        median_iterations=float(np.median([end.nit for end in ends])),
        kkt_residual=np.nan,
        tolerance=tolerance,
        level_cost=None,
        seconds=clock,
        starts=_SCORED + 1,
        hops=1,
        tried=sum((end.nit + 1) * len(end.population) for end in ends),
        last_improvement=solutions.last_improvement + 1,
        gap=np.nan,
        spread=np.nan,
    )


def _verdict(
    problem: Problem, doses: np.ndarray, checked: Audit, interrupted: bool, converged: bool, record: SearchRecord
) -> tuple[Status, str]:
    if interrupted:
        return Status.INTERRUPTED, f"interrupted after {record.restarts} restarts"
    if not checked.report.finite:
        return Status.SIMULATION_FAILED, "the audit's solver ran out of steps or met a number that is not finite"
    wrong = broken(checked.report)
    if not wrong and not satisfies(problem, doses):
        wrong = "the doses that the rule gives do not satisfy every dose limit exactly"
    if wrong:
        return Status.INFEASIBLE, f"{wrong}; no numbers of the rule within their ranges were found that would do"
    if not checked.passed:
        return Status.AUDIT_FAILED, difference(checked)
    if not converged:
        wanted = f"wanted a population whose objectives differ by at most {_SAME:g} of them"
        return Status.NOT_CONVERGED, f"{wanted}; got none in {_GENERATIONS} generations"
    often = f"{record.often}; last improvement at population {record.last_improvement}"
    stands = f"it stands with every number moved by {_NEAR[0]:g} of its range"
    return Status.SOLVED, f"best of {record.restarts} populations from {record.starts:,} sets, {often}; {stands}"
