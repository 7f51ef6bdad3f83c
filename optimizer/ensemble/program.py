"""Nonlinear program of one schedule for an ensemble: the objective is its mean, CVaR or worst case."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer import programs as _programs
from optimizer.axes import Scalar, Times
from optimizer.ensemble.ensemble import Ensemble, with_system
from optimizer.ensemble.patients import stepped
from optimizer.ensemble.risk import Risk, Smoothed, smoothed
from optimizer.problem import Task
from optimizer.search import stages
from optimizer.search.direction import Dense
from optimizer.search.iterate import State
from optimizer.search.landscape import Lagrangian
from optimizer.search.move_blocking import MoveBlocking
from optimizer.simulate import System

# Plain vmap over more than about this many patients falls out of a CPU's cache.
_BATCH = 128
# Patients whose second derivatives are taken at a time.
_TOGETHER = 16


class EnsembleProgram(eqx.Module):
    """A task of P patients who all get the same doses; what the search asks of a `Task`, it answers."""

    task: Task  #: of the typical patient: grid, objective and limits
    systems: System  #: of the patients, each leaf with a leading axis [P]
    weights: Float[Array, "P"]  #: what each patient counts [P], summing to 1; 0 for one who is excluded
    #: how far apart the patients' objectives lie; corners are rounded off over this times the temperature
    width: Scalar
    risk: Risk = eqx.field(static=True)  #: how their objectives are made one
    alpha: float = eqx.field(static=True)  #: of cvar
    blocking: MoveBlocking | None = None  #: the doses that are open, where not all of them are searched one by one

    @property
    def lower(self) -> Array:
        """Smallest shares [K N]; of the doses ahead, 0 [m]."""
        return self.task.lower if self.blocking is None else jnp.zeros(self.blocking.count)

    @property
    def upper(self) -> Array:
        """Largest shares [K N]; of the doses ahead, 1 where there is a choice [m]."""
        if self.blocking is None:
            return self.task.upper
        return jnp.where(self.blocking.summed(self.blocking.span) > 0.0, 1.0, 0.0)

    @property
    def matrix(self) -> Array:
        """Linear limits on the unknowns [rows, K N], or [rows, m]."""
        return (
            self.task.matrix if self.blocking is None else self.blocking.summed(self.task.matrix * self.blocking.span)
        )

    @property
    def bound(self) -> Array:
        """Right-hand sides [rows]."""
        return self.task.bound if self.blocking is None else self.task.bound - self.task.matrix @ self.blocking.base

    @property
    def is_smooth(self) -> bool:
        """Whether no temperature plays a role."""
        return self.risk is Risk.MEAN and self.task.is_smooth

    def shares(self, x: Array) -> Array:
        """All doses as shares of the largest, from the unknowns."""
        return x if self.blocking is None else self.blocking.shares(x)

    def spread_over(self, width: Scalar) -> "EnsembleProgram":
        """The same with corners rounded off over another width."""
        return eqx.tree_at(lambda p: p.width, self, width)

    def values(self, x: Array, temperature: Scalar) -> tuple[Array, tuple[Array, ...]]:
        """Objective of every patient [P], and the excesses of every state limit [P, T]."""

        def one(system: System) -> tuple[Scalar, tuple[Times, ...]]:
            return with_system(self.task, system).evaluate(self.shares(x), temperature)

        return jax.lax.map(one, self.systems, batch_size=_BATCH)

    def summed(self, values: Array, temperature: Scalar) -> Smoothed:
        """The patients' objectives as one."""
        return smoothed(self.risk, values, self.weights, self.alpha, self.width * temperature)

    def evaluate(self, shares: Array, temperature: Scalar) -> tuple[Scalar, tuple[Times, ...]]:
        """The objective at a temperature, and the excess of every state limit in every patient [P T]."""
        values, excesses = self.values(shares, temperature)
        counted = self.weights[:, None] > 0.0
        kept = tuple(jnp.where(counted, excess, -jnp.inf).ravel() for excess in excesses)
        return self.summed(values, temperature).value, kept

    def derive(self, state: State) -> tuple[Scalar, Any, Array, Dense]:
        """Value, excesses, gradient and Hessian of the merit, patient by patient.

        The risk r(f_1, ..., f_P) has the gradient w and the Hessian diag(d) - d d'/sum(d), so that with the patients'
        gradients G [P, n] and Hessians H_p the whole one is sum_p w_p H_p + G' diag(d) G - (G'd)(G'd)' / sum(d).
        """
        x, temperature, penalty = state.x, state.temperature, state.penalty
        whole = _weighed(self, x, temperature)
        counted = self.weights > 0.0
        # Multipliers come one after the other, a saved time of every patient.
        multipliers = tuple(multiplier.reshape(counted.size, -1) for multiplier in state.multipliers)

        def one(inputs: Any) -> tuple[Any, Any]:
            system, weight, counted, multiplier = inputs
            task = with_system(self.task, system)

            lagrangian = Lagrangian(multiplier, penalty, temperature, weight, jnp.where(counted, 1.0, 0.0))
            _, _, path = stages.evaluate(task, self.shares(x), temperature)
            value, excess, slope, found = stages.derivatives(task, path, lagrangian)
            hessian = found.whole()
            if self.blocking is not None:
                by = self.blocking.jacobians
                slope, hessian = by(slope), by(by(hessian).T)
            own = jnp.zeros_like(x)
            if self.risk is not Risk.MEAN:
                own = jax.grad(lambda z: task.evaluate(self.shares(z), temperature)[0])(x)
            return (value, slope, hessian), (own, excess)

        inputs = (self.systems, whole.weights, counted, multipliers)
        (value, slopes, hessian), (own, excesses) = _mapped_sums(one, inputs)
        # Patients' objectives, weighted, are the risk for the mean alone; cotangents of limits are sums in any case.
        value = value + whole.value
        along = own.T @ whole.curvature
        total = jnp.sum(whole.curvature)
        spread = (own.T * whole.curvature) @ own - jnp.outer(along, along) / jnp.where(total > 0.0, total, 1.0)
        kept = tuple(jnp.where(counted[:, None], excess, -jnp.inf).ravel() for excess in excesses)
        return value, kept, slopes, Dense(hessian + spread, self.matrix)


