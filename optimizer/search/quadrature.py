"""A schedule's objective and its exact derivatives where the logarithms of cells are integrals of node functions.

Levels of the drugs are linear in the doses, and what relaxes to them within a boundary layer is a function of them, so
that all an interval does is a sum over nodes of functions of few numbers: its levels. Value, first and second
derivatives are taken of single nodes (nested forward mode), and summed; costs are linear in the number of intervals.
The adjoint of the logarithms is a running sum, that of the levels a linear recursion (Dunn and Bertsekas 1989, doi
10.1007/BF00940728).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar, Times
from optimizer.objectives.base import Scene
from optimizer.problem import Task
from optimizer.programs import program
from optimizer.search.elimination import MOST_ROWS, Blocks, adjoint, product
from optimizer.search.iterate import State
from optimizer.search.jets import Jet, jet, symmetric
from optimizer.search.landscape import Landscape
from optimizer.search.nodes import Course, Nodes
from optimizer.simulate import read_out

# Edges at switching levels, each of which is one panel more that is compiled by itself.
_MOST_EDGES = 3
# Nodes of a panel, and of the layer after a dose, that are tried in turn; they agree with the simulation to this.
NODES = ((4, 3), (7, 6))
_AGREES = 2e-8


class QuadratureProgram(eqx.Module):
    """A task whose model is a quadrature, as the search sees it: a `Landscape` with derivatives of its own.

    Attributes:
        task: system, grid, objective and limits.
        panel: Gauss nodes of a panel; an interval has one panel more than its mesh has edges at switching levels.
        layer: Gauss nodes of the boundary layer after a dose.
    """

    task: Task
    panel: int = eqx.field(static=True, default=NODES[0][0])
    layer: int = eqx.field(static=True, default=NODES[0][1])

    @property
    def lower(self) -> Array:
        """Smallest shares [n]."""
        return self.task.lower

    @property
    def upper(self) -> Array:
        """Largest shares [n]."""
        return self.task.upper

    @property
    def matrix(self) -> Array:
        """Linear limits on shares [rows, n]."""
        return self.task.matrix

    @property
    def bound(self) -> Array:
        """Their right-hand sides [rows]."""
        return self.task.bound

    @property
    def is_smooth(self) -> bool:
        """Whether no temperature plays a role: never does."""
        return True

    def evaluate(self, shares: Float[Array, "n"], temperature: Scalar) -> tuple[Scalar, tuple[Times, ...]]:
        """The objective; there are no state limits."""
        nodes, rows = Nodes(self.task, self.panel, self.layer), shares.reshape(self.task.grid.count, -1)
        course, sums = nodes.course(rows), _Sums(nodes)
        values = jax.vmap(nodes.nodes)(course.after, self.task.grid.lengths)
        jump = jax.vmap(nodes.jump)(course.before, course.after, nodes.is_first)
        logs = sums.logs_at(jump, nodes.summed(values[..., :-1]))
        costs = jax.vmap(jax.vmap(sums.density))(logs)
        return sums.total(jnp.sum(nodes.weights * values[..., -1] * costs), rows), ()

    def derivatives(self, shares: Float[Array, "n"]) -> tuple[Scalar, Float[Array, "n"], Blocks]:
        """The objective, its gradient [n], and its Hessian as blocks of intervals."""
        nodes, rows = Nodes(self.task, self.panel, self.layer), shares.reshape(self.task.grid.count, -1)
        course = nodes.course(rows)
        jets = jax.vmap(nodes.node_jets)(course.after, self.task.grid.lengths)
        jumps = jax.vmap(nodes.jump_jet)(course.before, course.after, nodes.is_first)
        return _Sums(nodes).assembled(rows, course, jets, jumps)

    def derive(self, state: State) -> tuple[Scalar, Any, Array, Blocks]:
        """Value, excesses (none), gradient and Hessian blocks, as a step of the search asks for them."""
        value, slope, blocks = self.derivatives(state.x)
        return value, (), slope, blocks


class _Sums:
    """What an objective makes of the nodes of all intervals."""

    def __init__(self, nodes: Nodes):
        self.nodes = nodes
        terms = list(zip(nodes.task.objective.terms, nodes.task.objective.weights, strict=True))
        self.sums, self.others = ([pair for pair in terms if pair[0].is_sum is kept] for kept in (True, False))

    def logs_at(self, jump: Float[Array, "K M"], gain: Float[Array, "K Q1 M"]) -> Float[Array, "K Q M"]:
        """Logarithms at all nodes, from the gains since each interval's start."""
        grown = jump + gain[:, -1]
        start = self.nodes.model.logs + jnp.cumsum(grown, 0) - grown
        return (start + jump)[:, None] + gain[:, :-1]

    def _scene(self, logs: Float[Array, "M"], rows: Float[Array, "K N"]) -> Scene:
        """A day in a state."""
        nodes, one = self.nodes, jnp.ones((1, 1))
        state = jax.tree.map(lambda a: a[None, None], nodes.model.state(logs, nodes.model.fast))
        conc, doses = jnp.zeros((1, 1, rows.shape[1])), rows * nodes.task.scale
        first = nodes.model.state(nodes.model.logs, nodes.model.fast)
        scene = nodes.task.scene(read_out(nodes.system, 0.0 * one, one, conc, state, doses))
        return scene._replace(first=nodes.system.model.burden(first))

    def density(self, logs: Float[Array, "M"]) -> Scalar:
        """What a day in a state adds to the objective."""
        scene = self._scene(logs, jnp.zeros((1, len(self.nodes.system.drugs))))
        return sum((w * t.evaluate(scene) for t, w in self.sums), jnp.zeros(()))

    def total(self, sums: Scalar, rows: Float[Array, "K N"]) -> Scalar:
        """With the terms that are linear in the doses."""
        if not self.others:
            return sums
        scene = self._scene(self.nodes.model.logs, rows)
        return sums + sum(w * t.evaluate(scene) for t, w in self.others)

    def assembled(self, rows: Array, course: Course, jets: Jet, jumps: Jet) -> tuple[Scalar, Array, Blocks]:
        """Value, gradient and blocks from the jets of all nodes [K, ., Q, M + 1] and layers [K, ., M]."""
        logs = self.logs_at(jumps.value, self.nodes.summed(jets.value[..., :-1]))
        costs = jax.vmap(jax.vmap(lambda x: jet(lambda a: self.density(jnp.stack(a)), list(x))))(logs)
        span = self.nodes.weights * jets.value[..., -1]
        own = jnp.sum(span[..., None] * costs.first, 1)
        ahead = jnp.cumsum(own[::-1], 0)[::-1]
        slopes, hessians, grown = jax.vmap(self._interval)(jets, jumps, costs, span, ahead, ahead - own)
        given, onwards = self._in_doses(grown, course.onwards)
        blocks = Blocks(product(product(given.T, hessians), given), onwards, self.nodes.task.matrix)
        slope = adjoint(product(slopes[:, None], given)[:, 0], onwards)
        linear = jax.grad(lambda r: self.total(jnp.zeros(()), r))(rows) if self.others else 0.0
        return self.total(jnp.sum(span * costs.value), rows), (slope + linear).ravel(), blocks

    def _in_doses(self, grown: Float[Array, "K W M"], onwards: Float[Array, "K l v"]) -> tuple[Array, Array]:
        """From levels and logarithms at an interval's start and its shares: its numbers, and the next ones' start."""
        levels, clones, entering = self.nodes.first.size, grown.shape[-1], self.nodes.entering()
        after = jnp.concatenate(
            [jnp.eye(entering.shape[0], levels), jnp.zeros((entering.shape[0], clones)), entering], 1
        )
        before = jnp.eye(levels, after.shape[1])
        logs = jnp.eye(clones, after.shape[1], levels)
        given = jnp.concatenate([before, after])
        later = product(onwards, after), logs + product(jnp.swapaxes(grown, 1, 2), given)
        return jnp.concatenate([given, logs]), jnp.concatenate(later, 1)

    def _interval(
        self, jets: Jet, jumps: Jet, costs: Jet, span: Array, ahead: Array, onwards: Array
    ) -> tuple[Array, Array, Array]:
        """Gradient [W + M] and Hessian [W + M, W + M] of what an interval does, and slopes of its growth [W, M].

        The W numbers are the levels before the dose, and levels and rates after it; then come the logarithms at its
        start. `ahead` and `onwards` are the derivatives of the objective by the logarithms at its start and its end.
        """
        padded = [(self.nodes.first.size, 0), (0, 0), (0, 0)]
        sums = jnp.pad(self.nodes.summed(jets.first[..., :-1]), padded) + jumps.first[:, None]
        gains, grown = sums[:, :-1], sums[:, -1]
        lengths = self.nodes.weights * jnp.pad(jets.first[..., -1], padded[:2])
        pull = span[:, None] * costs.first
        slope = jnp.sum(pull * gains, (1, 2)) + jnp.sum(lengths * costs.value, 1)
        bend = span * symmetric(costs.second.T)
        moved = jnp.sum(bend * jnp.moveaxis(gains, -1, 1)[:, None], 2)
        crossed = jnp.sum(lengths[:, None] * jnp.sum(costs.first * gains, -1), -1)
        twice = jnp.sum(jnp.moveaxis(gains, -1, 1)[:, None] * moved, (2, 3)) + crossed + crossed.T
        twice = twice + symmetric(jnp.sum(ahead * jumps.second, -1))
        # Cotangent of the growth at a node: what it does to all that comes after it.
        each = self.nodes.weights[:, None]
        weights = jnp.concatenate([self.nodes.pulled(pull) + onwards * each, each * costs.value[:, None]], 1)
        twice = twice + jnp.pad(symmetric(jnp.sum(weights * jets.second, (1, 2))), padded[:1] * 2)
        mixed = jnp.sum(moved, -1) + jnp.sum(lengths[..., None] * costs.first, 1)
        whole = jnp.block([[twice, mixed], [mixed.T, jnp.sum(bend, -1)]])
        return jnp.concatenate([slope, jnp.sum(pull, 0)]), whole, grown


