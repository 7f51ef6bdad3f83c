"""The audit's simulation: everything, kinetics included, as one adaptive solve; the only file that imports diffrax.

It shares the model's equations with the search and nothing else: no fixed nodes, no closed-form kinetics, no exactly
relaxed factors, no quadrature rule.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.axes import Doses
from optimizer.programs import program
from optimizer.simulate.rollout import Grid, System, Trajectory, read_out

_MOST_STEPS = 100_000
# Gauss-Legendre nodes of one panel, and the panels of an interval (shares of its length), finer after a dose.
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(6)
_EDGES = np.array([0.0, 0.002, 0.01, 0.04, 0.12, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0])
# Cut in three, so that a peak or nadir between two nodes is read as well as the search reads it.
_PANELS = np.interp(np.arange(31) / 3.0, np.arange(11), _EDGES)


def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the unit interval, its two ends included with weight zero, and their weights."""
    left, right = _PANELS[:-1, None], _PANELS[1:, None]
    inner = (left + 0.5 * (right - left) * (1.0 + _POINTS)).ravel()
    weights = (0.5 * (right - left) * _WEIGHTS).ravel()
    return np.r_[0.0, inner, 1.0], np.r_[0.0, weights, 0.0]


@program
def solve(system: System, doses: Doses, grid: Grid, rtol: float = 1e-9, stiff: bool = False) -> Trajectory:
    """Simulate given doses adaptively, every dose edge a boundary.

    Args:
        system: model and pharmacokinetics.
        doses: [K, N].
        grid: K intervals; time is local to each.
        rtol: relative tolerance of the step controller; the absolute one is the same.
        stiff: use an implicit method (Kvaerno 5) instead of an explicit one (Dormand-Prince 8).

    Returns:
        The trajectory at Gauss-Legendre nodes of each interval; `ok` is false when a solve ran out of steps.
    """
    import diffrax  # 0.4 s, and nothing where the program is kept

    model, pks = system.model, system.pharmacokinetics
    shares, weights = (jnp.asarray(a) for a in _nodes())
    solver = diffrax.Kvaerno5() if stiff else diffrax.Dopri8()

    def interval(carry: Any, inputs: Any) -> tuple[Any, Any]:
        (pk, y), good = carry
        start, length, dose = inputs
        pk, rate = system.give(pk, dose), system.rates(dose)
        # A model without mechanisms has an empty tuple in its state, which the solver does not take.
        leaves, shape = jax.tree.flatten((pk, y))

        def field(tau: Any, leaves: Any, args: Any) -> Any:
            pk, y = jax.tree.unflatten(shape, leaves)
            slopes = tuple(p.field(s, r) for p, s, r in zip(pks, pk, rate, strict=True))
            return jax.tree.leaves((slopes, model.vector_field(start + tau, y, system.concentrations(pk, rate))))

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            solver,
            t0=0.0,
            t1=length,
            dt0=None,
            y0=leaves,
            saveat=diffrax.SaveAt(ts=shares * length),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol),
            max_steps=_MOST_STEPS,
            throw=False,
        )
        levels, states = jax.tree.unflatten(shape, solution.ys)
        conc = jax.vmap(system.concentrations, (0, None))(levels, rate)
        last = jax.tree.map(lambda a: a[-1], (levels, states))
        good = good & (solution.result == diffrax.RESULTS.successful)
        return (last, good), (start + shares * length, weights * length, conc, states)

    start = (tuple(p.initial() for p in pks), model.initial_state())
    inputs = (grid.edges[:-1], grid.lengths, doses)
    (_, good), (times, weights_, conc, states) = jax.lax.scan(interval, (start, jnp.array(True)), inputs)
    return read_out(system, times, weights_, conc, states, doses, good)
