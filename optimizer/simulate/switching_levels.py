"""Panel edges where a concentration crosses a level at which the equations switch."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.mesh import Mesh
from optimizer.models.base import AbstractModel
from optimizer.pharmacology.base import AbstractPK


def crossings(
    mesh: Mesh,
    model: AbstractModel,
    pharmacokinetics: tuple[AbstractPK, ...],
    states: tuple[Any, ...],
    rates: Float[Array, "N"],
) -> Float[Array, "edges"]:
    """Times since the start of an interval at which it has further panel edges [day]; 0 for what does not happen.

    Lags and infusions end there, tablets are taken, and concentrations cross the switching levels that the mesh has
    chosen. An edge at a kink moves with the doses, so that second derivatives are right; where the equations are smooth
    it may as well stand still.
    """
    if not any(mesh.switched):
        return jnp.zeros(0)
    count = len(pharmacokinetics)
    found = [t for pk, edges in zip(pharmacokinetics, mesh.switched[:count], strict=True) if edges for t in pk.jumps()]
    chosen = [s for s, edges in zip(model.switching_levels(), mesh.switched[count:], strict=True) if edges]
    for j, (kinetics, state, rate) in enumerate(zip(pharmacokinetics, states, rates, strict=True)):
        levels = [switching.level for switching in chosen if switching.drug == j]
        if levels:
            found += jax.vmap(kinetics.crossings, (None, None, 0))(state, rate, jnp.stack(levels))
    return jnp.concatenate([jnp.atleast_1d(jnp.asarray(time)) for time in found]) if found else jnp.zeros(0)
