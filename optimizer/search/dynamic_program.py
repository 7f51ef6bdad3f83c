"""How good the best of all schedules could be, from a dynamic program on a grid of states; for small problems.

The value V_k(x, b) of being in state x at decision k with a budget b left is the least of what the rest can come to

    V_k(x, b) = min_u [ cost_k(x, u) + V_k+1(x'(x, u), b - a u) ]        V_K = 0

(Bellman 1957, doi 10.1515/9781400835386), with x the logarithms of the clones' cells and the drug's level before the
dose, u one of evenly spaced doses, and V interpolated between the points of the grid. What follows the drug faster than
the clones grow has settled where a decision begins. No local optimum can hide from it, and its answer is as good as its
grid: the same on half of it says how good.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.models.tumor import Tumor
from optimizer.models.tumor_state import TumorState
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Task
from optimizer.programs import program, stored
from optimizer.settings import OptionError
from optimizer.simulate import flow, read_out

# Points of an axis of logarithms, by how many clones there are, and of the axis of levels; odd, so that every second
# one is a grid, too.
_POINTS = {1: 121, 2: 41}
_LEVELS = 9
# Most doses to choose from, how far apart the largest and the smallest are, and points of the axis of budgets left.
_DOSES = 32
_SPAN = 300.0
_BUDGETS = 41
# Value of what the budget does not allow.
_NEVER = 1e30


@dataclass(frozen=True)
class Certificate:
    """What the least objective is near.

    Attributes:
        value: the least objective on the grid.
        margin: by how much that differs on half the grid.
        states: points of the grid, budgets left among them.
        doses: the schedule it takes [K, 1].
    """

    value: float
    margin: float
    states: int
    doses: Float[np.ndarray, "K N"]

    def to_json(self, reached: float) -> dict[str, float | int]:
        """The numbers, and by how many percent an objective is above the least (below it, where negative)."""
        gap = 100.0 * (reached - self.value) / max(abs(self.value), 1e-300)
        return {"value": self.value, "margin": self.margin, "states": self.states, "gap_percent": gap}

    def said(self, reached: float) -> str:
        """The same in words."""
        words = "{gap_percent:+.2g} % from {value:.6g}, the least of a dynamic program on {states:,} states"
        return words.format(**self.to_json(reached)) + f" ({self.margin:.2g} away on half its grid)"


def dynamic_program(problem: Problem) -> Certificate:
    """The dynamic program of a problem with one drug of one compartment, one or two clones, and costs that add up.

    Args:
        problem: what is asked.

    Raises:
        OptionError: the problem is none of these; the sentence says what it has instead.
    """
    odd = _beyond(problem)
    if odd is not None:
        raise OptionError(
            "--certify: wanted one drug of one compartment, one or two clones, an objective of sums over time and at "
            f"most one limit, on the sum of the doses; got {odd}"
        )
    axes = _axes(problem)
    states = int(np.prod([len(axis) for axis in axes]))
    plan = _choices(problem)
    value, doses = _Table(problem, axes, plan).solved()
    coarse, _ = _Table(problem, [axis[::2] for axis in axes], plan).solved()
    return Certificate(value, abs(value - coarse), states * len(plan.budgets), doses)


def _beyond(problem: Problem) -> str | None:
    """What of a problem is more than a dynamic program can answer."""
    task, (kinetics, _) = problem.task, problem.task.system.start()
    model, terms, size = task.system.model, task.objective.terms, ravel_pytree(kinetics)[0].size
    if len(task.system.drugs) != 1:
        return f"{len(task.system.drugs)} drugs"
    if not isinstance(model, Tumor) or len(model.names) not in _POINTS:
        return f"the model {model.kind} with {len(model.clone_names())} clones"
    # Where nothing is left of a dose, nothing says what a mechanism has settled to.
    if not task.system.pharmacokinetics[0].is_linear or size > 1 or (size == 0 and model.mechanisms):
        return f"the kinetics {task.system.pharmacokinetics[0].kind}"
    if model.held_states(jnp.zeros(1)) is None:
        return "a mechanism that is slow itself"
    odd = [f"the term {t.kind}" for t in terms if not (t.is_linear or (t.is_sum and not t.needs))]
    odd += [limit.label() for limit in task.state_limits] + [row.name for row in problem.rows[1:]]
    odd += [row.name for row in problem.rows if row.weights.min() < 0]
    return odd[0] if odd else None


@dataclass(frozen=True)
class _Choices:
    """What may be given.

    Attributes:
        doses: to choose from [J].
        allowed: which of them each decision allows [K, J].
        taken: what each takes from the budget [K, J].
        budgets: that may be left [B], rising from 0 to the whole.
        prices: what terms that read doses alone ask for a unit of dose [K].
    """

    doses: Float[np.ndarray, "J"]
    allowed: np.ndarray
    taken: np.ndarray
    budgets: Float[np.ndarray, "B"]
    prices: Float[np.ndarray, "K"]


def _choices(problem: Problem) -> _Choices:
    lower, upper = problem.lower[:, 0], problem.upper[:, 0]
    doses, most = problem.levels.get(problem.task.system.drugs[0]), float(upper.max())
    if doses is None or len(doses) > _DOSES:
        # Small doses may do what large ones do not, so that half of them are even as logarithms.
        half = _DOSES // 2
        wished = np.r_[lower.min(), np.linspace(0.0, most, half), np.geomspace(most / _SPAN, most, half)]
        doses = np.unique(wished if doses is None else doses[np.abs(wished[:, None] - doses).argmin(1)])
    same = 1e-9 * most
    allowed = (doses >= lower[:, None] - same) & (doses <= upper[:, None] + same)
    if not allowed.any(1).all():
        raise OptionError(f"--certify: wanted one of the doses {doses.tolist()} within the dose bounds; got none")
    taken, whole = np.zeros(allowed.shape), 0.0
    if problem.rows:
        taken = problem.rows[0].coefficients * doses
        whole = min(problem.rows[0].limit, float(taken[:, -1].sum()))
    return _Choices(doses, allowed, taken, np.linspace(0.0, whole, _BUDGETS if whole else 1), _prices(problem))


def _prices(problem: Problem) -> Float[np.ndarray, "K"]:
    trajectory, _ = problem.simulate(Schedule(stored(problem.lower)))
    pairs = zip(problem.task.objective.weights, problem.task.objective.terms, strict=True)
    linear = [(weight, term) for weight, term in pairs if term.is_linear]

    def total(doses: Array) -> Scalar:
        scene = problem.task.scene(eqx.tree_at(lambda t: t.doses, trajectory, doses))
        return sum((weight * term.evaluate(scene) for weight, term in linear), jnp.zeros(()))

    return np.asarray(jax.grad(total)(jnp.asarray(problem.lower)))[:, 0]


def _axes(problem: Problem) -> list[np.ndarray]:
    """Points of the grid along each logarithm of cells and along the level before a dose."""
    lower, upper = problem.lower, problem.upper
    logs = []
    for share in np.linspace(0.0, 1.0, 13) ** 2:
        trajectory, _ = problem.simulate(Schedule(stored(lower + share * (upper - lower))))
        logs.append(np.asarray(trajectory.states.log_cells))
    # A clone far below the cells that objectives add before a logarithm is gone.
    seen = np.maximum(np.concatenate(logs), np.log(problem.task.system.model.floor()) - 4.0)
    points = _POINTS[seen.shape[1]]
    axes = [np.linspace(low - 0.2, high + 0.2, points) for low, high in zip(seen.min(0), seen.max(0), strict=True)]
    most = float(_most_left(problem.task, jnp.asarray(upper)))
    return axes if np.isnan(most) else [*axes, max(most, 1e-12) * np.linspace(0.0, 1.0, _LEVELS) ** 2]


@program
def _most_left(task: Task, doses: Float[Array, "K N"]) -> Scalar:
    """The kinetics' state before a dose at its largest, under doses [K, 1]; not a number where there is no state."""
    system, (state, _) = task.system, task.system.start()
    left = [ravel_pytree(state)[0]]
    for dose, length in zip(doses, task.grid.lengths, strict=True):
        pairs = zip(system.pharmacokinetics, system.give(state, dose), system.rates(dose), strict=True)
        state = tuple(pk.evolve(s, rate, length) for pk, s, rate in pairs)
        left.append(ravel_pytree(state)[0])
    found = jnp.concatenate(left)
    return jnp.max(found) if found.size else jnp.asarray(jnp.nan)


