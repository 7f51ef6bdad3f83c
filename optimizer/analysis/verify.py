"""Published numbers recomputed, and every shipped scenario simulated: a line each that passes or fails."""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from optimizer.analysis.bounds import ideal_containment
from optimizer.analysis.window import Windows, windows
from optimizer.objectives.peak_burden import PeakBurden
from optimizer.objectives.progression import time_above
from optimizer.outcome import outcome
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem
from optimizer.regimens import Regimen
from optimizer.scenario import Scenario
from optimizer.scenario.files import shipped
from optimizer.scenario.keys import find, substituted
from optimizer.simulate import Trajectory

TABLE = Path(__file__).with_name("published.toml")


@dataclass(frozen=True)
class Line:
    """One comparison."""

    quantity: str  #: what is compared
    source: str  #: DOI, and on what the published number rests; the DOIs of a scenario
    published: float | None  #: the number; None for a scenario, which only has to give finite ones
    ours: float | None  #: None where there is none
    tolerance: float | None  #: largest difference that passes
    passed: bool  #: whether it does
    reason: str = ""  #: why there is no number

    @property
    def difference(self) -> float | None:
        """Ours less the published number."""
        return None if self.published is None or self.ours is None else self.ours - self.published

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "difference": self.difference}


def verify(tell: Callable[[Line], None] = lambda _: None, table: Path | None = None) -> list[Line]:
    """Compute every number of a table, else of the package's, and simulate every shipped scenario; tell the lines."""
    numbers, library = read_table(TABLE if table is None else table)
    lines = []
    for number in numbers:
        lines.append(_compared(number, library))
        tell(lines[-1])
    files = shipped()
    for path in files:
        lines.append(_simulated(path))
        tell(lines[-1])
    if not files:
        lines.append(Line("scenarios of the package", "", None, None, None, False, "there are none"))
        tell(lines[-1])
    return lines


def _compared(number: "Number", library: "Library") -> Line:
    head = (number.quantity, f"doi {number.source}, {number.basis}", number.published)
    try:
        ours = compute(number, library)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return Line(*head, None, number.tolerance, False, _first(error))
    if not math.isfinite(ours):
        return Line(*head, None, number.tolerance, False, "not reached")
    return Line(*head, ours, number.tolerance, abs(ours - number.published) <= number.tolerance)


def _simulated(path: Path) -> Line:
    """The scenario under its smallest and its largest doses; ours is the largest objective of the two."""
    quantity = f"scenario {path.stem}: objective under the smallest and the largest doses is finite"
    try:
        scenario = Scenario.load(path)
        problem = scenario.problem()
        doses = (np.asarray(problem.lower), np.asarray(problem.upper))
        reports = [problem.simulate(Schedule(jnp.asarray(d)))[1] for d in doses]
    except ValueError as error:
        return Line(quantity, "", None, None, None, False, _first(error))
    source = ", ".join(f"doi {doi}" for doi in scenario.doi)
    good = all(report.finite and math.isfinite(report.total) for report in reports)
    return Line(quantity, source, None, max(r.total for r in reports), None, good, "" if good else "not finite")


def _first(error: Exception) -> str:
    return (f"{type(error).__name__}: {error}".strip().splitlines())[0]


# --- the table of published numbers, and the functions that it names --------------------------------------------------


@dataclass(frozen=True)
class Number:
    """A published number."""

    quantity: str  #: what it is, with its unit in brackets
    source: str  #: DOI
    basis: str  #: "printed", "deposited", or "equations": computed from the source's equations
    published: float  #: the number
    tolerance: float  #: largest difference, in its unit
    compute: str  #: name of the function of this module that computes ours
    given: Mapping[str, Any]  #: what that function is given


