"""One number for the objectives of many patients: mean, conditional value at risk, worst case."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.scenario import ScenarioError
from optimizer.search.screening import LIMIT_TOLERANCE
from optimizer.settings import Risk as Risk

_HALVINGS = 60
# Worse than any objective.
_BROKEN = 1e9


class Smoothed(NamedTuple):
    """A risk with its derivatives: gradient w, Hessian diag(d) - d d' / sum(d)."""

    value: Scalar  #: the risk
    weights: Float[Array, "P"]  #: what each patient's objective counts, w [P]; they sum to 1
    curvature: Float[Array, "P"]  #: d [P]; zero for the mean


def risk_of(risk: Risk, values: Float[np.ndarray, "P"], alpha: float) -> float:
    """The risk as reported.

    mean: average. cvar: mean of the worst share 1 - alpha of the patients, min_t t + mean(max(f - t, 0)) / (1 - alpha)
    (Rockafellar and Uryasev 2000, doi 10.21314/JOR.2000.038). worst: the largest.
    """
    if risk is Risk.MEAN:
        return float(np.mean(values))
    if risk is Risk.WORST:
        return float(np.max(values))
    # The minimum over t is at one of the values; what lies above each of them comes from sums of the larger ones.
    ordered = np.sort(values)
    larger = np.cumsum(ordered[::-1])[::-1] - np.arange(len(ordered), 0, -1) * ordered
    return float(np.min(ordered + larger / len(ordered) / (1.0 - alpha)))


def refuse_alpha(alpha: float) -> None:
    """Refuse a share of which no risk can be made.

    Raises:
        ScenarioError: with what was wanted.
    """
    if not 0.0 <= alpha < 1.0:
        raise ScenarioError([f"--alpha: wanted at least 0 and less than 1; got {alpha:g}"])


def feasible_rank(value: Any, excess: Any, xp: Any = np) -> Any:
    """What the best of several candidates has least of: the value where limits are met, else how far they are broken.

    Arrays are those of `xp`, NumPy or jax.numpy; the excess is the worst of a limit, relative.

    >>> feasible_rank(np.array([-3.0, -9.0, np.nan]), np.array([0.0, 0.5, 0.0])).argmin().item()
    0
    """
    rank = xp.where(excess <= LIMIT_TOLERANCE, value, _BROKEN * (1.0 + excess))
    return xp.where(xp.isfinite(rank), rank, xp.inf)


def smoothed(risk: Risk, values: Float[Array, "P"], share: Float[Array, "P"], alpha: float, width: Scalar) -> Smoothed:
    """The risk with its corners rounded off over `width`, in units of the objective; exact as the width goes to 0.

    cvar: min_t t + sum_p share_p width log(1 + exp((f_p - t) / width)) / (1 - alpha), from above by at most width log 2
    / (1 - alpha). worst: width log sum_p share_p exp(f_p / width), from below by at most width log(1 / least share).
    Shares sum to 1; one who is left out has 0.
    """
    if risk is Risk.MEAN:
        return Smoothed(share @ values, share, jnp.zeros_like(share))
    counted = share > 0.0
    if risk is Risk.WORST:
        scaled = jnp.where(counted, values / width, -jnp.inf)
        top = jax.scipy.special.logsumexp(scaled, b=share)
        weights = jnp.where(counted, share * jnp.exp(scaled - top), 0.0)
        return Smoothed(width * top, weights, weights / width)
    level = _level(values, share, counted, alpha, width)
    above = (values - level) / width
    weights = share * jax.nn.sigmoid(above) / (1.0 - alpha)
    value = level + jnp.sum(share * width * jax.nn.softplus(above)) / (1.0 - alpha)
    return Smoothed(value, weights, weights * jax.nn.sigmoid(-above) / width)


def _level(values: Array, share: Array, counted: Array, alpha: float, width: Scalar) -> Scalar:
    """t of cvar, where the shares above it, each smoothed, sum to 1 - alpha; by bisection."""
    reach = width * (40.0 - jnp.log1p(-jnp.asarray(alpha)) + jnp.log1p(1.0 / jnp.maximum(alpha, 1e-12)))
    low = jnp.min(jnp.where(counted, values, jnp.inf)) - reach
    high = jnp.max(jnp.where(counted, values, -jnp.inf)) + reach

    def halve(ends: tuple[Scalar, Scalar], _: None) -> tuple[tuple[Scalar, Scalar], None]:
        middle = 0.5 * (ends[0] + ends[1])
        more = jnp.sum(share * jax.nn.sigmoid((values - middle) / width)) > 1.0 - alpha
        return (jnp.where(more, middle, ends[0]), jnp.where(more, ends[1], middle)), None

    (low, high), _ = jax.lax.scan(halve, (low, high), None, length=_HALVINGS)
    return 0.5 * (low + high)
