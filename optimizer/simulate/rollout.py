"""System, Grid, Trajectory and the rollout: a scan over decision intervals on fixed nodes."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from optimizer import mesh as _mesh
from optimizer.axes import Doses, Edges, Flag, Nodes, Scalar, Times
from optimizer.models.base import AbstractModel
from optimizer.pharmacology.base import AbstractPK
from optimizer.policies.base import AbstractPolicy, Observation
from optimizer.simulate.switching_levels import crossings


class Grid(eqx.Module):
    """Decision intervals.

    Attributes:
        edges: start of each interval and the end of the last [day], increasing from 0.
        other: doses by the route that is not a drug's own, besides those of a policy [K, N]: rates of a drug that is
            given at once, amounts at the start of an interval of one that is infused; None where there are none.

    Example:
        >>> Grid.regular(every=7.0, horizon=180.0).count
        26
    """

    edges: Edges
    other: Doses | None = None

    @classmethod
    def regular(cls, every: float, horizon: float) -> "Grid":
        """Intervals of `every` days up to `horizon`; the last one may be shorter."""
        # A last sliver that is only rounding is not an interval.
        count = max(1, math.ceil(horizon / every - 1e-9))
        edges = [every * k for k in range(count)] + [horizon]
        return cls(jnp.asarray(edges, dtype=float))

    @property
    def count(self) -> int:
        """Number of intervals K."""
        return self.edges.shape[0] - 1

    @property
    def lengths(self) -> Float[Array, "K"]:
        """Length of each interval [day]."""
        return self.edges[1:] - self.edges[:-1]

    @property
    def horizon(self) -> Scalar:
        """End of the last interval [day]."""
        return self.edges[-1]


class System(eqx.Module):
    """A model and the pharmacokinetics of its drugs.

    Attributes:
        model: the equations.
        pharmacokinetics: one a drug [N].
        drugs: names of the drugs.
        routes: "bolus" or "infusion", one a drug.
        mesh: nodes of an interval.
        primed: states of the kinetics at time 0, where a patient has had drugs before [N]; None where not.
    """

    model: AbstractModel
    pharmacokinetics: tuple[AbstractPK, ...]
    drugs: tuple[str, ...] = eqx.field(static=True)
    routes: tuple[str, ...] = eqx.field(static=True)
    mesh: _mesh.Mesh
    primed: tuple[Any, ...] | None = None

    def __check_init__(self):
        sizes = {len(self.pharmacokinetics), len(self.drugs), len(self.routes)}
        if len(sizes) != 1:
            raise ValueError(f"wanted as many pharmacokinetics and routes as drugs, got {sorted(sizes)}")
        for pk, route, drug in zip(self.pharmacokinetics, self.routes, self.drugs, strict=True):
            if route not in pk.routes:
                raise ValueError(f"{drug}: {pk.kind} allows the routes {pk.routes}, got {route!r}")

    def start(self) -> tuple[Any, Any]:
        """Kinetics and state of a patient who has had no drug, or the doses that `primed` stands for."""
        empty = tuple(pk.initial() for pk in self.pharmacokinetics)
        return empty if self.primed is None else self.primed, self.model.initial_state()

    def give(
        self, state: tuple[Any, ...], dose: Float[Array, "N"], other: Float[Array, "N"] | None = None
    ) -> tuple[Any, ...]:
        """PK states just after the interval's boluses; `other` are doses by the route that is not a drug's own."""
        own = [dose[j] if route == "bolus" else None for j, route in enumerate(self.routes)]
        if other is not None:
            own = [other[j] if amount is None else amount for j, amount in enumerate(own)]
        given = zip(self.pharmacokinetics, state, own, strict=True)
        return tuple(s if amount is None else pk.bolus(s, amount) for pk, s, amount in given)

    def rates(self, dose: Float[Array, "N"], other: Float[Array, "N"] | None = None) -> Float[Array, "N"]:
        """Infusion rates of the interval; zero for a bolus, but for what is infused by the `other` route."""
        is_infused = jnp.array([route == "infusion" for route in self.routes], dtype=bool)
        return jnp.where(is_infused, dose, 0.0 if other is None else other)

    def concentrations(self, state: tuple[Any, ...], rate: Float[Array, "N"]) -> Float[Array, "N"]:
        """Concentration of each drug [mg/L]."""
        pairs = zip(self.pharmacokinetics, state, rate, strict=True)
        levels = [pk.concentration(s, r) for pk, s, r in pairs]
        return jnp.stack(levels) if levels else jnp.zeros(0)


class Trajectory(eqx.Module):
    """A patient under a policy. Each interval has its own first and last node, so a dose edge is there twice.

    Attributes:
        times: saved times [T, day], not decreasing.
        weights: quadrature weights [T, day]: the sum of weights times values is the integral over the horizon.
        conc: concentrations [T, N, mg/L].
        states: the model's states, leading axis T.
        cells: cancer cells of each clone [T, M].
        burden: all cancer cells [T].
        resistant: resistant cancer cells [T].
        observables: further quantities by name, leading axis T.
        doses: what was given [K, N].
        ok: whether every number is finite and no solve ran out of steps.
        nodes: saved times of each interval; 0 where they are not in intervals.
    """

    times: Times
    weights: Times
    conc: Float[Array, "T N"]
    states: Any
    cells: Float[Array, "T M"]
    burden: Times
    resistant: Times
    observables: dict[str, Float[Array, "T"]]
    doses: Doses
    ok: Flag
    nodes: int = eqx.field(static=True, default=0)


def read_out(
    system: System,
    times: Array,
    weights: Array,
    conc: Array,
    states: Any,
    doses: Doses,
    solved: Bool[Array, ""] | bool = True,
) -> Trajectory:
    """Trajectory from states at the nodes of all intervals, arrays with leading axes [K, Q]."""
    nodes = times.shape[1]
    flat = jax.tree.map(lambda a: a.reshape((-1, *a.shape[2:])), (times, weights, conc, states))
    times, weights, conc, states = flat
    model = system.model
    burden = jax.vmap(model.burden)(states)
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((states, burden))]
    return Trajectory(
        times=times,
        weights=weights,
        conc=conc,
        states=states,
        cells=jax.vmap(model.cells)(states),
        burden=burden,
        resistant=jax.vmap(model.resistant)(states),
        observables=jax.vmap(model.observables)(states, conc),
        doses=doses,
        ok=jnp.all(jnp.stack(leaves)) & solved,
        nodes=nodes,
    )


def rollout(system: System, policy: AbstractPolicy, grid: Grid) -> Trajectory:
    """Simulate a policy on the system's fixed nodes; differentiable, jit- and vmappable.

    Args:
        system: model and pharmacokinetics.
        policy: what is given.
        grid: decision intervals; time is local to each, a bolus is a jump between two of them.

    Returns:
        The trajectory at the nodes of all intervals, T = K Q.
    """
    first = system.start()
    start_burden = system.model.burden(first[1])

    def interval(carry: Any, inputs: Any) -> tuple[Any, Any]:
        (pk, y), memory = carry
        index, time, length, other = inputs
        also = system.model.observables(y, system.concentrations(pk, jnp.zeros(len(system.drugs))))
        seen = Observation(index, time, length, system.model.burden(y), start_burden, also)
        dose, memory = policy.decide(memory, seen)
        last, nodes = flow(system, (system.give(pk, dose, other), y), system.rates(dose, other), time, length)
        return (last, memory), (nodes, dose)

    inputs = (jnp.arange(grid.count), grid.edges[:-1], grid.lengths, grid.other)
    _, ((times, weights, conc, states), doses) = jax.lax.scan(interval, (first, policy.init()), inputs)
    return read_out(system, times, weights, conc, states, doses)


def flow(
    system: System, start: tuple[Any, Any], rate: Float[Array, "N"], time: Scalar, length: Scalar
) -> tuple[tuple[Any, Any], tuple[Nodes, Nodes, Array, Any]]:
    """One interval: kinetics and state at its end, and times, weights, concentrations and states at its nodes [Q, ...].

    Args:
        system: model and pharmacokinetics.
        start: kinetics and state just after the dose.
        rate: infusion rates.
        time: start of the interval [day].
        length: its length [day].
    """
    pk, y = start
    tau = system.mesh.nodes(length, crossings(system.mesh, system.model, system.pharmacokinetics, pk, rate))
    pairs = zip(system.pharmacokinetics, pk, rate, strict=True)
    levels = tuple(jax.vmap(p.evolve, (None, None, 0))(s, r, tau) for p, s, r in pairs)
    conc = jax.vmap(system.concentrations, (0, None))(levels, rate)
    states = system.model.advance(y, time, tau, conc)
    last = jax.tree.map(lambda a: a[-1], (levels, states))
    return last, (time + tau, _mesh.weights(tau), conc, states)
