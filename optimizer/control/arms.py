"""The policies of a trial by name, and a rule that sees measured burdens at visits and holds its dose between them."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.control.visits import Watch, is_new, watched
from optimizer.observations import Channel
from optimizer.policies.base import AbstractMeasuring, AbstractPolicy, Observation
from optimizer.policies.continuous import Continuous
from optimizer.policies.schedule import Schedule
from optimizer.policies.threshold import Threshold
from optimizer.problem import Problem
from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.faults import one_of

REPLAN = "replan"
CLAIRVOYANT = "clairvoyant"


class Measured(AbstractPolicy):
    """A rule that is asked only when a result is new; what it sees are measured burdens, the first one included.

    Before the first result it takes the tumor for unchanged.

    Attributes:
        rule: without noise and delay of its own.
        watch: what it is shown.
    """

    kind: ClassVar[str] = "measured"
    rule: AbstractMeasuring
    watch: Watch

    def init(self) -> Any:
        return self.rule.init(), jnp.zeros_like(self.rule.dose_max), jnp.zeros(self.watch.errors.shape)

    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        own, held, shown = memory
        k = observation.index
        shown = shown.at[k].set(jnp.log(observation.burden) + self.watch.errors[k])
        seen = observation._replace(
            length=self.watch.lengths[k],
            burden=jnp.exp(shown[jnp.maximum(self.watch.newest[k], 0)]),
            start_burden=jnp.exp(shown[0]),
        )
        asked, after = self.rule.decide(own, seen)
        fresh = is_new(self.watch.newest)[k]
        dose = jnp.where(fresh, asked, held)
        own = jax.tree.map(lambda new, old: jnp.where(fresh, new, old), after, own)
        return dose, (own, dose, shown)


class Arm(NamedTuple):
    """A policy of a trial that is not searched.

    Attributes:
        policy: as the scenario has it.
        watches: whether it is shown measurements.
    """

    policy: AbstractPolicy
    watches: bool

    def shown(self, problem: Problem, watch: Watch | None) -> AbstractPolicy:
        """The policy as one patient gets it, within the limits on single doses."""
        if isinstance(self.policy, Schedule):
            return self.policy
        if not self.watches:
            return problem.limited(self.policy)
        assert watch is not None
        assert isinstance(self.policy, AbstractMeasuring)
        return problem.limited(Measured(self.policy, watch))


def arms(
    scenario: Scenario, problem: Problem, channels: tuple[Channel, ...], names: tuple[str, ...]
) -> dict[str, Arm | None]:
    """The policies of these names; None is the one that measures and plans again.

    Raises:
        ScenarioError: a name that is unknown or there twice, or a policy that cannot be had in this trial.
    """
    known = _known(scenario, problem)
    if not names or len(set(names)) < len(names):
        raise ScenarioError([f"--policies: wanted different names; got {','.join(names) or 'none'}"])
    found: dict[str, Arm | None] = {}
    for name in names:
        if name != REPLAN and name not in known:
            raise ScenarioError([f"--policies: {one_of([REPLAN, *known], name)}"])
        policy = None if name == REPLAN else known[name]
        watches = isinstance(policy, AbstractMeasuring)
        if (watches or name == REPLAN) and not channels:
            wanted = f'"{name}" of a trial needs at least one [[observation]], which says what is measured'
            raise ScenarioError([f"{scenario.file}: observation: wanted some, as {wanted}; got none"])
        if watches and watched(channels) is None:
            raise ScenarioError([f"{scenario.file}: observation: wanted one that shows the burden; got none"])
        found[name] = None if policy is None else Arm(_checked(scenario, problem, name, policy), watches)
    return found


def _known(scenario: Scenario, problem: Problem) -> dict[str, AbstractPolicy]:
    """The scenario's regimens, and those that every trial has."""
    most = jnp.asarray(problem.upper.max(axis=0))
    built_in = {
        "AT50": Threshold(most, stop_below=0.5, restart_above=1.0),
        "continuous": Continuous(most),
        "none": Schedule(jnp.asarray(problem.lower)),
    }
    return built_in | {regimen.name: regimen.policy for regimen in scenario.regimens()}


def _checked(scenario: Scenario, problem: Problem, name: str, policy: AbstractPolicy) -> AbstractPolicy:
    if isinstance(policy, Schedule):
        regimen = next((r for r in scenario.regimens() if r.name == name), None)
        edges = None if regimen is None else np.asarray(regimen.grid.edges)
        if edges is not None and not np.array_equal(edges, np.asarray(problem.task.grid.edges)):
            wanted = f"wanted doses on the scenario's own decisions for a trial; got {len(edges) - 1} other intervals"
            raise ScenarioError([f'{scenario.file}: regimen "{name}": {wanted}'])
    if isinstance(policy, AbstractMeasuring) and (float(policy.noise) > 0.0 or policy.delay > 0):
        wanted = "wanted no noise and delay of its own, as [[observation]] says how a trial measures; got some"
        raise ScenarioError([f'{scenario.file}: regimen "{name}": {wanted}'])
    return policy
