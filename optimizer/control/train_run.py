"""From a scenario to a network for all of its patients, judged on others beside the rules that it has to beat."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.control.train import Training, TrainingSet, train
from optimizer.control.tuned_rule import at50, open_rule, tuned
from optimizer.control.watched import Evaluation, Watched, evaluate_policy, watched
from optimizer.ensemble.ensemble import Ensemble, build_ensemble
from optimizer.ensemble.patients import Patients, load_patients
from optimizer.policies.base import AbstractPolicy
from optimizer.policies.continuous import Continuous
from optimizer.policies.network import Network, first_weights
from optimizer.problem import Problem
from optimizer.programs import check_64_bits
from optimizer.scenario import Scenario, ScenarioError
from optimizer.search.audit import Audit, audit
from optimizer.search.multistart import Progress
from optimizer.search.optimize import LIMIT_TOLERANCE, broken, difference
from optimizer.settings import TrainSettings as Settings
from optimizer.settings import of_file
from optimizer.status import Status

# Patients where nobody says how many, and how far the seed of those held out is from that of the others.
PATIENTS = 64
_HELD_OUT_SEED = 2**31
NETWORK, TUNED, AT50, CONTINUOUS = "network", "tuned rule", "AT50", "continuous"


@dataclass(frozen=True)
class Classes:
    """Who is trained on and who is held out.

    Attributes:
        ensemble: both, one after the other.
        split: number of those who are trained on.
        are_others: whether those held out are others.
        faults: why a patient cannot be simulated.
    """

    ensemble: Ensemble
    split: int
    are_others: bool
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Learned:
    """What a training came to.

    Attributes:
        scenario: what was asked.
        settings: how.
        classes: the patients.
        network: the policy that did best on those it was trained on.
        training: how it went.
        rule: numbers of the tuned rule by name; empty where the training was interrupted.
        held_out: how many patients were judged.
        judged: what each policy came to in them.
        audit: of the doses that the typical patient gets.
        status: outcome.
        reason: of it, one sentence.
        seconds: spent on each part.
    """

    scenario: Scenario
    settings: Settings
    classes: Classes
    network: Network
    training: Training
    rule: dict[str, float]
    held_out: int
    judged: dict[str, Evaluation]
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
    settings = of_file(settings, scenario)
    _check(scenario, settings)
    clock, began = {}, time.perf_counter()
    classes = _classes(scenario, settings)
    problem, seed = classes.ensemble.problem, settings.seed
    taught = watched(classes.ensemble, 0, classes.split, settings.noise)
    first = 0 if not classes.are_others else classes.split
    others = watched(classes.ensemble, first, len(classes.ensemble.healthy), settings.noise)
    scale, span = problem.task.scale, jnp.asarray(scenario.plan.horizon)
    start = first_weights(scale.shape[0], settings.hidden, seed)
    network = Network(scale, jnp.asarray(start), hidden=settings.hidden, span=span, delay=settings.delay)
    training_set = _training_set(taught, problem, network, settings)
    training = train(training_set, start, settings.steps, tell)
    network = dataclasses.replace(network, weights=jnp.asarray(training.weights))
    clock["train"], began = time.perf_counter() - began, time.perf_counter()
    policies: dict[str, AbstractPolicy] = {NETWORK: problem.limited(network)}
    numbers: dict[str, float] = {}
    if not training.interrupted:
        tell(Progress("tune the rule", 0, 1, None))
        rule = open_rule(scenario.rule(), problem, scenario.progression_factor, settings.delay)
        policies[TUNED], best, _ = tuned(taught, problem, rule, settings.risk, settings.alpha)
        numbers = dict(zip(rule.names, best.tolist(), strict=True))
    policies[AT50] = problem.limited(at50(problem, settings.delay))
    policies[CONTINUOUS] = problem.limited(Continuous(scale))
    clock["rule"], began = time.perf_counter() - began, time.perf_counter()
    tell(Progress("judge", 0, 1, None))
    factor = jnp.asarray(scenario.progression_factor)
    judged = {
        name: jax.tree.map(np.asarray, evaluate_policy(others, policy, factor)) for name, policy in policies.items()
    }
    checked, status, reason = _verdict(problem, policies[NETWORK], training, seed)
    clock["judge"] = time.perf_counter() - began
    return Learned(
        scenario, settings, classes, network, training, numbers, others.count, judged, checked, status, reason, clock
    )


def _check(scenario: Scenario, settings: Settings) -> None:
    if not 0.0 <= settings.alpha < 1.0:
        raise ScenarioError([f"--alpha: wanted at least 0 and less than 1; got {settings.alpha:g}"])
    if not 0.0 <= settings.noise < 10.0:
        raise ScenarioError([f"--noise: wanted at least 0 and less than 10; got {settings.noise:g}"])
    check_64_bits("train")


def _classes(scenario: Scenario, settings: Settings) -> Classes:
    """Patients to train on, and others: drawn by another seed, or the rest of a table."""
    plan, count = scenario.plan.cohort, settings.patients
    if plan is None:
        patients, split = Patients((), np.zeros((1, 0)), ("typical",), {}), 1
    elif plan.table is not None:
        patients = load_patients(scenario, None, settings.seed)
        total = len(patients.names)
        split = total // 2 if count is None else count
        if not 1 <= split < total:
            wanted = f"fewer than the {total} patients of the table, so that some are held out"
            raise ScenarioError([f"--patients: wanted {wanted}; got {split}"])
        patients = _some(patients, split + min(settings.held_out or total, total - split))
    else:
        split = count or PATIENTS
        taught = load_patients(scenario, split, settings.seed)
        others = load_patients(scenario, settings.held_out or split, (settings.seed + _HELD_OUT_SEED) % 2**32)
        patients = _joined(taught, others)
    ensemble = build_ensemble(scenario, patients)
    faults = patients.faults | ensemble.failed
    for who, rows in (("to train on", ensemble.healthy[:split]), ("to judge on", ensemble.healthy[split:])):
        if rows.size and not rows.any():
            first = next(iter(faults.values()))
            wanted = f"a patient {who} who can be simulated"
            raise ScenarioError([f"{scenario.file}: cohort: wanted {wanted}; got none: {first}"])
    return Classes(ensemble, split, plan is not None, tuple(faults.values()))


def _some(patients: Patients, count: int) -> Patients:
    faults = {i: fault for i, fault in patients.faults.items() if i < count}
    return Patients(patients.places, patients.values[:count], patients.names[:count], faults)


def _joined(one: Patients, other: Patients) -> Patients:
    """The patients of both, the others with a prime behind their names."""
    names = (*one.names, *(f"{name}'" for name in other.names))
    shift = len(one.names)
    faults = one.faults | {
        i + shift: fault.replace(f"patient {other.names[i]}:", f"patient {other.names[i]}':", 1)
        for i, fault in other.faults.items()
    }
    return Patients(one.places, np.concatenate([one.values, other.values]), names, faults)


def _training_set(taught: Watched, problem: Problem, network: Network, settings: Settings) -> TrainingSet:
    """What is made small; corners of the risk are rounded off over how far apart the objectives lie at first."""
    limited = problem.limited(network)
    values = np.asarray(evaluate_policy(taught, limited, jnp.ones(())).judged.objective)
    width = jnp.asarray(float(np.std(values)) or 1.0)
    return TrainingSet(taught, limited, settings.risk, settings.alpha, width)


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
