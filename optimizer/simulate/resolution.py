"""How many nodes an interval needs, from the rates that a model and its drugs declare."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from optimizer import mesh as _mesh
from optimizer.models.base import AbstractModel
from optimizer.pharmacology.base import AbstractPK
from optimizer.programs import program

# Panels of a layer of steepness one, and how steep the rise of a drug counts.
_LAYER_PANELS, _TRANSIENT = 8, 2.0
# Time constants of a drug in the longest interval beyond which it counts as gone for half of it.
_BRIEF = 24.0


class Rates(NamedTuple):
    """What a model and its drugs declare; rates are in 1/day.

    Attributes:
        decline: of each drug, and zero [N + 1].
        transient: of each drug [N].
        fastest: of the model.
        layer: rate and, without a unit, steepness [2].
        sharpness: of the model at each decline [N + 1].
    """

    decline: Array
    transient: Array
    fastest: Array
    layer: Array
    sharpness: Array


@program
def declared(model: AbstractModel, pharmacokinetics: tuple[AbstractPK, ...]) -> Rates:
    """All rates that a model and its drugs declare, as one program: one by one each operation would be compiled."""
    zero = jnp.zeros(())
    decline = jnp.stack([*(zero + pk.elimination_rate() for pk in pharmacokinetics), zero])
    transient = jnp.array([pk.transient_rate() for pk in pharmacokinetics])
    sharpness = jnp.stack([zero + model.sharpness(rate) for rate in decline])
    return Rates(
        decline, transient, zero + model.fastest_rate(), jnp.stack(jnp.broadcast_arrays(*model.layer())), sharpness
    )


def choose_mesh(
    model: AbstractModel,
    pharmacokinetics: Sequence[AbstractPK],
    longest: float,
    refinement: float = 1.0,
) -> _mesh.Mesh:
    """Mesh for intervals of at most `longest` days, from the rates that the model and the drugs declare."""
    rates = jax.tree.map(np.asarray, declared(model, tuple(pharmacokinetics)))
    decline, sweeps = rates.decline.tolist(), dict(zip(rates.decline.tolist(), rates.sharpness.tolist(), strict=True))
    # A drug that is gone in less than half an interval has its panels where it is, in the layer.
    brief = [rate for rate in decline if rate * longest > _BRIEF]
    lasting = [rate for rate in decline if rate * longest <= _BRIEF]
    slowly = max(lasting, default=0.0)
    fastest = max(float(rates.fastest), sweeps[slowly], 1.5 * slowly)
    uniform = int(np.clip(math.ceil(longest * fastest * 2.0 * refinement), 2, 4096))
    layer_rate, steepness = rates.layer.tolist()
    transients = [rate for rate in rates.transient.tolist() if rate > fastest]
    crossed = [(rate, 3.0 * max(1.0, 0.5 * sweeps[rate] / rate)) for rate in brief]
    layers = [(layer_rate, steepness), *crossed, *((rate, _TRANSIENT) for rate in transients)]
    layers = [(rate, most) for rate, most in layers if rate * longest > 1.0]
    if not layers:
        return _mesh.Mesh(uniform, 0, layer_rate)
    # One ladder of panels for all layers: as long as the slowest takes, as fine at its foot as the fastest needs.
    slowest, quickest = min(rate for rate, _ in layers), max(rate for rate, _ in layers)
    finest = _LAYER_PANELS * max(most for _, most in layers) * math.sqrt(quickest / slowest)
    return _mesh.Mesh(uniform, math.ceil(finest * refinement), slowest)
