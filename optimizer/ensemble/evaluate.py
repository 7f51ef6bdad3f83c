"""What given schedules come to in many patients, without a search."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.ensemble.ensemble import BATCH, Ensemble, by_chunk, with_system
from optimizer.ensemble.judge import Judged, judge
from optimizer.problem import Task
from optimizer.simulate import System


@jax.jit
def _judged(task: Task, systems: System, doses: Array, factor: Array) -> Judged:
    def one(system: System) -> Judged:
        return jax.vmap(lambda d: judge(with_system(task, system), d, factor))(doses)

    return jax.lax.map(one, systems, batch_size=BATCH)


def evaluate(
    ensemble: Ensemble,
    schedules: Float[np.ndarray, "S K N"],
    factor: float = 1.2,
    tell: Callable[[int], None] = lambda done: None,
) -> Judged:
    """Objective, terms and time to progression of every patient under every schedule.

    Memory grows by the answers alone, and a patient's numbers do not depend on who the others are.

    Args:
        ensemble: P patients.
        schedules: doses that all patients are given [S, K, N].
        factor: progression is more than this multiple of the cells at the start.
        tell: hears how many patients are done.

    Returns:
        Arrays [P, S, ...]; NaN for a patient who cannot be simulated.

    Raises:
        ValueError: schedules that are not on the decision grid.

    Example:
        >>> from optimizer.scenario import Scenario
        >>> from optimizer.ensemble import build_ensemble, load_patients
        >>> scenario = Scenario.load("scenarios/crc_caf_patients.toml")
        >>> ensemble = build_ensemble(scenario, load_patients(scenario, 5, seed=0))
        >>> evaluate(ensemble, np.ones((2, 12, 1))).objective.shape
        (5, 2)
    """
    shape = ensemble.problem.lower.shape
    if schedules.ndim != 3 or schedules.shape[1:] != shape:
        raise ValueError(f"schedules: wanted the shape [S, {shape[0]}, {shape[1]}]; got {list(schedules.shape)}")
    total, task, doses = len(ensemble.healthy), ensemble.task, jnp.asarray(schedules)

    def judged(part: System) -> Judged:
        return jax.tree.map(np.asarray, _judged(task, part, doses, jnp.asarray(factor)))

    whole = by_chunk(judged, ensemble.systems, total, tell)
    return jax.tree.map(lambda leaf: _without(leaf, ~ensemble.healthy), whole)


def _without(leaf: np.ndarray, sick: np.ndarray) -> np.ndarray:
    leaf[sick] = np.nan if leaf.dtype.kind == "f" else False
    return leaf
