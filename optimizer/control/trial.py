"""What a trial is made of: the controller's scenario, the hidden patients, the policies and the compiled programs."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Doses
from optimizer.control.assays import TrialAssays, belief_keys, changed, trial_assays, watched
from optimizer.control.belief import Inference
from optimizer.control.closed_loop import Conduct, Feedback, PatientOutcome, of_one
from optimizer.control.comparators import CLAIRVOYANT, CONSTANT, FALLBACK, REPLAN, TUNED, comparators, with_networks
from optimizer.control.plan_search import Effort
from optimizer.control.prior import load_prior
from optimizer.control.receding_horizon import PlanDiagnostics, RecedingHorizonController
from optimizer.control.tune import HIGHEST, WIDER, Tuned, constant_on_belief, tuned_on_belief
from optimizer.endpoints.base import AtVisits, Progressed
from optimizer.ensemble.alone import solve
from optimizer.ensemble.ensemble import Ensemble, build_ensemble, with_system
from optimizer.ensemble.patients import DRAWN, Patients, load_patients
from optimizer.ensemble.risk import refuse_alpha
from optimizer.objectives.progression import Progression
from optimizer.observations import Channel
from optimizer.policies.schedule import Schedule
from optimizer.problem import Task
from optimizer.programs import check_64_bits
from optimizer.scenario import Scenario, ScenarioError
from optimizer.search.phase_one import center
from optimizer.search.starts import starts
from optimizer.settings import Changes, TrialSettings as Settings
from optimizer.simulate import System

# Decisions that a plan of a trial has one by one; what is further ahead is planned in blocks that double in length.
_SINGLY = 4
_TOLERANCE = 1e-2
# Share of the way from a policy's schedule to the middle of the limits, where a search may begin.
_INWARD = 0.1

# What `prepare` is called with: the scenario, the settings, and whether code is allowed.
Asked = tuple[Scenario, Settings, bool]


def effort_of(settings: Settings) -> Effort:
    """How hard a plan is searched."""
    return Effort(
        risk=settings.risk,
        alpha=settings.alpha,
        particles=settings.plan_particles,
        restarts=1,
        tolerance=_TOLERANCE,
        iterations=settings.plan_iterations,
        singly=_SINGLY,
        temperature=settings.plan_temperature,
        coldest=settings.plan_temperature,
        change=settings.plan_change,
    )


@dataclass(frozen=True)
class Trial:
    """A trial that is ready to be run."""

    scenario: Scenario  #: what the controller believes
    #: the hidden patients' scenario, with the decisions, the objective and the limits of the controller's
    truth: Scenario
    settings: Settings  #: what is asked
    ensemble: Ensemble  #: the hidden patients
    programs: "Programs"  #: compiled once, shared by the trials of a sweep
    points: np.ndarray  #: where the search of who knows the truth begins [R, n]
    middle: np.ndarray  #: a point far from all limits on doses [n]
    policies: tuple[str, ...]  #: names of the policies
    asked: Asked  #: what `prepare` made it of

    @property
    def rows(self) -> tuple[str, ...]:
        """The policies of the tables: who knows the truth comes last."""
        return (*self.policies, CLAIRVOYANT) if self.settings.restarts else self.policies

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What is measured."""
        return changed(self.scenario.channels(), self.settings.changes)

    def with_changes(self, changes: Changes) -> "Trial":
        """The same trial with other assays."""
        return dataclasses.replace(self, settings=dataclasses.replace(self.settings, changes=changes))