def _weighed(program: EnsembleProgram, x: Array, temperature: Scalar) -> Smoothed:
    """What each patient counts; `value` is what the risk is beyond the sum of weighted objectives."""
    if program.risk is Risk.MEAN:
        return Smoothed(jnp.zeros(()), program.weights, jnp.zeros_like(program.weights))
    values, _ = program.values(x, temperature)
    whole = program.summed(values, temperature)
    beyond = whole.value - jnp.sum(jnp.where(whole.weights > 0.0, whole.weights * values, 0.0))
    return Smoothed(beyond, whole.weights, whole.curvature)


def _mapped_sums(function: Any, inputs: Any) -> tuple[Any, Any]:
    """Sums over the patients of the first part of what a function gives, and the second of each [P, ...]."""
    count = jax.tree.leaves(inputs)[0].shape[0]
    batch = min(count, _TOGETHER)
    main = count // batch * batch
    function = jax.jit(function)  # traced once; asked for its shapes, in batches and for the rest

    def add(sums: Any, chunk: Any) -> tuple[Any, Any]:
        parts, each = jax.vmap(function)(chunk)
        return jax.tree.map(lambda a, b: a + jnp.sum(b, 0), sums, parts), each

    shapes, _ = jax.eval_shape(function, jax.tree.map(lambda a: a[0], inputs))
    zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    blocks = jax.tree.map(lambda a: a[:main].reshape(-1, batch, *a.shape[1:]), inputs)
    sums, each = jax.lax.scan(add, zero, blocks)
    each = jax.tree.map(lambda a: a.reshape(main, *a.shape[2:]), each)
    if main < count:
        sums, rest = add(sums, jax.tree.map(lambda a: a[main:], inputs))
        each = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), each, rest)
    return sums, each


def build_program(ensemble: Ensemble, risk: Risk, alpha: float, typical: Float[np.ndarray, "n"]) -> EnsembleProgram:
    """The program of a whole ensemble; a typical schedule [n] tells how far apart the patients' objectives lie.

    Raises:
        ValueError: alpha is outside [0, 1), or no patient is healthy.
    """
    if not 0.0 <= alpha < 1.0:
        raise ValueError(f"alpha: wanted at least 0 and less than 1; got {alpha}")
    if not ensemble.included.any():
        raise ValueError("patients: wanted at least one who can be simulated; got none")
    # Few sizes, or every number of patients would be compiled: who fills up does not count. Who is excluded is not even
    # there: sums over the others are the same to the last bit as without him or her.
    included = np.flatnonzero(ensemble.included)
    total = included.size
    rows = included[np.minimum(np.arange(stepped(total)), total - 1)]
    systems = jax.tree.map(lambda leaf: jnp.asarray(leaf[rows]), ensemble.systems)
    weights = jnp.asarray(np.where(np.arange(rows.size) < total, 1.0 / total, 0.0))
    program = EnsembleProgram(ensemble.task, systems, weights, jnp.ones(()), risk, alpha)
    values = np.asarray(_values(program, jnp.asarray(typical)))[:total]
    # Where all patients are alike, any width will do.
    width = float(np.std(values)) or 1.0
    return eqx.tree_at(lambda p: p.width, program, jnp.asarray(width))


@_programs.program
def _values(program: EnsembleProgram, shares: Array) -> Array:
    return program.values(shares, jnp.ones(()))[0]
