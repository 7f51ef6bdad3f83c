"""A schedule's objective and its exact derivatives where the logarithms of cells are integrals of node functions.

Levels of the drugs are linear in the doses, and what relaxes to them within a boundary layer is a function of them, so
that all an interval does is a sum over nodes of functions of few numbers: its levels. Value, first and second
derivatives are taken of single nodes (nested forward mode), and summed; costs are linear in the number of intervals.
The adjoint of the logarithms is a running sum, that of the levels a linear recursion (Dunn and Bertsekas 1989, doi
10.1007/BF00940728).
"""

from collections.abc import Sequence
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
from optimizer.search.jets import Jet, jet, pairs, symmetric
from optimizer.search.landscape import Landscape
from optimizer.search.nodes import Course, Nodes, weighted
from optimizer.simulate import read_out

# Edges at switching levels, each of which is one panel more that is compiled by itself.
_MOST_EDGES = 3
# Nodes of a panel, and of the layer after a dose, that are tried in turn; they agree with the simulation to this.
NODES = ((4, 3), (7, 6))
_AGREES = 2e-8


class QuadratureProgram(eqx.Module):
    """A task whose model is a quadrature, as the search sees it: a `Landscape` with derivatives of its own."""

    task: Task  #: system, grid, objective and limits
    #: Gauss nodes of a panel; an interval has one panel more than its mesh has edges at switching levels
    panel: int = eqx.field(static=True, default=NODES[0][0])
    layer: int = eqx.field(static=True, default=NODES[0][1])  #: Gauss nodes of the boundary layer after a dose

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
        growth, span = nodes.nodes(course.after)
        ends, gains = nodes.integrals(growth)
        logs = sums.logs_at(nodes.jumps(course), ends)[:, None] + gains
        costs = weighted(nodes.weights, span * jax.vmap(sums.densities)(logs))
        return sums.total(jnp.sum(costs), rows), ()

    def derivatives(self, shares: Float[Array, "n"]) -> tuple[Scalar, Float[Array, "n"], Blocks]:
        """The objective, its gradient [n], and its Hessian as blocks of intervals."""
        nodes, rows = Nodes(self.task, self.panel, self.layer), shares.reshape(self.task.grid.count, -1)
        course = nodes.course(rows)
        return _Sums(nodes).assembled(rows, course, nodes.node_jets(course.after), nodes.jump_jets(course))

    def derive(self, state: State) -> tuple[Scalar, Any, Array, Blocks]:
        """Value, excesses (none), gradient and Hessian blocks, as a step of the search asks for them."""
        value, slope, blocks = self.derivatives(state.x)
        return value, (), slope, blocks


