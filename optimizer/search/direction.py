"""A step downhill on a quadratic that may bend downwards."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer._axes import Flag, Scalar

# Pivots of a Cholesky factor above which the matrix is taken to be positive definite.
_LEAST_PIVOT = 3e-5


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
    even, pull = 0.5 * (scaled + scaled.T), size * downhill
    root = jnp.linalg.cholesky(even + damping * jnp.eye(size.size, dtype=size.dtype))
    pivots = jnp.diagonal(root)

    def by_root() -> tuple[Array, Scalar]:
        return jax.scipy.linalg.cho_solve((root, True), pull), jnp.min(pivots) ** 2

    def by_eigenvalues() -> tuple[Array, Scalar]:
        values, vectors = jnp.linalg.eigh(even)
        safe = jnp.maximum(jnp.abs(values), 1e-9) + damping
        along = (vectors.T @ pull) / safe
        saddle = solved & (values[0] < -1e-6)
        kick = jnp.where(along[0] >= 0, 1e-2, -1e-2)
        along = along.at[0].add(jnp.where(saddle, kick, 0.0))
        return vectors @ along, values[0]

    # Eigenvalues cost six times as much; a factor with such pivots says that they are all positive.
    positive = (jnp.min(pivots) > _LEAST_PIVOT) & (damping <= _LEAST_PIVOT**2)
    step, lowest = jax.lax.cond(positive, by_root, by_eigenvalues)
    return size * step, lowest