@program
def _steps(task: Task, points: Float[Array, "X d"], doses: Float[Array, "J"], lengths: Float[Array, "L"]) -> Any:
    """Where each dose leads from each point over intervals of each length [L, X, J, d], and its cost [L, X, J]."""
    system, first = task.system, task.system.start()
    levels_of = ravel_pytree(first[0])[1]
    clones = first[1].log_cells.size
    sums = [(w, t) for w, t in zip(task.objective.weights, task.objective.terms, strict=True) if t.is_sum]

    def step(length: Scalar, point: Array, dose: Scalar) -> tuple[Array, Scalar]:
        kinetics = levels_of(point[clones:])
        model: Any = system.model
        held = model.held_states(system.concentrations(kinetics, jnp.zeros(1)))
        start = system.give(kinetics, dose[None]), TumorState(point[:clones], held)
        end, nodes = flow(system, start, system.rates(dose[None]), jnp.zeros(()), length)
        seen: Any = jax.tree.map(lambda a: a[None], nodes)
        course = read_out(system, *seen, doses=jnp.zeros((task.grid.count, 1)))
        scene = task.scene(course)._replace(first=system.model.burden(first[1]))
        cost = sum((w * t.evaluate(scene) for w, t in sums), jnp.zeros(()))
        return jnp.concatenate([end[1].log_cells, ravel_pytree(end[0])[0]]), cost

    over_doses = jax.vmap(step, (None, None, 0))
    return jax.lax.map(lambda h: jax.lax.map(lambda p: over_doses(h, p, doses), points, batch_size=16), lengths)


