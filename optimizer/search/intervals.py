"""The intervals of a rollout as functions of the few numbers that each depends on."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from optimizer.axes import Scalar, Times
from optimizer.objectives.base import Objective, Scene
from optimizer.problem import Task
from optimizer.search.landscape import Lagrangian
from optimizer.search.pushes import second_derivatives
from optimizer.simulate import System, Trajectory, flow, read_out


class Jacobians(NamedTuple):
    """First derivatives of every interval."""

    end: Float[Array, "K d m"]  #: of the state at its end by the start [K, d, m]
    cost: Float[Array, "K m"]  #: of its part of the merit by the start [K, m]
    #: of what the other terms and the limits read by the start just after the dose, arrays [K, Q, ..., m]
    nodes: list[Array]
    #: of the start by the state at the start and by the interval's shares [K, m, d + N]
    interval_start: Float[Array, "K m dN"]
    #: second derivatives of every interval by its start [K, m, m], weighted with the adjoints of all that it gives: of
    #: the states at the ends [K, d], and of what is read at the nodes
    hessian_blocks: Callable[[Array, list[Array]], Array]


class Path(NamedTuple):
    """Where every interval begins, leading axis K."""

    rows: Array  #: shares [K, N]
    start: Array  #: z, the kinetics and states that doses reach, and what terms hand on [K, d]
    unforced: list[Array]  #: those that no dose reaches, arrays [K, ...]
    interval_start: Array  #: s, all of z just after the dose, and the rates of infusions [K, m]
    unforced_start: list[Array]  #: what no dose reaches, just after the dose
    times: Array  #: starts of the intervals [K, day]
    lengths: Array  #: of the intervals [K, day]
    multipliers: list[Array]  #: of the limits on single times, at the saved times of the interval, arrays [K, Q]


class Stages:
    """Intervals as functions of flat vectors: what doses reach, z at the start of an interval, s after the dose."""

    def __init__(self, task: Task, lagrangian: Lagrangian):
        objective, limits = task.objective, task.state_limits
        self.task, self.lagrangian, self.temperature = task, lagrangian, lagrangian.temperature
        self.infused = np.flatnonzero([route == "infusion" for route in task.system.routes])
        self.leaves, self.structure = jax.tree.flatten(task.system.start())
        self.reached = _reached(task.system, self.leaves, self.structure)
        first, self.tree = ravel_pytree([leaf for leaf, r in zip(self.leaves, self.reached, strict=True) if r])
        self.unforced = [leaf for leaf, r in zip(self.leaves, self.reached, strict=True) if not r]
        own = [term.is_sum or term.carried > 0 for term in objective.terms]
        self.sums, self.others = (_part(objective, np.equal(own, kept)) for kept in (True, False))
        self.handed = [term.carried for term in self.sums.terms]
        self.first = jnp.concatenate([first, jnp.zeros(sum(self.handed), first.dtype)])
        self.local = [i for i, limit in enumerate(limits) if limit.is_local]
        self.others_limited = [i for i, limit in enumerate(limits) if not limit.is_local]
        self.times, self.lengths = task.grid.edges[:-1], task.grid.lengths
        self.shape = self._shape()
        self.read = self._read()

    @property
    def is_chain(self) -> bool:
        """Whether the merit is a sum over intervals, and what is linear in the doses: its Hessian is in blocks."""
        return not self.others_limited and all(term.is_linear for term in self.others.terms)

    def carried(self, z: Array) -> Array:
        """What terms hand on."""
        return z[self.first.size - sum(self.handed) :]

    def joined(self, z: Array, unforced: list[Array]) -> Any:
        """Kinetics and state."""
        moving, still = iter(self.tree(z[: self.first.size - sum(self.handed)])), iter(unforced)
        return jax.tree.unflatten(self.structure, [next(moving if r else still) for r in self.reached])

    def parted(self, state: Any) -> tuple[Array, list[Array]]:
        """z, and what no dose reaches."""
        leaves = list(zip(jax.tree.leaves(state), self.reached, strict=True))
        return ravel_pytree([leaf for leaf, r in leaves if r])[0], [leaf for leaf, r in leaves if not r]

    def enter(self, z: Array, unforced: list[Array], shares: Array) -> tuple[Array, list[Array]]:
        """s of an interval, and what no dose reaches."""
        dose, carried = shares * self.task.scale, self.carried(z)
        pk, y = self.joined(z, unforced)
        z, unforced = self.parted((self.task.system.give(pk, dose), y))
        return jnp.concatenate([z, carried, dose[self.infused]]), unforced

    def integrate_interval(self, s: Array, unforced: list[Array], time: Scalar, length: Scalar) -> tuple[Any, Any]:
        """Kinetics and state at the end of an interval; times, weights, concentrations and states at its nodes."""
        size = self.first.size
        rate = jnp.zeros_like(self.task.scale).at[self.infused].set(s[size:])
        return flow(self.task.system, self.joined(s[:size], unforced), rate, time, length)

    def interval(self, s: Array, unforced: list[Array], time: Scalar, length: Scalar) -> tuple[Any, Trajectory]:
        """Kinetics and state at the end of an interval, and the trajectory in it."""
        last, nodes = self.integrate_interval(s, unforced, time, length)
        return last, self._read_out(nodes)

    def _read_out(self, nodes: Any) -> Trajectory:
        nodes = jax.tree.map(lambda a: a[None], nodes)
        return read_out(self.task.system, *nodes, jnp.zeros((1, self.task.scale.size)))  # pyright: ignore[reportCallIssue]

    def scene(self, trajectory: Trajectory) -> Scene:
        """What terms and limits look at, of an interval."""
        return self.task.scene(trajectory)._replace(first=self.task.system.model.burden(self.task.system.start()[1]))

    def passed(self, scene: Scene, carried: Array) -> tuple[Array, Scalar]:
        """What terms hand on, and the interval's part of all that do or are sums."""
        cost, handed = jnp.zeros_like(self.temperature), []
        parts = jnp.split(carried, np.cumsum(self.handed)[:-1]) if self.handed else []
        for term, weight, own in zip(self.sums.terms, self.sums.weights, parts, strict=True):
            own, part = term.passes(scene, own, self.temperature)
            handed.append(own)
            cost = cost + weight * part
        return jnp.concatenate([carried[:0], *handed]), cost

    def stage(self, s: Array, at: Path) -> tuple[tuple[Array, Scalar, list[Array]], list[Array]]:
        """z of the next interval, this one's part of the merit, what all others read at its nodes; excesses of limits.

        The limits are those on single times.
        """
        last, interval = self.interval(s, at.unforced_start, at.times, at.lengths)
        scene = self.scene(interval)
        carried, cost = self.passed(scene, self.carried(s[: self.first.size]))
        excesses = self._excesses(scene, self.local)
        own = self.lagrangian._replace(multipliers=tuple(at.multipliers))
        seen = [leaf for leaf, kept in zip(jax.tree.leaves(interval), self.read, strict=True) if kept]
        z = jnp.concatenate([self.parted(last)[0], carried])
        return (z, own.merit(cost, excesses), seen), list(excesses)

    def _excesses(self, scene: Scene, chosen: list[int]) -> tuple[Times, ...]:
        limits, margins = self.task.state_limits, self.task.margins
        found = (limits[i].read(scene).excess for i in chosen)
        return tuple(e if margins is None else e + margins[i] for i, e in zip(chosen, found, strict=True))

    def joined_excesses(self, local: list[Array], others: tuple[Times, ...]) -> tuple[Times, ...]:
        """Excesses of all limits, in their order, from those on single times [K, Q] and all others [T]."""
        mine, rest = (a.ravel() for a in local), iter(others)
        return tuple(next(mine if limit.is_local else rest) for limit in self.task.state_limits)

    def forward_sweep(self, rows: Array) -> tuple[Path, Trajectory]:
        """Where every interval begins, and the trajectory."""

        def interval(state: Any, inputs: Any) -> tuple[Any, tuple[Path, Any]]:
            shares, time, length = inputs
            s, unforced = self.enter(*state, shares)  # pyright: ignore[reportCallIssue]
            last, nodes = self.integrate_interval(s, unforced, time, length)
            z, still = self.parted(last)
            carried = self.carried(s[: self.first.size])
            if sum(self.handed):
                carried, _ = self.passed(self.scene(self._read_out(nodes)), carried)
            return (jnp.concatenate([z, carried]), still), (Path(shares, *state, s, unforced, time, length, []), nodes)  # pyright: ignore[reportCallIssue]

        inputs = rows, self.times, self.lengths
        _, (path, nodes) = jax.lax.scan(interval, (self.first, self.unforced), inputs)
        return path, read_out(self.task.system, *nodes, rows * self.task.scale)  # pyright: ignore[reportCallIssue]

    def jacobians(self, path: Path) -> tuple[tuple[Array, list[Array]], list[Array], Jacobians]:
        """Costs and nodes of all intervals, excesses of limits on single times, and derivatives of intervals."""
        multipliers = self.lagrangian.of(self.local).multipliers
        path = path._replace(multipliers=[m.reshape(self.lengths.size, -1) for m in multipliers])

        def entering(at: Path) -> Any:
            return jax.jacfwd(lambda z, u: self.enter(z, at.unforced, u)[0], (0, 1))(at.start, at.rows)

        (_, costs, nodes), excesses, first, hessian_blocks = second_derivatives(self.stage, path.interval_start, path)
        interval_start = jnp.concatenate(jax.vmap(entering)(path), axis=-1)
        return (costs, nodes), excesses, Jacobians(*first, interval_start, hessian_blocks)  # pyright: ignore[reportCallIssue]

    def start_hessians(self, path: Path, weights: Array) -> Float[Array, "K dN dN"]:
        """Second derivatives of the entries; zero for kinetics in which a dose only adds."""

        def one(at: Path, weight: Array) -> Array:
            def entered(w: Array) -> Scalar:
                return self.enter(w[: at.start.size], at.unforced, w[at.start.size :])[0] @ weight

            return jax.hessian(entered)(jnp.concatenate([at.start, at.rows]))

        return jax.vmap(one)(path, weights)

    def rest(self, nodes: list[Array], rows: Array) -> tuple[Scalar, tuple[Times, ...]]:
        """The merit of the terms that are no sums over intervals and the limits on more than single times."""
        flat = iter(a.reshape((-1, *a.shape[2:])) for a in nodes)
        pairs = zip(jax.tree.leaves(self.shape), self.read, strict=True)
        # What nobody reads is not there to be read: zeros of the right shape.
        leaves = [next(flat) if kept else jnp.zeros(leaf.shape, leaf.dtype) for leaf, kept in pairs]
        value, excesses = self._judge(jax.tree.unflatten(jax.tree.structure(self.shape), leaves), rows)
        return self.lagrangian.of(self.others_limited).merit(value, excesses), excesses

    def _judge(self, trajectory: Trajectory, rows: Array) -> tuple[Scalar, tuple[Times, ...]]:
        given = dataclasses.replace(trajectory, doses=rows * self.task.scale)
        scene = self.task.scene(given)
        value = self.others.smooth(scene, self.temperature) if self.others.terms else jnp.zeros_like(rows[0, 0])
        return value, self._excesses(scene, self.others_limited)

    def _shape(self) -> Trajectory:
        """Shapes of a whole trajectory."""
        interval_start = jax.eval_shape(self.enter, self.first, self.unforced, self.task.scale)
        _, interval = jax.eval_shape(self.interval, *interval_start, self.times[0], self.lengths[0])
        count = self.lengths.size
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct((count * a.shape[0], *a.shape[1:]) if a.ndim else (), a.dtype), interval
        )

    def _read(self) -> list[bool]:
        """Which leaves of a trajectory the terms and the limits look at."""
        rows = jax.ShapeDtypeStruct((self.lengths.size, self.task.scale.size), self.task.scale.dtype)
        program = jax.make_jaxpr(self._judge)(self.shape, rows).jaxpr
        used = {id(v) for equation in program.eqns for v in equation.invars} | {id(v) for v in program.outvars}
        return [id(v) in used for v in program.invars[: len(jax.tree.leaves(self.shape))]]