class _Sums:
    """What an objective makes of the nodes of all intervals: arrays [..., K], where K are filled up as in `Nodes`."""

    def __init__(self, nodes: Nodes):
        self.nodes = nodes
        terms = list(zip(nodes.task.objective.terms, nodes.task.objective.weights, strict=True))
        self.sums, self.others = ([pair for pair in terms if pair[0].is_sum is kept] for kept in (True, False))

    def logs_at(self, jump: Float[Array, "M K"], gain: Float[Array, "M K"]) -> Float[Array, "M K"]:
        """Logarithms just after every interval's boundary layer, from the growth in the layers and after them."""
        return self.nodes.model.logs[:, None] + jnp.cumsum(jump + gain, 1) - gain

    def _scene(self, logs: Float[Array, "M"], rows: Float[Array, "K N"]) -> Scene:
        """A day in a state."""
        nodes, one = self.nodes, jnp.ones((1, 1))
        state = jax.tree.map(lambda a: a[None, None], nodes.model.state(logs, nodes.model.fast))
        conc, doses = jnp.zeros((1, 1, rows.shape[1])), rows * nodes.task.scale
        first = nodes.model.state(nodes.model.logs, nodes.model.fast)
        scene = nodes.task.scene(read_out(nodes.system, 0.0 * one, one, conc, state, doses))
        return scene._replace(first=nodes.system.model.burden(first))

    def _density(self, logs: list[Scalar]) -> Scalar:
        """What a day in a state adds to the objective."""
        scene = self._scene(jnp.stack(logs), jnp.zeros((1, len(self.nodes.system.drugs))))
        return sum((w * t.evaluate(scene) for t, w in self.sums), jnp.zeros(()))

    def densities(self, logs: Float[Array, "M q K"]) -> Float[Array, "q K"]:
        """The same at all nodes of a panel."""
        return jax.vmap(jax.vmap(self._density))([*logs])

    def _density_jets(self, logs: Float[Array, "M q K"]) -> Jet:
        """With derivatives by the logarithms, each leaf [q, K]."""
        return jax.vmap(jax.vmap(lambda x: jet(self._density, x)))([*logs])

    def total(self, sums: Scalar, rows: Float[Array, "K N"]) -> Scalar:
        """With the terms that are linear in the doses."""
        if not self.others:
            return sums
        scene = self._scene(self.nodes.model.logs, rows)
        return sums + sum(w * t.evaluate(scene) for t, w in self.others)

    def assembled(self, rows: Array, course: Course, jets: tuple[Jet, Jet], jumps: Jet) -> tuple[Scalar, Array, Blocks]:
        """Value, gradient and blocks from the jets of all nodes (growth and lengths of panels) and layers.

        What an interval does depends on S numbers: the levels before the dose, levels and rates after it, and the
        logarithms at its start.
        """
        clones, size = self.nodes.model.logs.size, len(jumps.first) + self.nodes.model.logs.size
        ends, gains = self.nodes.integrals(jets[0])
        start, none = self.logs_at(jumps.value, ends.value) - jumps.value, jnp.zeros(self.nodes.lengths.size)
        sums = Jet(none, [none] * size, dict.fromkeys(pairs(size), none))

        def panel(sums: Jet, at: tuple[Jet, Jet]) -> tuple[Jet, None]:
            return self._with_panel(start, jumps, sums, *at), None

        sums, _ = jax.lax.scan(panel, sums, (gains, jets[1]))
        # What growth does to all that comes after an interval.
        own, grown = jnp.stack(sums.first[-clones:]), _after_jumps(jumps, ends)
        later = jnp.cumsum(own[:, ::-1], 1)[:, ::-1] - own
        hessian = {at: bend + _dot(later, grown.second.get(at, ())) for at, bend in sums.second.items()}
        logs = [*grown.first, *(jnp.broadcast_to(row[:, None], own.shape) for row in jnp.eye(clones))]
        return self._in_doses(rows, course, sums._replace(second=hessian), jnp.stack(logs))

    def _with_panel(self, start: Float[Array, "M K"], jumps: Jet, sums: Jet, gains: Jet, spans: Jet) -> Jet:
        """The objective, its gradient [S] and Hessian, each leaf [K], with the nodes of one panel more."""
        before = self.nodes.first.size
        logs = _after_jumps(jax.tree.map(lambda a: a[:, None], jumps), gains)
        costs = self._density_jets(start[:, None] + logs.value)
        curvature, moves = symmetric(costs.second), [*logs.first, *jnp.eye(len(start))[..., None, None]]
        slopes = [_dot(costs.first, move) for move in moves]
        lengths = dict(enumerate(spans.first, before))
        longer = {(i + before, j + before): bend for (i, j), bend in spans.second.items()}

        def first(i: int) -> Array:
            return spans.value * slopes[i] + (lengths[i] * costs.value if i in lengths else 0.0)

        def second(i: int, j: int) -> Array:
            bend = _dot([_dot(row, moves[i]) for row in curvature], moves[j])
            bend = spans.value * (bend + _dot(costs.first, logs.second.get((i, j), ())))
            bend = bend + sum(lengths[a] * slopes[b] for a, b in ((i, j), (j, i)) if a in lengths)
            return bend + longer[i, j] * costs.value if (i, j) in longer else bend

        def more(sum_: Array, values: Array) -> Array:
            return sum_ + weighted(self.nodes.weights, values)

        return Jet(
            more(sums.value, spans.value * costs.value),
            [more(own, first(i)) for i, own in enumerate(sums.first)],
            {at: more(own, second(*at)) for at, own in sums.second.items()},
        )

    def _in_doses(
        self, rows: Array, course: Course, sums: Jet, logs: Float[Array, "S M K"]
    ) -> tuple[Scalar, Array, Blocks]:
        """From the S numbers of intervals to levels and logarithms at their start, and shares."""
        given, size = self._given(), self.nodes.first.size
        hessians = _combined(given, jnp.swapaxes(_combined(given, symmetric(sums.second)), 0, 1))
        each = _combined(given, jnp.stack(sums.first)), hessians, jnp.swapaxes(_combined(given, logs), 0, 1)
        slopes, hessians, logs = (jnp.moveaxis(a[..., : len(rows)], -1, 0) for a in each)
        onwards = jnp.concatenate([product(course.onwards, given[size : size + course.after.shape[1]]), logs], 1)
        linear = jax.grad(lambda r: self.total(jnp.zeros(()), r))(rows) if self.others else 0.0
        slope = (adjoint(slopes, onwards) + linear).ravel()
        return self.total(jnp.sum(sums.value), rows), slope, Blocks(hessians, onwards, self.nodes.task.matrix)

    def _given(self) -> Float[Array, "S m"]:
        """What levels and logarithms at an interval's start, and its shares, add to its S numbers."""
        levels, clones, entering = self.nodes.first.size, self.nodes.model.logs.size, self.nodes.entering()
        size = levels + clones + entering.shape[1]
        after = [jnp.eye(len(entering), levels), jnp.zeros((len(entering), clones)), entering]
        return jnp.concatenate([jnp.eye(levels, size), jnp.concatenate(after, 1), jnp.eye(clones, size, levels)])


def _after_jumps(jumps: Jet, gains: Jet) -> Jet:
    """Growth since an interval's start; levels before the dose move the boundary layer alone."""
    before = len(jumps.first) - len(gains.first)
    firsts = [jump + gains.first[i - before] if i >= before else jump for i, jump in enumerate(jumps.first)]
    seconds = {
        (i, j): jump + gains.second[i - before, j - before] if i >= before else jump
        for (i, j), jump in jumps.second.items()
    }
    return Jet(jumps.value + gains.value, firsts, seconds)


def _dot(some: Sequence[Array] | Array, others: Sequence[Array] | Array) -> Any:
    """Sum of products, written out; of nothing where there are no others."""
    return sum(a * b for a, b in zip(some, others, strict=False))


def _combined(given: Float[Array, "S m"], values: Float[Array, "S ... K"]) -> Float[Array, "m ... K"]:
    """Derivatives by other numbers, of which the S are sums."""
    return _dot([row.reshape(-1, *[1] * (values.ndim - 1)) for row in given], values)


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
