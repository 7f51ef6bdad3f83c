"""What a tumor is at one time, and what drives its populations."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float


class TumorState(NamedTuple):
    """Populations as logarithms (positive by construction) and one entry a mechanism."""

    #: ln(cells + offset) of each clone; the offset is the model's cell floor for a clone that others feed, which may be
    #: empty, and zero for one that only grows from itself
    log_cells: Float[Array, "... M"]
    mechanisms: tuple[Any, ...]  #: states of the mechanisms in their order


class Drive(NamedTuple):
    """All that the populations feel at one time except each other."""

    growth: Float[Array, "... M"]  #: growth rate after inhibition [M, 1/day]
    loss: Float[Array, "... M"]  #: death, kill and the mechanisms' net rates [M, 1/day]
    conc: Float[Array, "... N"]  #: concentrations [N, mg/L], for mechanisms that are coupled to the populations
    switching: tuple[Float[Array, "..."], ...]  #: rate of each transition [1/day], or its share of the divisions [1]
