"""How far the best possible answer could be: bounds that theory gives for some models."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from optimizer.models.growth import Exponential, Gompertz, Logistic
from optimizer.models.tumor import Tumor
from optimizer.simulate import System

# Growth laws whose per-capita rate depends on all cells together and never rises with them.
_FALLING = (Exponential, Logistic, Gompertz)


@dataclass(frozen=True)
class Bound:
    """What no treatment can exceed.

    Attributes:
        quantity: the key of the outcome that is bounded.
        value: the bound, in the unit of that key.
        name: what the theory calls it.
        doi: its source.
    """

    quantity: str
    value: float
    name: str
    doi: str

    def to_json(self, reached: float | None) -> dict[str, str | float | None]:
        """The bound, and by how many percent an outcome stays below it."""
        within = None if reached is None else 100.0 * (1.0 - reached / self.value)
        words = {"quantity": self.quantity, "name": self.name, "doi": self.doi}
        return {**words, "value": self.value, "reached": reached, "within_percent": within}


def ideal_containment(system: System, factor: float) -> Bound | None:
    """The longest possible time to progression of a tumor that holds a clone no drug touches.

    Until progression N <= L = factor N(0), and the growth rate g(N) of the clone falls with N, so that R' >= g(L) R: it
    fills the whole tumor no later than at ln(L / R(0)) / g(L). A treatment that holds the tumor at L from the start
    on, ideal containment, reaches that (Viossat and Noble 2021, doi 10.1038/s41559-021-01428-w).

    Args:
        system: model and drugs.
        factor: progression is N > factor N(0).

    Returns:
        The bound [day]; None where the theory says nothing: another model, mechanisms, transitions, clones that compete
        unequally, no clone out of reach of all drugs, or one that would not fill the tumor.
    """
    model = system.model
    if not isinstance(model, Tumor) or model.mechanisms or model.transitions or not isinstance(model.growth, _FALLING):
        return None
    start = np.asarray(model.cells(model.initial_state()))
    level = factor * float(start.sum())
    rates = np.asarray(model.growth_rate * (1.0 - jnp.broadcast_to(model.cost, model.growth_rate.shape)))
    times = []
    for i, row in enumerate(model.effects):
        if any(effect is not None for effect in row) or not start[i] > 0.0 or not rates[i] > 0.0:
            continue
        full = jnp.zeros(len(start)).at[i].set(level)
        net = float(model.growth(jnp.asarray(rates), full)[i] - model.death_rate[i])
        if net > 0.0:
            times.append(math.log(level / start[i]) / net)
    if not times:
        return None
    doi = "10.1038/s41559-021-01428-w"
    return Bound("time_to_progression_day", min(times), "ideal containment", doi)
