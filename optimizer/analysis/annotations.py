"""Where schedules lie on the axes of a map: regimens of the scenario, and an event table."""

from dataclasses import dataclass, replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from optimizer.analysis.axes import AMOUNT, DELAY, EVERY, Axis, Number
from optimizer.analysis.levels import mean_concentration
from optimizer.analysis.map import Map
from optimizer.analysis.repeated import repeated_drugs
from optimizer.files.event_tables import read_grid
from optimizer.scenario import Scenario
from optimizer.simulate import System


@dataclass(frozen=True)
class Annotation:
    """A schedule's place on a map, in the units of the axes."""

    name: str  #: of the regimen, or of the file
    x: float
    y: float
    schedule: bool = False  #: whether it is the event table that was given


@dataclass(frozen=True)
class _Given:
    """A schedule: edges [K + 1], doses [K, N], and the drugs that the map gives every so many days."""

    edges: np.ndarray
    doses: np.ndarray
    own: tuple[int, ...]

    def starts(self, j: int) -> np.ndarray:
        """Times at which drug j is given."""
        return self.edges[:-1][self.doses[:, j] > 0.0]


def annotate(
    scenario: Scenario, found: Map, numbers: list[Number], schedule: Path | None = None, time_unit: str | None = None
) -> tuple[Annotation, ...]:
    """The regimens and the event table that have a place on the axes of a map, and lie on them.

    A schedule's interval is the mean of its own, its amount the mean of its doses, its concentration the mean over the
    horizon; the doses of other drugs and what is held are not compared. Where both axes are numbers of the scenario the
    only annotation is the scenario itself.

    Raises:
        DataError: the event table was refused.
    """
    system = scenario.system()
    own = tuple(repeated_drugs(numbers))
    if not own and all(axis.number.place is not None for axis in (found.x, found.y)):
        listed = [("this scenario", _Given(np.zeros(1), np.zeros((0, len(system.drugs))), own), False)]
    else:
        plans = [regimen for regimen in scenario.plan.regimens if regimen.doses is not None and regimen.other is None]
        listed = [(r.name, _Given(r.edges, np.asarray(r.doses), own), False) for r in plans]
    if schedule is not None:
        table = read_grid(schedule, replace(scenario.target(), edges=()), time_unit)
        listed.append((schedule.name, _Given(*table, own), True))
    placed = []
    for name, given, is_schedule in listed:
        x, y = (_coordinate(axis, given, system) for axis in (found.x, found.y))
        if x is not None and y is not None:
            placed.append(Annotation(name, x, y, is_schedule))
    return tuple(placed)


def _coordinate(axis: Axis, given: _Given, system: System) -> float | None:
    """A schedule's place on an axis; None where it has none, or lies outside."""
    value = _value(axis.number, given, system)
    low, high = axis.values[0], axis.values[-1]
    room = 1e-9 * (high - low)
    return value if value is not None and low - room <= value <= high + room else None


def _value(number: Number, given: _Given, system: System) -> float | None:
    if number.place is not None:
        return number.place.value
    if number.kind == EVERY:
        boluses = [given.starts(j) for j in given.own if system.routes[j] == "bolus"]
        times = np.unique(np.concatenate([np.zeros(0), *boluses]))
        return float(np.mean(np.diff(times))) if times.size > 1 else None
    doses, starts = given.doses[:, number.drug], given.starts(number.drug)
    if not starts.size:
        return None
    if number.kind == AMOUNT:
        return float(np.mean(doses[doses > 0.0]))
    if number.kind == DELAY:
        others = [given.starts(j) for j in range(len(system.drugs)) if j != number.drug]
        first = min((float(times[0]) for times in others if times.size), default=0.0)
        return float(starts[0]) - first
    pk, route = system.pharmacokinetics[number.drug], system.routes[number.drug]
    return float(mean_concentration(pk, route, jnp.asarray(given.edges), jnp.asarray(doses)))
