"""Net growth of clones while concentrations are held, and the growth factor at which it turns."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.mechanisms.stroma import Stroma
from optimizer.models.base import AbstractModel
from optimizer.models.tumor import Tumor

# Halvings of the range of the growth factor, down to a billionth of it.
_HALVINGS = 30


@eqx.filter_jit
def held_growth(model: AbstractModel, conc: jax.Array) -> Any:
    """Net growth rates [C, M] at concentrations [C, N]; None where the model does not say."""
    return jax.vmap(model.held_growth)(conc)


@eqx.filter_jit
def frozen_growth(model: Tumor, growth_factor: jax.Array, conc: jax.Array) -> jax.Array:
    """The same with the growth factor held too [pg/mL]."""

    def at(level: jax.Array) -> jax.Array:
        settled = model.held_states(level)
        states = tuple(
            state._replace(growth_factor=growth_factor) if isinstance(mechanism, Stroma) else state
            for mechanism, state in zip(model.mechanisms, settled or (), strict=True)
        )
        return model.net_growth(states, level)

    return jax.vmap(at)(conc)


@eqx.filter_jit
def _shrinks_below(model: Tumor, most: Scalar, conc: Float[Array, "C N"]) -> Float[Array, "C M"] | None:
    if model.held_states(conc[0]) is None:
        return None

    def row(level: jax.Array) -> jax.Array:
        def halved(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = 0.5 * (low + high)
            rates = jax.vmap(lambda factor: frozen_growth(model, factor, level[None])[0])(middle)
            shrinks = jnp.diagonal(rates) < 0.0
            return jnp.where(shrinks, middle, low), jnp.where(shrinks, high, middle)

        none = jnp.zeros_like(model.initial_cells)
        low, high = jax.lax.fori_loop(0, _HALVINGS, halved, (none, none + most))
        return jnp.where(high < most, low, jnp.inf)

    return jax.vmap(row)(conc)


def shrinks_below(model: AbstractModel, conc: Float[Array, "C N"]) -> Float[Array, "C M"] | None:
    """Growth factor below which each clone shrinks at these concentrations [pg/mL], as `adose window` has net growth.

    More growth factor is never worse for a clone.

    Returns:
        0 where a clone grows without any, infinite where it shrinks under the most that the stroma secretes; None of a
        model without a stroma, or that does not say its net growth at a held level.
    """
    stroma = next((m for m in getattr(model, "mechanisms", ()) if isinstance(m, Stroma)), None)
    if stroma is None or not isinstance(model, Tumor):
        return None
    return _shrinks_below(model, stroma.growth_factor_max + stroma.growth_factor_max_per_cell * stroma.cells, conc)


@dataclass(frozen=True)
class Levels:
    """Concentrations of all drugs while that of one of them, number j, is looked at: its own entry is not read."""

    base: np.ndarray
    j: int

    def rows(self, conc: np.ndarray) -> jax.Array:
        """[C, N] from the concentrations [C] of the drug."""
        table = np.tile(self.base, (len(conc), 1))
        table[:, self.j] = conc
        return jnp.asarray(table)
