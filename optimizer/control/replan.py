"""Plan again: what was given and measured so far, what it teaches, and the best doses for what is left."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from optimizer.control.belief import Belief, Inference
from optimizer.control.identifiability import Identifiability, identify
from optimizer.control.measurements import Measurements, none_measured, read_measurements
from optimizer.control.plan_restarts import Found, PlanRestarts, audited, verdict
from optimizer.control.plan_search import Effort
from optimizer.control.prediction import MISFIT, Fit, ModelCheck, Prediction, fit, forecast, predict, tail_of
from optimizer.control.prior import load_prior
from optimizer.control.receding_horizon import RecedingHorizonController
from optimizer.control.state_noise import most_in_one
from optimizer.control.tune import Fallback, fall_back, rises
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
# Days by which a dose may miss a decision.
_NEAR = 1e-9
FOLLOWED, UNINFORMED = "the schedule being followed", "the plan without the measurements"


class Asked(NamedTuple):
    """What a replan is asked, read and checked."""

    scenario: Scenario  #: with its decisions split where doses were given between them
    settings: Settings  #: how
    effort: Effort  #: how hard plans are searched
    inference: Inference  #: the particles' model
    seen: Measurements  #: what was measured
    index: int  #: decisions that were made already
    listed: np.ndarray  #: doses of the event table [K, N]
    follows: bool  #: whether the table has any from today on

    @property
    def given(self) -> np.ndarray:
        """Doses before today; 0 after them [K, N]."""
        return np.where(np.arange(len(self.listed))[:, None] < self.index, self.listed, 0.0)


@dataclass(frozen=True)
class Visit:
    """What one visit changed."""

    row: int  #: of the measurements
    #: two-sided probability, by the belief before it, of values as far out [C]; NaN where none was measured
    expected: Float[np.ndarray, "C"]
    #: 5, 50 and 95 % quantiles of the values that the belief before it expected [C, 3]; NaN likewise
    forecast: Float[np.ndarray, "C 3"]
    ess: float  #: effective number of particles once it was weighed
    doses: Float[np.ndarray, "K N"] | None  #: the plan after it; None where no plan was made after this visit [K, N]
    #: mean change of the doses ahead against the plan before, as shares of the largest; None likewise
    change: float | None


@dataclass(frozen=True)
class Replanned:
    """What came of it."""

    asked: Asked  #: with what was given and measured
    before: Belief  #: the belief without a measurement
    belief: Belief  #: the belief now
    doses: Float[np.ndarray, "K N"]  #: what was given and what is planned [K, N]
    found: Found  #: the search's own account of it
    course: tuple[str, Float[np.ndarray, "K N"]]  #: what the plan is compared with, in words, and its doses [K, N]
    predictions: tuple[Prediction, Prediction]  #: what the belief expects of the plan and of the course
    visits: tuple[Visit, ...]  #: what each changed
    fit: Fit  #: whether what was measured fits the model, all of it at once
    check: ModelCheck  #: the same visit by visit
    misfits: bool  #: whether one of both says that it does not
    #: the rule whose dose is planned in place of the search's; None where the plan is the search's
    fallback: Fallback | None
    identified: Identifiability | None  #: what the measurements decide; None without any, and where they do not fit
    audit: Audit  #: of the plan in the particle with the largest weight
    status: Status  #: outcome
    reason: str  #: what decided it


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
    asked = read_asked(scenario, scenario.fill(settings), tell)
    effort, inference, seed = asked.effort, asked.inference, asked.settings.seed
    controller = RecedingHorizonController(inference, replace(effort, restarts=1), max(len(asked.seen.days), 1))
    search = PlanRestarts(controller, asked.given, asked.index, effort.restarts, tell)
    before = inference.begin(seed)
    uninformed = search.best(before, [])
    belief, visits = _taught(asked, search, before, uninformed, tell)
    hints = [uninformed.doses, *(v.doses for v in visits[-1:] if v.doses is not None)]
    found = search.best(belief, hints) if visits else uninformed
    course = (FOLLOWED, asked.listed) if asked.follows else (UNINFORMED, search.settled(uninformed.doses))
    record = asked.seen.record(inference.channels)
    whole, check = fit(inference, belief, jnp.asarray(asked.given), record), ModelCheck.start()
    for visit in visits:
        check = check.after(tail_of(jnp.asarray(visit.expected)))
    misfits = bool(check.misfits) or (whole.p_value is not None and whole.p_value < MISFIT)
    doses, no_levels = search.rounded(belief, found.doses, seed)
    fallback, why = _overruled(asked, search, doses, misfits, tell)
    if fallback is not None:
        held = np.where(np.arange(len(doses))[:, None] >= asked.index, fallback.dose, asked.given)
        doses, no_levels = search.rounded(belief, held, seed)
    tell(Progress("outlook", 0, 1, None))
    progressed = scenario.progression()
    plan, stay = (predict(inference, belief, jnp.asarray(d), progressed) for d in (doses, course[1]))
    identified = identify(search, belief, record, plan, found.doses) if visits and not misfits else None
    tell(Progress("audit", 0, 1, None))
    checked = audited(inference, search.problem, belief, doses)
    status, reason = verdict(search, found, doses, plan, checked, no_levels, effort, why)
    own = asked, before, belief, doses, found, course, (plan, stay), visits, whole, check, misfits
    return Replanned(*own, fallback, identified, checked, status, reason)


def _overruled(
    asked: Asked, search: PlanRestarts, doses: np.ndarray, misfits: bool, tell: Callable[[Progress], None]
) -> tuple[Fallback | None, str]:
    """The rule whose dose is given in place of the plan's, and why; None and "" where the plan's is given."""
    inference, seen, ahead = asked.inference, asked.seen, slice(asked.index, None)
    # The file may allow that a plan stops treatment for good while the burden rises, and limits may ask for it.
    stops = not asked.scenario.plan.may_stop and not doses[ahead].any() and rises(inference, seen)
    most = np.tile(np.asarray(search.problem.task.scale), (len(doses), 1))
    if not misfits and not (stops and search.settled(most)[ahead].any()):
        return None, ""
    tell(Progress("fallback", 0, 1, None))
    fallback = fall_back(inference, seen, asked.index, asked.effort.risk, asked.effort.alpha)
    said = "what was measured does not fit the model"
    why = said if misfits else "the plan would stop treatment for good while the measured burden rises"
    return fallback, f"{why}: planned is {fallback.sentence}"


# --- what is asked, from its files to arrays on the decisions --------------------------------------------------------


def read_asked(scenario: Scenario, settings: Settings, tell: Callable[[Progress], None]) -> Asked:
    """Read what was given and measured, and set up the beliefs."""
    given, observations, channels = settings.given, settings.observations, scenario.channels()
    prior, seen = load_prior(scenario, settings.posterior, settings.seed).noisy(), none_measured(channels)
    if prior.risks is not None:
        prior = replace(prior, risks=prior.risks.only(settings.patient))
    elif settings.patient is not None:
        raise ScenarioError([f"--patient: wanted a risk in [cohort] of {scenario.file}; got none"])
    effort = Effort(
        risk=settings.risk,
        alpha=settings.alpha,
        particles=settings.plan_particles,
        restarts=settings.restarts,
        tolerance=scenario.tolerance,
        coldest=settings.plan_temperature,
    )
    if observations is not None:
        seen = read_measurements(observations, channels, settings.time_unit, given is not None)
    scenario, index, listed, follows = _listed(scenario, given, seen, settings)
    tell(Progress("prior", 0, 1, None))
    each = most_in_one(seen.days, scenario.plan.edges)
    inference = Inference(scenario, prior, channels, settings.particles, each)
    return Asked(scenario, settings, effort, inference, seen, index, listed, follows)


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
    overtaken = scenario.plan.overtaken(found, doses)
    if overtaken:
        raise ScenarioError([f"{given}: wanted {overtaken}"])
    if extra.size:
        split = replace(scenario.plan, edges=found, every=None)
        scenario = Scenario(split, scenario.name, scenario.text, scenario.file, scenario.folder)
        index += len(extra)
    return scenario, index, doses, bool(np.any(doses[index:] > 0.0))


# --- what was learned -------------------------------------------------------------------------------------------------


def _taught(
    asked: Asked, search: PlanRestarts, belief: Belief, uninformed: Found, tell: Callable[[Progress], None]
) -> tuple[Belief, tuple[Visit, ...]]:
    """The belief after all visits, one by one, and what the last of them changed in the plan from today on."""
    inference, doses, visits = asked.inference, jnp.asarray(asked.given), []
    plan, count, record = uninformed.doses, len(asked.seen.days), asked.seen.record(inference.channels)
    scale = np.asarray(inference.problem.task.scale)
    for row in range(count):
        tell(Progress("visits", row, count, None))
        known = Record(record.day, record.shown, jnp.where(jnp.arange(count)[:, None] <= row, record.seen, 0))
        fresh = jnp.zeros(record.seen.shape, bool).at[row].set(True)
        key = jax.random.fold_in(jax.random.key(np.uint32(asked.settings.seed)), row)
        ahead = forecast(inference, belief, doses, known, row)
        belief, updated = inference.update(key, belief, doses, known, fresh)
        new, change = None, None
        if row >= count - MOST_VISITS:
            new = np.asarray(search.near(belief, plan, _COOL).doses)
            change = float(np.mean(np.abs(new - plan)[search.index :] / scale))
            plan = new
        expected = np.asarray(updated.predictive_p)[row]
        visits.append(Visit(row, expected, ahead, float(updated.ess), new, change))
    return belief, tuple(visits)
