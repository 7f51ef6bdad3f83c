"""Plan again: what was given and measured so far, what it teaches, and the best doses for what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from optimizer.control.belief import Belief, Inference
from optimizer.control.measurements import Measurements, none_measured, read_measurements
from optimizer.control.outlook import Fit, Outlook, fit, foreseen, outlook
from optimizer.control.plan_search import Found, PlanSearch
from optimizer.control.prior import load_prior
from optimizer.control.receding_horizon import Effort, Plan, RecedingHorizonController
from optimizer.files.event_tables import read_grid
from optimizer.observations import Record
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem
from optimizer.scenario import Scenario, ScenarioError
from optimizer.search.audit import Audit, audit
from optimizer.search.exact import satisfies
from optimizer.search.multistart import Progress
from optimizer.search.optimize import LIMIT_TOLERANCE, difference
from optimizer.settings import ReplanSettings as Settings
from optimizer.settings import of_file
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
        plan: the search's own account of it.
        restarts: of the search: how many, how many converged, and how many optima they found.
        course: what the plan is compared with, in words, and its doses [K, N].
        ahead: what the belief expects of the plan and of the course.
        visits: what each changed.
        fit: whether what was measured fits the model.
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
    plan: Plan
    restarts: tuple[int, int, int]
    course: tuple[str, Float[np.ndarray, "K N"]]
    ahead: tuple[Outlook, Outlook]
    visits: tuple[Visit, ...]
    fit: Fit
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
    settings = of_file(settings, scenario)
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
    search = PlanSearch(controller, so_far, index, effort.restarts, tell)
    before = inference.begin(settings.seed)
    uninformed = search.best(before, [])
    belief, visits = _taught(inference, search, before, uninformed, seen, settings.seed, tell)
    hints = [uninformed.doses, *(v.doses for v in visits[-1:] if v.doses is not None)]
    found = search.best(belief, hints) if visits else uninformed
    course = (FOLLOWED, listed) if follows else (UNINFORMED, search.settled(uninformed.doses))
    doses, no_levels = search.rounded(belief, found.doses, settings.seed)
    tell(Progress("outlook", 0, 1, None))
    factor = scenario.progression_factor
    ahead = tuple(outlook(inference, belief, jnp.asarray(d), factor) for d in (doses, course[1]))
    fitting = fit(inference, belief, jnp.asarray(so_far), seen.record(channels))
    tell(Progress("audit", 0, 1, None))
    checked = _audited(inference, search.problem, belief, doses)
    status, reason = _verdict(search, found, doses, ahead[0], checked, no_levels, effort)
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
        plan=found.plan,
        restarts=(found.restarts, found.converged, found.optima),
        course=course,
        ahead=(ahead[0], ahead[1]),
        visits=visits,
        fit=fitting,
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


# --- what was learned -------------------------------------------------------------------------------------------------


def _taught(
    inference: Inference,
    search: PlanSearch,
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
        expected = foreseen(inference, belief, doses, record)[row]
        known = Record(record.day, record.shown, jnp.where(jnp.arange(count)[:, None] <= row, record.seen, 0))
        fresh = jnp.zeros(record.seen.shape, bool).at[row].set(True)
        key = jax.random.fold_in(jax.random.key(np.uint32(seed)), row)
        belief, updated = inference.update(key, belief, doses, known, fresh)
        new, change = None, None
        if row >= count - MOST_VISITS:
            new = np.asarray(search.near(belief, plan, _COOL).doses)
            change = float(np.mean(np.abs(new - plan)[search.index :] / scale))
            plan = new
        visits.append(Visit(row, expected, float(updated.ess), new, change))
    return belief, tuple(visits)


def _audited(inference: Inference, problem: Problem, belief: Belief, doses: np.ndarray) -> Audit:
    """The adaptive solver's word on the plan in the particle with the largest weight."""
    heaviest = belief.z[int(jnp.argmax(belief.log_weights))]
    task = eqx.tree_at(lambda t: t.system, problem.task, inference.system(heaviest))
    own = replace(problem, task=task)
    _, report = own.simulate(Schedule(jnp.asarray(doses)))
    return audit(own, doses, report, 0.0, directions=0)


def _verdict(
    search: PlanSearch, found: Found, doses: np.ndarray, ahead: Outlook, checked: Audit, no_levels: str, effort: Effort
) -> tuple[Status, str]:
    """Status, and the sentence that says what decided it."""
    if not checked.report.finite:
        return Status.SIMULATION_FAILED, "the audit's solver ran out of steps or met a number that is not finite"
    if not satisfies(search.problem, doses):
        over = [c for c in checked.report.constraints if c.violation > 0.0]
        said = f"{over[0].name}: wanted at most {over[0].limit:.6g}; got {over[0].value:.6g}" if over else ""
        told = said or "no schedule was found that satisfies every dose limit exactly"
        return Status.INFEASIBLE, no_levels or f"{told}; doses that were given count"
    if ahead.violation > LIMIT_TOLERANCE:
        names = ", ".join(limit.label() for limit in search.problem.task.state_limits)
        worst = f"{100.0 * ahead.violation:.3g} % beyond its limit in the worst particle"
        return Status.INFEASIBLE, f"{names}: wanted it met by all that is believed possible; got {worst}"
    if not checked.passed:
        return Status.AUDIT_FAILED, difference(checked)
    if not found.plan.converged:
        wanted = f"wanted a KKT residual of at most {effort.tolerance:g} of its start"
        return Status.NOT_CONVERGED, f"{wanted}; got {float(found.plan.residual):.1e}"
    ways = f"{found.optima} distinct optim{'um' if found.optima == 1 else 'a'}"
    return Status.SOLVED, f"{found.converged} of {found.restarts} restarts converged, to {ways}"
