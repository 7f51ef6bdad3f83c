"""How a trial is lived: doses that are missed or late, visits that are moved, toxicity, and patients who leave.

All of it happens at decisions. What a patient meets depends on the seed and the patient's number alone, so that every
policy meets the same; how much toxicity does depends on the doses.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from optimizer.axes import Index, Scalar
from optimizer.policies.base import AbstractPolicy, Observation
from optimizer.problem import Task


class Adherence(NamedTuple):
    """What one patient meets at K decisions."""

    missed: Bool[Any, "K"]  #: whether the dose is not taken [K]
    late: Bool[Any, "K"]  #: whether the dose before goes on until the next decision [K]
    lots: Float[Any, "K"]  #: uniform numbers; toxicity where they are below its probability [K]
    arrives: Int[Any, "K"]  #: decision at which the visit of a decision takes place [K]
    leaves: Any  #: day on which the patient leaves; infinite where that is never
    toxicity: Any  #: rate of toxicity at the largest doses [1/day]
    reduction: Any  #: share by which the largest doses fall after it
    scale: Float[Any, "N"]  #: largest doses [N]
    is_infused: Bool[Any, "N"]  #: drugs that go on until something else is given [N]
    lengths: Float[Any, "K"]  #: of the intervals [K, day]

    def is_toxic(self, k: Any, last: Any) -> Any:
        """Whether toxicity is found at a decision, after the doses of the interval before it."""
        space = last.__array_namespace__()
        intensity = space.mean(last / self.scale)
        return (k > 0) & (self.lots[k] < -space.expm1(-self.toxicity * intensity * self.lengths[k - 1]))

    def given(
        self, k: Index, asked: Float[Array, "N"], last: Float[Array, "N"], most: Scalar
    ) -> tuple[Float[Array, "N"], Scalar]:
        """What is taken of a dose that is asked for, and the share of the largest doses that is allowed from now on.

        Args:
            k: the decision.
            asked: dose.
            last: what was taken before.
            most: share of the largest doses that is allowed.
        """
        is_toxic = self.is_toxic(k, last)
        most = jnp.where(is_toxic, most * (1.0 - self.reduction), most)
        kept = jnp.where(self.is_infused, last, 0.0)
        dose = jnp.minimum(jnp.where(self.late[k] & (k > 0), kept, asked), most * self.scale)
        return jnp.where(is_toxic | self.missed[k], 0.0, dose), most

    def counted(self, doses: Float[np.ndarray, "K N"], until: float, starts: Float[np.ndarray, "K"]) -> list[int]:
        """Doses that were missed and late, and toxicities, at decisions before a day; outside of JAX."""
        ahead = starts < until
        toxic = [self.is_toxic(k, doses[k - 1]) for k in range(1, len(doses))]
        return [int(np.sum(where & ahead)) for where in (self.missed, self.late, np.array([False, *toxic]))]


class Adherent(AbstractPolicy):
    """A policy whose doses are taken as a patient does."""

    kind: ClassVar[str] = "adherent"
    policy: AbstractPolicy  #: asks for doses
    adherence: Adherence  #: of the patient

    def init(self) -> Any:
        return self.policy.init(), jnp.zeros_like(self.adherence.scale), jnp.ones(())

    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        own, last, most = memory
        asked, own = self.policy.decide(own, observation)
        dose, most = self.adherence.given(observation.index, asked, last, most)
        return dose, (own, dose, most)


class Lives(eqx.Module):
    """What the patients of a trial meet, by [conduct]."""

    numbers: dict[str, Array]  #: the table's
    scale: Float[Array, "N"]  #: largest doses [N]
    edges: Float[Array, "edges"]  #: of the decisions [K + 1, day]
    routes: tuple[str, ...] = eqx.field(static=True)  #: of the drugs

    @classmethod
    def of(cls, conduct: Mapping[str, float], task: Task) -> "Lives":
        """Those of a scenario's table."""
        numbers = {name: jnp.asarray(value, dtype=float) for name, value in conduct.items()}
        return cls(numbers, jnp.asarray(task.scale), jnp.asarray(task.grid.edges), task.system.routes)

    def __call__(self, key: Array) -> Adherence:
        """What a patient meets."""
        numbers, days, count = self.numbers, self.edges[:-1], self.edges.shape[0] - 1
        own = jax.random.split(key, 5)
        missed, late, lots, moved = (jax.random.uniform(one, (count,)) for one in own[:4])
        # The first visit is the day on which the trial begins, and no other comes before the second decision.
        day = days + numbers["visit_jitter"] * (2.0 * moved - 1.0)
        arrives = jnp.argmin(jnp.abs(days - day[:, None]), axis=1)
        rate = numbers["dropout"]
        leaves = jnp.where(rate > 0.0, jax.random.exponential(own[4]) / jnp.maximum(rate, 1e-300), jnp.inf)
        return Adherence(
            missed=missed < numbers["missed_dose"],
            late=late < numbers["late_dose"],
            lots=lots,
            arrives=jnp.maximum(arrives, 1).at[0].set(0),
            leaves=leaves,
            toxicity=numbers["toxicity"],
            reduction=numbers["reduction"],
            scale=self.scale,
            is_infused=jnp.array([route == "infusion" for route in self.routes], dtype=bool),
            lengths=self.edges[1:] - self.edges[:-1],
        )
