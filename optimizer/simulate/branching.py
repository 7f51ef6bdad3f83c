"""Survival of single cells along a course: backward Kolmogorov equations of a branching process, in changing rates.

A cell of clone i divides at birth_i, dies at death_i, adds a cell of clone j at emission_ij and becomes one at
switching_ij, all of them functions of time that the deterministic course gives. With v_i(t) the chance that something
counted at the horizon T descends from one cell of clone i at t (one minus the generating function),

    -dv_i/dt = (birth_i - death_i - sum_j switching_ij) v_i - birth_i v_i^2
               + sum_j (emission_ij (1 - v_i) + switching_ij) v_j,      v_i(T) = 1 for clones that are counted, else 0

For one clone this is Kendall's 1 - v = Q / (1 + Q) (1948, doi 10.1214/aoms/1177730285); for several, chapter V of
Athreya and Ney 1972 (doi 10.1007/978-3-642-65371-1). It is v that is integrated, so that small chances keep their
digits.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Clones, Scalar
from optimizer.mesh import DEGREE, runge_kutta
from optimizer.models.base import Branching
from optimizer.simulate.adaptive import lobatto_panels
from optimizer.simulate.rollout import System, Trajectory

# Longest panel of the audit's nodes as a share of an interval, and how many of them a panel of the search takes.
_LONGEST, _FINER = 0.05, 2.0


def survival(system: System, trajectory: Trajectory, counted: Clones) -> Clones:
    """Chance that a cell of each clone at time 0 has descendants that are counted at the horizon [M].

    Args:
        system: the model, and the mesh whose panels are steps.
        trajectory: the course, on the mesh or as `adaptive.solve` saves it; differentiable in it twice.
        counted: 1 for clones that count at the horizon, 0 for others [M].
    """
    rates = jax.vmap(system.model.branching)(trajectory.states, trajectory.conc)
    tau, rates = jax.tree.map(lambda a: a.reshape((-1, trajectory.nodes, *a.shape[1:])), (trajectory.times, rates))
    if (trajectory.nodes - 1) % DEGREE:
        cuts = math.ceil(_FINER * _LONGEST * system.mesh.panels)
        shares, matrix = (jnp.asarray(a, tau.dtype) for a in lobatto_panels(cuts))
        tau = tau[:, :1] + shares * (tau[:, -1:] - tau[:, :1])
        # A rate is not negative, which a polynomial through it may be beside a kink.
        rates = jax.tree.map(lambda a: jnp.maximum(jnp.einsum("qs,ks...->kq...", matrix, a), 0.0), rates)
    return backwards(tau, rates, counted)


def backwards(tau: Float[Array, "K Q"], rates: Branching, counted: Clones) -> Clones:
    """v at the first of some times [K, Q, day] from that at the last, with rates at these times, arrays [K, Q, ...].

    The times of each interval are Lobatto's nodes of its panels, as those of `mesh.Mesh`.
    """

    def interval(later: Clones, inputs: tuple[Array, Branching]) -> tuple[Clones, None]:
        tau, rates = jax.tree.map(lambda a: a[::-1], inputs)
        return runge_kutta(tau[0] - tau, _field, rates, later, _growth)[-1], None

    return jax.lax.scan(interval, counted, (tau, rates), reverse=True)[0]


def _growth(v: Clones, rates: Branching) -> Clones:
    """What multiplies v_i [1/day]; a step is exact where that is constant, however many die."""
    return rates.birth - rates.death - jnp.sum(rates.switching, -1) - rates.birth * v


def _field(v: Clones, rates: Branching) -> Clones:
    return _growth(v, rates) * v + (1.0 - v) * (rates.emission @ v) + rates.switching @ v


def log_absence(system: System, trajectory: Trajectory, counted: Clones) -> Scalar:
    """Minus the logarithm of the probability that nothing counted is alive at the horizon, the first cells independent.

    It is -sum_i C_i(0) ln(1 - v_i), precise where the probability is 0 or 1 but for rounding.
    """
    v = survival(system, trajectory, counted)
    sure = 1.0 - jnp.finfo(v.dtype).eps
    return -jnp.sum(jnp.maximum(trajectory.cells[0], 0.0) * jnp.log1p(-jnp.minimum(v, sure)))
