"""A model whose cells are corrected by what was measured: all else it leaves to the model."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Clones, Conc, Edges, Nodes, Scalar
from optimizer.models.base import AbstractModel
from optimizer.simulate import System

# A visit on the day of a decision comes before its dose.
SAME_DAY = 1e-6


class Corrected(AbstractModel):
    """A model whose cells are changed at the start of decision intervals.

    Attributes:
        model: the equations.
        edges: of the intervals [K + 1, day].
        changes: of ln C_i at the start of each interval [K, M].
    """

    kind: ClassVar[str] = "corrected"
    model: AbstractModel
    edges: Edges
    changes: Float[Array, "K M"]

    def advance(self, y: Any, t0: Scalar, tau: Nodes, conc: Float[Array, "Q N"]) -> Any:
        k = jnp.searchsorted(self.edges, t0 + SAME_DAY, side="right") - 1
        return self.model.advance(self.model.changed(y, self.changes[k]), t0, tau, conc)

    def initial_state(self) -> Any:
        return self.model.initial_state()

    def vector_field(self, t: Scalar, y: Any, conc: Conc) -> Any:
        return self.model.vector_field(t, y, conc)

    def burden(self, y: Any) -> Scalar:
        return self.model.burden(y)

    def resistant(self, y: Any) -> Scalar:
        return self.model.resistant(y)

    def fastest_rate(self) -> Scalar:
        return self.model.fastest_rate()

    def cells(self, y: Any) -> Float[Array, "M"]:
        return self.model.cells(y)

    def clone_names(self) -> tuple[str, ...]:
        return self.model.clone_names()

    def floor(self) -> float:
        return self.model.floor()

    def layer(self) -> Any:
        return self.model.layer()

    def sharpness(self, decline: Scalar) -> Any:
        return self.model.sharpness(decline)

    def switching_levels(self) -> Any:
        return self.model.switching_levels()

    def held_growth(self, conc: Conc) -> Clones | None:
        return self.model.held_growth(conc)

    def observables(self, y: Any, conc: Conc) -> dict[str, Array]:
        return self.model.observables(y, conc)


def corrected(system: System, edges: Edges, changes: Float[Array, "K M"]) -> System:
    """The patient whose cells are changed at the start of intervals."""
    return eqx.tree_at(lambda s: s.model, system, Corrected(system.model, edges, changes))
