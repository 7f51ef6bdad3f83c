"""Bounded, scaled parameters: natural values theta, scaled values w (log or linear) and free values z.

    w = log(theta) or theta            w = low + (high - low) / (1 + exp(-z))

Fits move z, so a bound is never crossed; covariances, priors and draws live in w.
"""

import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.stats import qmc

START_EDGE = 0.02
EDGE = 1e-9
LARGEST = 700.0
AnyArray = Any


@dataclass(frozen=True)
class Parameter:
    """One parameter of a fit: its name in scenarios, its unit, its bounds and the scale on which it is moved.

    Its prior is Normal on that scale: `prior` is (median in natural units, standard deviation on the scale); left out,
    the middle of the bounds and a sixth of their distance, so that they are the three-sigma points.

    >>> Parameter("hill", "1", 0.1, 10.0, log=True).prior_in_words()
    'log-normal: median 1, sd of the logarithm 0.768'
    """

    name: str
    unit: str
    low: float
    high: float
    log: bool = False
    prior: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self.name}: wanted finite bounds low < high; got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"{self.name}: wanted a positive lower bound on a log scale; got {self.low}")

    def on_scale(self, value: float) -> float:
        """The value on the scale the fit moves it on."""
        return math.log(value) if self.log else float(value)

    def prior_on_scale(self) -> tuple[float, float]:
        """Mean and standard deviation of the Normal prior on the scale."""
        if self.prior is not None:
            return self.on_scale(self.prior[0]), self.prior[1]
        low, high = self.on_scale(self.low), self.on_scale(self.high)
        return (low + high) / 2, (high - low) / 6

    def prior_in_words(self) -> str:
        """The prior as a sentence for the record."""
        mean, deviation = self.prior_on_scale()
        unit = "" if self.unit == "1" else f" {self.unit}"
        if self.log:
            return f"log-normal: median {math.exp(mean):.4g}{unit}, sd of the logarithm {deviation:.3g}"
        return f"normal: mean {mean:.4g}, sd {deviation:.4g}{unit}"


class Space(eqx.Module):
    """Bounds and scales of P parameters as arrays, so that another table does not mean another compilation."""

    low: Float[Array, " p"]
    high: Float[Array, " p"]
    log: Bool[Array, " p"]
    prior_mean: Float[Array, " p"]
    prior_sd: Float[Array, " p"]

    @classmethod
    def of(cls, parameters: tuple[Parameter, ...]) -> "Space":
        """The arrays of a tuple of parameters."""
        prior = np.array([p.prior_on_scale() for p in parameters], dtype=float)
        return cls(
            jnp.asarray([p.on_scale(p.low) for p in parameters], dtype=float),
            jnp.asarray([p.on_scale(p.high) for p in parameters], dtype=float),
            jnp.asarray([p.log for p in parameters]),
            jnp.asarray(prior[:, 0]),
            jnp.asarray(prior[:, 1]),
        )

    def natural(self, w: AnyArray) -> AnyArray:
        """theta of w [..., P]; NumPy in, NumPy out, so that host code compiles nothing."""
        xp = _home(w)
        log = xp.asarray(self.log)
        return xp.where(log, xp.exp(xp.clip(xp.where(log, w, 0.0), -LARGEST, LARGEST)), w)

    def scaled(self, theta: AnyArray) -> AnyArray:
        """w of theta [..., P]."""
        xp = _home(theta)
        log = xp.asarray(self.log)
        return xp.where(log, xp.log(xp.where(log, theta, 1.0)), theta)

    def from_free(self, z: AnyArray) -> AnyArray:
        """w of z [..., P], inside the bounds."""
        xp = _home(z)
        low, high = xp.asarray(self.low), xp.asarray(self.high)
        return low + (high - low) * 0.5 * (1.0 + xp.tanh(0.5 * z))

    def to_free(self, w: AnyArray) -> AnyArray:
        """z of w [..., P]; a value at or beyond a bound is first moved just inside."""
        xp = _home(w)
        low, high = xp.asarray(self.low), xp.asarray(self.high)
        share = xp.clip((w - low) / (high - low), EDGE, 1.0 - EDGE)
        return xp.log(share) - xp.log1p(-share)

    def starts(self, count: int, seed: int) -> np.ndarray:
        """`count` starts z [count, P] spread over the bounds by a Latin hypercube on the scaled axes."""
        share = qmc.LatinHypercube(len(self.low), rng=np.random.default_rng(seed)).random(count)
        share = START_EDGE + (1 - 2 * START_EDGE) * share
        return np.log(share) - np.log1p(-share)


def _home(x: AnyArray) -> Any:
    return np if isinstance(x, np.ndarray) else jnp