def quadrature_program(task: Task, panel: int, layer: int) -> QuadratureProgram | None:
    """The task as a quadrature; None where its model, drugs, terms or limits do not say that they are of that form."""
    system, terms = task.system, task.objective.terms
    found = system.model.quadrature()
    if found is None or task.state_limits or task.grid.other is not None or not task.is_smooth:
        return None
    of_levels = all(pk.is_linear for pk in system.pharmacokinetics)
    # A layer is seen from the levels before the dose, in which no rate is.
    of_boluses = not jax.tree.leaves(found.fast) or all(route == "bolus" for route in system.routes)
    of_cells = all(term.is_linear or (term.is_sum and not term.needs) for term in terms)
    few = task.matrix.shape[0] <= MOST_ROWS and sum(system.mesh.switched) <= _MOST_EDGES
    return QuadratureProgram(task, panel, layer) if of_levels and of_boluses and of_cells and few else None


@program
def apart(task: Task, quick: Landscape, points: Float[Array, "R n"]) -> Float[Array, "R"]:
    """Differences of the objective from that on the nodes of the simulation, relative to it."""

    def one(x: Array) -> Scalar:
        wanted = task.evaluate(x, jnp.zeros(()))[0]
        return jnp.abs(quick.evaluate(x, jnp.zeros(()))[0] - wanted) / jnp.maximum(1.0, jnp.abs(wanted))

    return jax.lax.map(one, points)


def fitting(task: Task, points: Float[Array, "R n"]) -> QuadratureProgram | None:
    """The program with the fewest nodes that agrees with the simulation at some schedules; None where none does."""
    for panel, layer in NODES:
        quick = quadrature_program(task, panel, layer)
        if quick is None:
            return None
        if float(jnp.max(apart(task, quick, points))) <= _AGREES:
            return quick
    return None
