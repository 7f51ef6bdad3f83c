"""Terms that are not smooth as a search follows them from temperature 1 down to the last."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from optimizer.axes import Scalar
from optimizer.objectives.base import AbstractTerm, Objective, Scene
from optimizer.objectives.progression import HAZARD, WIDTH, Progression, survived
from optimizer.problem import Task
from optimizer.search.iterate import LEAST_TEMPERATURE

# Width of the rounded corner at temperature 1 and from the temperature down at which it is the last one, and the
# hazard for a decade above the threshold at both, over the horizon.
_WARM_WIDTH, _NARROW = 0.005, 1e-2
_WARM_SLOPE, _NARROW_SLOPE = 2e2, 2e4


class FollowedProgression(AbstractTerm):
    """`Progression` on another way to the same function at the last temperature.

    First the corner of the hazard is made sharp while the hazard beyond it is mild: survival, and with it the slope of
    all later doses, is not lost where the threshold is crossed, and the burden at the optimum hardly moves. Then, with
    the corner as it stays, the hazard grows (an exact penalty: Nocedal and Wright 2006, section 17.2).
    """

    kind: ClassVar[str] = "followed_progression"
    is_smooth: ClassVar[bool] = False
    cooling: ClassVar[float] = 10.0**-0.5
    carried: ClassVar[int] = 1
    factor: Scalar

    def evaluate(self, scene: Scene) -> Scalar:
        return Progression(self.factor).evaluate(scene)

    def smooth(self, scene: Scene, temperature: Scalar) -> Scalar:
        return self.passes(scene, jnp.zeros(1), temperature)[1]

    def passes(self, scene: Scene, carried: Array, temperature: Scalar) -> tuple[Array, Scalar]:
        last = WIDTH * LEAST_TEMPERATURE, HAZARD / LEAST_TEMPERATURE / (WIDTH * LEAST_TEMPERATURE)
        places = jnp.log(jnp.array([LEAST_TEMPERATURE, _NARROW, 1.0]))
        at = jnp.log(temperature)
        width = jnp.exp(jnp.interp(at, places, jnp.log(jnp.array([last[0], last[0], _WARM_WIDTH]))))
        slope = jnp.exp(jnp.interp(at, places, jnp.log(jnp.array([last[1], _NARROW_SLOPE, _WARM_SLOPE]))))
        return survived(scene, carried, self.factor, width, slope * width)


def followed(task: Task) -> Task:
    """The task with terms that a search follows in a way of their own; the same task where it has none."""
    if not any(isinstance(term, Progression) for term in task.objective.terms):
        return task
    terms = tuple(FollowedProgression(t.factor) if isinstance(t, Progression) else t for t in task.objective.terms)
    return dataclasses.replace(task, objective=Objective(terms, task.objective.weights))
