"""A step downhill on a quadratic that may bend downwards."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from optimizer.axes import Flag, Scalar

# Pivots of a Cholesky factor above which the matrix is taken to be positive definite.
_LEAST_PIVOT = 3e-5


class Dense(NamedTuple):
    """Hessian of all unknowns as one matrix, with the linear limits beside it."""

    hessian: Float[Array, "n n"]  #: symmetric [n, n]
    matrix: Float[Array, "r n"]  #: linear limits [r, n]

    def whole(self) -> Float[Array, "n n"]:
        """The matrix."""
        return self.hessian

    def direction(
        self,
        diagonal: Float[Array, "n"],
        weights: Float[Array, "r"],
        free: Bool[Array, "n"],
        downhill: Float[Array, "n"],
        damping: Scalar,
        solved: Flag,
    ) -> tuple[Float[Array, "n"], Scalar]:
        """Newton direction of the Hessian + diagonal + matrix' weights matrix, and its lowest scaled eigenvalue."""
        both = free[:, None] & free[None, :]
        curvature = jnp.where(both, self.hessian, 0.0) + jnp.diag(diagonal)
        curvature = curvature + jnp.where(both, (self.matrix.T * weights) @ self.matrix, 0.0)
        return direction(curvature, downhill, damping, solved)


def direction(
    curvature: Float[Array, "n n"], downhill: Float[Array, "n"], damping: Scalar, solved: Flag
) -> tuple[Float[Array, "n"], Scalar]:
    """Newton direction with every eigenvalue of the scaled matrix made positive.

    Negative curvature is followed by its absolute value, so the direction leaves saddle points; at a point that is
    stationary and yet no minimum it is the direction of the lowest eigenvalue.

    Args:
        curvature: symmetric matrix [n, n].
        downhill: minus the gradient [n].
        damping: added to the eigenvalues of the scaled matrix.
        solved: whether the point is stationary.

    Returns:
        The direction [n], and the lowest eigenvalue of the scaled matrix; where all are positive, a positive number.
    """
    size = 1.0 / jnp.sqrt(jnp.maximum(jnp.abs(jnp.diagonal(curvature)), 1e-8))
    scaled = curvature * size[:, None] * size[None, :]
    step, lowest = _step(0.5 * (scaled + scaled.T), size * downhill, damping, solved)
    return size * step, lowest


@jax.custom_batching.custom_vmap
def _step(matrix: Array, rhs: Array, damping: Scalar, solved: Flag) -> tuple[Array, Scalar]:
    """By a Cholesky factor where its pivots say that all eigenvalues are positive: these cost six times as much."""
    root = jnp.linalg.cholesky(matrix + damping * jnp.eye(rhs.size, dtype=rhs.dtype))
    pivots = jnp.diagonal(root)
    positive = (jnp.min(pivots) > _LEAST_PIVOT) & (damping <= _LEAST_PIVOT**2)
    return jax.lax.cond(
        positive,
        lambda: (jax.scipy.linalg.cho_solve((root, True), rhs), jnp.min(pivots) ** 2),
        lambda: _by_eigenvalues(matrix, rhs, damping, solved),
    )


@_step.def_vmap
def _(count: int, batched: Sequence[bool], *inputs: Array) -> tuple[tuple[Array, Array], tuple[bool, bool]]:
    # Side by side both ways would be taken; and jaxlib 0.10.2 can hang on two batched factors in one program.
    axes = tuple(0 if b else None for b in batched)
    return jax.vmap(_by_eigenvalues, axes, axis_size=count)(*inputs), (True, True)


def _by_eigenvalues(matrix: Array, rhs: Array, damping: Scalar, solved: Flag) -> tuple[Array, Scalar]:
    values, vectors = jnp.linalg.eigh(matrix)
    safe = jnp.maximum(jnp.abs(values), 1e-9) + damping
    along = (vectors.T @ rhs) / safe
    saddle = solved & (values[0] < -1e-6)
    kick = jnp.where(along[0] >= 0, 1e-2, -1e-2)
    along = along.at[0].add(jnp.where(saddle, kick, 0.0))
    return vectors @ along, values[0]
