"""Nodes of an interval whose levels are linear in the doses: panels between crossings, and the layer after a dose."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.models.base import Quadrature
from optimizer.problem import Task
from optimizer.search.elimination import product
from optimizer.search.jets import Jet, gauss, jet, pairs
from optimizer.simulate.switching_levels import crossings


class Course(NamedTuple):
    """Levels of all intervals.

    Attributes:
        before: levels before each dose [K, l].
        after: levels just after, and the rates of infusions [K, v].
        onwards: from the levels just after a dose and the rates to the next ones, matrices [K, l, v].
    """

    before: Float[Array, "K l"]
    after: Float[Array, "K v"]
    onwards: Float[Array, "K l v"]


class Nodes:
    """Node functions of one patient: K intervals, l levels, v levels and rates after a dose, M clones, Q nodes."""

    def __init__(self, task: Task, panel: int, layer: int):
        self.task, self.system = task, task.system
        found = self.system.model.quadrature()
        assert found is not None
        self.model: Quadrature = found
        self.is_first = jnp.arange(task.grid.count) == 0
        self.first, self._levels = ravel_pytree(self.system.start()[0])
        self.infused = [j for j, route in enumerate(self.system.routes) if route == "infusion"]
        self.panels = 1 + jax.eval_shape(self._crossings, [1.0] * (self.first.size + len(self.infused))).size
        self.places, self.panel_weights, self.integrals = gauss(panel)
        self.weights = jnp.asarray(np.tile(self.panel_weights, self.panels))
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
        added = product(rows[:, None], self.entering().T)[:, 0]

        def interval(before: Array, inputs: Any) -> tuple[Array, tuple[Array, Array]]:
            added, onwards = inputs
            after = jnp.concatenate([before, jnp.zeros(len(self.infused))]) + added
            return jnp.sum(onwards * after, 1), (before, after)

        _, (before, after) = jax.lax.scan(interval, self.first, (added, onwards))
        return Course(before, after, onwards)

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
            parts = zip(self.system.pharmacokinetics, levels, rates, strict=True)
            return self.system.concentrations(tuple(pk.evolve(s, r, t) for pk, s, r in parts), rates)

        return at

    # --- nodes ------------------------------------------------------------------------------------------------

    def _crossings(self, after: Sequence[Scalar]) -> Array:
        system, (levels, rates) = self.system, self._drugs(after)
        return crossings(system.mesh, system.model, system.pharmacokinetics, levels, rates)

    def _edges(self, after: Sequence[Scalar], length: Scalar) -> list[Scalar]:
        """Panel edges, in order: times at which a concentration crosses a level that the mesh has an edge at."""
        edges = [jnp.zeros_like(length), length]
        for time in self._crossings(after):
            time = jnp.clip(time, 0.0, length)
            inner = [jnp.maximum(a, jnp.minimum(time, b)) for a, b in itertools.pairwise(edges)]
            edges = [edges[0], *inner, edges[-1]]
        return edges

    def _node(self, after: Sequence[Scalar], length: Scalar, panel: int, place: Scalar) -> Float[Array, "M1"]:
        """Growth of the logarithms at a node times the length of its panel, and that length."""
        edges, conc = self._edges(after, length), self._conc(after)
        span = edges[panel + 1] - edges[panel]
        t = edges[panel] + place * span
        rate = self.model.rate(self.model.settled(conc, t), conc(t))
        return jnp.append(span * rate, span)

    def nodes(self, after: Float[Array, "v"], length: Scalar) -> Float[Array, "Q M1"]:
        """All nodes of an interval."""
        each = [
            jax.vmap(lambda c, j=j: self._node(list(after), length, j, c))(jnp.asarray(self.places))
            for j in range(self.panels)
        ]
        return jnp.concatenate(each)

    def node_jets(self, after: Float[Array, "v"], length: Scalar) -> Jet:
        """The same by levels and rates [., Q, M + 1]."""

        def one(panel: int, place: Scalar) -> Jet:
            return jet(lambda a: self._node(a, length, panel, place), list(after))

        each = [
            jax.vmap(lambda c, j=j: one(j, c), out_axes=Jet(0, 1, 1))(jnp.asarray(self.places))
            for j in range(self.panels)
        ]
        values, firsts, seconds = zip(*each, strict=True)
        return Jet(jnp.concatenate(values), jnp.concatenate(firsts, 1), jnp.concatenate(seconds, 1))

    def _jump(self, given: Sequence[Scalar], is_first: Array) -> Float[Array, "M"]:
        """Growth in the boundary layer beyond that of a settled state: levels before the dose, then those after it.

        In s = exp(-rate t) it is the integral of (f(settled + s off) - f(settled)) / (rate s) from 0 to 1.
        """
        size = self.first.size
        rate, _ = self.system.model.layer()
        conc = self._conc(given[size:])
        earlier = self.model.settled(self._conc([*given[:size], *[jnp.zeros(())] * len(self.infused)]), jnp.zeros(()))
        earlier = jax.tree.map(lambda a, b: jnp.where(is_first, a, b), self.model.fast, earlier)
        off = jax.tree.map(jnp.subtract, earlier, self.model.settled(conc, jnp.zeros(())))

        def at(s: Scalar, weight: Scalar) -> Array:
            t = -jnp.log(s) / rate
            settled, level = self.model.settled(conc, t), conc(t)
            stirred = jax.tree.map(lambda a, b: a + s * b, settled, off)
            return weight / (rate * s) * (self.model.rate(stirred, level) - self.model.rate(settled, level))

        return jnp.sum(jax.vmap(at)(*(jnp.asarray(a) for a in self.layer)), 0)

    def jump(self, before: Array, after: Array, is_first: Array) -> Float[Array, "M"]:
        """What the boundary layer of an interval adds to the logarithms."""
        if not self.has_layer:
            return jnp.zeros_like(self.model.logs)
        return self._jump([*before, *after], is_first)

    def jump_jet(self, before: Array, after: Array, is_first: Array) -> Jet:
        """The same by levels before the dose, and levels and rates after it."""
        given = [*before, *after]
        if not self.has_layer:
            size = len(given)
            none = jnp.zeros_like(self.model.logs)
            return Jet(none, jnp.stack([none] * size), jnp.stack([none] * len(pairs(size))))
        return jet(lambda a: self._jump(a, is_first), given)

    # --- sums -------------------------------------------------------------------------------------------------

    def summed(self, rates: Float[Array, "... Q M"]) -> Float[Array, "... Q1 M"]:
        """Integrals from the start of an interval to each node, and over all of it last."""
        count, before, out = len(self.places), 0.0, []
        for panel in range(self.panels):
            values = [rates[..., panel * count + r, :] for r in range(count)]
            out += [before + sum(float(c) * v for c, v in zip(row, values, strict=True)) for row in self.integrals]
            before = before + sum(float(c) * v for c, v in zip(self.panel_weights, values, strict=True))
        return jnp.stack([*out, before], -2)

    def pulled(self, pull: Float[Array, "Q M"]) -> Float[Array, "Q M"]:
        """The transpose of `summed`, without its last row."""
        count, after, out = len(self.places), 0.0, []
        for panel in reversed(range(self.panels)):
            values = [pull[panel * count + q] for q in range(count)]
            columns = self.integrals.T, self.panel_weights
            out = [
                sum(float(c) * v for c, v in zip(column, values, strict=True)) + float(weight) * after
                for column, weight in zip(*columns, strict=True)
            ] + out
            after = after + sum(values)
        return jnp.stack(out)
