"""What given schedules come to in many patients, without a search."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.cohort.crowd import Crowd, with_system
from optimizer.cohort.solve import Judged, judge
from optimizer.problem import Task
from optimizer.search.multistart import cores
from optimizer.simulate import System

# Patients to a call, and to a step of it: more than this falls out of a CPU's cache.
_CHUNK = 1024
_BATCH = 64


@jax.jit
def _judged(task: Task, systems: System, doses: Array, factor: Array) -> Judged:
    def one(system: System) -> Judged:
        return jax.vmap(lambda d: judge(with_system(task, system), d, factor))(doses)

    return jax.lax.map(one, systems, batch_size=_BATCH)


def evaluate(
    crowd: Crowd,
    schedules: Float[np.ndarray, "S K N"],
    factor: float = 1.2,
    tell: Callable[[int], None] = lambda done: None,
) -> Judged:
    """Objective, terms and time to progression of every patient under every schedule.

    Calls have one shape, whatever the number of patients, and each core takes the next one: memory does not grow with
    the patients, and a patient's numbers do not depend on who the others are.

    Args:
        crowd: P patients.
        schedules: doses that all patients are given [S, K, N].
        factor: progression is more than this multiple of the cells at the start.
        tell: hears how many patients are done.

    Returns:
        Arrays [P, S, ...]; NaN for a patient who cannot be simulated.

    Raises:
        ValueError: schedules that are not on the decision grid.

    Example:
        >>> from optimizer.scenario import Scenario
        >>> from optimizer.cohort import build_crowd, load_patients
        >>> scenario = Scenario.load("scenarios/crc_caf_patients.toml")
        >>> crowd = build_crowd(scenario, load_patients(scenario, 5, seed=0))
        >>> evaluate(crowd, np.ones((2, 12, 1))).objective.shape
        (5, 2)
    """
    shape = crowd.problem.lower.shape
    if schedules.ndim != 3 or schedules.shape[1:] != shape:
        raise ValueError(f"schedules: wanted the shape [S, {shape[0]}, {shape[1]}]; got {list(schedules.shape)}")
    total, task, doses = len(crowd.healthy), crowd.task, jnp.asarray(schedules)

    def work(first: int) -> Judged:
        size = min(_CHUNK, total - first)
        rows = np.minimum(np.arange(first, first + _CHUNK), total - 1)
        part = jax.tree.map(lambda leaf: leaf[rows], crowd.systems)
        found = _judged(task, part, doses, jnp.asarray(factor))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:size], found)

    # The first call compiles; threads that began together would each do it.
    found = [work(0)]
    tell(min(_CHUNK, total))
    with ThreadPoolExecutor(max(1, cores())) as pool:
        for part in pool.map(work, range(_CHUNK, total, _CHUNK)):
            found.append(part)
            tell(min(_CHUNK * len(found), total))
    whole = jax.tree.map(lambda *parts: np.concatenate(parts), *found)
    return jax.tree.map(lambda leaf: _without(leaf, ~crowd.healthy), whole)


def _without(leaf: np.ndarray, sick: np.ndarray) -> np.ndarray:
    leaf[sick] = np.nan if leaf.dtype.kind == "f" else False
    return leaf
