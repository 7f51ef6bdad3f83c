"""Tempered sequential Monte Carlo: particles moved from one density to the next, by blackjax."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Index, Scalar

# Particles are moved once the effective number of them falls below this share of all.
LEAST_ESS = 0.5
# Plain vmap over more than about this many patients falls out of a CPU's cache.
BATCH = 128
# Steps of the random walk at each temperature, and its length for V numbers (Roberts, Gelman and Gilks 1997,
# doi 10.1214/aoap/1034625254).
_MOVES = 8
_LENGTH = 2.38
_MOST_TEMPERATURES = 200


def tempered(
    key: Array,
    z: Float[Array, "E W"],
    log_weights: Float[Array, "E"],
    before: Callable[[Array], Scalar],
    added: Callable[[Array], Scalar],
) -> tuple[Float[Array, "E W"], Float[Array, "E"], Index]:
    """Particles of the density before times what is added to it, from weighted particles of the one before.

    Args:
        key: of resampling and moves.
        z: particles.
        log_weights: theirs, normalised.
        before: log density that the particles stand for.
        added: log density that is added in steps of falling temperature.

    Returns:
        Particles, their log weights, and how many temperatures it took.
    """
    from blackjax.mcmc import random_walk
    from blackjax.smc import adaptive_tempered, resampling
    from blackjax.smc.tempered import TemperedSMCState

    def walk(key: Array, state: Any, log_density: Any, root: Array) -> Any:
        step = lambda key, position: root @ jax.random.normal(key, position.shape)  # noqa: E731
        return random_walk.build_additive_step()(key, state, log_density, step)

    kernel = adaptive_tempered.build_kernel(
        before, added, walk, random_walk.init, resampling.systematic, LEAST_ESS, batch_size=BATCH
    )

    def stage(carry: Any) -> Any:
        key, state, count = carry
        key, own = jax.random.split(key)
        root = _spread(state.particles, state.weights)
        return key, kernel(own, state, _MOVES, {"root": root[None]})[0], count + 1

    first = TemperedSMCState(z, jnp.exp(log_weights), jnp.zeros(()))
    _, state, count = jax.lax.while_loop(
        lambda c: (c[1].tempering_param < 1.0) & (c[2] < _MOST_TEMPERATURES), stage, (key, first, jnp.zeros((), int))
    )
    return state.particles, jnp.log(state.weights), count


def _spread(z: Float[Array, "E W"], weights: Float[Array, "E"]) -> Float[Array, "W W"]:
    """Root of the particles' covariance, as long as a random walk's step should be."""
    count = z.shape[1]
    away = z - weights @ z
    covariance = (weights[:, None] * away).T @ away
    # One Cholesky factor of a matrix kept away from singular: the particles may agree in a direction.
    factor = jnp.linalg.cholesky(covariance + 1e-12 * jnp.eye(count))
    return _LENGTH / count**0.5 * factor
