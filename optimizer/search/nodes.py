"""Nodes of an interval whose levels are linear in the doses: panels between crossings, and the layer after a dose."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from optimizer.axes import Flag, Scalar
from optimizer.models.base import Quadrature
from optimizer.problem import Task
from optimizer.search.elimination import product
from optimizer.search.jets import Jet, gauss, jet, pairs, split
from optimizer.simulate.switching_levels import crossings

# Intervals that a core computes at a time; of fewer, each would be computed alone.
_LANES = 16


class Course(NamedTuple):
    """Levels of all intervals."""

    before: Float[Array, "K l"]  #: levels before each dose [K, l]
    after: Float[Array, "K v"]  #: levels just after, and the rates of infusions [K, v]
    #: from the levels just after a dose and the rates to the next ones, matrices [K, l, v]
    onwards: Float[Array, "K l v"]


class Nodes:
    """Node functions of one patient: K intervals, l levels, v levels and rates after a dose, M clones, q nodes a panel.

    Of what is made of them, intervals are the last axis, filled up to L.
    """

    def __init__(self, task: Task, panel: int, layer: int):
        self.task, self.system = task, task.system
        found = self.system.model.quadrature()
        assert found is not None
        self.model: Quadrature = found
        # Intervals are side by side in vectors that are full, by some of no length at the end.
        self.more = -task.grid.count % _LANES
        self.lengths = jnp.pad(task.grid.lengths, (0, self.more))
        self.is_first = jnp.arange(self.lengths.size) == 0
        self.first, self._levels = ravel_pytree(self.system.start()[0])
        self.infused = [j for j, route in enumerate(self.system.routes) if route == "infusion"]
        self.panels = 1 + jax.eval_shape(self._crossings, [1.0] * (self.first.size + len(self.infused))).size
        places, self.weights, self.inner = gauss(panel)
        # What each panel's length counts in the panel's of a node and in the node's time [panels, q, panels].
        self.own = np.eye(self.panels)[:, None] * np.ones((panel, 1))
        self.reach = np.tri(self.panels, k=-1)[:, None] + places[:, None] * self.own
        self.layer = gauss(layer)[:2]
        self.has_layer = bool(jax.tree.leaves(found.fast))

    # --- levels -----------------------------------------------------------------------------------------------

    def _drugs(self, after: Sequence[Scalar]) -> tuple[tuple[Any, ...], Array]:
        """Kinetics and rates of the drugs from levels and rates after the dose."""
        size = self.first.size
        levels = self._levels(jnp.stack(after[:size]) if size else self.first)
        rates = [jnp.zeros(())] * len(self.system.drugs)
        for j, rate in zip(self.infused, after[size:], strict=True):
            rates[j] = rate
        return levels, jnp.stack(rates)

    def course(self, rows: Float[Array, "K N"]) -> Course:
        """Levels of all intervals; linear in the doses."""
        none = jnp.zeros(self.first.size + len(self.infused))

        def later(after: Array, length: Scalar) -> Array:
            levels, rates = self._drugs(list(after))
            parts = zip(self.system.pharmacokinetics, levels, rates, strict=True)
            return ravel_pytree(tuple(pk.evolve(s, r, length) for pk, s, r in parts))[0]

        onwards = jax.vmap(jax.jacfwd(later), (None, 0))(none, self.task.grid.lengths)
        size, added = self.first.size, product(rows[:, None], self.entering().T)[:, 0]

        def joined(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
            """Two stretches of time, one after the other: each takes levels to its matrix times them and a vector."""
            return product(other[0], one[0]), jnp.sum(other[0] * one[1][:, None], 2) + other[1]

        matrices, ends = jax.lax.associative_scan(joined, (onwards[..., :size], jnp.sum(onwards * added[:, None], 2)))
        ends = ends + jnp.sum(matrices * self.first, 2)
        before = jnp.concatenate([self.first[None], ends[:-1]])
        return Course(before, jnp.pad(before, ((0, 0), (0, len(self.infused)))) + added, onwards)

    def entering(self) -> Float[Array, "v N"]:
        """What a share of a dose adds to levels and rates."""

        def given(shares: Array) -> Array:
            dose = shares * self.task.scale
            levels = self.system.give(self._levels(jnp.zeros_like(self.first)), dose)
            return jnp.concatenate([ravel_pytree(levels)[0], dose[jnp.asarray(self.infused, int)]])

        return jax.jacfwd(given)(jnp.zeros_like(self.task.scale))

    def _conc(self, after: Sequence[Scalar]) -> Callable[[Scalar], Array]:
        levels, rates = self._drugs(after)

        def at(t: Scalar) -> Array:
            return self.system.concentrations(self._evolved(levels, rates, t), rates)

        return at

    def _evolved(self, levels: tuple[Any, ...], rates: Array, t: Scalar) -> tuple[Any, ...]:
        """Levels after some time: they are linear in levels and rates, and no rate of a bolus is looked at."""
        parts = []
        for j, (pk, state) in enumerate(zip(self.system.pharmacokinetics, levels, strict=True)):
            given = (state, rates[j]) if j in self.infused else (state,)
            none = jax.tree.map(jnp.zeros_like, given)
            parts.append(jax.jvp(lambda s, r=jnp.zeros(()), pk=pk: pk.evolve(s, r, t), none, given)[1])
        return tuple(parts)

    # --- nodes ------------------------------------------------------------------------------------------------

    def _crossings(self, after: Sequence[Scalar]) -> Array:
        system, (levels, rates) = self.system, self._drugs(after)
        return crossings(system.mesh, system.model, system.pharmacokinetics, levels, rates)

    def _spans(self, after: Sequence[Scalar], length: Scalar) -> list[Scalar]:
        """Lengths of panels, between times at which a concentration crosses a level that the mesh has an edge at."""
        edges = [jnp.zeros_like(length), length]
        for time in self._crossings(after):
            time = jnp.clip(time, 0.0, length)
            inner = [jnp.maximum(a, jnp.minimum(time, b)) for a, b in itertools.pairwise(edges)]
            edges = [edges[0], *inner, edges[-1]]
        return [b - a for a, b in itertools.pairwise(edges)]

    def _node(self, after: Sequence[Scalar], length: Scalar, own: Array, reach: Array) -> tuple[Array, Scalar]:
        """Growth of the logarithms [M] at a node times the length of its panel, and that length.

        Its time and its panel's length are sums over the lengths of all panels.
        """
        spans, conc = self._spans(after, length), self._conc(after)
        t, span = (sum(c * s for c, s in zip(of, spans, strict=True)) for of in (reach, own))
        return span * self.model.rate(self.model.settled(conc, t), conc(t)), span

    def _lanes(self, levels: Float[Array, "K v"]) -> list[Float[Array, "L"]]:
        """Each number of all intervals."""
        return [*jnp.pad(levels, ((0, self.more), (0, 0)), "edge").T]

    def _everywhere(self, function: Callable[..., Any], after: Float[Array, "K v"]) -> Any:
        """A function of levels and rates, length and place at all nodes of all intervals, leaves [panels, ., q, L]."""
        of_interval = jax.vmap(function, (0, 0, None, None), -1)
        of_place = jax.vmap(of_interval, (None, None, 0, 0), -2)
        of_panel = jax.vmap(of_place, (None, None, 0, 0))
        return of_panel(self._lanes(after), self.lengths, self.own, self.reach)

    def nodes(self, after: Float[Array, "K v"]) -> tuple[Float[Array, "panels M q L"], Float[Array, "panels q L"]]:
        """All nodes of all intervals: growth times the length of a panel, and that length."""
        return self._everywhere(self._node, after)

    def node_jets(self, after: Float[Array, "K v"]) -> tuple[Jet, Jet]:
        """The same by levels and rates."""
        return self._everywhere(lambda a, *at: split(jet(lambda a: self._node(a, *at), a)), after)

    def _jump(self, is_first: Flag, given: Sequence[Scalar]) -> Float[Array, "M"]:
        """Growth in the boundary layer beyond that of a settled state: levels before the dose, then those after it.

        In s = exp(-rate t) it is the integral of (f(settled + s off) - f(settled)) / (rate s) from 0 to 1.
        """
        size = self.first.size
        rate, _ = self.system.model.layer()
        conc = self._conc(given[size:])
        earlier = self.model.settled(self._conc([*given[:size], *[jnp.zeros(())] * len(self.infused)]), jnp.zeros(()))
        earlier = jax.tree.map(lambda a, b: jnp.where(is_first, a, b), self.model.fast, earlier)
        off = jax.tree.map(jnp.subtract, earlier, self.model.settled(conc, jnp.zeros(())))

        def at(s: float, weight: float) -> Array:
            t = -np.log(s) / rate
            settled, level = self.model.settled(conc, t), conc(t)
            stirred = jax.tree.map(lambda a, b: a + s * b, settled, off)
            return weight / (rate * s) * (self.model.rate(stirred, level) - self.model.rate(settled, level))

        return sum((at(float(s), float(w)) for s, w in zip(*self.layer, strict=True)), jnp.zeros(()))

    def jumps(self, course: Course) -> Float[Array, "M L"]:
        """What the boundary layers of all intervals add to the logarithms."""
        if not self.has_layer:
            return jnp.zeros((self.model.logs.size, self.is_first.size))
        return jax.vmap(self._jump, 0, -1)(self.is_first, self._lanes(course.before) + self._lanes(course.after))

    def jump_jets(self, course: Course) -> Jet:
        """The same by levels before the dose, and levels and rates after it, each leaf [M, L]."""
        given = self._lanes(course.before) + self._lanes(course.after)
        if not self.has_layer:
            none = self.jumps(course)
            return Jet(none, [none] * len(given), dict.fromkeys(pairs(len(given)), none))
        return jax.vmap(lambda first, x: jet(partial(self._jump, first), x), 0, -1)(self.is_first, given)

    # --- sums -------------------------------------------------------------------------------------------------

    def integrals(self, growth: Any) -> tuple[Any, Any]:
        """What has grown at the end of every interval, each leaf [..., L], and at its nodes [panels, ..., q, L]."""

        def panel(before: Any, growth: Any) -> tuple[Any, Any]:
            def at(weights: np.ndarray) -> Any:
                return jax.tree.map(lambda a, g: a + weighted(weights, g), before, growth)

            return at(self.weights), jax.tree.map(lambda *a: jnp.stack(a, -2), *(at(row) for row in self.inner))

        none = jax.tree.map(lambda a: jnp.zeros_like(a[0, ..., 0, :]), growth)
        return jax.lax.scan(panel, none, growth)


def weighted(weights: np.ndarray, values: Float[Array, "... q K"]) -> Float[Array, "... K"]:
    """Sum over the nodes of a panel, written out: intervals stay side by side."""
    parts = [float(w) * values[..., q, :] for q, w in enumerate(weights)]
    return sum(parts[1:], parts[0])
