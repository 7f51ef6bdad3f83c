"""When no schedule meets the limits on states: by how little they would have to be relaxed."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.constraints.base import AbstractStateLimit
from optimizer.objectives.base import AbstractTerm, Objective, Scene
from optimizer.problem import Task

# A log-sum-exp at temperature 1 rounds the corner of a maximum over this relative excess.
_WIDTH = 0.1


class WorstExcess(AbstractTerm):
    """Largest relative excess over all state limits and times; the search follows a log-sum-exp of it."""

    kind: ClassVar[str] = "worst_excess"
    is_smooth: ClassVar[bool] = False
    limits: tuple[AbstractStateLimit, ...]

    def evaluate(self, scene: Scene) -> Scalar:
        return jnp.max(jnp.concatenate([limit.read(scene).excess for limit in self.limits]))

    def smooth(self, scene: Scene, temperature: Scalar) -> Scalar:
        excess = jnp.concatenate([limit.read(scene).excess for limit in self.limits])
        width = _WIDTH * temperature
        return width * jax.nn.logsumexp(excess / width, b=1.0 / excess.size)


def relaxed(task: Task) -> Task:
    """The task of meeting the state limits as nearly as possible, nothing else."""
    term = WorstExcess(task.state_limits)
    return dataclasses.replace(task, objective=Objective((term,), jnp.ones(1)), state_limits=(), margins=None)
