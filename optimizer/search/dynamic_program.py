"""How good the best of all schedules could be, from a dynamic program on a grid of states; for small problems.

The value V_k(x, b) of being in state x at decision k with a budget b left is the least of what the rest can come to

    V_k(x, b) = min_u [ cost_k(x, u) + V_k+1(x'(x, u), b - a u) ]        V_K = 0

(Bellman 1957, doi 10.1515/9781400835386), with x the logarithms of all cells and of the ratio of the two clones and the
drug's level before the dose, u one of some doses, and V interpolated between the points of the grid. What follows the
drug faster than the clones grow has settled where a decision begins. No local optimum can hide from it, and its answer
is as good as its grid and its doses: the same on half of both says how good.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.models.tumor import Tumor
from optimizer.objectives.base import AbstractTerm
from optimizer.objectives.progression import Progression
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Task
from optimizer.programs import program, stored
from optimizer.search.bellman import Choices, Table, from_logs
from optimizer.settings import OptionError

# Points of the grid, of an axis of logarithms at most, and of the axis of levels; odd along an axis, so that every
# second one is a grid, too.
_STATES = 15_200
_MOST = 121
_LEVELS = 9
# Most doses to choose from, without a budget and with one, how far apart the largest and the smallest are, and points
# of the axis of budgets left.
_DOSES = (96, 32)
_SPAN = 300.0
_BUDGETS = 41


@dataclass(frozen=True)
class Certificate:
    """What the least objective is near."""

    value: float  #: the least objective on the grid
    margin: float  #: by how much that differs on half the grid, with half the doses
    states: int  #: points of the grid, budgets left among them
    doses: Float[np.ndarray, "K N"]  #: the schedule it takes [K, 1]

    def to_json(self, reached: float) -> dict[str, float | int]:
        """The numbers, and by how many percent an objective is above the least (below it, where negative)."""
        gap = 100.0 * (reached - self.value) / max(abs(self.value), 1e-300)
        return {"value": self.value, "margin": self.margin, "states": self.states, "gap_percent": gap}

    def said(self, reached: float) -> str:
        """The same in words."""
        words = "{gap_percent:+.2g} % from {value:.6g}, the least of a dynamic program on {states:,} states"
        return (
            words.format(**self.to_json(reached)) + f" ({self.margin:.2g} away on half its grid, with half its doses)"
        )


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
    value, doses = Table(problem, axes, plan).solved()
    coarse, _ = Table(problem, [axis[::2] for axis in axes], plan.halved()).solved()
    return Certificate(value, abs(value - coarse), states * len(plan.budgets), doses)


def _beyond(problem: Problem) -> str | None:
    """What of a problem is more than a dynamic program can answer."""
    task, (kinetics, _) = problem.task, problem.task.system.start()
    model, terms, size = task.system.model, task.objective.terms, ravel_pytree(kinetics)[0].size
    if len(task.system.drugs) != 1:
        return f"{len(task.system.drugs)} drugs"
    if not isinstance(model, Tumor) or len(model.names) > 2:
        return f"the model {model.kind} with {len(model.clone_names())} clones"
    # Where nothing is left of a dose, nothing says what a mechanism has settled to.
    if not task.system.pharmacokinetics[0].is_linear or size > 1 or (size == 0 and model.mechanisms):
        return f"the kinetics {task.system.pharmacokinetics[0].kind}"
    if model.held_states(jnp.zeros(1)) is None:
        return "a mechanism that is slow itself"
    # Once progressed there is nothing more to be had, which sums over time would not know.
    is_held = any(isinstance(t, Progression) for t in terms)
    odd = [f"the term {t.kind}" for t in terms if not (t.is_linear or _adds_up(t, is_held))]
    odd += [limit.label() for limit in task.state_limits] + [row.name for row in problem.rows[1:]]
    odd += [row.name for row in problem.rows if row.weights.min() < 0]
    return odd[0] if odd else None


def _adds_up(term: AbstractTerm, is_held: bool) -> bool:
    return isinstance(term, Progression) if is_held else term.is_sum and not term.needs


def _choices(problem: Problem) -> Choices:
    lower, upper = problem.lower[:, 0], problem.upper[:, 0]
    doses, most = problem.levels.get(problem.task.system.drugs[0]), float(upper.max())
    count = _DOSES[bool(problem.rows)]
    if doses is None or len(doses) > count:
        # Small doses may do what large ones do not, so that half of them are even as logarithms.
        half = count // 2
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
    return Choices(doses, allowed, taken, np.linspace(0.0, whole, _BUDGETS if whole else 1), _per_dose(problem))


def _per_dose(problem: Problem) -> Float[np.ndarray, "K"]:
    trajectory, _ = problem.simulate(Schedule(stored(problem.lower)))
    pairs = zip(problem.task.objective.weights, problem.task.objective.terms, strict=True)
    linear = [(weight, term) for weight, term in pairs if term.is_linear]

    def total(doses: Array) -> Scalar:
        scene = problem.task.scene(eqx.tree_at(lambda t: t.doses, trajectory, doses))
        return sum((weight * term.evaluate(scene) for weight, term in linear), jnp.zeros(()))

    return np.asarray(jax.grad(total)(jnp.asarray(problem.lower)))[:, 0]


def _axes(problem: Problem) -> list[np.ndarray]:
    """Points of the grid along the logarithms of all cells and of the clones' ratio, and the level before a dose."""
    lower, upper, task, logs = problem.lower, problem.upper, problem.task, []
    for share in np.linspace(0.0, 1.0, 13) ** 2:
        trajectory, _ = problem.simulate(Schedule(stored(lower + share * (upper - lower))))
        logs.append(np.asarray(trajectory.states.log_cells))
    # A clone far below the cells that objectives add before a logarithm is gone.
    seen = np.maximum(np.concatenate(logs), np.log(task.system.model.floor()) - 4.0)
    seen = np.asarray(jax.vmap(from_logs)(jnp.asarray(seen)))
    low, high = seen.min(0) - 0.2, seen.max(0) + 0.2
    for term in task.objective.terms:
        if isinstance(term, Progression):
            # The grid ends where progression begins, so that no value is interpolated across that edge.
            high[0] = np.log(float(term.factor) * float(task.system.model.burden(task.system.start()[1])))
    most = float(_most_left(task, jnp.asarray(upper)))
    levels = [] if np.isnan(most) else [max(most, 1e-12) * np.linspace(0.0, 1.0, _LEVELS) ** 2]
    points = min(_MOST, (_STATES / (_LEVELS if levels else 1)) ** (1.0 / seen.shape[1]))
    return [np.linspace(*ends, 2 * int(points / 2) + 1) for ends in zip(low, high, strict=True)] + levels


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
