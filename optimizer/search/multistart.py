"""Runs the restarts: one compiled program, a thread for each core, slices short enough to report and to stop."""

import itertools
import os
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from optimizer.axes import Index
from optimizer.problem import Task
from optimizer.programs import program, stored
from optimizer.search.cooling import followed
from optimizer.search.fewer_nodes import agree, searched
from optimizer.search.interior_point import step
from optimizer.search.iterate import State, start
from optimizer.search.landscape import Landscape

# State limits are driven to a tenth of what the audit lets pass.
SEARCH_TOLERANCE = 1e-7
_SLICE = 8
MOST_ITERATIONS = 400


class Progress(NamedTuple):
    """What a search reports while it runs."""

    phase: str  #: "starts", "compile", "search", "levels" or "audit"
    done: int  #: restarts finished
    total: int  #: restarts
    best: float | None  #: smallest objective so far; None before there is one


@dataclass
class Run:
    """Restarts that were run."""

    states: list[State]  #: the last state of each restart
    #: objective (with penalties) of each restart after each of its slices [rounds, R]; NaN before the first
    history: np.ndarray
    compile_seconds: float  #: tracing and compilation
    search_seconds: float  #: the steps
    interrupted: bool  #: whether the user stopped it

    def joined(self, more: "Run") -> "Run":
        """These restarts and further ones."""
        rounds = max(len(self.history), len(more.history))
        parts = [np.pad(h, ((0, rounds - len(h)), (0, 0)), mode="edge") for h in (self.history, more.history)]
        return Run(
            [*self.states, *more.states],
            np.concatenate(parts, axis=1),
            self.compile_seconds + more.compile_seconds,
            self.search_seconds + more.search_seconds,
            self.interrupted or more.interrupted,
        )


@program
def _begin(task: Landscape, x: jax.Array) -> State:
    return start(task, x)


@program
def _advance(task: Landscape, state: State, steps: Index, tolerance: jax.Array) -> State:
    """Up to `steps` iterations; a restart that is done or stuck takes none."""
    goal = state.iterations + steps
    return jax.lax.while_loop(
        lambda s: (s.iterations < goal) & ~(s.done | s.stuck),
        lambda s: step(task, s, tolerance, SEARCH_TOLERANCE),
        state,
    )


def prepare(task: Task, point: jax.Array) -> None:
    """Build the programs that descents from points like this one will most likely need, beside other work."""
    likely = searched(task, point[None])
    jax.block_until_ready(_advance(likely, _begin(likely, point), stored(0, int), stored(0.0)))


def run(task: Landscape, points: jax.Array, tolerance: float, progress: Callable[[Progress], None]) -> Run:
    """Take every starting point [R, n] to a stationary point.

    Restarts differ up to fourfold in their iterations, so they are not stepped in lockstep: the program of one restart
    is compiled once and each core takes the next restart that is waiting. A result depends on its starting point alone.
    """
    total = points.shape[0]
    progress(Progress("compile", 0, total, None))
    own = searched(task, points) if isinstance(task, Task) else task
    began, limit = time.perf_counter(), stored(tolerance)
    states = [_begin(own, stored(point)) for point in np.asarray(points)]
    jax.block_until_ready(_advance(own, states[0], stored(0, int), limit))
    compiled = time.perf_counter()
    rounds, interrupted = _descend(own, states, limit, progress)
    states = [_found(state, point) for state, point in zip(states, points, strict=True)]
    if isinstance(task, Task) and not interrupted:
        far = np.flatnonzero(~agree(task, own, np.array([state.x for state in states])))
        again = [_begin(followed(task), points[r]) for r in far]
        _, interrupted = _descend(followed(task), again, limit, progress) if again else ([], False)
        for r, state in zip(far, again, strict=True):
            states[r] = _found(state, points[r])
    return Run(states, _filled(np.array(rounds)), compiled - began, time.perf_counter() - compiled, interrupted)


def _descend(
    task: Landscape, states: list[State], limit: jax.Array, progress: Callable[[Progress], None]
) -> tuple[list[list[float]], bool]:
    """Step every restart, in place, until it ends; objectives after each slice, and whether the user stopped it."""
    total = len(states)
    best, rounds = np.inf, [[np.nan] * total]
    pending: dict[Future[State], int] = {}
    counts, interrupted = [0] * total, False
    pool = ThreadPoolExecutor(max(1, min(total, cores())))

    def submit(r: int) -> None:
        work = pool.submit(lambda s: jax.block_until_ready(_advance(task, s, stored(_SLICE, int), limit)), states[r])
        pending[work] = r

    try:
        progress(Progress("search", 0, total, None))
        for r in range(total):
            submit(r)
        finished = 0
        while pending:
            for work in wait(pending, return_when=FIRST_COMPLETED).done:
                r = pending.pop(work)
                states[r] = state = work.result()
                counts[r] += 1
                while len(rounds) < counts[r]:
                    rounds.append([np.nan] * total)
                rounds[counts[r] - 1][r] = float(state.value)
                if state.done or state.stuck or int(state.iterations) >= MOST_ITERATIONS:
                    finished += 1
                    best = min(best, float(state.value)) if np.isfinite(float(state.value)) else best
                else:
                    submit(r)
                progress(Progress("search", finished, total, best if np.isfinite(best) else None))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return rounds, interrupted


def _found(state: State, start: jax.Array) -> State:
    """The end of a restart; one that ended nowhere is where it began."""
    is_lost = not np.all(np.isfinite(state.x))
    return state._replace(x=start, residual=stored(np.inf)) if is_lost else state


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _filled(history: np.ndarray) -> np.ndarray:
    """A restart that has stopped keeps its last value."""
    for before, after in itertools.pairwise(history):
        after[np.isnan(after)] = before[np.isnan(after)]
    return history
