"""What a search makes small, with its first and second derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar, Times
from optimizer.problem import Task
from optimizer.search import stages
from optimizer.search.landscape import Landscape


def penalized(value: Scalar, excesses: tuple[Times, ...], multipliers: tuple[Times, ...], penalty: Scalar) -> Scalar:
    """Augmented Lagrangian of an objective and the excess of every state limit at every saved time."""
    for excess, multiplier in zip(excesses, multipliers, strict=True):
        shifted = jnp.maximum(multiplier + penalty * excess, 0.0)
        value = value + jnp.sum(shifted**2 - multiplier**2) / (2.0 * penalty)
    return value


def merit(
    task: Landscape, x: Array, multipliers: tuple[Times, ...], penalty: Scalar, temperature: Scalar
) -> tuple[Scalar, Any]:
    """Augmented Lagrangian; the excess of every state limit at every saved time, and the path that derivatives take."""
    value, excesses, path = evaluate(task, x, temperature)
    return penalized(value, excesses, multipliers, penalty), (excesses, path)


def evaluate(task: Landscape, x: Array, temperature: Scalar) -> tuple[Scalar, tuple[Times, ...], Any]:
    """What the landscape shows, and where its intervals begin if it is a treatment in one patient."""
    return stages.evaluate(task, x, temperature) if isinstance(task, Task) else (*task.evaluate(x, temperature), ())


def derivatives(
    task: Landscape, x: Array, path: Any, multipliers: tuple[Times, ...], penalty: Scalar, temperature: Scalar
) -> tuple[Scalar, Any, Array, Array]:
    """Merit, excesses, gradient [n] and Hessian [n, n]: interval by interval for doses, all at once for what else."""
    if isinstance(task, Task):
        return stages.derivatives(task, path, temperature, lambda value, e: penalized(value, e, multipliers, penalty))
    value, (excesses, _), slope, hessian = dense(lambda z: merit(task, z, multipliers, penalty, temperature), x)
    return value, excesses, slope, hessian


def dense(function: Any, x: Float[Array, "n"]) -> tuple[Scalar, Any, Array, Array]:
    """Value, auxiliary output, gradient and Hessian of a scalar function with an auxiliary output."""
    gradient = jax.value_and_grad(function, has_aux=True)
    ((value, aux), slope), (_, hessian) = jax.vmap(
        lambda v: jax.jvp(gradient, (x,), (v,)), out_axes=((None, None), (0, 0))
    )(jnp.eye(x.size, dtype=x.dtype))
    return value, aux, slope, hessian
