"""How many nodes an interval needs, from the rates that a model and its drugs declare."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from optimizer.mesh import Mesh
from optimizer.models.base import AbstractModel
from optimizer.pharmacology.base import AbstractPK
from optimizer.programs import program

# Time constants of the populations in a panel, and time constants of a smooth response.
_STEP, _SWEEP = 0.4, 1.7
# The most panels of an interval, and time constants in a panel beyond which the fixed steps grow without an end.
MOST_PANELS, _STABLE = 4096, 2.5
# Births and deaths of a cell in a panel, at which chances of survival are known to about 1e-6 of themselves.
_TURNOVER = 0.8
# In a boundary layer: time constants in the first and in the last panel, growth of one over the one before less one.
_FIRST, _LAST, _GROWTH = 0.9, 6.0, 0.9
# How steep the rise of a drug counts.
_TRANSIENT = 2.0
# Time constants of a drug in the longest interval beyond which it counts as gone for half of it.
_BRIEF = 24.0


class Rates(NamedTuple):
    """What a model and its drugs declare; rates are in 1/day."""

    decline: Array  #: of each drug, and zero [N + 1]
    transient: Array  #: of each drug [N]
    jumps: Array  #: last time at which nodes have further panel edges, of each drug [N, day]
    fastest: Array  #: of the model
    layer: Array  #: rate and, without a unit, steepness [2]
    sharpness: Array  #: of the model at each decline [N + 1]
    steepness: Array  #: of the response at each switching level, in the logarithm of the concentration [levels]


@program
def declared(model: AbstractModel, pharmacokinetics: tuple[AbstractPK, ...]) -> Rates:
    """All rates that a model and its drugs declare, as one program: one by one each operation would be compiled."""
    zero = jnp.zeros(())
    decline = jnp.stack([*(zero + pk.elimination_rate() for pk in pharmacokinetics), zero])
    jumps = [zero + (times[-1] if (times := pk.jumps()) else 0.0) for pk in pharmacokinetics]
    return Rates(
        decline,
        jnp.array([pk.transient_rate() for pk in pharmacokinetics]),
        jnp.stack(jumps) if jumps else jnp.zeros(0),
        zero + model.fastest_rate(),
        jnp.stack(jnp.broadcast_arrays(*model.layer())),
        jnp.stack([zero + model.sharpness(rate) for rate in decline]),
        jnp.array([zero + level.steepness for level in model.switching_levels()]),
    )


def choose_mesh(
    model: AbstractModel,
    pharmacokinetics: Sequence[AbstractPK],
    longest: float,
    refinement: float = 1.0,
    turnover: float = 0.0,
) -> Mesh:
    """Mesh for intervals of at most `longest` days, from the rates that the model and the drugs declare.

    `turnover` is a further rate [1/day] to resolve, that of births and deaths where something follows them.
    """
    rates = jax.tree.map(np.asarray, declared(model, tuple(pharmacokinetics)))
    switched, sweep = _switched(model, pharmacokinetics, rates, longest)
    decline = rates.decline.tolist()
    # A drug that is gone in less than half an interval has its panels where it is, in the layer.
    brief = [rate for rate in decline if rate * longest > _BRIEF]
    slowly = max(rate for rate in decline if rate * longest <= _BRIEF)
    needed = max(turnover / _TURNOVER, float(rates.fastest) / _STEP, max(sweep, 1.5 * slowly) / _SWEEP)
    uniform = int(np.clip(math.ceil(longest * needed * refinement), 2, MOST_PANELS))
    layer_rate, steepness = rates.layer.tolist()
    sharpness = dict(zip(decline, rates.sharpness.tolist(), strict=True))
    transients = [rate for rate in rates.transient.tolist() if rate > needed]
    crossed = [(rate, 3.0 * max(1.0, 0.5 * sharpness[rate] / rate)) for rate in brief]
    layers = [(layer_rate, steepness), *crossed, *((rate, _TRANSIENT) for rate in transients)]
    layers = [(rate, most) for rate, most in layers if rate * longest > 1.0]
    if not layers:
        return Mesh(uniform, switched=switched)
    # One ladder of panels for all layers: as long as the slowest takes, as fine at its foot as the fastest needs.
    slowest, quickest = min(rate for rate, _ in layers), max(rate * most for rate, most in layers)
    grading = max(_LAST / _FIRST * quickest / slowest, 1.5)
    growth = 1.0 + _GROWTH / max(1.0, steepness)
    count = 1 + math.ceil(math.log(grading) / math.log(growth) * refinement)
    return Mesh(uniform, count, slowest, grading, switched)


def too_fast(model: AbstractModel, longest: float) -> str:
    """Why fixed steps cannot follow a model through intervals of `longest` days; empty where they can."""
    most, rate = _STABLE * MOST_PANELS / longest, float(model.fastest_rate())
    wanted = (
        f"rates of at most {most:.3g} / day, as {MOST_PANELS} steps in {longest:g} days resolve (decide more often)"
    )
    return f"wanted {wanted}; got one of {rate:.3g} / day" if rate > most else ""


def _switched(
    model: AbstractModel, pharmacokinetics: Sequence[AbstractPK], rates: Rates, longest: float
) -> tuple[tuple[int, ...], float]:
    """Panel edges at each jump of a drug and switching level, and the sweep [1/day] that even panels have to resolve.

    Edges at levels pay where even panels, as fine as the steepest response asks, would be more.
    """
    levels = model.switching_levels()
    # A lag of nothing has no edge.
    counts = [len(jax.eval_shape(lambda pk=pk: pk.jumps())) for pk in pharmacokinetics]
    jumps = [number * int(last > 0.0) for number, last in zip(counts, rates.jumps, strict=True)]
    lasting = [i for i, rate in enumerate(rates.decline) if rate * longest <= _BRIEF]
    sweeps = [
        rates.decline[level.drug] * steepness if level.drug in lasting else 0.0
        for level, steepness in zip(levels, rates.steepness.tolist(), strict=True)
    ]
    each = [_crossings(kinetics) for kinetics in pharmacokinetics]
    numbers = [each[level.drug] for level in levels]
    edges, even = [], max(float(rates.sharpness[i]) for i in lasting)
    for level, sweep, number in zip(levels, sweeps, numbers, strict=True):
        together = sweeps.count(sweep)
        pays = number > 0 and sweep * longest / _SWEEP > number * together
        edges.append(number if level.is_kink or pays else 0)
    left = [sweep for level, sweep, n in zip(levels, sweeps, edges, strict=True) if not (level.is_kink or n)]
    if any(n and not level.is_kink for level, n in zip(levels, edges, strict=True)):
        even = 0.0
    return (*jumps, *edges), max([even, *left])


def _crossings(kinetics: AbstractPK) -> int:
    """How often a concentration may cross a level."""
    one = jax.ShapeDtypeStruct((), float)
    return len(jax.eval_shape(kinetics.crossings, kinetics.initial(), one, one))
