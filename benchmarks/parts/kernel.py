"""Nodes a second, value and gradient: ours, a scalar adjoint by hand in numba, and what exp and log alone allow.

Each is spread over as many Python threads as there are cores: compiled programs run without the interpreter's lock.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contenders.ours import ensemble_of
from benchmarks.parts import Options
from benchmarks.problems import BENCHMARKS
from benchmarks.rows import Row, nothing
from optimizer.ensemble.ensemble import Ensemble, with_system
from optimizer.problem import Task
from optimizer.simulate import System

PROBLEM, FIGURE = "colorectal", "nodes a second, value and gradient"
_PATIENTS, _BLOCKS = 1024, (16, 64)
# Largest difference of value and gradient, relative to their size: ours moves a node onto the blocker's kink.
TOLERANCE = (1e-4, 1e-2)
# What the value of ours asks of a node. Exponentials: decay of either drug, sigmoid of the stress response, sigmoid of
# the EC50 shift, the power's, the cells from their logarithm, and the relaxation's two decays a panel, which is two
# nodes. Logarithms: the power's, and the log10 of the cells. The gradient needs none of its own.
EXPS, LOGS = 7, 2
# Numbers that fit in the innermost cache, and how often they are gone through.
_NUMBERS, _ROUNDS, _CHAIN = 4096, 256, 8

Parts = list[Callable[[], Any]]


@partial(jax.jit, static_argnames="block")
def looks(task: Task, systems: System, shares: jax.Array, block: int) -> tuple[jax.Array, jax.Array]:
    """Values [P] and gradients [P, KN] of the objective as searched."""

    def one(system: System) -> tuple[jax.Array, jax.Array]:
        own = with_system(task, system)
        return jax.value_and_grad(lambda x: own.evaluate(x, jnp.ones(()))[0])(shares)

    return jax.lax.map(one, systems, batch_size=block)


def halves(count: int, threads: int) -> list[np.ndarray]:
    """Rows of each thread."""
    return np.array_split(np.arange(count), threads)


def ours(ensemble: Ensemble, shares: np.ndarray, block: int, threads: int) -> Parts:
    """A call for each thread."""
    parts = [
        jax.tree.map(lambda leaf, rows=rows: jnp.asarray(leaf[rows]), ensemble.systems)
        for rows in halves(len(ensemble.included), threads)
    ]
    x = jnp.asarray(shares)
    return [lambda part=part: jax.block_until_ready(looks(ensemble.task, part, x, block)) for part in parts]


def by_hand(ensemble: Ensemble, patients: np.ndarray, shares: np.ndarray, threads: int) -> Parts:
    """The same in numba, with as many nodes an interval.

    Raises:
        ImportError: numba is not installed (`pip install adose[bench]`).
    """
    from benchmarks.contenders import numba_adjoint

    task = ensemble.task
    edges = np.asarray(task.grid.edges)
    tau = {float(length): np.asarray(task.system.mesh.nodes(float(length))) for length in np.diff(edges)}
    made, doses = numba_adjoint.nodes(edges, tau), np.asarray(task.doses(jnp.asarray(shares)))
    parts = [np.ascontiguousarray(patients[rows]) for rows in halves(len(patients), threads)]
    return [lambda part=part: numba_adjoint.look(doses, part, made) for part in parts]


def check(ensemble: Ensemble, own: list[Any], theirs: list[Any]) -> None:
    """Whether both found the same.

    Raises:
        RuntimeError: they did not.
    """
    value, slope = (np.concatenate(part) for part in zip(*own, strict=True))
    value_, slope_ = (np.concatenate(part) for part in zip(*theirs, strict=True))
    slope_ = (slope_ * np.asarray(ensemble.task.scale)).reshape(slope.shape)
    size, size_ = (np.linalg.norm(of, axis=1) for of in (slope, slope_))
    apart = np.abs(value - value_) / np.abs(value), np.linalg.norm(slope - slope_, axis=1) / size
    words = ("value", value, value_), ("size of the gradient", size, size_)
    for (what, a, b), gap, most in zip(words, apart, TOLERANCE, strict=True):
        # The patient in whom they differ most; one who is not a number differs too.
        i = int(np.argmax(gap))
        if not gap[i] <= most:
            raise RuntimeError(
                f"{what}: wanted ours and numba's within {most}; got {a[i]} and {b[i]}, {gap[i]:.2g} apart"
            )


def _seconds(parts: Parts, pool: ThreadPoolExecutor) -> float:
    began = time.perf_counter()
    for future in [pool.submit(part) for part in parts]:
        future.result()
    return time.perf_counter() - began


@partial(jax.jit, static_argnames="exponential")
def _chained(x: jax.Array, exponential: bool) -> jax.Array:
    """Each from the last one, so that none can be left out; they stay in [0, 1] and [1.5, 2.4]."""

    def step(_: int, x: jax.Array) -> jax.Array:
        for _ in range(_CHAIN):
            x = jnp.exp(-x) if exponential else jnp.log(x) + 1.5
        return x

    return jax.lax.fori_loop(0, _ROUNDS // _CHAIN, step, x)


def _over_and_over(function: Callable[..., Any], x: np.ndarray) -> None:
    out = np.empty_like(x)
    for _ in range(_ROUNDS):
        function(x, out)


def rate(exponential: bool, threads: int, repeats: int, pool: ThreadPoolExecutor) -> float:
    """Exponentials or logarithms a second: by NumPy or by a compiled program, whichever is faster."""
    x = np.linspace(-1.0, 1.0, _NUMBERS) if exponential else np.linspace(1.0, 2.0, _NUMBERS)
    start = jnp.asarray(np.abs(x))
    ways: list[Callable[[], Any]] = [
        lambda: _over_and_over(np.exp if exponential else np.log, x),
        lambda: jax.block_until_ready(_chained(start, exponential)),
    ]
    done = _NUMBERS * _ROUNDS * threads
    best = 0.0
    for way in ways:
        way()
        best = max(best, done / min(_seconds([way] * threads, pool) for _ in range(4 * repeats)))
    return best


def measure(options: Options) -> Iterator[Row]:
    """In alternation; the even schedule in many patients."""
    benchmark, threads = BENCHMARKS[PROBLEM], options.cores
    ensemble, patients = ensemble_of(benchmark, options.patients or _PATIENTS)
    shares = (benchmark.setting.start() / benchmark.setting.most).ravel()
    calls = {f"ours {block}": ours(ensemble, shares, block, threads) for block in _BLOCKS}
    try:
        calls["numba"] = by_hand(ensemble, patients, shares, threads)
    except ImportError as missing:
        yield nothing(PROBLEM, "numba", FIGURE, "1/s", f"not installed: {missing}")
    found = {name: [part() for part in parts] for name, parts in calls.items()}
    if "numba" in found:
        check(ensemble, found[f"ours {_BLOCKS[0]}"], found["numba"])
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(options.repeats):
            for name, parts in calls.items():
                seconds[name].append(_seconds(parts, pool))
        rates = [rate(exponential, threads, options.repeats, pool) for exponential in (True, False)]
    nodes = len(patients) * benchmark.setting.intervals * ensemble.task.system.mesh.size
    times = {name: statistics.median(spent) for name, spent in seconds.items()}
    block = min(_BLOCKS, key=lambda size: times[f"ours {size}"])
    words = f"{len(patients)} patients, {threads} threads, {ensemble.task.system.mesh.size} nodes an interval"
    yield Row(PROBLEM, "ours", FIGURE, nodes / times[f"ours {block}"], "1/s", f"{words}, blocks of {block}")
    if "numba" in times:
        yield Row(PROBLEM, "numba", FIGURE, nodes / times["numba"], "1/s", words)
    mixed = (EXPS + LOGS) / (EXPS / rates[0] + LOGS / rates[1])
    note = f"{EXPS} exp at {rates[0]:.3g}/s to {LOGS} log at {rates[1]:.3g}/s, {threads} threads"
    yield Row(PROBLEM, "machine", "exp/log a second", mixed, "1/s", note)
    yield Row(PROBLEM, "ours", "exp/log a node", EXPS + LOGS, "1", "of the value")
