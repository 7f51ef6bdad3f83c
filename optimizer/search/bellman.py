"""Bellman's recursion on a grid of states, and the schedule that follows it."""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.models.tumor_state import TumorState
from optimizer.objectives.progression import Progression, time_above
from optimizer.problem import Problem, Task
from optimizer.programs import program, stored
from optimizer.simulate import flow, read_out

# Value of what the budget does not allow.
_NEVER = 1e30
# So many doses are few.
_FEW = 8


@dataclass(frozen=True)
class Choices:
    """What may be given."""

    doses: Float[np.ndarray, "J"]  #: to choose from [J]
    allowed: np.ndarray  #: which of them each decision allows [K, J]
    taken: np.ndarray  #: what each takes from the budget [K, J]
    budgets: Float[np.ndarray, "B"]  #: that may be left [B], rising from 0 to the whole
    per_dose: Float[np.ndarray, "K"]  #: what terms that read doses alone ask for a unit of dose [K]

    def halved(self) -> "Choices":
        """Every second of many doses, the smallest and the largest among them."""
        count = len(self.doses)
        some = np.unique(np.r_[np.arange(0, count, 2 if count > _FEW else 1), count - 1])
        return replace(self, doses=self.doses[some], allowed=self.allowed[:, some], taken=self.taken[:, some])


@program
def _steps(task: Task, points: Float[Array, "X d"], doses: Float[Array, "J"], lengths: Float[Array, "L"]) -> Any:
    """Where each dose leads over intervals of each length [L, X, J, d], what it costs, and whether it goes on."""
    system, first = task.system, task.system.start()
    levels_of = ravel_pytree(first[0])[1]
    clones = first[1].log_cells.size
    terms = list(zip(task.objective.weights, task.objective.terms, strict=True))

    def step(length: Scalar, point: Array, dose: Scalar) -> tuple[Array, Scalar, Scalar]:
        kinetics = levels_of(point[clones:])
        model: Any = system.model
        held = model.held_states(system.concentrations(kinetics, jnp.zeros(1)))
        start = system.give(kinetics, dose[None]), TumorState(to_logs(point[:clones]), held)
        end, nodes = flow(system, start, system.rates(dose[None]), jnp.zeros(()), length)
        seen: Any = jax.tree.map(lambda a: a[None], nodes)
        course = read_out(system, *seen, doses=jnp.zeros((task.grid.count, 1)))
        scene = task.scene(course)._replace(first=system.model.burden(first[1]))
        cost, goes_on = jnp.zeros(()), jnp.ones(())
        for weight, term in terms:
            if isinstance(term, Progression):
                above = jnp.log(course.burden / scene.first_burden / term.factor)
                cost = cost - weight * time_above(course.times, above, 0.0) / task.grid.horizon
                goes_on = jnp.where(jnp.any(above > 0.0), 0.0, goes_on)
            elif not term.is_linear:
                cost = cost + weight * term.evaluate(scene)
        return jnp.concatenate([from_logs(end[1].log_cells), ravel_pytree(end[0])[0]]), cost, goes_on

    over_doses = jax.vmap(step, (None, None, 0))
    return jax.lax.map(lambda h: jax.lax.map(lambda p: over_doses(h, p, doses), points, batch_size=16), lengths)


@program
def _improved(later: Array, budgets: Array, moves: Any, taken: Array, allowed: Array) -> Array:
    """The value of a decision [X, B] from that of the next one: the least over doses in each state, at each budget."""
    last = jnp.maximum(budgets[-1], 1e-12)

    def best(value: Array, choice: Any) -> tuple[Array, None]:
        corners, weights, cost, goes_on, takes, may = choice
        follows = goes_on[:, None] * jnp.einsum("xc,xcb->xb", weights, later[corners])
        left = (budgets - takes) / last
        place = jnp.maximum(left, 0.0) * (budgets.size - 1)
        low = jnp.minimum(place.astype(int), max(budgets.size - 2, 0))
        part = place - low
        follows = (1.0 - part) * follows[:, low] + part * follows[:, jnp.minimum(low + 1, budgets.size - 1)]
        return jnp.minimum(value, cost[:, None] + jnp.where((left >= -1e-9) & may, follows, _NEVER)), None

    moved = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), moves)
    return jax.lax.scan(best, jnp.full(later.shape, _NEVER), (*moved, taken, allowed))[0]


