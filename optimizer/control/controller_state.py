"""What a receding-horizon controller remembers, is told and tells: plain arrays, as its step is a pure function."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Doses, Flag, Index, Scalar
from optimizer.control.belief import Belief
from optimizer.control.prediction import ModelCheck
from optimizer.observations import Record


class Plan(NamedTuple):
    """Doses ahead.

    Attributes:
        doses: those that were given, and the planned ones [K, N].
        objective: risk of the objective over the particles, as searched.
        residual: KKT residual, relative to the gradient at the start.
        converged: whether it reached the tolerance within the limits on states.
        violation: worst relative excess of a limit on states, over all particles.
        iterations: of the restart that is taken.
    """

    doses: Doses
    objective: Scalar
    residual: Scalar
    converged: Flag
    violation: Scalar
    iterations: Index


class Measurement(NamedTuple):
    """What is new at a visit, before its doses are given.

    Attributes:
        index: decisions that were made already: the next one is planned.
        given: doses; those of decisions that were made count [K, N].
        day: of what was measured [R].
        shown: on the scales on which errors add; R rows are as many as visits can have at once [R, C].
        seen: MISSING, MEASURED or BELOW [R, C].
    """

    index: Index
    given: Doses
    day: Float[Array, "R"]
    shown: Float[Array, "R C"]
    seen: Array


class ControllerState(NamedTuple):
    """All that a plan depends on: state in, state out."""

    belief: Belief  #: given everything measured
    record: Record  #: everything measured, empty rows at its end
    rows: Index  #: of the record that are filled
    plan: Doses  #: the last one, which the next search begins from [K, N]
    key: Array  #: of the update
    check: ModelCheck  #: whether the model fits what was measured


class PlanDiagnostics(NamedTuple):
    """How a plan came about at a decision; NaN and 0 where the plan was kept."""

    planned: Flag  #: whether it was planned again
    ess: Scalar  #: effective number of particles once the new results were weighed
    temperatures: Index  #: stages in which particles were moved
    negative_log_predictive: Scalar  #: minus the logarithm of the density that the belief gave to the new results
    objective: Scalar  #: risk of the objective over the particles, as searched
    residual: Scalar  #: KKT residual, relative to the gradient at the start
    converged: Flag  #: whether it reached the tolerance
    iterations: Index  #: of the search
    predicted: Scalar  #: median burden at the next decision over the particles that are planned for [cell]
    predictive_p: Scalar  #: tail probability of the visit's results given all before
    #: whether the fallback rule's dose was given: 1 because the model misfits, 2 because the plan would have stopped
    #: treatment for good while the measured burden rises, else 0
    fallback: Index

    @classmethod
    def none(cls, kind: Any = float) -> "PlanDiagnostics":
        """Of a decision at which nothing was planned."""
        nan, zero, no = jnp.asarray(jnp.nan, kind), jnp.zeros((), int), jnp.asarray(False)
        return cls(no, nan, zero, nan, nan, nan, no, zero, nan, nan, zero)


def strongly_typed(state: ControllerState) -> ControllerState:
    """Without weakly typed numbers, which would be compiled a second time."""
    return jax.tree.map(lambda a: a if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a.astype(a.dtype), state)


def with_rows(record: Record, rows: Index, new: Measurement) -> tuple[Record, Array]:
    """The record with new rows behind the old ones, and which of it is new [L, C].

    Rows without any result are left out; days of the empty rows are never looked at.
    """
    filled = jnp.any(new.seen != 0, axis=1)
    # Behind the end there is no row: what goes there is dropped.
    places = jnp.where(filled, rows + jnp.cumsum(filled) - 1, record.day.shape[0])
    day = record.day.at[places].set(new.day, mode="drop")
    shown = record.shown.at[places].set(new.shown, mode="drop")
    seen = record.seen.at[places].set(new.seen, mode="drop")
    fresh = (jnp.arange(day.shape[0]) >= rows)[:, None] & (seen != 0)
    return Record(day, shown, seen), fresh
