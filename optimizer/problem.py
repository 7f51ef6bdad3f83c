"""Problem: a system, an objective and limits, ready to be searched; and the Report of a policy under them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Doses, Scalar, Times
from optimizer.constraints.base import (
    AbstractDoseLimit,
    AbstractStateLimit,
    Check,
    ConstraintError,
    DoseFrame,
    Reading,
    Row,
)
from optimizer.constraints.checks import dose_checks
from optimizer.constraints.given import SAME
from optimizer.objectives.base import AbstractTerm, Objective, Scene
from optimizer.policies.base import AbstractPolicy
from optimizer.policies.limited import Limited
from optimizer.policies.schedule import Schedule
from optimizer.programs import check_64_bits, program, stored
from optimizer.simulate import Grid, System, Trajectory, rollout
from optimizer.simulate.arrivals import arrivals, overtakes, undelayed

# The search holds every limit's coefficient of every dose.
_MOST_COEFFICIENTS = 20_000_000


class Task(eqx.Module):
    """The numbers of a problem: all that is compiled. Unknowns are doses as shares of `scale`, flattened [K N]."""

    system: System  #: model and pharmacokinetics
    grid: Grid  #: decision intervals
    objective: Objective  #: what is made small
    state_limits: tuple[AbstractStateLimit, ...]  #: limits on what the doses do
    scale: Float[Array, "N"]  #: largest dose of each drug [N]
    lower: Float[Array, "KN"]  #: smallest shares [K N]
    upper: Float[Array, "KN"]  #: largest shares [K N]
    matrix: Float[Array, "rows KN"]  #: linear limits on shares, matrix x <= bound [rows, K N]
    bound: Float[Array, "rows"]  #: right-hand sides [rows]
    #: by how much each state limit is searched more strictly than it is written, as an excess [limits]; None stands for
    #: zeros
    margins: Float[Array, "limits"] | None = None

    def scene(self, trajectory: Trajectory, grid: Grid | None = None) -> Scene:
        """What terms and constraints look at; doses on another grid count as what they add to each decision."""
        if grid is None:
            grid = self.grid
        else:
            decided = _on_decisions(self, trajectory.doses, grid)
            trajectory = eqx.tree_at(lambda t: t.doses, trajectory, decided)
        return Scene(trajectory, grid, self.scale, self.system.model.floor(), system=self.system)

    def doses(self, shares: Float[Array, "KN"]) -> Doses:
        """Doses [K, N] from flattened shares."""
        return shares.reshape(self.grid.count, -1) * self.scale

    def simulate(self, shares: Float[Array, "KN"]) -> Scene:
        """Simulate flattened shares of the largest doses."""
        return self.scene(rollout(self.system, Schedule(self.doses(shares)), self.grid))

    def loss(self, doses: Doses) -> Scalar:
        """The objective of doses [K, N] as reported; differentiable."""
        return self.objective.evaluate(self.scene(rollout(self.system, Schedule(doses), self.grid)))

    def evaluate(self, shares: Float[Array, "KN"], temperature: Scalar) -> tuple[Scalar, tuple[Times, ...]]:
        """What the search sees: the objective at a temperature, and the excess of every state limit over time."""
        scene = self.simulate(shares)
        return self.objective.smooth(scene, temperature), tuple(r.excess for r in self.readings(scene))

    @property
    def is_smooth(self) -> bool:
        """Whether the objective is searched as it is reported, whatever the temperature."""
        return self.objective.is_smooth

    @property
    def cooling(self) -> float:
        """Factor on the temperature from one problem that a search solves to the next."""
        return max((term.cooling for term in self.objective.terms if not term.is_smooth), default=0.1)

    def readings(self, scene: Scene) -> tuple[Reading, ...]:
        """Every state limit read off a trajectory."""
        found = tuple(limit.read(scene) for limit in self.state_limits)
        if self.margins is None:
            return found
        return tuple(r._replace(excess=r.excess + self.margins[i]) for i, r in enumerate(found))


def _on_decisions(task: Task, doses: Doses, grid: Grid) -> Float[Array, "decisions N"]:
    """Sums of boluses, and mean rates, in each decision interval [K, N] of doses on a grid of their own."""
    edges = task.grid.edges
    first = jnp.maximum(grid.edges[:-1], edges[:-1, None])
    overlaps = jnp.maximum(jnp.minimum(grid.edges[1:], edges[1:, None]) - first, 0.0)
    inside = (grid.edges[:-1] >= edges[:-1, None] - SAME) & (grid.edges[:-1] < edges[1:, None] - SAME)
    lengths, counted = task.grid.lengths[:, None], inside.astype(doses.dtype)
    own = {"infusion": overlaps / lengths, "bolus": counted}
    columns = [own[route] @ doses[:, j] for j, route in enumerate(task.system.routes)]
    if grid.other is not None:
        # An amount counts as its mean rate, a rate as the amount that it adds up to.
        more = {"infusion": counted / lengths, "bolus": overlaps}
        pairs = zip(columns, task.system.routes, grid.other.T, strict=True)
        columns = [column + more[route] @ other for column, route, other in pairs]
    return jnp.stack(columns, -1) if columns else jnp.zeros((task.grid.count, 0))


@dataclass(frozen=True)
class Report:
    """A policy under a problem.

    Attributes:
        total: the objective.
        terms: unweighted value of each term by name.
        weights: weight of each term by name.
        constraints: every constraint, met or not.
        finite: whether the simulation gave finite numbers.
    """

    total: float
    terms: dict[str, float]
    weights: dict[str, float]
    constraints: tuple[Check, ...]
    finite: bool

    @property
    def violation(self) -> float:
        """Worst relative violation."""
        return max((c.violation for c in self.constraints), default=0.0)


_rolled = program(rollout)


@program
def _judge(task: Task, policy: AbstractPolicy, grid: Grid) -> Any:
    return _judge_trajectory(task, rollout(task.system, policy, grid), grid)


@program
def _judge_trajectory(task: Task, trajectory: Trajectory, grid: Grid) -> Any:
    scene = task.scene(trajectory, grid)
    worst = [(r.value, r.limit, jnp.max(r.excess)) for r in task.readings(scene)]
    return trajectory, task.objective.evaluate(scene), task.objective.values(scene), worst


@dataclass(frozen=True)
class Problem:
    """What is asked: make the objective small within the limits.

    Attributes:
        task: the numbers.
        rows: the linear dose limits, unscaled, in the order of the task's matrix.
        levels: allowed doses by drug.
        frame: bounds and drugs, to judge doses on any grid.
        limits: on doses.
    """

    task: Task
    rows: tuple[Row, ...]
    levels: dict[str, np.ndarray]
    frame: DoseFrame
    limits: tuple[AbstractDoseLimit, ...]

    @classmethod
    def build(
        cls,
        system: System,
        grid: Grid,
        objective: Objective,
        dose_min: Sequence[float] | np.ndarray,
        dose_max: Sequence[float] | np.ndarray,
        constraints: Sequence[AbstractDoseLimit | AbstractStateLimit] = (),
    ) -> "Problem":
        """Collect the limits and check that the doses can satisfy them all.

        Args:
            system: model and pharmacokinetics of N drugs.
            grid: K decision intervals.
            objective: terms and weights.
            dose_min: smallest dose of each drug [N].
            dose_max: largest dose of each drug [N].
            constraints: further limits.

        Raises:
            ConstraintError: limits that do not fit the drugs, or that no schedule satisfies.
        """
        shape = (grid.count, len(system.drugs))
        lower = np.broadcast_to(np.asarray(dose_min, dtype=float), shape).copy()
        upper = np.broadcast_to(np.asarray(dose_max, dtype=float), shape).copy()
        frame = DoseFrame(system.drugs, system.routes, np.asarray(grid.edges), lower, upper)
        # Bounds first: levels and rests look at them.
        order = {"dose_bounds": 0, "rest_period": 1}
        limits = [c for c in constraints if isinstance(c, AbstractDoseLimit)]
        limits.sort(key=lambda c: order.get(c.kind, 2))
        for limit in limits:
            limit.apply(frame)
        if len(frame.rows) * frame.lower.size > _MOST_COEFFICIENTS:
            raise ConstraintError(
                f"dose limits: wanted at most {_MOST_COEFFICIENTS:.0e} limits times doses (fewer decision intervals); "
                f"got {len(frame.rows)} limits on {frame.lower.size} doses"
            )
        frame.check()
        most = frame.upper.max(axis=0)
        scale = np.where(most > 0, most, 1.0)
        matrix = np.array([row.coefficients * scale for row in frame.rows]).reshape(len(frame.rows), lower.size)
        size = np.abs(matrix).max(axis=1, initial=1e-300)
        state_limits = tuple(c for c in constraints if isinstance(c, AbstractStateLimit))
        task = Task(
            system=system,
            grid=grid,
            objective=objective,
            state_limits=state_limits,
            scale=stored(scale),
            lower=stored((frame.lower / scale).ravel()),
            upper=stored((frame.upper / scale).ravel()),
            matrix=stored(matrix / size[:, None]),
            bound=stored(np.array([row.limit for row in frame.rows]) / size),
            margins=stored(np.zeros(len(state_limits))),
        )
        return cls(task, tuple(frame.rows), frame.levels, frame, tuple(limits))

    @property
    def lower(self) -> np.ndarray:
        """Smallest doses [K, N]."""
        return self._unscaled(self.task.lower)

    @property
    def upper(self) -> np.ndarray:
        """Largest doses [K, N]."""
        return self._unscaled(self.task.upper)

    def _unscaled(self, shares: Array) -> np.ndarray:
        scale = np.asarray(self.task.scale)
        return np.asarray(shares).reshape(-1, scale.size) * scale

    def loss(self, doses: Doses) -> Scalar:
        """The objective of a schedule on the decision grid; differentiable."""
        return self.task.loss(doses)

    def delivered(self, policy: AbstractPolicy) -> AbstractPolicy:
        """A rule on any grid whose doses come in the levels that are allowed; listed doses stay as they are."""
        if isinstance(policy, Schedule) or not self.levels:
            return policy
        drugs = self.task.system.drugs
        return Limited(policy, jnp.zeros((1, len(drugs))), jnp.full((1, len(drugs)), jnp.inf), self._levels())

    def limited(self, policy: AbstractPolicy) -> AbstractPolicy:
        """A rule on the decision grid whose doses obey every limit on single doses."""
        return Limited(policy, jnp.asarray(self.lower), jnp.asarray(self.upper), self._levels())

    def _levels(self) -> tuple[Array, ...]:
        return tuple(stored(self.levels.get(drug, np.zeros(0))) for drug in self.task.system.drugs)

    def simulate(self, policy: AbstractPolicy, grid: Grid | None = None) -> tuple[Trajectory, Report]:
        """Trajectory and report of a policy, on its own grid of decisions when one is given."""
        check_64_bits("simulate")
        grid = self.task.grid if grid is None else grid
        system = self.task.system
        if isinstance(policy, Schedule) and overtakes(system, policy.doses, grid):
            due = arrivals(system, policy.doses, grid)
            is_infused = np.array(system.routes) == "infusion"
            given = Schedule(jnp.asarray(np.where(is_infused, due.rates, due.amounts)))
            more = np.where(is_infused, due.amounts, due.rates)
            other = jnp.asarray(more) if more.any() else None
            trajectory = _rolled(undelayed(system), given, Grid(jnp.asarray(due.edges), other))
            trajectory = eqx.tree_at(lambda t: t.doses, trajectory, policy.doses)
            return trajectory, self.report(trajectory, grid)
        trajectory, *judged = _judge(self.task, policy, grid)
        return trajectory, self._report(trajectory, grid, *judged)

    def report(self, trajectory: Trajectory, grid: Grid | None = None, is_exact: bool = False) -> Report:
        """Report of a trajectory simulated elsewhere, one dense enough to be read by root finding where `is_exact`."""
        grid = self.task.grid if grid is None else grid
        _, total, terms, worst = _judge_trajectory(self.task, trajectory, grid)
        if is_exact and bool(trajectory.ok):
            scene = self.task.scene(trajectory)
            exact = {term.kind: term.exact(scene) for term in self.task.objective.terms}
            terms = dict(terms) | {kind: value for kind, value in exact.items() if value is not None}
            total = sum(float(w) * float(terms[t.kind]) for w, t in zip(*self._weighted(), strict=True))
        return self._report(trajectory, grid, total, terms, worst)

    def _weighted(self) -> tuple[list[float], tuple[AbstractTerm, ...]]:
        return np.asarray(self.task.objective.weights).tolist(), self.task.objective.terms

    def _report(self, trajectory: Trajectory, grid: Grid, total: Any, terms: Any, worst: Any) -> Report:
        weights = {term.kind: weight for weight, term in zip(*self._weighted(), strict=True)}
        other = None if grid.other is None else np.asarray(grid.other)
        checks = dose_checks(self.frame, self.limits, np.asarray(trajectory.doses), np.asarray(grid.edges), other)
        for limit, (value, bound, excess) in zip(self.task.state_limits, worst, strict=True):
            checks.append(Check(limit.label(), float(value), float(bound), max(float(excess), 0.0)))
        values = {name: float(v) for name, v in terms.items()}
        return Report(float(total), values, weights, tuple(checks), bool(trajectory.ok))
