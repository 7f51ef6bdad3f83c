"""Net growth of clones while the concentrations are held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from optimizer.mechanisms.stroma import Stroma
from optimizer.models.base import AbstractModel
from optimizer.models.tumor import Tumor


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
