"""The compiled programs of a trial: one for the rules, for model predictive control, for who knows the truth."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Doses
from optimizer.control.assays import TrialAssays, belief_keys
from optimizer.control.belief import Inference
from optimizer.control.closed_loop import Conduct, Feedback, PatientOutcome, of_one
from optimizer.control.comparators import FALLBACK
from optimizer.control.plan_search import Effort
from optimizer.control.receding_horizon import PlanDiagnostics, RecedingHorizonController
from optimizer.control.tune import Tuned
from optimizer.ensemble.ensemble import with_system
from optimizer.ensemble.personalise import solve
from optimizer.objectives.progression import Progression
from optimizer.policies.schedule import Schedule
from optimizer.problem import Task
from optimizer.simulate import System

# Share of the way from a policy's schedule to the middle of the limits, where a search may begin.
_INWARD = 0.1


class Programs:
    """The compiled programs of a trial; assays and patients are their arguments, so that a sweep shares them.

    Args:
        task: of the typical hidden patient, with the decisions, the objective and the limits of the controller's.
        rules: policies that are not searched, by name.
        inference: the controller's beliefs; None where nothing is replanned.
        effort: how hard plans are searched.
        rows: of results that a record has room for: samples of one day whose results come apart are rows of their own.
        factor: progression is more than this multiple of the first burden.
        tune: finds the rules that do best on the belief, the one that replan falls back on among them.
        may_stop: whether a plan may stop treatment for good while the measured burden rises.
    """

    def __init__(
        self,
        task: Task,
        rules: dict[str, Feedback],
        inference: Inference | None,
        effort: Effort,
        rows: int,
        factor: float,
        tune: Callable[[], dict[str, Tuned]] = dict,
        may_stop: bool = False,
    ):
        self.may_stop, self._tune = may_stop, tune
        self.task, self.feedback, self.inference = task, rules, inference
        self.effort, self.rows, self.factor = effort, rows, jnp.asarray(factor)
        self.stops = any(isinstance(term, Progression) for term in task.objective.terms)
        self.rules = jax.jit(self._rules)
        self.replan = jax.jit(self._replan)
        self.best = jax.jit(self._best)
        self.live = jax.jit(self._live)

    @cached_property
    def tuned(self) -> dict[str, Tuned]:
        """The rules that do best on the belief, found once."""
        return self._tune()

    @property
    def compared(self) -> dict[str, Feedback]:
        """The policies that are not searched, with the numbers that were found for them."""
        return {name: self.tuned[name].controller if name in self.tuned else own for name, own in self.feedback.items()}

    def _rules(self, assays: TrialAssays, system: System, index: Array) -> dict[str, PatientOutcome]:
        """Every policy that is not searched, each of them one rollout."""
        task, own, conduct = with_system(self.task, system), assays(index), Conduct(self.factor)
        return {name: of_one(task, rule, own, conduct)[0] for name, rule in self.compared.items()}

    def _replan(self, assays: TrialAssays, system: System, index: Array) -> tuple[PatientOutcome, PlanDiagnostics]:
        """The whole loop of one patient who is measured and planned for again."""
        assert self.inference is not None
        inference = self.inference.measured_by(assays.channels)
        fallback = self.tuned[FALLBACK].controller if FALLBACK in self.tuned else None
        controller = RecedingHorizonController(inference, self.effort, self.rows, fallback, self.may_stop)
        conduct = Conduct(self.factor, self.stops, belief_keys(assays.seed, index))
        return of_one(with_system(self.task, system), controller, assays(index), conduct)

    def _live(self, assays: TrialAssays, system: System, index: Array, doses: Doses) -> PatientOutcome:
        """What doses [K, N] come to in a patient, and what would be measured."""
        given = Feedback(Schedule(doses), False)
        return of_one(with_system(self.task, system), given, assays(index), Conduct(self.factor))[0]

    def _best(
        self, system: System, points: Float[Array, "R n"], middle: Float[Array, "n"], copied: Doses, tolerance: Array
    ) -> Doses:
        """The best schedule of one who knows the patient: of starting points, and of the best policy's schedule."""
        task = with_system(self.task, system)
        shares = (copied / task.scale).ravel()
        begun = jnp.concatenate([points, (shares + _INWARD * (middle - shares))[None]])
        solved = solve(task, begun, tolerance)
        return task.doses(jnp.clip(solved.shares, task.lower, task.upper))
