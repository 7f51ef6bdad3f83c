"""The dose that gives a wanted mean concentration, exactly: every dose counts with what is left of the horizon."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Edges, Index, Scalar
from optimizer.pharmacology.base import AbstractPK

# A last sliver that is only rounding is not an interval.
_SLIVER = 1e-9


def dose_times(every: float, horizon: float, delay: float = 0.0) -> np.ndarray:
    """Times of doses every so many days from `delay` on, before the horizon [day]; none where the delay reaches it.

    Example:
        >>> dose_times(7.0, 30.0, 2.0).tolist()
        [2.0, 9.0, 16.0, 23.0]
    """
    count = max(0, int(np.ceil((horizon - delay) / every - _SLIVER)))
    return delay + every * np.arange(count)


def mean_concentration(
    pk: AbstractPK, route: str, edges: Edges, doses: Float[Array, "K"], count: Index | int | None = None
) -> Scalar:
    """Mean concentration over the horizon of a patient who had no drug before, in closed form.

        mean = exposure(state at the end, all that was given) / horizon

    Kinetics are linear and the drug leaves by one way at a constant clearance, so that the integral of the
    concentration is what has left, divided by it.

    Args:
        pk: kinetics of the drug.
        route: "bolus" or "infusion".
        edges: of the intervals, from 0 [K + 1, day].
        doses: amounts at their starts, or rates inside them [K].
        count: intervals that count, the last one ending at the horizon; those after it are padding. All when left out.

    Returns:
        The mean [mg/L], in the unit of the dose where the level is the dose. jit-, vmap- and differentiable.

    Example:
        >>> from optimizer.pharmacology.direct import Direct
        >>> float(mean_concentration(Direct(), "infusion", jnp.array([0.0, 1.0, 4.0]), jnp.array([2.0, 0.0])))
        0.5
    """
    count = len(doses) if count is None else count
    infused = route == "infusion"

    def interval(carry: tuple[Array, Scalar], inputs: tuple[Array, ...]) -> tuple[tuple[Array, Scalar], None]:
        state, given = carry
        k, dose, length = inputs
        rate = dose if infused else jnp.zeros_like(dose)
        after = pk.evolve(state if infused else pk.bolus(state, dose), rate, length)
        real = k < count
        return (jnp.where(real, after, state), given + jnp.where(real, dose * (length if infused else 1.0), 0.0)), None

    none = (pk.initial(), jnp.zeros((), edges.dtype))
    (state, given), _ = jax.lax.scan(interval, none, (jnp.arange(len(doses)), doses, jnp.diff(edges)))
    return pk.exposure(state, given) / edges[count]


def dose_for_mean(
    pk: AbstractPK, mean: float, every: float, horizon: float, delay: float = 0.0, route: str = "bolus"
) -> float:
    """The dose that, given every so many days, makes the mean concentration over the horizon a wanted one.

    Concentrations are linear in the dose, so it is the wanted mean over that of a unit dose. Nothing is taken for
    periodic: the build-up of the first doses counts, and of the last one what it does before the horizon.

    Args:
        pk: kinetics of the drug.
        mean: mean concentration over the whole horizon, the days before the first dose included [mg/L].
        every: days between two doses; of an infusion, which is constant, it has no meaning.
        horizon: end of the time that counts [day].
        delay: time of the first dose, or of the start of the infusion [day].
        route: "bolus" or "infusion".

    Returns:
        The dose [dose_unit], or the rate of the infusion [dose_unit/day].

    Raises:
        ValueError: no dose falls before the horizon.

    Example:
        >>> from optimizer.pharmacology.first_order import FirstOrder
        >>> dose = dose_for_mean(FirstOrder(elimination=0.144), 1.0, every=7.0, horizon=180.0)
        >>> round(dose, 4)
        1.0272
    """
    times = np.array([delay]) if route == "infusion" else dose_times(every, horizon, delay)
    if not (times.size and times[0] < horizon):
        raise ValueError(f"delay: wanted a first dose before the horizon, {horizon:g} day; got {delay:g} day")
    edges = np.unique(np.concatenate([[0.0], times, [horizon]]))
    unit = np.isin(edges[:-1], times).astype(float)
    return mean / float(mean_concentration(pk, route, jnp.asarray(edges), jnp.asarray(unit)))
