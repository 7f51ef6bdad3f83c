"""What is searched in a task's place: the same on fewer nodes where they agree with the simulation.

Nodes are chosen from rates that a model declares, which is more than most schedules need. A search begins on a few, if
at some schedules they give the objective of the simulation; whether they do at its ends is asked there (`agree`).
"""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from optimizer.mesh import Mesh
from optimizer.problem import Task
from optimizer.programs import stored
from optimizer.search.cooling import followed
from optimizer.search.landscape import Landscape
from optimizer.search.quadrature import apart, fitting

# Saved times of a simulation from which on fewer pay for the comparison.
_MANY = 1500
# Shares of an interval's panels that are tried in turn, as long as what is left is no more than a share.
_SHARES, _WORTH = (0.5, 0.25), 0.75
# How far the objective may lie from that of the simulation at starts, relative to it: measured, gradients lie apart a
# hundred times as far, which is below the tolerance of a search. At an end gradients count no more. And how much nearer
# it has to lie for still fewer nodes to be tried: the order of the nodes' rules.
_AGREES, AT_ENDS, _FURTHER = 5e-9, 2e-7, 1 / 16
# Schedules at which they are compared: always as many, so that there is one program of it.
COMPARED = 3


def searched(task: Task, points: Float[Array, "R n"]) -> Landscape:
    """The task as a quadrature, on fewer nodes, or with the terms that a search follows in a way of their own.

    Args:
        task: the numbers of the problem.
        points: schedules at which fewer nodes have to agree with the simulation, as flattened shares.
    """
    some = stored(np.asarray(points)[np.arange(COMPARED) % len(points)])
    return fitting(task, some) or followed(thinned(task, some))


def thinned(task: Task, points: Float[Array, "R n"]) -> Task:
    """The task on the fewest nodes that agree at some schedules; on its own where none do, or what is read is at nodes.

    Limits on states are read at nodes, and what is followed from one temperature to the next has corners.
    """
    mesh, found = task.system.mesh, task
    if task.state_limits or not task.is_smooth or mesh.size * task.grid.count < _MANY:
        return task
    for share in _SHARES:
        quick = on_panels_of(thinner(mesh, share), task)
        if quick.system.mesh.panels > _WORTH * mesh.panels:
            break
        far = float(jnp.max(apart(task, quick, points)))
        found = quick if far <= _AGREES else found
        if not far <= _AGREES * _FURTHER:
            break
    return found


def thinner(mesh: Mesh, share: float) -> Mesh:
    """A mesh with a share of another's even panels and of those in its boundary layer; edges at levels stay."""
    uniform, layer = (int(np.ceil(share * panels)) for panels in (mesh.uniform, mesh.layer))
    return replace(mesh, uniform=max(2, uniform), layer=max(2, layer) if mesh.layer else 0)


def on_panels_of(mesh: Mesh, task: Task) -> Task:
    """A task, maybe of another patient, on as many panels as a mesh has."""
    own = replace(task.system.mesh, uniform=mesh.uniform, layer=mesh.layer)
    return replace(task, system=replace(task.system, mesh=own))


def agree(task: Task, own: Landscape, points: Float[np.ndarray, "R n"]) -> Bool[np.ndarray, "R"]:
    """Whether ends of a search have the simulation's objective on the nodes that were searched on."""
    if own is task or not task.is_smooth:
        return np.ones(len(points), bool)
    blocks = np.concatenate([points, np.repeat(points[:1], -len(points) % COMPARED, 0)]).reshape(
        -1, COMPARED, points.shape[1]
    )
    far = np.concatenate([np.asarray(apart(task, own, stored(block))) for block in blocks])[: len(points)]
    return ~(far > AT_ENDS)