@program
def _improved(later: Array, budgets: Array, places: Any, costs: Array, taken: Array, allowed: Array) -> Array:
    """The value of a decision [X, B] from that of the next one: the least over doses in each state, at each budget."""
    last = jnp.maximum(budgets[-1], 1e-12)

    def best(value: Array, choice: Any) -> tuple[Array, None]:
        corners, weights, cost, takes, may = choice
        follows = jnp.einsum("xc,xcb->xb", weights, later[corners])
        left = (budgets - takes) / last
        place = jnp.maximum(left, 0.0) * (budgets.size - 1)
        low = jnp.minimum(place.astype(int), max(budgets.size - 2, 0))
        part = place - low
        follows = (1.0 - part) * follows[:, low] + part * follows[:, jnp.minimum(low + 1, budgets.size - 1)]
        return jnp.minimum(value, cost[:, None] + jnp.where((left >= -1e-9) & may, follows, _NEVER)), None

    moved = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), (*places, costs))
    return jax.lax.scan(best, jnp.full(later.shape, _NEVER), (*moved, taken, allowed))[0]


class _Table:
    """Values of all states, decisions and budgets."""

    def __init__(self, problem: Problem, axes: list[np.ndarray], plan: "_Choices"):
        self.task, self.axes, self.plan = problem.task, axes, plan
        lengths = np.round(np.asarray(self.task.grid.lengths), 9)
        self.lengths, self.which = np.unique(lengths, return_inverse=True)
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
        after, self.costs = self._stepped(grid, self.lengths)
        self.places = [self._places(ends) for ends in after]
        self.values = self._values(len(grid))

    def _stepped(self, points: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        after, costs = _steps(self.task, stored(points), stored(self.plan.doses), stored(lengths))
        return np.asarray(after), np.asarray(costs)

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
        return costs + self.plan.prices[k] * self.plan.doses

    def _values(self, states: int) -> list[np.ndarray]:
        """V of all decisions, the end included [K + 1][X, B]."""
        plan = self.plan
        values = [np.zeros((states, len(plan.budgets)))]
        for k in reversed(range(len(self.which))):
            places, costs = self.places[self.which[k]], self._cost(k, self.costs[self.which[k]])
            own = jax.tree.map(
                lambda a: stored(a, a.dtype), (values[0], plan.budgets, places, costs, plan.taken[k], plan.allowed[k])
            )
            values.insert(0, np.asarray(_improved(*own)))
        return values

    def solved(self) -> tuple[float, np.ndarray]:
        """The least objective, and the schedule that follows it from the patient's own state [K, 1]."""
        kinetics, state = self.task.system.start()
        point = np.concatenate([np.asarray(state.log_cells), np.asarray(ravel_pytree(kinetics)[0])])
        left, doses = self.plan.budgets[-1], []
        corners, weights = self._places(point)
        value = float(weights @ self.values[0][corners, -1])
        for k, case in enumerate(self.which):
            after, costs = (a[0, 0] for a in self._stepped(point[None], self.lengths[case : case + 1]))
            corners, weights = self._places(after)
            rest = left - self.plan.taken[k]
            lines = np.sum(weights[..., None] * self.values[k + 1][corners], 1)
            follows = np.array([np.interp(b, self.plan.budgets, line) for b, line in zip(rest, lines, strict=True)])
            may = (rest >= -1e-9 * self.plan.budgets[-1]) & self.plan.allowed[k]
            best = int(np.argmin(np.where(may, self._cost(k, costs) + follows, np.inf)))
            point, left = after[best], rest[best]
            doses.append(self.plan.doses[best])
        return value, np.array(doses)[:, None]
