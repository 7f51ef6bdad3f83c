"""Patients under a policy that watches each of them."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from optimizer.axes import Scalar
from optimizer.ensemble.ensemble import Ensemble, with_system
from optimizer.ensemble.judge import Judged, judge_scene
from optimizer.objectives.base import Scene
from optimizer.policies.base import AbstractPolicy, Observation
from optimizer.problem import Task
from optimizer.simulate import System, rollout

# Patients to a step: more than this falls out of a CPU's cache.
_BATCH = 64
# Numbers of patients lie below this.
_MOST = 2**24


class Measured(AbstractPolicy):
    """A policy that sees one patient through that patient's own noise: burden times exp(noise z), z standard normal.

    Attributes:
        policy: decides by what it is shown.
        noise: standard deviation of the logarithm of a measured burden.
        patient: number of the patient; with the number of the visit it decides the draw.
    """

    kind: ClassVar[str] = "measured"
    policy: AbstractPolicy
    noise: Scalar
    patient: Int[Array, ""]

    def init(self) -> Any:
        return self.policy.init()

    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        key = jax.random.fold_in(jax.random.key(self.patient), observation.index)
        error = self.noise * jax.random.normal(key, dtype=jnp.asarray(observation.burden).dtype)
        return self.policy.decide(memory, observation._replace(burden=observation.burden * jnp.exp(error)))


class Watched(eqx.Module):
    """Patients who can be simulated, and how they are measured.

    Attributes:
        task: of the typical patient; limits on doses are everybody's.
        systems: of the patients, each leaf with a leading axis [P].
        numbers: of the patients, which decide the noise [P].
        noise: standard deviation of the logarithm of a measured burden.
    """

    task: Task
    systems: System
    numbers: Int[Array, "P"]
    noise: Scalar

    @property
    def count(self) -> int:
        """Number of patients P."""
        return self.numbers.shape[0]

    def redrawn(self, draw: Scalar) -> Watched:
        """The same patients with other errors of measurement; as they are for draw 0."""
        return eqx.tree_at(lambda own: own.numbers, self, self.numbers + _MOST * jnp.asarray(draw, int))

    def scene(self, system: System, number: Array, policy: AbstractPolicy) -> tuple[Task, Scene]:
        """A patient's task and what the policy does to him or her."""
        own = with_system(self.task, system)
        return own, own.scene(rollout(system, Measured(policy, self.noise, number), own.grid))

    def map(self, function: Any) -> Any:
        """What a function of a system and a patient's number gives for each patient [P, ...]."""
        inputs = (self.systems, self.numbers)
        return jax.lax.map(lambda pair: function(*pair), inputs, batch_size=min(_BATCH, self.count))


def watched(ensemble: Ensemble, first: int, last: int, noise: float) -> Watched:
    """Patients `first` up to `last` of an ensemble, those left out who cannot be simulated."""
    rows = first + np.flatnonzero(ensemble.healthy[first:last])
    systems = jax.tree.map(lambda leaf: jnp.asarray(leaf[rows]), ensemble.systems)
    return Watched(ensemble.task, systems, jnp.asarray(rows), jnp.asarray(noise, dtype=float))


def sums(task: Task, scene: Scene) -> Float[Array, "rows"]:
    """Excess of each limit on sums of doses, in largest doses."""
    return task.matrix @ scene.shares.ravel() - task.bound


class Evaluation(NamedTuple):
    """What a policy came to, arrays [P, ...].

    Attributes:
        judged: objective, terms, day of progression, excess of limits on states.
        sums: worst excess of a limit on sums of doses, in largest doses; 0 where there is none [P].
        given: mean share of the largest doses that was given [P].
    """

    judged: Judged
    sums: Any
    given: Any

    @property
    def excess(self) -> np.ndarray:
        """Worst excess of any limit [P]."""
        return np.maximum(np.asarray(self.judged.excess), np.asarray(self.sums))


@eqx.filter_jit
def evaluate_policy(patients: Watched, policy: AbstractPolicy, factor: Scalar) -> Evaluation:
    """What a policy comes to in each patient; progression is more than `factor` times the cells at the start."""

    def one(system: System, number: Array) -> Evaluation:
        task, scene = patients.scene(system, number, policy)
        worst = jnp.max(sums(task, scene), initial=0.0)
        return Evaluation(judge_scene(task, scene, jnp.asarray(factor)), worst, jnp.mean(scene.shares))

    return patients.map(one)
