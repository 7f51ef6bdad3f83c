"""A model whose cells are corrected by what was measured: all else it leaves to the model."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Edges, Nodes, Scalar
from optimizer.models.base import AbstractModel
from optimizer.simulate import System

# A visit on the day of a decision comes before its dose.
SAME_DAY = 1e-6


def _of_model(name: str) -> Any:
    """A method that the model answers."""
    return lambda self, *given: getattr(self.model, name)(*given)


class Corrected(AbstractModel):
    """A model whose cells are changed at the start of decision intervals."""

    kind: ClassVar[str] = "corrected"
    model: AbstractModel  #: the equations
    edges: Edges  #: of the intervals [K + 1, day]
    changes: Float[Array, "K M"]  #: of ln C_i at the start of each interval [K, M]

    def advance(self, y: Any, t0: Scalar, tau: Nodes, conc: Float[Array, "Q N"]) -> Any:
        k = jnp.searchsorted(self.edges, t0 + SAME_DAY, side="right") - 1
        return self.model.advance(self.model.changed(y, self.changes[k]), t0, tau, conc)

    initial_state = _of_model("initial_state")
    vector_field = _of_model("vector_field")
    burden = _of_model("burden")
    resistant = _of_model("resistant")
    fastest_rate = _of_model("fastest_rate")
    cells = _of_model("cells")
    clone_names = _of_model("clone_names")
    floor = _of_model("floor")
    layer = _of_model("layer")
    sharpness = _of_model("sharpness")
    switching_levels = _of_model("switching_levels")
    held_growth = _of_model("held_growth")
    observables = _of_model("observables")


def corrected(system: System, edges: Edges, changes: Float[Array, "K M"]) -> System:
    """The patient whose cells are changed at the start of intervals."""
    return eqx.tree_at(lambda s: s.model, system, Corrected(system.model, edges, changes))