class Library:
    """The scenarios of the table, each checked and built once.

    Attributes:
        tables: by name, as a scenario file would hold them.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Any]]):
        self.tables = tables
        self.windows: Callable[[str], Windows] = lru_cache(lambda name: windows(self.scenario(name)))
        self._run: Callable[..., tuple[Trajectory, Regimen, Problem]] = lru_cache(maxsize=4)(self._simulate)

    def scenario(self, name: str, numbers: Mapping[str, float] | None = None) -> Scenario:
        """The scenario, with other numbers at key paths where some are given (internal units).

        Raises:
            ScenarioError: the tables were refused.
            QuantityError: a key that is none.
        """
        found = Scenario.from_tables(self.tables[name], name)
        numbers, plan = numbers or {}, found.plan
        places = [find(plan.model, plan.drugs, key) for key in numbers]
        return Scenario(substituted(plan, places, list(numbers.values())), name)

    def run(
        self, name: str, regimen: str, numbers: Mapping[str, float] | None = None
    ) -> tuple[Trajectory, Regimen, Problem]:
        """The scenario under one of its regimens, simulated."""
        return self._run(name, regimen, tuple((numbers or {}).items()))

    def _simulate(
        self, name: str, regimen: str, numbers: tuple[tuple[str, float], ...]
    ) -> tuple[Trajectory, Regimen, Problem]:
        scenario = self.scenario(name, dict(numbers))
        # Steps as fine as this regimen needs, not as another one does.
        (one,) = [r for r in scenario.plan.regimens if r.name == regimen]
        plan = replace(scenario.plan, regimens=(one,), edges=one.edges)
        alone = Scenario(plan, name)
        problem, (chosen,) = alone.problem(), alone.regimens()
        return problem.simulate(chosen.policy, chosen.grid)[0], chosen, problem


def read_table(path: Path) -> tuple[list[Number], Library]:
    """The numbers, and the scenarios that they are computed from."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return [Number(**row) for row in data["number"]], Library(data["scenario"])


def compute(number: Number, library: Library) -> float:
    """Ours; not a number where it is not reached.

    Raises:
        ScenarioError: the scenario was refused.
    """
    found = COMPUTE[number.compute](library, **number.given)
    return math.nan if found is None else float(found)


# --- one function a kind of number --------------------------------------------------------------------------------


def crossing(library: Library, scenario: str, number: int) -> float:
    """Held concentration at which the first clone's net growth is zero, by its place in their order [mg/L]."""
    return library.windows(scenario).clones[0].crossings[number]


def critical(library: Library, scenario: str, growth_factor: str) -> float | None:
    """Critical concentration of the first clone [mg/L] at no growth factor ("none") or at the most ("most")."""
    found = library.windows(scenario)
    return found.critical[0 if growth_factor == "none" else len(found.clones)].conc


def final_log10(library: Library, scenario: str, regimen: str) -> float:
    """Decimal logarithm of the cancer cells at the horizon."""
    return math.log10(float(library.run(scenario, regimen)[0].burden[-1]))


def peak_log10(library: Library, scenario: str, regimen: str) -> float:
    """Largest decimal logarithm of the cancer cells at any time."""
    trajectory, chosen, problem = library.run(scenario, regimen)
    return float(PeakBurden().evaluate(problem.task.scene(trajectory, chosen.grid)))


def progression(
    library: Library, scenario: str, regimen: str, factor: float, set: Mapping[str, float] | None = None
) -> float | None:
    """Time at which the cells exceed the factor times those at the start [day]."""
    trajectory, chosen, problem = library.run(scenario, regimen, set)
    system = problem.task.system
    return outcome(trajectory, chosen.grid, system.drugs, system.routes, factor).time_to_progression_day


def day_after(library: Library, **given: Any) -> float | None:
    """The whole day after progression, as deposited."""
    found = progression(library, **given)
    return None if found is None else math.floor(found) + 1.0


def regrowth(
    library: Library, scenario: str, regimen: str, level: float, set: Mapping[str, float] | None = None
) -> float | None:
    """Time at which the cells exceed a level [cell]."""
    trajectory, _, _ = library.run(scenario, regimen, set)
    return progression(library, scenario, regimen, level / float(trajectory.burden[0]), set)


def bound(library: Library, scenario: str, factor: float) -> float | None:
    """Time to progression under ideal containment [day]."""
    found = ideal_containment(library.scenario(scenario).system(), factor)
    return None if found is None else found.value


def bound_and_regrowth(library: Library, scenario: str, factor: float, after: Mapping[str, Any]) -> float:
    """The same, and the time that the resistant cells then take to another level [day]."""
    first, then = bound(library, scenario, factor), regrowth(library, **after)
    return math.nan if first is None or then is None else first + then


def resistant_share(library: Library, scenario: str, regimen: str, share: float) -> float | None:
    """Time at which the resistant cells are this share of the cells at the start [day]."""
    trajectory, _, _ = library.run(scenario, regimen)
    level = jnp.log(share * trajectory.burden[0])
    resistant = jnp.log(trajectory.resistant)
    return float(time_above(trajectory.times, resistant, level)) if bool(jnp.any(resistant > level)) else None


_FUNCTIONS = crossing, critical, final_log10, peak_log10, progression, day_after, regrowth, bound, bound_and_regrowth
COMPUTE: dict[str, Callable[..., float | None]] = {f.__name__: f for f in (*_FUNCTIONS, resistant_share)}
