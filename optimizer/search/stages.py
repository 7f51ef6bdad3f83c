"""Exact second derivatives of a schedule's merit, interval by interval.

A rollout is a chain: what an interval makes of its start depends on that start and on its own dose, a few numbers,
however many doses there are. So second derivatives are taken of single intervals, of all of them at once, with respect
to these few; two recursions make them the Hessian of all doses (Dunn and Bertsekas 1989, doi 10.1007/BF00940728).
Terms that are sums or hand numbers on, and limits on single times, are sums over intervals; for a merit of nothing else
the Hessian stays in blocks.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar, Times
from optimizer.problem import Task
from optimizer.search.direction import Dense
from optimizer.search.elimination import MOST_ROWS, Blocks, Chain
from optimizer.search.intervals import Jacobians, Path, Stages
from optimizer.search.landscape import Lagrangian

# Doses from which on a Newton direction is found interval by interval; fewer are quicker as one matrix.
_LONG = 64


def evaluate(task: Task, shares: Float[Array, "n"], temperature: Scalar) -> tuple[Scalar, tuple[Times, ...], Path]:
    """What `Task.evaluate` says of flattened shares, n = K N, and the path on which derivatives are taken."""
    nothing = Lagrangian((), temperature, temperature)
    path, trajectory = Stages(task, nothing).forward_sweep(shares.reshape(task.grid.count, -1))
    scene = task.scene(trajectory)
    return task.objective.smooth(scene, temperature), tuple(r.excess for r in task.readings(scene)), path


def derivatives(
    task: Task, path: Path, lagrangian: Lagrangian
) -> tuple[Scalar, tuple[Times, ...], Float[Array, "n"], Chain | Dense]:
    """Merit, excess of every state limit, gradient and Hessian by all shares, n = K N.

    Args:
        task: what is searched.
        path: of the shares at which they are asked for (`evaluate`).
        lagrangian: the merit.
    """
    stages, rows = Stages(task, lagrangian), path.rows
    (costs, nodes), local, jacobians = stages.jacobians(path)
    (value, others), (by_node, direct) = jax.value_and_grad(stages.rest, (0, 1), has_aux=True)(nodes, rows)
    ends, by_start = _adjoint(jacobians, by_node)
    blocks = _blocks(task, stages, path, jacobians, ends, by_start, by_node)
    slope = jnp.einsum("km,kmn->kn", by_start, jacobians.interval_start[:, :, ends.shape[1] :]) + direct
    excesses = stages.joined_excesses(local, others)
    if stages.is_chain and task.matrix.shape[0] <= MOST_ROWS and rows.size >= _LONG:
        return value + jnp.sum(costs), excesses, slope.ravel(), Chain(blocks)
    reach = jnp.concatenate([blocks.reach(), _own_shares(rows)], 1)

    def linear(step: Array) -> Scalar:
        interval_start = jnp.einsum("kmi,kin,n->km", jacobians.interval_start, reach, step)
        pairs = zip(nodes, jacobians.nodes, strict=True)
        there = [a + jnp.einsum("kq...m,km->kq...", b, interval_start) for a, b in pairs]
        return stages.rest(there, rows + step.reshape(rows.shape))[0]

    hessian = blocks.whole()
    if not stages.is_chain:
        hessian = hessian + jax.hessian(linear)(jnp.zeros(rows.size, rows.dtype))
    return value + jnp.sum(costs), excesses, slope.ravel(), Dense(hessian, task.matrix)


def _own_shares(rows: Float[Array, "K N"]) -> Float[Array, "K N n"]:
    return jnp.eye(rows.size, dtype=rows.dtype).reshape(*rows.shape, rows.size)


def _adjoint(jacobians: Jacobians, cotangents: list[Array]) -> tuple[Float[Array, "K d"], Float[Array, "K m"]]:
    """Gradient of the merit by the state at every interval's end, and by every interval_start."""
    width = jacobians.end.shape[1]
    pairs = zip(jacobians.nodes, cotangents, strict=True)
    own = jacobians.cost + sum(jnp.einsum("kq...m,kq...->km", slope, cotangent) for slope, cotangent in pairs)

    def back(end: Array, inputs: Any) -> tuple[Array, tuple[Array, Array]]:
        onwards, own, interval_start = inputs
        weight = end @ onwards + own
        return weight @ interval_start[:, :width], (end, weight)

    last = jnp.zeros_like(jacobians.end[0, :, 0])
    return jax.lax.scan(back, last, (jacobians.end, own, jacobians.interval_start), reverse=True)[1]


def _blocks(
    task: Task, stages: Stages, path: Path, jacobians: Jacobians, ends: Array, by_start: Array, by_node: list[Array]
) -> Blocks:
    """Second derivatives of every interval by its start and its shares, weighted with the adjoints of what it gives."""
    entered = jacobians.interval_start
    inside = jacobians.hessian_blocks(ends, by_node)
    hessians = jnp.einsum("kmi,kmn,knj->kij", entered, inside, entered) + stages.start_hessians(path, by_start)
    return Blocks(hessians, jnp.einsum("kdm,kmi->kdi", jacobians.end, entered), task.matrix)
