"""What a search returns."""

from dataclasses import dataclass

import numpy as np

from optimizer.policies.base import AbstractPolicy
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Report
from optimizer.search.audit import Audit
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
    """How the search went.

    Attributes:
        method: the steps taken.
        restarts: starting points R.
        converged: how many of them reached the tolerance.
        distinct_optima: how many different optima those found.
        optima: the distinct optima, best first.
        iterations: of the restart that gave the result.
        median_iterations: over the converged restarts.
        kkt_residual: at the result, relative to the projected gradient at its start; measured apart from the search.
        tolerance: what it was to be below.
        level_cost: objective lost by rounding to dose levels; None where no drug has levels.
        seconds: wall time by phase: starts, compile, search, levels, audit.
    """

    method: str
    restarts: int
    converged: int
    distinct_optima: int
    optima: tuple[Optimum, ...]
    iterations: int
    median_iterations: float
    kkt_residual: float
    tolerance: float
    level_cost: float | None
    seconds: dict[str, float]


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

    @property
    def doses(self) -> np.ndarray:
        """Doses [K, N] of a schedule.

        Raises:
            TypeError: the policy is not a schedule.
        """
        if not isinstance(self.policy, Schedule):
            raise TypeError(f"wanted a schedule, got a {self.policy.kind} policy, whose doses are in the trajectory")
        return np.asarray(self.policy.doses)
