"""What a search makes small, with its first and second derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar, Times
from optimizer.problem import Task
from optimizer.search import stages
from optimizer.search.direction import Dense
from optimizer.search.elimination import Chain
from optimizer.search.landscape import Lagrangian, Landscape


def merit(task: Landscape, x: Array, lagrangian: Lagrangian) -> tuple[Scalar, Any]:
    """Augmented Lagrangian; the excess of every state limit at every saved time, and the path that derivatives take."""
    value, excesses, path = evaluate(task, x, lagrangian.temperature)
    return lagrangian.merit(value, excesses), (excesses, path)


def evaluate(task: Landscape, x: Array, temperature: Scalar) -> tuple[Scalar, tuple[Times, ...], Any]:
    """What the landscape shows, and where its intervals begin if it is a treatment in one patient."""
    return stages.evaluate(task, x, temperature) if isinstance(task, Task) else (*task.evaluate(x, temperature), ())


def derivatives(
    task: Landscape, x: Array, path: Any, lagrangian: Lagrangian
) -> tuple[Scalar, Any, Array, Chain | Dense]:
    """Merit, excesses, gradient [n] and Hessian: interval by interval for doses, all at once for what else."""
    if isinstance(task, Task):
        return stages.derivatives(task, path, lagrangian)
    value, (excesses, _), slope, hessian = dense(lambda z: merit(task, z, lagrangian), x)
    return value, excesses, slope, Dense(hessian, task.matrix)


def dense(function: Any, x: Float[Array, "n"]) -> tuple[Scalar, Any, Array, Array]:
    """Value, auxiliary output, gradient and Hessian of a scalar function with an auxiliary output."""
    gradient = jax.value_and_grad(function, has_aux=True)
    ((value, aux), slope), (_, hessian) = jax.vmap(
        lambda v: jax.jvp(gradient, (x,), (v,)), out_axes=((None, None), (0, 0))
    )(jnp.eye(x.size, dtype=x.dtype))
    return value, aux, slope, hessian
