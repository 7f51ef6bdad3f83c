"""The landscape of a rule's open numbers: what the search sees of them through the closed loop."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar, Times
from optimizer.policies.base import AbstractPolicy
from optimizer.problem import Task
from optimizer.simulate import rollout

# Colder than this, a smoothed loop is as jagged as the rule, on which the search goes on without derivatives.
_COOLEST = 0.1
# Linear limits on doses are kept with this much room, as a share of the largest dose, so that rounding breaks none.
_ROOM = 1e-9


class Tuning(eqx.Module):
    """What is searched: open numbers of a rule, as shares of their ranges.

    Attributes:
        task: system, grid, objective and limits.
        rule: the rule, within the limits on single doses.
        place: from the rule to its open numbers.
        lowest: of each number [P].
        width: of the range of each number [P].
    """

    task: Task
    rule: AbstractPolicy
    place: Callable[[Any], tuple[Any, ...]] = eqx.field(static=True)
    lowest: Float[Array, "P"]
    width: Float[Array, "P"]

    @property
    def lower(self) -> Array:
        """Smallest shares [P]."""
        return jnp.zeros_like(self.lowest)

    @property
    def upper(self) -> Array:
        """Largest shares [P]; nothing is open where a range is a point."""
        return jnp.where(self.width > 0.0, 1.0, 0.0)

    @property
    def matrix(self) -> Array:
        """Linear limits: none on the numbers of a rule [0, P]."""
        return jnp.zeros((0, self.lowest.size))

    @property
    def bound(self) -> Array:
        """Right-hand sides [0]."""
        return jnp.zeros(0)

    @property
    def is_smooth(self) -> bool:
        """Decisions of a rule are not."""
        return False

    def numbers(self, shares: Array) -> Array:
        """The open numbers [P]."""
        return self.lowest + shares * self.width

    def policy(self, shares: Array) -> AbstractPolicy:
        """The rule with its open numbers at these shares of their ranges."""
        return eqx.tree_at(self.place, self.rule, tuple(self.numbers(shares)))

    def look(self, shares: Array, temperature: Scalar) -> tuple[Scalar, tuple[Times, ...]]:
        """Objective, and excess of every limit, of the rule with smoothed decisions."""
        temperature = jnp.maximum(temperature, _COOLEST)
        scene = self._scene(self.policy(shares).smooth(temperature))
        return self.task.objective.smooth(scene, temperature), self._excesses(scene)

    def judge(self, shares: Array) -> tuple[Scalar, Scalar]:
        """Objective as reported, and worst excess of a limit, of the rule itself."""
        scene = self._scene(self.policy(shares))
        worst = [jnp.max(excess) for excess in self._excesses(scene)]
        return self.task.objective.evaluate(scene), jnp.max(jnp.stack([jnp.zeros(()), *worst]))

    def _scene(self, policy: AbstractPolicy) -> Any:
        return self.task.scene(rollout(self.task.system, policy, self.task.grid))

    def _excesses(self, scene: Any) -> tuple[Times, ...]:
        """Of the limits on states, and of those on sums of the doses that the rule gave."""
        given = (scene.trajectory.doses / self.task.scale).ravel()
        sums = self.task.matrix @ given - self.task.bound + _ROOM
        return (*(reading.excess for reading in self.task.readings(scene)), *([sums] if sums.size else []))
