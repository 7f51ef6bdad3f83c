"""The audit's simulation: everything, kinetics included, as one adaptive solve; the only file that imports diffrax.

It shares the model's and the kinetics' differential equations with the search and nothing else: no fixed nodes, no
closed-form kinetics, no exactly relaxed factors, no quadrature rule, and a queue of its own for doses that wait.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from optimizer.axes import Doses
from optimizer.mesh import PLACES
from optimizer.programs import program, stored
from optimizer.simulate.arrivals import arrivals, undelayed
from optimizer.simulate.rollout import Grid, System, Trajectory, read_out

_MOST_STEPS = 100_000
# Gauss-Legendre nodes of one panel, and the panels of an interval (shares of its length), finer after a dose.
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(6)
_EDGES = np.array([0.0, 0.002, 0.01, 0.04, 0.12, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0])
# Cut in three, so that a peak or nadir between two nodes is read as well as the search reads it.
_PANELS = np.interp(np.arange(31) / 3.0, np.arange(11), _EDGES)
# Intervals that one program takes: of whatever grid, so that all ways of dosing share it.
_BLOCK = 16


def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the unit interval, its two ends included with weight zero, and their weights."""
    left, right = _PANELS[:-1, None], _PANELS[1:, None]
    inner = (left + 0.5 * (right - left) * (1.0 + _POINTS)).ravel()
    weights = (0.5 * (right - left) * _WEIGHTS).ravel()
    return np.r_[0.0, inner, 1.0], np.r_[0.0, weights, 0.0]


def solve(system: System, doses: Doses, grid: Grid, rtol: float = 1e-9, stiff: bool = False) -> Trajectory:
    """Simulate given doses adaptively, every dose edge and every end of a lag a boundary.

    Args:
        system: model and pharmacokinetics.
        doses: [K, N].
        grid: K intervals; time is local to each.
        rtol: relative tolerance of the step controller; the absolute one is the same.
        stiff: use an implicit method (Kvaerno 5) instead of an explicit one (Dormand-Prince 8).

    Returns:
        The trajectory at Gauss-Legendre nodes of each interval; `ok` is false when a solve ran out of steps.
    """
    due = arrivals(system, doses, grid)
    free = undelayed(system)
    count = len(due.edges) - 1
    # The last block is filled up with intervals of no length, which are skipped.
    pad = ((0, -count % _BLOCK), (0, 0))
    starts, lengths = np.pad(due.edges[:-1], pad[0]), np.pad(np.diff(due.edges), pad[0])
    inputs = starts, lengths, np.pad(due.amounts, pad), np.pad(due.rates, pad)
    carry: Any = free.start()
    parts = []
    for first in range(0, count, _BLOCK):
        block = tuple(stored(part[first : first + _BLOCK]) for part in inputs)
        carry, part = _block(free, carry, block, rtol, stiff)
        parts.append(part)
    saved = count * _nodes()[0].size
    whole = jax.tree.map(lambda *leaves: jax.device_put(np.concatenate(leaves)[:saved]), *(part for _, part in parts))
    ok = stored(all(bool(good) for good, _ in parts), bool)
    return Trajectory(**whole, doses=stored(doses), ok=ok, nodes=_nodes()[0].size)


def lobatto_panels(cuts: int) -> tuple[np.ndarray, np.ndarray]:
    """What `solve` saves of an interval as the mesh has it: Lobatto's nodes, each panel cut in so many.

    Returns:
        The nodes as shares of the interval [Q], and a matrix [Q, saved] that gives values at them from those saved, by
        the polynomial through the nodes of a panel.
    """
    edges = np.interp(np.arange(cuts * (_PANELS.size - 1) + 1) / cuts, np.arange(_PANELS.size), _PANELS)
    inner = edges[:-1, None] + np.diff(edges)[:, None] * PLACES[:-1]
    shares = np.append(inner.ravel(), 1.0)
    matrix = np.zeros((shares.size, _nodes()[0].size))
    panels = np.minimum(np.searchsorted(_PANELS, shares, side="right"), _PANELS.size - 1) - 1
    for row, (panel, share) in enumerate(zip(panels, shares, strict=True)):
        place = 2.0 * (share - _PANELS[panel]) / (_PANELS[panel + 1] - _PANELS[panel]) - 1.0
        own = slice(1 + _POINTS.size * panel, 1 + _POINTS.size * (panel + 1))
        matrix[row, own] = np.linalg.solve(np.vander(_POINTS).T, np.vander([place], _POINTS.size)[0])
    return shares, matrix


@program
def _block(system: System, carry: Any, block: tuple[Array, ...], rtol: float, stiff: bool) -> tuple[Any, Any]:
    """Some intervals: kinetics and state at the end of the last; whether all went well, and parts of a trajectory."""
    shares, weights = (jnp.asarray(a) for a in _nodes())

    def interval(carry: Any, inputs: Any) -> tuple[Any, Any]:
        start, length, amount, rate = inputs

        def skipped(carry: Any) -> Any:
            pk, y = carry
            still = jax.tree.map(lambda a: jnp.broadcast_to(a, (shares.size, *jnp.shape(a))), y)
            conc = jnp.broadcast_to(system.concentrations(pk, rate), (shares.size, rate.size))
            return carry, (jnp.array(True), conc, still)

        def solved(carry: Any) -> Any:
            return _interval(system, carry, (start, length, amount, rate), shares, rtol, stiff)

        carry, (good, conc, states) = jax.lax.cond(length > 0.0, solved, skipped, carry)
        return carry, (good, start + shares * length, weights * length, conc, states)

    carry, (good, times, weights_, conc, states) = jax.lax.scan(interval, carry, block)
    found = read_out(system, times, weights_, conc, states, block[3], jnp.all(good))
    return carry, (found.ok, {name: leaf for name, leaf in vars(found).items() if name not in ("ok", "doses", "nodes")})


def _interval(
    system: System, carry: Any, inputs: tuple[Array, ...], shares: Array, rtol: float, stiff: bool
) -> tuple[Any, Any]:
    """One interval: what is there at its end; and whether it was solved, concentrations and states at its nodes."""
    import diffrax  # 0.4 s, and nothing where the program is kept

    model, pks = system.model, system.pharmacokinetics
    (pk, y), (start, length, amount, rate) = carry, inputs
    pk = tuple(p.bolus(s, u) for p, s, u in zip(pks, pk, amount, strict=True))
    # A model without mechanisms has an empty tuple in its state, which the solver does not take.
    leaves, shape = jax.tree.flatten((pk, y))

    def field(tau: Any, leaves: Any, args: Any) -> Any:
        pk, y = jax.tree.unflatten(shape, leaves)
        slopes = tuple(p.field(s, r) for p, s, r in zip(pks, pk, rate, strict=True))
        return jax.tree.leaves((slopes, model.vector_field(start + tau, y, system.concentrations(pk, rate))))

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Kvaerno5() if stiff else diffrax.Dopri8(),
        t0=0.0,
        t1=length,
        dt0=None,
        y0=leaves,
        saveat=diffrax.SaveAt(ts=shares * length),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol),
        max_steps=_MOST_STEPS,
        throw=False,
    )
    levels, states = jax.tree.unflatten(shape, jax.tree.leaves(solution.ys))
    conc = jax.vmap(system.concentrations, (0, None))(levels, rate)
    last = jax.tree.map(lambda a: a[-1], (levels, states))
    return last, (solution.result == diffrax.RESULTS.successful, conc, states)
