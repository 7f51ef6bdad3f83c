"""Plan again: what was given and measured so far, what it teaches, and the best doses for what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.control.belief import Belief, Inference
from optimizer.control.measurements import Measurements
from optimizer.control.misfit import ModelCheck, tail_of
from optimizer.control.plan_restarts import Found, PlanRestarts
from optimizer.control.plan_search import Effort
from optimizer.control.prediction import MISFIT, Fit, Prediction, fit, predict
from optimizer.control.receding_horizon import RecedingHorizonController
from optimizer.control.replan_inputs import Asked, read_asked
from optimizer.control.tune import Fallback, fall_back, rises
from optimizer.control.verdict import audited, verdict
from optimizer.observations import Record
from optimizer.scenario import Scenario
from optimizer.search.audit import Audit
from optimizer.search.multistart import Progress
from optimizer.settings import ReplanSettings as Settings
from optimizer.status import Status

# Visits after which the plan is made anew, to say what each of them changed.
MOST_VISITS = 12
# Temperature at which a search near an earlier plan begins.
_COOL = 0.05
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
    asked = read_asked(scenario, settings, tell)
    effort, inference, seen, given = asked.effort, asked.inference, asked.seen, asked.given
    controller = RecedingHorizonController(inference, replace(effort, restarts=1), max(len(seen.days), 1))
    search = PlanRestarts(controller, given, asked.index, effort.restarts, tell)
    before = inference.begin(settings.seed)
    uninformed = search.best(before, [])
    belief, visits = _taught(inference, search, before, uninformed, seen, settings.seed, tell)
    hints = [uninformed.doses, *(v.doses for v in visits[-1:] if v.doses is not None)]
    found = search.best(belief, hints) if visits else uninformed
    course = (FOLLOWED, asked.listed) if asked.follows else (UNINFORMED, search.settled(uninformed.doses))
    model = _fits(inference, belief, jnp.asarray(given), seen, visits)
    fallback, wished = _overruled(asked, settings, found, model, tell)
    doses, no_levels = search.rounded(belief, wished, settings.seed)
    tell(Progress("outlook", 0, 1, None))
    factor = scenario.progression_factor
    plan, stay = (predict(inference, belief, jnp.asarray(d), factor) for d in (doses, course[1]))
    tell(Progress("audit", 0, 1, None))
    checked = audited(inference, search.problem, belief, doses)
    status, reason = verdict(search, found, doses, plan, checked, no_levels, effort, model.misfits)
    if fallback is not None and status in (Status.MISFIT, Status.SOLVED, Status.NOT_CONVERGED):
        why = "" if model.misfits else "; the plan would stop treatment for good while the measured burden rises"
        reason = f"{reason}{why}: planned is {fallback.sentence}"
    own = asked.scenario, settings, effort, inference, seen, asked.index, given, before, belief, doses
    return Replanned(*own, found, course, (plan, stay), visits, model, fallback, checked, status, reason)


def _overruled(
    asked: Asked, settings: Settings, found: Found, model: ModelFit, tell: Callable[[Progress], None]
) -> tuple[Fallback | None, np.ndarray]:
    """The rule whose dose is given in place of the plan's, if it is, and the doses that are wished for."""
    if not (model.misfits or _stops(asked.scenario, found, asked.inference, asked.seen, asked.index)):
        return None, found.doses
    tell(Progress("fallback", 0, 1, None))
    fallback = fall_back(asked.inference, asked.seen, asked.index, settings.risk, settings.alpha)
    ahead = np.arange(len(asked.listed))[:, None] >= asked.index
    return fallback, np.where(ahead, fallback.dose, asked.given)


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
