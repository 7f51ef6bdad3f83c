"""What a page moves: doses, numbers of a rule and parameters, and one compiled program that simulates them all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from optimizer.ensemble import load_patients
from optimizer.ensemble.ensemble import BATCH
from optimizer.fields import FieldInfo, describe
from optimizer.mesh import Mesh
from optimizer.outcome import Outcome, outcome
from optimizer.policies.base import AbstractPolicy
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Report, Task
from optimizer.programs import stored
from optimizer.regimens import Regimen
from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.build import build_system
from optimizer.scenario.keys import Place, places, substituted
from optimizer.scenario.plan import Drug
from optimizer.simulate import Grid, System, Trajectory, rollout
from optimizer.simulate.resolution import choose_mesh

EVEN, RULE = "even doses", "the rule"
# Sliders reach from a part of a number to a multiple of it; the nodes are fine enough for the rates at both ends.
_REACH = 4.0
STEPS = 400
_GIVEN = ("every", "first", "last")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Patients of a cohort who are simulated while a slider moves.
_MOST_PATIENTS = 200


@dataclass(frozen=True)
class Knob:
    """A number that a slider moves."""

    key: str  #: its key path, or of the schedule "dose.DRUG", "every", "first" and "last"
    label: str  #: what it is, for a person
    unit: str  #: of its values
    value: float  #: where it begins
    low: float  #: smallest value
    high: float  #: largest value
    log: bool = False  #: whether equal ways are equal ratios
    whole: bool = False  #: whether it counts something

    def at(self, step: float) -> float:
        """The value at a step of the slider, from 0 to `STEPS`."""
        share = min(max(step / STEPS, 0.0), 1.0)
        if self.log:
            return float(f"{self.low * (self.high / self.low) ** share:.4g}")
        found = self.low + share * (self.high - self.low)
        return float(round(found)) if self.whole else float(f"{found:.4g}")

    def step(self, value: float) -> int:
        """The step of the slider that is nearest to a value."""
        if self.high <= self.low:
            return 0
        share = (value - self.low) / (self.high - self.low)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(STEPS * min(max(share, 0.0), 1.0))


@dataclass(frozen=True)
class Course:
    """What one way of dosing came to."""

    name: str  #: of the way
    trajectory: Trajectory  #: the patient at the saved times
    edges: np.ndarray  #: of the decisions [K + 1, day]
    report: Report  #: objective, terms and limits
    outcome: Outcome  #: progression, burdens, cumulative doses
    system: System  #: tumor and drugs with the numbers of the sliders
    #: burdens at the `QUANTILES` of the patients of [cohort] at the saved times [5, T, cell]; None when left out
    fan: np.ndarray | None = None


class Explorer:
    """A scenario whose numbers are inputs of one compiled program for each way of dosing.

    Example:
        >>> explorer = Explorer(Scenario.load("scenarios/crc_caf_cetuximab.toml"))
        >>> [knob.key for knob in explorer.knobs("even doses")][:3]
        ['dose.cetuximab', 'every', 'first']
    """

    def __init__(self, scenario: Scenario):
        self.scenario, self.problem = scenario, scenario.problem()
        self.endpoint = scenario.endpoint()
        self.places = _distinct(places(scenario.plan.model, scenario.plan.drugs))
        self.rule = scenario.rule()
        self.regimens = {regimen.name: regimen for regimen in scenario.regimens()}
        self._simulate, self._fan = eqx.filter_jit(self._simulated), eqx.filter_jit(self._fanned)

    @cached_property
    def patients(self) -> tuple[tuple[Place, ...], np.ndarray]:
        """Numbers in which the first patients of [cohort] differ, and their values [P, V].

        Raises:
            ScenarioError: no [cohort], draws that cannot be read, or nobody who can be simulated.
            DataError: a table that cannot be read.
        """
        plan = self.scenario.plan.cohort
        is_table = plan is not None and (plan.table is not None or plan.risk is not None)
        found = load_patients(self.scenario, None if is_table else _MOST_PATIENTS, self.scenario.seed)
        if not found.healthy.any():
            why = next(iter(found.faults.values()))
            wanted = "cohort: wanted a patient who can be simulated; got none"
            raise ScenarioError([f"{self.scenario.file}: {wanted}: {why}"])
        return found.places, found.values[found.healthy][:_MOST_PATIENTS]

    @cached_property
    def _mesh(self) -> Mesh:
        """Nodes that are fine enough for the fastest of the rates that the sliders reach."""
        plan, own = self.scenario.plan, self.problem.task.system
        rates = [(p, knob.high) for p, knob in zip(self.places, self.parameters, strict=True) if "1/day" in p.unit]
        fast = build_system(substituted(plan, [p for p, _ in rates], [high for _, high in rates]), own.mesh)
        longest = max(float(np.diff(edges).max()) for edges in (plan.edges, *(r.edges for r in plan.regimens)))
        found = choose_mesh(fast.model, fast.pharmacokinetics, longest)
        # Panel edges at switching levels stay those of the scenario, as do panels that are finer already.
        return replace(own.mesh, uniform=max(own.mesh.uniform, min(found.uniform, 2 * own.mesh.uniform)))

    def ways(self) -> list[str]:
        """Ways of dosing: even doses, the rule whose numbers the scenario leaves open, and its regimens."""
        return [*([EVEN] if self.problem.task.system.drugs else []), *([RULE] if self.rule else []), *self.regimens]

    def knobs(self, way: str) -> list[Knob]:
        """What moves a way of dosing."""
        if way == EVEN:
            return self._doses()
        policy = self._policy(way)
        if isinstance(policy, Schedule):
            return [Knob("scale", "doses, as a multiple of the regimen's", "1", 1.0, 0.0, 2.0)]
        open_ = {} if self.rule is None or way != RULE else _ranges(self.rule)
        return [
            _knob(name, info, float(getattr(policy, name)), open_.get(name))
            for name, info in describe(type(policy)).items()
            if isinstance(getattr(policy, name), jnp.ndarray) and getattr(policy, name).ndim == 0
        ]

    @cached_property
    def parameters(self) -> list[Knob]:
        """The numbers of the tumor and of the drugs."""
        return [_knob(place.key, replace(place.info, unit=place.unit), place.value) for place in self.places]

    def _doses(self) -> list[Knob]:
        plan, edges = self.scenario.plan, self.scenario.plan.edges
        count = len(edges) - 1
        at = np.where(np.isfinite(self.problem.upper), self.problem.upper, 0.0).max(axis=0)
        found = [_dose(drug, float(most)) for drug, most in zip(plan.drugs, at, strict=True)]
        times = (("every", "given at every n-th decision", 1, 1, count), ("first", "first decision", 1, 1, count))
        times = (*times, ("last", "last decision", count, 1, count))
        return found + [Knob(key, label, "1", value, low, high, whole=True) for key, label, value, low, high in times]

    def _policy(self, way: str) -> AbstractPolicy:
        return self.rule.policy if way == RULE and self.rule is not None else self.regimens[way].policy

    def regimen(self, way: str, values: Mapping[str, float]) -> Regimen:
        """A way of dosing with these values of its knobs; those left out keep theirs."""
        values = {knob.key: knob.value for knob in self.knobs(way)} | dict(values)
        grid = self.problem.task.grid
        if way == EVEN:
            every, first, last = (int(values[key]) for key in _GIVEN)
            number = np.arange(1, grid.count + 1)
            given = (number >= first) & (number <= last) & ((number - first) % every == 0)
            dose = [values[f"dose.{drug}"] for drug in self.problem.task.system.drugs]
            doses = np.clip(given[:, None] * np.array(dose), 0.0, None)
            return Regimen(way, Schedule(stored(doses)), grid)
        policy, grid = self._policy(way), grid if way == RULE else self.regimens[way].grid
        if isinstance(policy, Schedule):
            return Regimen(way, Schedule(stored(np.asarray(policy.doses) * values["scale"])), grid)
        moved = replace(policy, **{key: stored(value) for key, value in values.items()})  # type: ignore[type-var]
        return Regimen(way, self.problem.limited(moved) if way == RULE else self.problem.delivered(moved), grid)

    def course(
        self, way: str, doses: Mapping[str, float] = {}, parameters: Mapping[str, float] = {}, fan: bool = False
    ) -> Course:
        """Simulate a way of dosing.

        Args:
            way: one of `ways`.
            doses: values of its knobs; those left out keep theirs.
            parameters: values of the scenario's numbers by key path, likewise.
            fan: whether the patients of [cohort] are simulated too, who keep the numbers in which they differ.

        Raises:
            ScenarioError, DataError: patients that cannot be read.
        """
        chosen = self.regimen(way, doses)
        numbers = stored([parameters.get(place.key, place.value) for place in self.places])
        trajectory, task = self._simulate(numbers, self._mesh, chosen.policy, chosen.grid)
        problem: Problem = replace(self.problem, task=task)
        edges, own = np.asarray(chosen.grid.edges), np.asarray(self.problem.task.grid.edges)
        report = problem.report(trajectory, chosen.grid)
        verdict = self.endpoint.read(task.system, trajectory, own)
        drugs, routes = task.system.drugs, task.system.routes
        came = outcome(trajectory, chosen.grid, drugs, routes, verdict, self.problem.task.grid)
        given = (numbers, self._mesh, chosen.policy, chosen.grid)
        spread = np.asarray(self._fan(stored(self.patients[1]), *given)) if fan else None
        return Course(way, trajectory, edges, report, came, task.system, spread)

    def sensitivities(self, way: str, share: float) -> dict[str, tuple[Outcome, Outcome]]:
        """What a way of dosing comes to where one of the scenario's numbers is less, and where more, by a share."""
        moved = [knob for knob in self.parameters if knob.value != 0.0]
        ends = {knob.key: (knob.value * (1.0 - share), knob.value * (1.0 + share)) for knob in moved}
        return {
            key: (self.course(way, {}, {key: low}).outcome, self.course(way, {}, {key: high}).outcome)
            for key, (low, high) in ends.items()
        }

    def _simulated(self, numbers: Any, mesh: Mesh, policy: AbstractPolicy, grid: Grid) -> tuple[Trajectory, Task]:
        plan = substituted(self.scenario.plan, self.places, list(numbers))
        system, objective = build_system(plan, mesh), Scenario(plan, self.scenario.name).objective()
        task = replace(self.problem.task, system=system, objective=objective)
        return rollout(system, policy, grid), task

    def _fanned(self, values: Any, numbers: Any, mesh: Mesh, policy: AbstractPolicy, grid: Grid) -> Any:
        def burden(own: Any) -> Any:
            places = [*self.places, *self.patients[0]]
            return rollout(
                build_system(substituted(self.scenario.plan, places, [*numbers, *own]), mesh), policy, grid
            ).burden

        return jnp.nanquantile(jax.lax.map(burden, values, batch_size=BATCH), jnp.asarray(QUANTILES), axis=0)

    def tables(self, parameters: Mapping[str, float]) -> dict[str, Any]:
        """The scenario with other numbers, as the tables of a file that has every number spelled out."""
        moved = [place for place in self.places if place.key in parameters]
        plan = substituted(self.scenario.plan, moved, [parameters[place.key] for place in moved])
        return Scenario(plan, self.scenario.name).resolved()["scenario"]


