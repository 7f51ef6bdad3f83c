"""How far a schedule is from satisfying the first-order conditions, measured apart from the search that found it."""

import jax
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.problem import Task
from optimizer.programs import program

# A limit counts as active when its room is below this share of its size.
_ACTIVE = 1e-5


@program
def gradient(task: Task, shares: Float[Array, "n"], temperature: Scalar | None) -> Float[Array, "n"]:
    """Gradient of the objective with respect to shares: as reported, or as searched at a temperature."""
    if temperature is None:
        return jax.grad(lambda x: task.loss(task.doses(x)))(shares)
    return jax.grad(lambda x: task.objective.smooth(task.simulate(x), temperature))(shares)


def residual(task: Task, shares: np.ndarray, gradient: np.ndarray, pulls: np.ndarray | None = None) -> float:
    """Smallest |gradient + sum of multipliers times active limits|, the multipliers being non-negative.

    Zero at a point that satisfies the Karush-Kuhn-Tucker conditions. Unlike the size of the last step it cannot be
    fooled by a method that has stalled.

    Args:
        task: the limits.
        shares: the point, flattened shares of the largest doses [n].
        gradient: of the objective with respect to the shares [n].
        pulls: gradients of the active limits on states, weighted over time [limits, n].

    Returns:
        The largest entry of the remainder, in units of the objective per largest dose.
    """
    lower, upper, matrix, bound = (np.asarray(a) for a in (task.lower, task.upper, task.matrix, task.bound))
    free = upper > lower
    identity = np.eye(shares.size)
    width = np.where(free, upper - lower, 1.0)
    columns = [
        -identity[:, free & (shares - lower <= _ACTIVE * width)],
        identity[:, free & (upper - shares <= _ACTIVE * width)],
        matrix[bound - matrix @ shares <= _ACTIVE * np.maximum(np.abs(bound), 1.0)].T,
        np.zeros((shares.size, 0)) if pulls is None else np.asarray(pulls).T,
    ]
    active = np.hstack(columns)[free]
    slope = np.asarray(gradient)[free]
    if not slope.size:
        return 0.0
    if active.shape[1]:
        from scipy.optimize import nnls

        multipliers, _ = nnls(active, -slope)
        slope = slope + active @ multipliers
    return float(np.max(np.abs(slope)))
