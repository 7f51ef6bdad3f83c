"""What a replan is asked, from its files to arrays on the decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from optimizer.control.belief import Inference
from optimizer.control.measurements import Measurements, none_measured, read_measurements
from optimizer.control.plan_search import Effort
from optimizer.control.prior import load_prior
from optimizer.control.state_noise import most_in_one
from optimizer.files.event_tables import read_grid
from optimizer.scenario import Scenario, ScenarioError
from optimizer.search.multistart import Progress
from optimizer.settings import ReplanSettings as Settings

_NEAR = 1e-9


class Asked(NamedTuple):
    """What a replan is asked, read and checked.

    Attributes:
        scenario: with its decisions split where doses were given between them.
        effort: how hard plans are searched.
        inference: the particles' model.
        seen: what was measured.
        index: decisions that were made already.
        listed: doses of the event table [K, N].
        follows: whether the table has any from today on.
    """

    scenario: Scenario
    effort: Effort
    inference: Inference
    seen: Measurements
    index: int
    listed: np.ndarray
    follows: bool

    @property
    def given(self) -> np.ndarray:
        """Doses before today; 0 after them [K, N]."""
        return np.where(np.arange(len(self.listed))[:, None] < self.index, self.listed, 0.0)


def read_asked(scenario: Scenario, settings: Settings, tell: Callable[[Progress], None]) -> Asked:
    """Read what was given and measured, and set up the beliefs."""
    given, observations, channels = settings.given, settings.observations, scenario.channels()
    prior, seen = load_prior(scenario, settings.posterior, settings.seed).noisy(), none_measured(channels)
    effort = _effort(settings, scenario.tolerance)
    if observations is not None:
        seen = read_measurements(observations, channels, settings.time_unit, given is not None)
    scenario, index, listed, follows = _listed(scenario, given, seen, settings)
    tell(Progress("prior", 0, 1, None))
    each = most_in_one(seen.days, scenario.plan.edges)
    inference = Inference(scenario, prior, channels, settings.particles, each)
    return Asked(scenario, effort, inference, seen, index, listed, follows)


def _effort(settings: Settings, tolerance: float) -> Effort:
    return Effort(
        risk=settings.risk,
        alpha=settings.alpha,
        particles=settings.plan_particles,
        restarts=settings.restarts,
        tolerance=tolerance,
        coldest=settings.plan_temperature,
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
    overtaken = scenario.plan.overtaken(found, doses)
    if overtaken:
        raise ScenarioError([f"{given}: wanted {overtaken}"])
    if extra.size:
        split = replace(scenario.plan, edges=found, every=None)
        scenario = Scenario(split, scenario.name, scenario.text, scenario.file, scenario.folder)
        index += len(extra)
    return scenario, index, doses, bool(np.any(doses[index:] > 0.0))