def _distinct(found: Any) -> list[Place]:
    """Each number once, by the longest of its key paths."""
    return list({place.steps: place for place in found}.values())


def _ranges(rule: Any) -> dict[str, tuple[float, float]]:
    ends = zip(rule.lower, rule.upper, strict=True)
    return {name: (float(low), float(high)) for name, (low, high) in zip(rule.names, ends, strict=True)}


def _dose(drug: Drug, most: float) -> Knob:
    label = f"{drug.name}, {'rate' if drug.route == 'infusion' else 'each dose'}"
    return Knob(f"dose.{drug.name}", label, drug.dose_unit, float(f"{most / 2:.3g}"), 0.0, most)


def _knob(key: str, info: FieldInfo, value: float, ends: Sequence[float] | None = None) -> Knob:
    """A slider about a number, inside its checked range."""
    if ends is None:
        around = sorted((value / _REACH, value * _REACH)) if value else [0.0 if info.minimum == 0.0 else -1.0, 1.0]
        least = -math.inf if info.minimum is None else info.minimum
        ends = max(around[0], least), min(around[1], math.inf if info.maximum is None else info.maximum)
    low, high = min(ends[0], value), max(ends[1], value)
    return Knob(key, info.doc or key, info.unit, value, low, high, log=value > 0.0 and low > 0.0 and high > 4.0 * low)
