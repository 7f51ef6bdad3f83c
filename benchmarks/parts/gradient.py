"""Value, and value with gradient: ours, the paper's finite differences, reverse mode through adaptive Kvaerno5."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.contenders.ours import problem_of, value, value_and_gradient
from benchmarks.contenders.paper import Paper
from benchmarks.parts import Options
from benchmarks.problems import BENCHMARKS
from benchmarks.rows import Row
from optimizer.problem import Task
from optimizer.simulate.adaptive import solve

_RTOL = 1e-6
_CALLS = 20


@jax.jit
@jax.value_and_grad
def _adaptive(doses: jax.Array, task: Task) -> jax.Array:
    trajectory = solve(task.system, doses, task.grid, _RTOL, stiff=True)
    return task.objective.evaluate(task.scene(trajectory))


def _seconds(call: Callable[[], Any], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(call())
    return (time.perf_counter() - began) / calls


def measure(options: Options) -> Iterator[Row]:
    """In alternation; the paper's gradient is one simulation for each dose, timed on three and scaled."""
    benchmark = BENCHMARKS[options.problem]
    setting, task = benchmark.setting, problem_of(benchmark).task
    doses, paper = setting.start(), Paper(benchmark)
    shares, temperature = jnp.asarray((doses / setting.most).ravel()), jnp.asarray(0.1)
    calls: dict[tuple[str, str], tuple[Callable[[], Any], int, float]] = {
        ("ours", "value"): (lambda: value(task, shares, temperature), _CALLS, 1.0),
        ("ours", "value and gradient"): (lambda: value_and_gradient(task, shares, temperature), _CALLS, 1.0),
        ("paper", "value and gradient"): (lambda: paper.objective(doses), 1, doses.size + 1.0),
    }
    if benchmark.name == "colorectal":
        calls["kvaerno5", "value and gradient"] = (lambda: _adaptive(jnp.asarray(doses), task), 1, 1.0)
    for call, _, _ in calls.values():
        jax.block_until_ready(call())
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for _ in range(options.repeats):
        for key, (call, times, factor) in calls.items():
            seconds[key].append(factor * _seconds(call, times))
    for (contender, figure), found in seconds.items():
        note = f"one simulation times {doses.size + 1}" if contender == "paper" else ""
        yield Row(benchmark.name, contender, figure, statistics.median(found), "s", note)
