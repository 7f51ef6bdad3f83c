"""Closed loop: patients under a controller that is shown what assays measure, one decision after the other.

A controller gives doses: a schedule (open loop), a rule or a network (output feedback), or model predictive control.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Doses, Index, Scalar
from optimizer.control.assays import Assays, Results
from optimizer.control.conduct import Adherent
from optimizer.endpoints.base import AtVisits, Progressed
from optimizer.ensemble.ensemble import Members
from optimizer.ensemble.evaluate import Evaluation, evaluation
from optimizer.objectives.progression import day_of
from optimizer.observations import MISSING
from optimizer.policies.base import AbstractPolicy
from optimizer.policies.limited import Limited
from optimizer.problem import Task
from optimizer.simulate import Trajectory, rollout


class Conduct(NamedTuple):
    """How patients are followed.

    Attributes:
        progressed: what progression is.
        stops: whether nothing is planned any more after progression.
        keys: of what a controller draws, of its first particles and of its updates; None for one that draws nothing.
        patient: number of the patient, of whom a controller may know a risk.
    """

    progressed: Progressed
    stops: bool = True
    keys: tuple[Array, Array] | None = None
    patient: Index | int = 0

    def found(
        self, task: Task, trajectory: Trajectory, results: Results, until: Scalar | float = jnp.inf
    ) -> tuple[Scalar, Scalar]:
        """Day of progression by what is known on a day, and the last day that is known to be without it.

        By the samples of the trial where an endpoint reads one of its channels.
        """
        read = self.progressed
        if not isinstance(read, AtVisits):
            day, after = day_of(read, task.system, trajectory)
            return jnp.where(day <= until, day, jnp.inf), after
        endpoint, days = read.endpoint, read.visits
        if read.column is None or endpoint.channel is None:
            return endpoint.found(endpoint.values(task.system, trajectory, days), days, days <= until)
        days, shown, seen = task.grid.edges[:-1], results.shown[:, read.column], results.seen[:, read.column]
        return endpoint.found(endpoint.channel.value(shown), days, (seen != MISSING) & (days <= until))


class Controller(Protocol):
    """What gives doses."""

    def control(self, task: Task, assays: Assays, conduct: Conduct) -> tuple[Trajectory, Any]:
        """What becomes of a patient, and the controller's own account of it, if it has one."""
        ...


class Feedback(eqx.Module):
    """A policy as a controller: a schedule, a rule, a network.

    Attributes:
        policy: within the limits on single doses.
        is_measuring: whether it is shown measurements, in place of the true burden.
    """

    policy: AbstractPolicy
    is_measuring: bool = eqx.field(static=True)

    def control(self, task: Task, assays: Assays, conduct: Conduct) -> tuple[Trajectory, None]:
        """One rollout."""
        shown, adherence = self.shown(assays, task), assays.adherence
        taken = shown if adherence is None else Adherent(shown, adherence)
        return rollout(task.system, taken, task.grid), None

    def shown(self, assays: Assays, task: Task) -> AbstractPolicy:
        """The policy as it sees one patient."""
        if not self.is_measuring:
            return self.policy
        assert isinstance(self.policy, Limited)
        rule = assays.measured(self.policy.rule, task.grid, task.scale.size)
        return dataclasses.replace(self.policy, rule=rule)

    def smooth(self, temperature: Scalar) -> "Feedback":
        """The same with decisions that a gradient can follow."""
        return Feedback(self.policy.smooth(temperature), self.is_measuring)


class PatientOutcome(NamedTuple):
    """A patient under a controller; arrays [P, ...] for an ensemble."""

    doses: Doses  #: given [K, N]
    burden: Float[Array, "edges"]  #: at the decisions and at the end [K + 1]
    evaluation: Evaluation  #: what it comes to
    over: Scalar  #: worst relative excess of a limit on doses; at least 0
    given: Scalar  #: mean share of the largest doses
    results: Results  #: what was sampled; none of it where nothing is measured

    @property
    def excess(self) -> Any:
        """Worst relative excess of any limit."""
        return jnp.maximum(self.evaluation.excess, self.over)


@eqx.filter_jit
def closed_loop(
    members: Members, controller: Controller, assays: Callable[[Index], Assays], conduct: Conduct
) -> PatientOutcome:
    """Every member of an ensemble in closed loop, arrays [P, ...].

    Args:
        members: P patients.
        controller: what gives the doses.
        assays: how a member is measured, by its number: `TrialAssays` or `BurdenAssays`.
        conduct: how they are followed.
    """
    return members.map(lambda task, index: of_one(task, controller, assays(index), conduct)[0])


def of_one(task: Task, controller: Controller, assays: Assays, conduct: Conduct) -> tuple[PatientOutcome, Any]:
    """One patient in closed loop, and the controller's account of it."""
    trajectory, account = controller.control(task, assays, conduct)
    results, scene = assays.results(task.system, trajectory, task.grid), task.scene(trajectory)
    burden = jnp.exp(jnp.interp(task.grid.edges, trajectory.times, jnp.log(trajectory.burden)))
    shares = scene.shares.ravel()
    sums = (task.matrix @ shares - task.bound) / jnp.maximum(jnp.abs(task.bound), 1e-300)
    over = jnp.max(jnp.concatenate([sums, shares - task.upper, task.lower - shares]), initial=0.0)
    found = evaluation(task, scene, jnp.ones(()))
    day, after = conduct.found(task, trajectory, results)
    found = found._replace(progression=day, after=after)
    return PatientOutcome(trajectory.doses, burden, found, over, jnp.mean(scene.shares), results), account
