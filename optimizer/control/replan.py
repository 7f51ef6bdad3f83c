"""Plan again: what was given and measured so far, what it teaches, and the best doses for what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.control.belief import Belief, Inference
from optimizer.control.fallback import Fallback, fall_back, rises
from optimizer.control.measurements import Measurements, none_measured, read_measurements
from optimizer.control.misfit import ModelCheck, tail_of
from optimizer.control.plan_restarts import Found, PlanRestarts
from optimizer.control.plan_search import Effort
from optimizer.control.prediction import MISFIT, Fit, Prediction, fit, predict
from optimizer.control.prior import load_prior
from optimizer.control.receding_horizon import RecedingHorizonController
from optimizer.control.verdict import audited, verdict
from optimizer.files.event_tables import read_grid
from optimizer.observations import Record
from optimizer.scenario import Scenario, ScenarioError
from optimizer.search.audit import Audit
from optimizer.search.multistart import Progress
from optimizer.settings import ReplanSettings as Settings
from optimizer.status import Status

# Visits after which the plan is made anew, to say what each of them changed.
MOST_VISITS = 12
# Temperature at which a search near an earlier plan begins.
_COOL = 0.05
_NEAR = 1e-9
FOLLOWED, UNINFORMED = "the schedule being followed", "the plan without the measurements"


@dataclass(frozen=True)
class Visit:
    """What one visit changed.

    Attributes:
        row: of the measurements.
        expected: two-sided probability, by the belief before it, of values as far out [C]; NaN where none was measured.
        ess: effective number of particles once it was weighed.
        doses: the plan after it; None where no plan was made after this visit [K, N].
        change: mean change of the doses ahead against the plan before, as shares of the largest; None likewise.
    """

    row: int
    expected: Float[np.ndarray, "C"]
    ess: float
    doses: Float[np.ndarray, "K N"] | None
    change: float | None


class ModelFit(NamedTuple):
    """Whether what was measured fits the model.

    Attributes:
        whole: all of it at once.
        check: visit by visit.
        misfits: whether one of both says that it does not.
    """

    whole: Fit
    check: ModelCheck
    misfits: bool


@dataclass(frozen=True)
class Replanned:
    """What came of it.

    Attributes:
        scenario: what was asked.
        settings: how.
        effort: how hard plans were searched.
        inference: the particles' model.
        measurements: what was measured.
        index: decisions that were made already; the next one is the first that is planned.
        given: doses of these decisions; 0 after them [K, N].
        before: the belief without a measurement.
        belief: the belief now.
        doses: what was given and what is planned [K, N].
        found: the search's own account of it.
        course: what the plan is compared with, in words, and its doses [K, N].
        predictions: what the belief expects of the plan and of the course.
        visits: what each changed.
        model: whether what was measured fits the model.
        fallback: the rule whose dose is planned in place of the search's; None where the plan is the search's.
        audit: of the plan in the particle with the largest weight.
        status: outcome.
        reason: what decided it.
    """

    scenario: Scenario
    settings: Settings
    effort: Effort
    inference: Inference
    measurements: Measurements
    index: int
    given: Float[np.ndarray, "K N"]
    before: Belief
    belief: Belief
    doses: Float[np.ndarray, "K N"]
    found: Found
    course: tuple[str, Float[np.ndarray, "K N"]]
    predictions: tuple[Prediction, Prediction]
    visits: tuple[Visit, ...]
    model: ModelFit
    fallback: Fallback | None
    audit: Audit
    status: Status
    reason: str


def _effort(settings: Settings, tolerance: float) -> Effort:
    return Effort(
        risk=settings.risk,
        alpha=settings.alpha,
        particles=settings.plan_particles,
        restarts=settings.restarts,
        tolerance=tolerance,
        coldest=settings.plan_temperature,
    )


def replan(
    scenario: Scenario,
    settings: Settings,
    tell: Callable[[Progress], None] = lambda event: None,
) -> Replanned:
    """Update the belief by what was measured, and search the best doses from today on.

    Args:
        scenario: with [[observation]], and with [cohort] unless a posterior is given.
        settings: what is asked. Doses of its event table before today were given, the rest is what is being followed.
        tell: hears how it goes.

    Raises:
        ScenarioError: files or numbers that do not fit; one sentence each.
        DataError: a table of doses that cannot be read.
    """
    settings = scenario.fill(settings)
    effort = _effort(settings, scenario.tolerance)
    given, observations = settings.given, settings.observations
    prior, channels = load_prior(scenario, settings.posterior, settings.seed), scenario.channels()
    seen = none_measured(channels)
    if observations is not None:
        seen = read_measurements(observations, channels, settings.time_unit, given is not None)
    scenario, index, listed, follows = _listed(scenario, given, seen, settings)
    tell(Progress("prior", 0, 1, None))
    inference = Inference(scenario, prior, channels, settings.particles)
    so_far = np.where(np.arange(len(listed))[:, None] < index, listed, 0.0)
    controller = RecedingHorizonController(inference, replace(effort, restarts=1), max(len(seen.days), 1))
    search = PlanRestarts(controller, so_far, index, effort.restarts, tell)
    before = inference.begin(settings.seed)
    uninformed = search.best(before, [])
    belief, visits = _taught(inference, search, before, uninformed, seen, settings.seed, tell)
    hints = [uninformed.doses, *(v.doses for v in visits[-1:] if v.doses is not None)]
    found = search.best(belief, hints) if visits else uninformed
    course = (FOLLOWED, listed) if follows else (UNINFORMED, search.settled(uninformed.doses))
    model = _fits(inference, belief, jnp.asarray(so_far), seen, visits)
    fallback = None
    if model.misfits or _stops(scenario, found, inference, seen, index):
        tell(Progress("fallback", 0, 1, None))
        fallback = fall_back(inference, seen, index, settings.risk, settings.alpha)
    wished = found.doses
    if fallback is not None:
        wished = np.where(np.arange(len(listed))[:, None] < index, so_far, fallback.dose)
    doses, no_levels = search.rounded(belief, wished, settings.seed)
    tell(Progress("outlook", 0, 1, None))
    factor = scenario.progression_factor
    predictions = tuple(predict(inference, belief, jnp.asarray(d), factor) for d in (doses, course[1]))
    tell(Progress("audit", 0, 1, None))
    checked = audited(inference, search.problem, belief, doses)
    status, reason = verdict(search, found, doses, predictions[0], checked, no_levels, effort, model.misfits)
    if fallback is not None and status in (Status.MISFIT, Status.SOLVED, Status.NOT_CONVERGED):
        why = "" if model.misfits else "; the plan would stop treatment for good while the measured burden rises"
        reason = f"{reason}{why}: planned is {fallback.sentence}"
    return Replanned(
        scenario=scenario,
        settings=settings,
        effort=effort,
        inference=inference,
        measurements=seen,
        index=index,
        given=so_far,
        before=before,
        belief=belief,
        doses=doses,
        found=found,
        course=course,
        predictions=(predictions[0], predictions[1]),
        visits=visits,
        model=model,
        fallback=fallback,
        audit=checked,
        status=status,
        reason=reason,
    )


def _decisions_made(scenario: Scenario, seen: Measurements, today: float | None) -> int:
    """How many decisions lie before today."""
    edges = scenario.plan.edges
    last = float(seen.days[-1]) if len(seen.days) else 0.0
    day = last if today is None else today
    if day < last:
        raise ScenarioError([f"--today: wanted no day before the last measurement, day {last:g}; got {day:g}"])
    made = int(np.sum(edges[:-1] < day - _NEAR))
    if not day >= 0.0 or made >= len(edges) - 1:
        wanted = f"a day from 0 to the last decision, day {edges[-2]:g}"
        raise ScenarioError([f"{'--today' if today is not None else 'day'}: wanted {wanted}; got {day:g}"])
    return made


def _listed(
    scenario: Scenario, given: Path | None, seen: Measurements, settings: Settings
) -> tuple[Scenario, int, np.ndarray, bool]:
    """Doses of the table on the decision grid [K, N], how many were made, and whether the table has any from today on.

    The grid is the scenario's, split before today where doses were given between decisions, and the scenario has it.
    """
    edges, routes = scenario.plan.edges, {drug.name: drug.route for drug in scenario.plan.drugs}
    index = _decisions_made(scenario, seen, settings.today)
    if given is None:
        return scenario, index, np.zeros((len(edges) - 1, len(routes))), False
    found, doses = read_grid(given, scenario.target(), settings.time_unit)
    extra = np.array([day for day in found if np.abs(edges - day).min() > _NEAR])
    late = extra[extra > edges[index] + _NEAR]
    if late.size:
        wanted = "doses that begin and end on days of decisions from today on"
        raise ScenarioError([f"{given}: wanted {wanted}; got one that begins or ends on day {late[0]:g}"])
    if extra.size:
        split = replace(scenario.plan, edges=found, every=None)
        scenario = Scenario(split, scenario.name, scenario.text, scenario.file, scenario.folder)
        index += len(extra)
    return scenario, index, doses, bool(np.any(doses[index:] > 0.0))


def _stops(scenario: Scenario, found: Found, inference: Inference, seen: Measurements, index: int) -> bool:
    """Whether a plan would stop treatment for good while the measured burden rises, which the file does not allow."""
    return not scenario.plan.may_stop and not found.doses[index:].any() and rises(inference, seen)


# --- what was learned -------------------------------------------------------------------------------------------------


def _taught(
    inference: Inference,
    search: PlanRestarts,
    belief: Belief,
    uninformed: Found,
    seen: Measurements,
    seed: int,
    tell: Callable[[Progress], None],
) -> tuple[Belief, tuple[Visit, ...]]:
    """The belief after all visits, one by one, and what the last of them changed in the plan from today on."""
    record, doses, visits = seen.record(inference.channels), jnp.asarray(search.given), []
    plan, count = uninformed.doses, len(seen.days)
    scale = np.asarray(inference.problem.task.scale)
    for row in range(count):
        tell(Progress("visits", row, count, None))
        known = Record(record.day, record.shown, jnp.where(jnp.arange(count)[:, None] <= row, record.seen, 0))
        fresh = jnp.zeros(record.seen.shape, bool).at[row].set(True)
        key = jax.random.fold_in(jax.random.key(np.uint32(seed)), row)
        belief, updated = inference.update(key, belief, doses, known, fresh)
        new, change = None, None
        if row >= count - MOST_VISITS:
            new = np.asarray(search.near(belief, plan, _COOL).doses)
            change = float(np.mean(np.abs(new - plan)[search.index :] / scale))
            plan = new
        expected = np.asarray(updated.predictive_p)[row]
        visits.append(Visit(row, expected, float(updated.ess), new, change))
    return belief, tuple(visits)


def _fits(
    inference: Inference, belief: Belief, doses: Array, seen: Measurements, visits: tuple[Visit, ...]
) -> ModelFit:
    """All measurements at once, and visit by visit."""
    whole, check = fit(inference, belief, doses, seen.record(inference.channels)), ModelCheck.start()
    for visit in visits:
        check = check.after(tail_of(jnp.asarray(visit.expected)))
    return ModelFit(whole, check, bool(check.misfits) or (whole.p_value is not None and whole.p_value < MISFIT))
