"""One way of dosing by chance: runs of single cells beside the deterministic course and its generating functions."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy

from optimizer.ensemble.survival import Survival, survival
from optimizer.objectives.base import AbstractTerm
from optimizer.objectives.cure import Cure
from optimizer.objectives.resistance_probability import ResistanceProbability
from optimizer.problem import Problem, Report
from optimizer.regimens import Regimen
from optimizer.registry import discover
from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.check import uncountable
from optimizer.scenario.plan import Part
from optimizer.simulate import Trajectory
from optimizer.simulate.crossings import first_above
from optimizer.simulate.stochastic import Runs, simulate_cells

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_LEVEL = 0.95


@dataclass(frozen=True)
class Stochastic:
    """Runs of one way of dosing."""

    name: str  #: of the way of dosing
    seed: int  #: of the runs
    factor: float  #: progression is more than this multiple of the cells at the start
    trajectory: Trajectory  #: the deterministic course
    report: Report  #: objective and terms of it
    resistant: np.ndarray  #: which clones are flagged [M]
    runs: Runs  #: what became of each

    @property
    def survival(self) -> Survival:
        """Share of the runs without progression over time."""
        return survival(self.runs.progression, float(self.trajectory.times[-1]))

    def deterministic_day(self) -> float | None:
        """Day of progression of the deterministic course; None where there is none."""
        burden = np.log(np.maximum(np.asarray(self.trajectory.burden), 1e-300))
        return first_above(np.asarray(self.trajectory.times), burden, float(np.log(self.factor) + burden[0]))

    def to_json(self) -> dict[str, Any]:
        """Keys of the document: extinction, resistance, progression, burden."""
        end = self.runs.cells[:, -1]
        gone, kept = int(np.sum(end.sum(1) == 0.0)), int(np.sum(end[:, self.resistant].sum(1) > 0.0))
        burden, times = self.runs.cells.sum(2), np.asarray(self.trajectory.times)
        course = np.exp(np.interp(self.runs.times, times, np.log(np.maximum(self.trajectory.burden, 1e-300))))
        found = self.survival
        median = {"median_day": found.median, "median_interval": list(found.interval)}
        progressed = self._share(int(np.isfinite(self.runs.progression).sum()), None)
        days = {"days": _quantiles(self.runs.progression), "deterministic_day": self.deterministic_day()}
        terms = self.report.terms
        return {
            "regimen": self.name,
            "runs": len(end),
            "extinction": self._share(gone, -terms[Cure.kind]) | {"days": _quantiles(self.runs.extinction)},
            "resistance": self._share(kept, terms[ResistanceProbability.kind]),
            "progression": {**progressed, **median, **days},
            "burden": {
                "day": self.runs.times.tolist(),
                "deterministic": course.tolist(),
                "quantiles": {f"{q:g}": np.quantile(burden, q, axis=0).tolist() for q in _QUANTILES},
            },
        }

    def _share(self, count: int, expected: float | None) -> dict[str, Any]:
        """Share of the runs, its interval (Wilson), and the probability by the generating function."""
        size = len(self.runs.progression)
        low, high = scipy.stats.binomtest(count, size).proportion_ci(_LEVEL, method="wilson")
        known = {} if expected is None else {"probability": expected}
        return {"count": count, "share": count / size, "interval": [float(low), float(high)], **known}


def _quantiles(days: np.ndarray) -> dict[str, float | None]:
    """Quantiles of days of all runs; None where they are never."""
    found = np.quantile(days, _QUANTILES, method="higher").tolist()
    return {f"{q:g}": day if np.isfinite(day) else None for q, day in zip(_QUANTILES, found, strict=True)}


def prepared(scenario: Scenario) -> Scenario:
    """The scenario with `cure` and `resistance_probability` among its terms, of no weight where it has them not.

    Raises:
        ScenarioError: a model that does not tell births from deaths, or one in shares of a capacity.
    """
    if said := uncountable(scenario.plan.model):
        raise ScenarioError([f"{scenario.file}: model: {said}"])
    known = discover("optimizer.objectives", AbstractTerm)
    own = {part.kind for _, part in scenario.plan.objective}
    more = [(0.0, Part(kind, known[kind], {}, {})) for kind in (Cure.kind, ResistanceProbability.kind)]
    terms = (*scenario.plan.objective, *(term for term in more if term[1].kind not in own))
    whole = replace(scenario.plan, objective=terms)
    return Scenario(whole, scenario.name, scenario.text, scenario.file, scenario.folder, scenario.tables)


def stochastic(scenario: Scenario, problem: Problem, regimen: Regimen, runs: int, seed: int) -> Stochastic:
    """Simulate single cells under a way of dosing; the problem is that of a scenario that is `prepared`."""
    trajectory, report = problem.simulate(problem.delivered(regimen.policy), regimen.grid)
    factor, system = scenario.progression_factor, problem.task.system
    level = factor * float(trajectory.burden[0])
    found = simulate_cells(system, trajectory, runs, seed, level)
    resistant = np.asarray(system.model.resistant_clones()) > 0.0
    return Stochastic(regimen.name, seed, factor, trajectory, report, resistant, found)
