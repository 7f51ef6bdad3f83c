"""The policies that a trial compares, by name: controllers that are not searched at every visit."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from optimizer.control.assays import watched
from optimizer.control.closed_loop import Feedback
from optimizer.observations import Channel
from optimizer.policies.base import AbstractMeasuring, AbstractPolicy
from optimizer.policies.continuous import Continuous
from optimizer.policies.network import Network
from optimizer.policies.schedule import Schedule
from optimizer.policies.threshold import Threshold
from optimizer.problem import Problem
from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.faults import one_of
from optimizer.settings import TrialSettings

REPLAN, CLAIRVOYANT, AT50, CONTINUOUS = "replan", "clairvoyant", "AT50", "continuous"
# The rule and the constant dose that do best on the belief.
TUNED, CONSTANT = "tuned", "constant"
# The rule that `replan` falls back on.
FALLBACK = "fallback"
DEFAULT = TrialSettings().policies


def with_networks(scenario: Scenario, names: tuple[str, ...]) -> tuple[str, ...]:
    """What a trial compares: these, and where they are the default, every trained network of the file."""
    if names != DEFAULT:
        return names
    networks = [regimen.name for regimen in scenario.regimens() if isinstance(regimen.policy, Network)]
    return (*DEFAULT, *(name for name in networks if name not in DEFAULT))


def at50(problem: Problem, delay: int = 0) -> Threshold:
    """The whole dose until half of the first burden is left, none until it is back: doi 10.1038/s41467-017-01968-5."""
    numbers: dict[str, Any] = {"stop_below": 0.5, "restart_above": 1.0, "share": 1.0}
    return Threshold(dose_max=problem.task.scale, **numbers, delay=delay)


def comparators(
    scenario: Scenario, problem: Problem, channels: tuple[Channel, ...], names: tuple[str, ...]
) -> dict[str, Feedback]:
    """The policies of these names, without the one that measures and plans again.

    Raises:
        ScenarioError: a name that is unknown or there twice, or a policy that cannot be had in this trial.
    """
    known = _known(scenario, problem)
    if not names or len(set(names)) < len(names):
        raise ScenarioError([f"--policies: wanted different names; got {','.join(names) or 'none'}"])
    found: dict[str, Feedback] = {}
    for name in names:
        if name != REPLAN and name not in known:
            raise ScenarioError([f"--policies: {one_of([REPLAN, *known], name)}"])
        policy = None if name == REPLAN else known[name]
        watches = policy is not None and policy.watches
        if (watches or name == REPLAN) and not channels:
            wanted = f'"{name}" of a trial needs at least one [[observation]], which says what is measured'
            raise ScenarioError([f"{scenario.file}: observation: wanted some, as {wanted}; got none"])
        if watches and watched(channels) is None:
            raise ScenarioError([f"{scenario.file}: observation: wanted one that shows the burden; got none"])
        if policy is not None:
            _check(scenario, problem, name, policy)
            limited = policy if isinstance(policy, Schedule) else problem.limited(policy)
            found[name] = Feedback(limited, watches)
    return found


def _known(scenario: Scenario, problem: Problem) -> dict[str, AbstractPolicy]:
    """The scenario's regimens, and those that every trial has."""
    built_in = {
        AT50: at50(problem),
        CONTINUOUS: Continuous(problem.task.scale),
        # Their numbers are found on the belief.
        TUNED: at50(problem),
        CONSTANT: Continuous(problem.task.scale),
        "none": Schedule(jnp.asarray(problem.lower)),
    }
    return built_in | {regimen.name: regimen.policy for regimen in scenario.regimens()}


def _check(scenario: Scenario, problem: Problem, name: str, policy: AbstractPolicy) -> None:
    if isinstance(policy, Schedule):
        regimen = next((r for r in scenario.regimens() if r.name == name), None)
        edges = None if regimen is None else np.asarray(regimen.grid.edges)
        if edges is not None and not np.array_equal(edges, np.asarray(problem.task.grid.edges)):
            wanted = f"wanted doses on the scenario's own decisions for a trial; got {len(edges) - 1} other intervals"
            raise ScenarioError([f'{scenario.file}: regimen "{name}": {wanted}'])
        if regimen is not None and regimen.grid.other is not None:
            wanted = "wanted doses by each drug's own route for a trial; got some by the other one"
            raise ScenarioError([f'{scenario.file}: regimen "{name}": {wanted}'])
    rules = [rule for rule in (policy, *getattr(policy, "phases", ())) if isinstance(rule, AbstractMeasuring)]
    if any(float(rule.noise) > 0.0 or rule.delay > 0 for rule in rules):
        wanted = "wanted no noise and delay of its own, as [[observation]] says how a trial measures; got some"
        raise ScenarioError([f'{scenario.file}: regimen "{name}": {wanted}'])
