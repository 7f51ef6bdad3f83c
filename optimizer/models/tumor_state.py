"""What a tumor is at one time, and what drives its populations."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float


class TumorState(NamedTuple):
    """Populations as logarithms (positive by construction) and one entry a mechanism.

    Attributes:
        log_cells: ln(cells + offset) of each clone; the offset is the model's cell floor for a clone that others feed,
            which may be empty, and zero for one that only grows from itself.
        mechanisms: states of the mechanisms in their order.
    """

    log_cells: Float[Array, "... M"]
    mechanisms: tuple[Any, ...]


class Drive(NamedTuple):
    """All that the populations feel at one time except each other.

    Attributes:
        growth: growth rate after inhibition [M, 1/day].
        loss: death, kill and the mechanisms' net rates [M, 1/day].
        conc: concentrations [N, mg/L], for mechanisms that are coupled to the populations.
        switching: rate of each transition [1/day], or its share of the divisions [1].
    """

    growth: Float[Array, "... M"]
    loss: Float[Array, "... M"]
    conc: Float[Array, "... N"]
    switching: tuple[Float[Array, "..."], ...]
