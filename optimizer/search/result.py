"""What a search returns."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizer.policies.base import AbstractPolicy
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Report
from optimizer.search.audit import Audit
from optimizer.search.dynamic_program import Certificate
from optimizer.simulate import Trajectory
from optimizer.status import Status


@dataclass(frozen=True)
class Optimum:
    """One of the distinct optima: its objective, how many restarts ended there, its schedule [K, N]."""

    objective: float
    restarts: int
    doses: np.ndarray


@dataclass(frozen=True)
class SearchRecord:
    """How the search went."""

    method: str  #: the steps taken
    restarts: int  #: descents in all, R and the hops
    converged: int  #: how many of them reached the tolerance
    distinct_optima: int  #: how many different optima those found
    optima: tuple[Optimum, ...]  #: the distinct optima, best first
    iterations: int  #: of the restart that gave the result
    median_iterations: float  #: over the converged restarts
    #: at the result, relative to the projected gradient at its start; measured apart from the search
    kkt_residual: float
    tolerance: float  #: what it was to be below
    level_cost: float | None  #: objective lost by rounding to dose levels; None where no drug has levels
    seconds: dict[str, float]  #: wall time by phase: starts, compile, search, levels, audit
    starts: int  #: that were scored before any descent
    hops: int  #: descents from around the best optimum
    tried: int  #: schedules that were scored around it
    last_improvement: int  #: the descent, counted from 1, after which none found a better optimum
    gap: float  #: what the objective could fall by to first order within the dose limits, at the result
    spread: float  #: of the objective over the starts

    @property
    def often(self) -> str:
        """How often the best optimum was found, in words."""
        times = self.optima[0].restarts if self.optima else 0
        return {0: "found by none", 1: "found only once"}.get(times, f"found {times} times")


@dataclass(frozen=True)
class Tuned:
    """Numbers of a rule that were searched."""

    kind: str  #: of the rule
    names: tuple[str, ...]  #: of the numbers [P]
    values: np.ndarray  #: that do best [P]
    written: np.ndarray  #: as the scenario has them [P]
    lower: np.ndarray  #: of their ranges [P]
    upper: np.ndarray  #: of their ranges [P]

    def to_json(self) -> dict[str, Any]:
        """The numbers by name, with what they were and could have been."""
        columns = zip(self.names, self.values, self.written, self.lower, self.upper, strict=True)
        numbers = {
            name: {"value": float(value), "written": float(written), "range": [float(low), float(high)]}
            for name, value, written, low, high in columns
        }
        return {"kind": self.kind, "numbers": numbers}


@dataclass(frozen=True)
class Result:
    """The best schedule that was found, with the evidence.

    Attributes:
        problem: what was asked.
        policy: the answer; it satisfies every dose limit exactly.
        trajectory: the patient under it, on the search's nodes.
        report: objective, terms and constraints on that trajectory.
        audit: the same by an independent adaptive solve.
        search: how it was found.
        status: how the run ended.
        reason: one sentence, naming the constraint or the number that decided the status.
        seed: of the restarts.
        history: best objective of each restart at each round of the search [rounds, R].
        tuned: the numbers of the rule that gave the schedule; None where the schedule itself was searched.
        certificate: what a dynamic program says that the least objective is near; None where it was not asked.
    """

    problem: Problem
    policy: AbstractPolicy
    trajectory: Trajectory
    report: Report
    audit: Audit
    search: SearchRecord
    status: Status
    reason: str
    seed: int
    history: np.ndarray
    tuned: Tuned | None = None
    certificate: Certificate | None = None

    @property
    def doses(self) -> np.ndarray:
        """Doses [K, N] of a schedule.

        Raises:
            TypeError: the policy is not a schedule.
        """
        if not isinstance(self.policy, Schedule):
            raise TypeError(f"wanted a schedule, got a {self.policy.kind} policy, whose doses are in the trajectory")
        return np.asarray(self.policy.doses)