def prepare(scenario: Scenario, settings: Settings, allow_code: bool = False) -> Trial:
    """Read the patients, build the policies; nothing is simulated yet.

    Raises:
        ScenarioError: something of scenario, truth or settings that cannot be tried.
    """
    asked, settings = (scenario, settings, allow_code), scenario.fill(settings)
    _check(scenario, settings)
    truth = hidden(scenario, settings.truth, allow_code)
    ensemble = build_ensemble(truth, _patients(truth, settings))
    ensemble.require(truth.file)
    problem, channels = scenario.problem(), scenario.channels()
    if problem.levels:
        raise ScenarioError([f"{scenario.file}: constraint: wanted no dose levels in a trial; got some"])
    names = with_networks(scenario, settings.policies)
    rules = comparators(scenario, problem, channels, names)
    # A regimen of the file keeps its name.
    own = {regimen.name for regimen in scenario.regimens()}
    believing = {name for name in names if name == REPLAN or (name in (TUNED, CONSTANT) and name not in own)}
    inference = None
    if believing:
        prior = load_prior(scenario, count=len(ensemble.names)).noisy()
        inference = Inference(scenario, prior, channels, settings.particles)
    task, apart = ensemble.task, len({float(channel.assay.delay) for channel in channels})
    programs = Programs(
        task=task,
        feedback=rules,
        inference=inference,
        effort=effort_of(settings),
        rows=task.grid.count * max(apart, 1),
        progressed=_progressed(scenario, channels),
        tune=lambda: {} if inference is None else _tuned(scenario, settings, inference, believing),
        may_stop=scenario.plan.may_stop,
    )
    points = np.asarray(starts(task, max(settings.restarts, 1), settings.seed))[: settings.restarts]
    return Trial(scenario, truth, settings, ensemble, programs, points, center(task), names, asked)


def _tuned(scenario: Scenario, settings: Settings, inference: Inference, names: set[str]) -> dict[str, Tuned]:
    """The rules that are tuned on the belief: those that are compared, and the one that `replan` falls back on."""
    found = {}
    assays, risk = trial_assays(scenario, inference.channels, settings.seed), (settings.risk, settings.alpha)
    if watched(inference.channels) is not None:
        if TUNED in names:
            found[TUNED] = tuned_on_belief(inference, assays, scenario.progression_factor, *risk)
        if REPLAN in names:
            found[FALLBACK] = tuned_on_belief(inference, assays, HIGHEST, *risk, spread=WIDER)
    if CONSTANT in names:
        found[CONSTANT] = constant_on_belief(inference, *risk)
    return found


def _progressed(scenario: Scenario, channels: Sequence[Channel]) -> Progressed:
    """What progression is; an endpoint without visits of its own reads what the trial measures."""
    found = scenario.progression()
    if isinstance(found, AtVisits) and found.endpoint.channel is not None and not found.endpoint.every:
        labels = [channel.label() for channel in channels]
        found = dataclasses.replace(found, column=labels.index(found.endpoint.channel.label()))
    return jax.tree.map(jnp.asarray, found)


def _check(scenario: Scenario, settings: Settings) -> None:
    least = {"particles": 8, "plan_particles": 1, "plan_iterations": 1, "restarts": 0, "chunk": 1}
    for name, bound in least.items():
        value = getattr(settings, name)
        if value < bound:
            raise ScenarioError([f"--{name.replace('_', '-')}: wanted at least {bound}; got {value}"])
    if not 0.001 <= settings.plan_temperature <= 1.0:
        raise ScenarioError([f"--plan-temperature: wanted 0.001 to 1; got {settings.plan_temperature:g}"])
    refuse_alpha(settings.alpha)
    check_64_bits("trial")


def hidden(scenario: Scenario, path: Path | None, allow_code: bool = False) -> Scenario:
    """The hidden patients' scenario: model, drugs and cohort of theirs, all else of the controller's.

    Raises:
        ScenarioError: drugs, dose units or decisions differ, or an observed clone is not there.
    """
    if path is None:
        return scenario
    own = Scenario.load(path, allow_code)
    ours, theirs = scenario.plan, own.plan
    for what, was, got in (
        ("drug", [d.name for d in ours.drugs], [d.name for d in theirs.drugs]),
        ("drug.route", [d.route for d in ours.drugs], [d.route for d in theirs.drugs]),
        ("drug.dose", [d.dose_unit for d in ours.drugs], [d.dose_unit for d in theirs.drugs]),
        ("decision", ours.edges.tolist(), theirs.edges.tolist()),
    ):
        if was != got:
            raise ScenarioError([f"{own.file}: {what}: wanted {_short(was)}, as in {scenario.file}; got {_short(got)}"])
    names = [clone.name for clone in theirs.model.clones]
    for i, (quantity, _) in enumerate(ours.observations):
        clone = quantity.values.get("clone")
        if clone is not None and theirs.model.alone is None and clone not in names:
            wanted = f'wanted the clone "{clone}" of observation[{i}] of {scenario.file}; got {_short(names)}'
            raise ScenarioError([f"{own.file}: model.clone: {wanted}"])
    drugs = tuple(
        dataclasses.replace(drug, minimum=mine.minimum, maximum=mine.maximum)
        for mine, drug in zip(ours.drugs, theirs.drugs, strict=True)
    )
    plan = dataclasses.replace(ours, model=theirs.model, drugs=drugs, sizes=theirs.sizes, cohort=theirs.cohort)
    return Scenario(plan, own.name, own.text, own.file, own.folder)


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], float):
        return f"{len(value) - 1} decisions from day {value[0]:g} to {value[-1]:g}, the first {value[1]:g} days long"
    return ", ".join(f'"{item}"' for item in value)


