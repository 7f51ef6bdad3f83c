"""From a scenario to a network for all of its patients, judged on others beside the rules that it has to beat."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.control.assays import BurdenAssays
from optimizer.control.closed_loop import Conduct, Feedback, PatientOutcome, closed_loop
from optimizer.control.comparators import AT50, CONTINUOUS, at50
from optimizer.control.train import Training, TrainingSet, train
from optimizer.control.tune import open_rule, tuned
from optimizer.ensemble.ensemble import Ensemble, build_ensemble
from optimizer.ensemble.patients import Patients, load_patients
from optimizer.ensemble.risk import refuse_alpha
from optimizer.policies.base import AbstractPolicy
from optimizer.policies.continuous import Continuous
from optimizer.policies.network import Network, first_weights
from optimizer.problem import Problem
from optimizer.programs import check_64_bits
from optimizer.scenario import Scenario, ScenarioError
from optimizer.search.audit import Audit, audit
from optimizer.search.multistart import Progress
from optimizer.search.screening import LIMIT_TOLERANCE
from optimizer.search.verdict import broken, difference
from optimizer.settings import TrainSettings as Settings
from optimizer.status import Status

# Patients where nobody says how many, and how far the seed of those held out is from that of the others.
PATIENTS = 64
_HELD_OUT_SEED = 2**31
NETWORK, TUNED = "network", "tuned rule"


@dataclass(frozen=True)
class Split:
    """Who is trained on and who is held out."""

    ensemble: Ensemble  #: both, one after the other
    count: int  #: of those who are trained on
    are_others: bool  #: whether those held out are others


@dataclass(frozen=True)
class Learned:
    """What a training came to.

    Attributes:
        scenario: what was asked.
        settings: how.
        split: the patients.
        network: the policy that did best on those it was trained on.
        training: how it went.
        rule: numbers of the tuned rule by name; empty where the training was interrupted.
        held_out: how many patients were judged.
        outcomes: what each policy came to in them.
        audit: of the doses that the typical patient gets.
        status: outcome.
        reason: of it, one sentence.
        seconds: spent on each part.
    """

    scenario: Scenario
    settings: Settings
    split: Split
    network: Network
    training: Training
    rule: dict[str, float]
    held_out: int
    outcomes: dict[str, PatientOutcome]
    audit: Audit
    status: Status
    reason: str
    seconds: dict[str, float]


def learn(scenario: Scenario, settings: Settings, tell: Callable[[Progress], None] | None = None) -> Learned:
    """Train a network on patients of a scenario and judge it on others.

    Args:
        scenario: with a [cohort], or without one, for the typical patient alone.
        settings: what is asked.
        tell: hears how it goes; Ctrl-C ends the training, and what was best is judged.

    Raises:
        ScenarioError: patients that cannot be made, or settings that are out of range.
    """
    tell = tell or (lambda _: None)
    settings = scenario.fill(settings)
    _check(scenario, settings)
    clock, began = {}, time.perf_counter()
    split = _split(scenario, settings)
    problem, members = split.ensemble.problem, split.ensemble.members(0, split.count)
    others = split.ensemble.members(split.count if split.are_others else 0)
    scale, conduct = problem.task.scale, Conduct(jax.tree.map(jnp.asarray, scenario.progression()))
    assays = BurdenAssays(jnp.asarray(settings.noise, dtype=float), problem.task.grid.count)

    def controller(policy: AbstractPolicy) -> Feedback:
        return Feedback(problem.limited(policy), True)

    start = first_weights(scale.shape[0], settings.hidden, settings.seed)
    span = jnp.asarray(scenario.plan.horizon)
    network = Network(scale, jnp.asarray(start), hidden=settings.hidden, span=span, delay=settings.delay)
    first = np.asarray(closed_loop(members, controller(network), assays, conduct).evaluation.objective)
    # Corners of the risk are rounded off over how far apart the objectives lie at first.
    width = jnp.asarray(float(np.std(first)) or 1.0)
    training_set = TrainingSet(members, controller(network), assays, settings.risk, settings.alpha, width)
    training = train(training_set, start, settings.steps, tell)
    network = dataclasses.replace(network, weights=jnp.asarray(training.weights))
    clock["train"], began = time.perf_counter() - began, time.perf_counter()
    controllers, numbers = {NETWORK: controller(network)}, {}
    if not training.interrupted:
        tell(Progress("tune the rule", 0, 1, None))
        rule = open_rule(scenario.rule(), problem, scenario.progression_factor, settings.delay)
        controllers[TUNED], numbers, _ = tuned(members, assays, problem, rule, settings.risk, settings.alpha)
    controllers |= {AT50: controller(at50(problem, settings.delay)), CONTINUOUS: controller(Continuous(scale))}
    clock["rule"], began = time.perf_counter() - began, time.perf_counter()
    tell(Progress("judge", 0, 1, None))
    outcomes = {
        name: jax.tree.map(np.asarray, closed_loop(others, own, assays, conduct)) for name, own in controllers.items()
    }
    checked, status, reason = _verdict(problem, controllers[NETWORK].policy, training, settings.seed)
    clock["judge"] = time.perf_counter() - began
    return Learned(
        scenario, settings, split, network, training, numbers, others.count, outcomes, checked, status, reason, clock
    )


def _check(scenario: Scenario, settings: Settings) -> None:
    if not 0.0 <= settings.noise < 10.0:
        raise ScenarioError([f"--noise: wanted at least 0 and less than 10; got {settings.noise:g}"])
    refuse_alpha(settings.alpha)
    check_64_bits("train")


def _split(scenario: Scenario, settings: Settings) -> Split:
    """Patients to train on, and others: drawn by another seed, or the rest of a table."""
    plan, count = scenario.plan.cohort, settings.patients
    if plan is None:
        patients, split = Patients((), np.zeros((1, 0)), ("typical",), {}), 1
    elif plan.table is not None:
        listed = load_patients(scenario, None, settings.seed)
        total = len(listed.names)
        split = total // 2 if count is None else count
        if not 1 <= split < total:
            wanted = f"fewer than the {total} patients of the table, so that some are held out"
            raise ScenarioError([f"--patients: wanted {wanted}; got {split}"])
        kept = slice(split + min(settings.held_out or total, total - split))
        faults = {i: fault for i, fault in listed.faults.items() if i < kept.stop}
        patients = Patients(listed.places, listed.values[kept], listed.names[kept], faults)
    else:
        taught = load_patients(scenario, count or (None if plan.risk else PATIENTS), settings.seed)
        split = len(taught.names)
        others = load_patients(scenario, settings.held_out or split, (settings.seed + _HELD_OUT_SEED) % 2**32)
        patients = _joined(taught, others)
    ensemble = build_ensemble(scenario, patients)
    ensemble.require(scenario.file, "a patient to train on", 0, split)
    ensemble.require(scenario.file, "a patient to judge on", split)
    return Split(ensemble, split, plan is not None)


def _joined(one: Patients, other: Patients) -> Patients:
    """The patients of both, the others with a prime behind their names."""
    names = (*one.names, *(f"{name}'" for name in other.names))
    shift = len(one.names)
    faults = one.faults | {
        i + shift: fault.replace(f"patient {other.names[i]}:", f"patient {other.names[i]}':", 1)
        for i, fault in other.faults.items()
    }
    return Patients(one.places, np.concatenate([one.values, other.values]), names, faults)


def _verdict(problem: Problem, network: AbstractPolicy, training: Training, seed: int) -> tuple[Audit, Status, str]:
    """The audit of the typical patient's doses, and what all of it comes to."""
    trajectory, report = problem.simulate(network)
    checked = audit(problem, np.asarray(trajectory.doses), report, 0.0, seed, directions=0)
    taken, finite = training.history[-1].step, np.isfinite(training.best.objective)
    if not (checked.report.finite and finite and np.isfinite(training.history[-1].loss)):
        return checked, Status.SIMULATION_FAILED, f"a number was not finite after {taken} steps"
    wrong = ""
    if training.best.excess > LIMIT_TOLERANCE:
        wrong = broken(checked.report) or f"a limit is passed by {training.best.excess:.2g} in some patient"
    if training.interrupted:
        said = f"interrupted after {taken} of {training.steps} steps"
        return checked, Status.INTERRUPTED, f"{said}; {wrong}" if wrong else said
    if wrong:
        return checked, Status.INFEASIBLE, f"{wrong}; no weights were found that keep every limit in every patient"
    if not checked.passed:
        return checked, Status.AUDIT_FAILED, difference(checked)
    fell = f"the loss fell by {100.0 * training.fall:.2g} % of itself in the last tenth of {training.steps} steps"
    return checked, Status.SOLVED if training.converged else Status.NOT_CONVERGED, fell
