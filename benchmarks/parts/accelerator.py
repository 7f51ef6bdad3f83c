"""Evaluations, gradients and optimized patients a second at 1e3 to 1e6 patients on a GPU; "unmeasured" without one."""

import time
from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contenders.ours import TOLERANCE, ensemble_of
from benchmarks.parts import Options
from benchmarks.problems import BENCHMARKS
from benchmarks.problems.base import Benchmark
from benchmarks.rows import Row, nothing
from optimizer.ensemble.ensemble import with_system
from optimizer.ensemble.personalise import Solver
from optimizer.problem import Task
from optimizer.simulate import System

_PROBLEM, _DRAWN = "colorectal", 1_000
SIZES = (1_000, 10_000, 100_000, 1_000_000)
# Patients of a step of the program, by platform: what its cache or its memory holds.
_BATCH = {"cpu": 128, "gpu": 8192}


@partial(jax.jit, static_argnames=("batch", "slope"))
def _all(task: Task, systems: System, shares: jax.Array, batch: int, slope: bool) -> jax.Array:
    def one(system: System) -> jax.Array:
        def look(x: jax.Array) -> jax.Array:
            return with_system(task, system).evaluate(x, jnp.ones((), x.dtype))[0]

        return jnp.sum(jax.grad(look)(shares)) if slope else look(shares)

    return jnp.sum(jax.lax.map(one, systems, batch_size=batch))


def measure(options: Options) -> Iterator[Row]:
    """The same patients over and over: what counts is how many there are."""
    contender = f"ours, {options.device}, {options.precision}"
    platform = jax.default_backend()
    if options.device != platform:
        yield nothing(_PROBLEM, contender, "gradients a second", "1/s", f"unmeasured: no {options.device} here")
        return
    benchmark = BENCHMARKS[_PROBLEM]
    ensemble, _ = ensemble_of(benchmark, _DRAWN)
    kind = jnp.dtype(options.precision)

    def cast(leaf: jax.Array) -> jax.Array:
        leaf = jnp.asarray(leaf)
        return leaf.astype(kind) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    task, systems = jax.tree.map(cast, (ensemble.task, ensemble.systems))
    shares = cast((benchmark.setting.start() / benchmark.setting.most).ravel())
    for size in SIZES[: 4 if platform != "cpu" else 2]:
        rows = np.arange(size) % _DRAWN
        part = jax.tree.map(lambda leaf, rows=rows: leaf[rows], systems)
        for slope, figure in ((False, "evaluations a second"), (True, "gradients a second")):
            call = partial(_all, task, part, shares, min(_BATCH.get(platform, 8192), size), slope)
            jax.block_until_ready(call())
            times = []
            for _ in range(options.repeats):
                began = time.perf_counter()
                jax.block_until_ready(call())
                times.append(time.perf_counter() - began)
            yield Row(_PROBLEM, contender, f"{figure}, {size} patients", size / float(np.median(times)), "1/s")
    if options.precision == "float64":
        # Searches compute with 64 bits whatever is asked.
        yield from _optimized(benchmark, contender, SIZES[:3] if platform != "cpu" else (128,))


def _optimized(benchmark: Benchmark, contender: str, sizes: tuple[int, ...]) -> Iterator[Row]:
    """Each patient's own schedule from one start, exact doses and judgement included; compiled before."""
    setting = benchmark.setting
    point = (setting.start() / setting.most).reshape(1, -1)
    for size in sizes:
        ensemble, _ = ensemble_of(benchmark, size)
        solver = Solver(ensemble, point, TOLERANCE, np.zeros((0, *setting.start().shape)), 1.2)
        # Where patients go side by side, another number of them is another program.
        solver.chunk(0, size if solver.together else 1)
        began = time.perf_counter()
        solver.chunk(0, size)
        seconds = time.perf_counter() - began
        yield Row(_PROBLEM, contender, f"optimized patients a second, {size} patients", size / seconds, "1/s")
