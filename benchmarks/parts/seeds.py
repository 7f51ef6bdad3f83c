"""How often the search finds the best known optimum: 100 seeds, each with its own starting points."""

import time
from collections.abc import Iterator

import jax
import numpy as np

from benchmarks.contenders.ours import TOLERANCE, problem_of
from benchmarks.judge import GOOD, Judge, best_known, gap, record
from benchmarks.parts import Options
from benchmarks.problems import BENCHMARKS
from benchmarks.rows import Row
from optimizer.problem import Task
from optimizer.search.multistart import run
from optimizer.search.starts import starts


@jax.jit
def _loss(task: Task, shares: jax.Array) -> jax.Array:
    """The objective as reported."""
    return task.loss(task.doses(shares))


def measure(options: Options) -> Iterator[Row]:
    """Share of the seeds, the gap of the middle one and of the worst, and the time of one."""
    benchmark = BENCHMARKS[options.problem]
    if benchmark.starts is None:
        return
    problem = problem_of(benchmark)
    task, judge = problem.task, Judge(benchmark)
    found, began = [], time.perf_counter()
    for seed in range(options.seeds):
        done = run(task, starts(task, benchmark.starts, seed), TOLERANCE, lambda _: None)
        values = [float(_loss(task, state.x)) for state in done.states]
        found.append((min(values), np.asarray(task.doses(done.states[int(np.argmin(values))].x))))
    spent = (time.perf_counter() - began) / options.seeds
    objective, doses = min(found, key=lambda pair: pair[0])
    if options.record:
        record(benchmark, judge.objective(doses), doses, f"ours, {benchmark.starts} starts")
    best = min(best_known(benchmark), objective)
    gaps = np.array([gap(value, best) for value, _ in found])
    note = f"{options.seeds} seeds, {benchmark.starts} starts each"
    name = benchmark.name
    yield Row(name, "ours", "best known optimum found", float(np.mean(gaps <= GOOD)), "1", f"{note}; gap <= 0.1 %")
    yield Row(name, "ours", "gap of the middle seed", float(np.median(gaps)), "1", note)
    yield Row(name, "ours", "gap of the worst seed", float(np.max(gaps)), "1", note)
    yield Row(name, "ours", "seconds a seed", spent, "s", note)
