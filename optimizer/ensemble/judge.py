"""What a schedule comes to in a patient."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.objectives.base import Scene
from optimizer.objectives.progression import time_above
from optimizer.problem import Task

# Arrays of JAX inside a program, of NumPy outside.
Numbers = Any


class Judged(NamedTuple):
    """What a schedule comes to in a patient.

    Attributes:
        objective: as reported.
        terms: unweighted value of each term [terms].
        progression: day on which the cells first exceed the factor times those at the start; infinite when never.
        change: log10 of the cells at the end over those at the start.
        excess: worst relative excess of a limit on states.
        ok: whether the simulation gave finite numbers.
    """

    objective: Numbers
    terms: Float[Numbers, "terms"]
    progression: Numbers
    change: Numbers
    excess: Numbers
    ok: Numbers


def judge(task: Task, doses: Float[Array, "K N"], factor: Array) -> Judged:
    """What doses come to in a patient."""
    return judge_scene(task, task.simulate((doses / task.scale).ravel()), factor)


def judge_scene(task: Task, scene: Scene, factor: Array) -> Judged:
    """What was simulated comes to in a patient."""
    burden = scene.trajectory.burden
    level = jnp.log(factor * burden[0])
    crossing = time_above(scene.trajectory.times, jnp.log(burden), level)
    worst = [jnp.max(reading.excess) for reading in task.readings(scene)]
    return Judged(
        objective=task.objective.evaluate(scene),
        terms=jnp.stack(list(task.objective.values(scene).values())),
        progression=jnp.where(jnp.any(jnp.log(burden) > level), crossing, jnp.inf),
        change=jnp.log10(burden[-1] / burden[0]),
        excess=jnp.max(jnp.stack([jnp.zeros(()), *worst])),
        ok=scene.trajectory.ok,
    )