def _reached(system: System, leaves: list[Array], structure: Any) -> list[bool]:
    """Which kinetics and states a dose can change, now or later: those whose derivative is not zero by its form."""
    found = [False] * len(leaves)

    @jax.custom_jvp
    def probe(outputs: list[Array]) -> list[Array]:
        return outputs

    def note(primals: Any, tangents: Any) -> Any:
        for i, tangent in enumerate(tangents[0]):
            found[i] |= not isinstance(tangent, jax.custom_derivatives.SymbolicZero)
        return primals[0], tangents[0]

    probe.defjvp(note, symbolic_zeros=True)

    def interval(moving: list[Array], dose: Array, one: Array) -> tuple[list[Array], list[Array]]:
        given = iter(moving)
        pk, y = jax.tree.unflatten(
            structure, [next(given) if r else a for a, r in zip(leaves, reached or [], strict=True)]
        )
        start = system.give(pk, dose), y
        last, _ = flow(system, start, system.rates(dose), one, one)
        return probe(jax.tree.leaves(start)), probe(jax.tree.leaves(last))

    reached, one = None, jnp.ones(())
    while reached != found:
        reached = list(found)
        moving = [leaf for leaf, r in zip(leaves, reached, strict=True) if r]
        point = (moving, jnp.ones(len(system.drugs)))
        jax.eval_shape(lambda m, d: jax.jvp(lambda m, d: interval(m, d, one), (m, d), (m, d)), *point)
    return found


def _part(objective: Objective, kept: Bool[np.ndarray, "terms"]) -> Objective:
    """Some terms of an objective."""
    terms = tuple(term for term, keep in zip(objective.terms, kept, strict=True) if keep)
    return Objective(terms, objective.weights[np.flatnonzero(kept)])