def _patients(truth: Scenario, settings: Settings) -> Patients:
    """Those of the hidden patients' cohort; without one, patients who all have the scenario's own numbers."""
    if truth.plan.cohort is not None:
        return load_patients(truth, settings.patients, settings.seed)
    count = settings.patients or DRAWN
    return Patients((), np.zeros((count, 0)), tuple(str(i) for i in range(count)), {})


# --- compiled programs: one for the rules, for model predictive control, for who knows the truth ----------------------


@dataclass(eq=False)
class Programs:
    """The compiled programs of a trial; assays and patients are their arguments, so that a sweep shares them."""

    task: Task  #: of the typical hidden patient, with the decisions, the objective and the limits of the controller's
    feedback: dict[str, Feedback]  #: policies that are not searched, by name
    inference: Inference | None  #: the controller's beliefs; None where nothing is replanned
    effort: Effort  #: how hard plans are searched
    #: of results that a record has room for: samples of one day whose results come apart are rows of their own
    rows: int
    progressed: Progressed  #: what progression is
    #: finds the rules that do best on the belief, the one that replan falls back on among them
    tune: Callable[[], dict[str, Tuned]]
    may_stop: bool  #: whether a plan may stop treatment for good while the measured burden rises

    def __post_init__(self):
        self.stops = any(isinstance(term, Progression) or term.at_visits for term in self.task.objective.terms)
        self.rules = jax.jit(self._rules)
        self.replan = jax.jit(self._replan)
        self.best = jax.jit(self._best)
        self.live = jax.jit(self._live)

    @cached_property
    def tuned(self) -> dict[str, Tuned]:
        """The rules that do best on the belief, found once."""
        return self.tune()

    @property
    def compared(self) -> dict[str, Feedback]:
        """The policies that are not searched, with the numbers that were found for them."""
        return {name: self.tuned[name].controller if name in self.tuned else own for name, own in self.feedback.items()}

    def _rules(self, assays: TrialAssays, system: System, index: Array) -> dict[str, PatientOutcome]:
        """Every policy that is not searched, each of them one rollout."""
        task, own, conduct = with_system(self.task, system), assays(index), Conduct(self.progressed)
        return {name: of_one(task, rule, own, conduct)[0] for name, rule in self.compared.items()}

    def _replan(self, assays: TrialAssays, system: System, index: Array) -> tuple[PatientOutcome, PlanDiagnostics]:
        """The whole loop of one patient who is measured and planned for again."""
        assert self.inference is not None
        inference = self.inference.measured_by(assays.channels)
        fallback = self.tuned[FALLBACK].controller if FALLBACK in self.tuned else None
        controller = RecedingHorizonController(inference, self.effort, self.rows, fallback, self.may_stop)
        conduct = Conduct(self.progressed, self.stops, belief_keys(assays.seed, index), index)
        return of_one(with_system(self.task, system), controller, assays(index), conduct)

    def _live(self, assays: TrialAssays, system: System, index: Array, doses: Doses) -> PatientOutcome:
        """What doses [K, N] come to in a patient who takes all of them, and what would be measured."""
        given, own = Feedback(Schedule(doses), False), assays(index)._replace(adherence=None)
        return of_one(with_system(self.task, system), given, own, Conduct(self.progressed))[0]

    def _best(
        self, system: System, points: Float[Array, "R n"], middle: Float[Array, "n"], copied: Doses, tolerance: Array
    ) -> Doses:
        """The best schedule of one who knows the patient: of starting points, and of the best policy's schedule."""
        task = with_system(self.task, system)
        shares = (copied / task.scale).ravel()
        begun = jnp.concatenate([points, (shares + _INWARD * (middle - shares))[None]])
        solved = solve(task, begun, tolerance)
        return task.doses(jnp.clip(solved.shares, task.lower, task.upper))
