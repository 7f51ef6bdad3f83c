"""Exact second derivatives of a schedule's merit, interval by interval.

A rollout is a chain: what an interval makes of its start depends on that start and on its own dose, a few numbers,
however many doses there are. So second derivatives are taken of single intervals, of all of them at once, with respect
to these few; two recursions make them the Hessian of all doses (Dunn and Bertsekas 1989, doi 10.1007/BF00940728).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar, Times
from optimizer.problem import Task
from optimizer.search.intervals import Jacobians, Path, Stages
from optimizer.search.move_blocking import MoveBlocking

# From the objective and the excesses of the state limits to what the search makes small.
Finish = Callable[[Scalar, tuple[Times, ...]], Scalar]


def evaluate(task: Task, shares: Float[Array, "n"], temperature: Scalar) -> tuple[Scalar, tuple[Times, ...], Path]:
    """What `Task.evaluate` says of flattened shares, n = K N, and the path on which derivatives are taken."""
    stages = Stages(task, temperature)
    path, trajectory = stages.forward_sweep(shares.reshape(task.grid.count, -1))
    scene = task.scene(trajectory)
    return task.objective.smooth(scene, temperature), tuple(r.excess for r in task.readings(scene)), path


def derivatives(
    task: Task, path: Path, temperature: Scalar, finish: Finish, blocking: MoveBlocking | None = None
) -> tuple[Scalar, tuple[Times, ...], Float[Array, "m"], Float[Array, "m m"]]:
    """Merit, excess of every state limit, gradient and Hessian by m unknowns.

    Args:
        task: what is searched.
        path: of the shares at which they are asked for, n = K N (`look`).
        temperature: of the terms that are not smooth.
        finish: the merit from the objective, in which it is affine, and the excesses.
        blocking: the unknowns; all shares, m = n, when None.
    """
    stages = Stages(task, temperature)
    rows = path.rows
    costs, nodes, jacobians = stages.jacobians(path)

    def whole(nodes: list[Array], rows: Array, sums: Array) -> tuple[Scalar, tuple[Times, ...]]:
        value, excesses = stages.rest(nodes, rows)
        return finish(value + sums, excesses), excesses

    sums = jnp.sum(costs)
    (value, excesses), cotangents = jax.value_and_grad(whole, (0, 1, 2), has_aux=True)(nodes, rows, sums)
    by_node, direct, unit = cotangents
    ends, by_start = _adjoint(jacobians, by_node, unit)
    hessian, reach = _condensed(
        jacobians, stages.hessian_blocks(jacobians, ends, by_node, unit), stages.start_hessians(path, by_start)
    )
    slope = (jnp.einsum("km,kmn->kn", by_start, jacobians.interval_start[:, :, ends.shape[1] :]) + direct).ravel()
    if blocking is not None:
        slope, reach, hessian = (
            blocking.jacobians(slope),
            blocking.jacobians(reach),
            blocking.jacobians(blocking.jacobians(hessian).T),
        )

    def moved(step: Array) -> Array:
        """All shares, a step of the unknowns away."""
        return rows + (step if blocking is None else blocking.moved(step)).reshape(rows.shape)

    if nodes:

        def linear(step: Array) -> Scalar:
            interval_start = jnp.einsum("kmn,n->km", reach, step)
            there = [
                a + jnp.einsum("kq...m,km->kq...", b, interval_start)
                for a, b in zip(nodes, jacobians.nodes, strict=True)
            ]
            return whole(there, moved(step), sums)[0]

        hessian = hessian + jax.hessian(linear)(jnp.zeros_like(slope))
    elif stages.others.terms:
        hessian = hessian + jax.hessian(lambda step: whole([], moved(step), sums)[0])(jnp.zeros_like(slope))
    return value, excesses, slope, hessian


def _adjoint(
    jacobians: Jacobians, cotangents: list[Array], unit: Scalar
) -> tuple[Float[Array, "K d"], Float[Array, "K m"]]:
    """Gradient of the merit by the state at every interval's end, and by every interval_start."""
    width = jacobians.end.shape[1]
    pairs = zip(jacobians.nodes, cotangents, strict=True)
    own = unit * jacobians.cost + sum(jnp.einsum("kq...m,kq...->km", slope, cotangent) for slope, cotangent in pairs)

    def back(end: Array, inputs: Any) -> tuple[Array, tuple[Array, Array]]:
        onwards, own, interval_start = inputs
        weight = end @ onwards + own
        return weight @ interval_start[:, :width], (end, weight)

    last = jnp.zeros_like(jacobians.end[0, :, 0])
    return jax.lax.scan(back, last, (jacobians.end, own, jacobians.interval_start), reverse=True)[1]


def _condensed(
    jacobians: Jacobians, hessian_blocks: Array, start_hessians: Array
) -> tuple[Float[Array, "n n"], Float[Array, "K m n"]]:
    """Hessian of all shares from those of single intervals, and the entries' derivatives by all shares.

    Backwards, B is the second derivative of all that is to come by an interval's start and shares; forwards, X is what
    earlier shares have done to its start. A pair of shares meets in the later one's interval, as X' B.
    """
    count, width, _ = jacobians.end.shape
    own = jacobians.interval_start.shape[2] - width
    size = count * own

    def back(later: Array, inputs: Any) -> tuple[Array, Array]:
        onwards, interval_start, block, extra = inputs
        here = interval_start.T @ (block + onwards.T @ later @ onwards) @ interval_start + extra
        return here[:width, :width], here[:, width:]

    none = jnp.zeros((width, width), jacobians.end.dtype)
    _, meets = jax.lax.scan(
        back, none, (jacobians.end, jacobians.interval_start, hessian_blocks, start_hessians), reverse=True
    )

    def forward(moved: Array, inputs: Any) -> tuple[Array, tuple[Array, Array]]:
        onwards, interval_start, place = inputs
        there = jax.lax.dynamic_update_slice(interval_start[:, :width] @ moved, interval_start[:, width:], (0, place))
        return onwards @ there, (moved, there)

    start = jnp.zeros((width, size), jacobians.end.dtype)
    _, (moved, reach) = jax.lax.scan(forward, start, (jacobians.end, jacobians.interval_start, own * jnp.arange(count)))
    above = jnp.einsum("kdi,kdj->ikj", moved, meets[:, :width]).reshape(size, size)
    blocks = jnp.eye(count, dtype=above.dtype)[:, None, :, None] * meets[:, width:][:, :, None, :]
    return above + above.T + blocks.reshape(size, size), reach