def to_logs(point: Array) -> Array:
    """Logarithms of the cells of one or two clones from that of all cells and that of the ratio of the two [M]."""
    if len(point) < 2:
        return point
    whole, ratio = point
    return jnp.stack([whole - jnp.logaddexp(0.0, ratio), whole - jnp.logaddexp(0.0, -ratio)])


def from_logs(logs: Array) -> Array:
    """The inverse of `to_logs`."""
    return logs if len(logs) < 2 else jnp.stack([jnp.logaddexp(*logs), logs[1] - logs[0]])


class Table:
    """Values of all states, decisions and budgets."""

    def __init__(self, problem: Problem, axes: list[np.ndarray], plan: Choices):
        self.task, self.axes, self.plan = problem.task, axes, plan
        lengths = np.round(np.asarray(self.task.grid.lengths), 9)
        self.lengths, self.which = np.unique(lengths, return_inverse=True)
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
        after, self.costs, self.goes_on = self._stepped(grid, self.lengths)
        self.places = [self._places(ends) for ends in after]
        self.values = self._values(len(grid))

    def _stepped(self, points: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        return [np.asarray(a) for a in _steps(self.task, stored(points), stored(self.plan.doses), stored(lengths))]

    def _places(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corners around points [..., d] as rows of the grid, and their multilinear weights [..., 2^d]."""
        below, parts = [], []
        for i, axis in enumerate(self.axes):
            x = np.clip(points[..., i], axis[0], axis[-1])
            low = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, len(axis) - 2)
            below.append(low)
            parts.append((x - axis[low]) / (axis[low + 1] - axis[low]))
        shape = [len(axis) for axis in self.axes]
        corners, weights = [], []
        for up in product((0, 1), repeat=len(shape)):
            corners.append(np.ravel_multi_index([low + u for low, u in zip(below, up, strict=True)], shape))
            weights.append(np.prod([p if u else 1.0 - p for p, u in zip(parts, up, strict=True)], axis=0))
        return np.stack(corners, -1), np.stack(weights, -1)

    def _cost(self, k: int, costs: np.ndarray) -> np.ndarray:
        """What doses cost at a decision [..., J], those terms included that read doses alone."""
        return costs + self.plan.per_dose[k] * self.plan.doses

    def _values(self, states: int) -> list[np.ndarray]:
        """V of all decisions, the end included [K + 1][X, B]."""
        plan = self.plan
        values = [np.zeros((states, len(plan.budgets)))]
        for k in reversed(range(len(self.which))):
            case = self.which[k]
            moves = (*self.places[case], self._cost(k, self.costs[case]), self.goes_on[case])
            own = values[0], plan.budgets, moves, plan.taken[k], plan.allowed[k]
            own = jax.tree.map(lambda a: stored(a, a.dtype), own)
            values.insert(0, np.asarray(_improved(*own)))
        return values

    def solved(self) -> tuple[float, np.ndarray]:
        """The least objective, and the schedule that follows it from the patient's own state [K, 1]."""
        kinetics, state = self.task.system.start()
        point = np.concatenate([np.asarray(from_logs(state.log_cells)), np.asarray(ravel_pytree(kinetics)[0])])
        left, doses = self.plan.budgets[-1], []
        corners, weights = self._places(point)
        value = float(weights @ self.values[0][corners, -1])
        for k, case in enumerate(self.which):
            after, costs, goes_on = (a[0, 0] for a in self._stepped(point[None], self.lengths[case : case + 1]))
            corners, weights = self._places(after)
            rest = left - self.plan.taken[k]
            lines = np.sum(weights[..., None] * self.values[k + 1][corners], 1)
            follows = goes_on * [np.interp(b, self.plan.budgets, line) for b, line in zip(rest, lines, strict=True)]
            may = (rest >= -1e-9 * self.plan.budgets[-1]) & self.plan.allowed[k]
            best = int(np.argmin(np.where(may, self._cost(k, costs) + follows, np.inf)))
            point, left = after[best], rest[best]
            doses.append(self.plan.doses[best])
        return value, np.array(doses)[:, None]
