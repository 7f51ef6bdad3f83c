"""Survival analysis of an ensemble: the Kaplan-Meier estimate, and how numbers of patients are told."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import CensoredData, ecdf

_LEVEL = 0.95
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Survival(NamedTuple):
    """Kaplan-Meier estimate of the share of patients without progression, with a pointwise confidence band.

    Attributes:
        days: of progressions, from 0 [E + 1].
        share: without progression from that day on [E + 1].
        low: lower end of the band [E + 1].
        high: upper end of the band [E + 1].
    """

    days: Float[np.ndarray, "E"]
    share: Float[np.ndarray, "E"]
    low: Float[np.ndarray, "E"]
    high: Float[np.ndarray, "E"]

    @property
    def median(self) -> float | None:
        """First day on which no more than half are without progression; None when that is never."""
        return self._half(self.share)

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The days on which the band's ends reach one half; None where that is never."""
        return self._half(self.low), self._half(self.high)

    def _half(self, values: np.ndarray) -> float | None:
        at = np.flatnonzero(values <= 0.5)
        return float(self.days[at[0]]) if at.size else None


def survival(days: Float[np.ndarray, "P"], horizon: float) -> Survival:
    """Kaplan-Meier estimate (doi 10.1080/01621459.1958.10501452) with a band by Greenwood's formula for log(-log S).

    Args:
        days: of progression; infinite where there is none, which is censored at the horizon.
        horizon: end of the observation [day].
    """
    happened = np.isfinite(days)
    if not happened.any():
        return Survival(np.zeros(1), *[np.ones(1)] * 3)
    estimate = ecdf(censored(days, horizon)).sf
    with warnings.catch_warnings():
        # Where all or none are left the formula has no width, which scipy warns of.
        warnings.simplefilter("ignore")
        band = estimate.confidence_interval(confidence_level=_LEVEL, method="log-log")
    at = np.isin(estimate.quantiles, days[happened])
    share = estimate.probabilities[at]
    ends = [np.where(np.isfinite(e), e, share) for e in (band.low.probabilities[at], band.high.probabilities[at])]
    return Survival(
        *(np.r_[first, x] for first, x in ((0.0, estimate.quantiles[at]), (1.0, share), *((1.0, e) for e in ends)))
    )


def censored(days: Float[np.ndarray, "P"], horizon: float) -> CensoredData:
    """Days of progression as SciPy takes them."""
    happened = np.isfinite(days)
    return CensoredData(uncensored=days[happened], right=np.full(int((~happened).sum()), horizon))


def spread(values: Float[np.ndarray, "P"]) -> dict[str, Any]:
    """Mean, standard deviation and quantiles."""
    if not values.size:
        return {"mean": None, "sd": None, "quantiles": {}}
    quantiles = {f"{q:g}": float(np.quantile(values, q)) for q in _QUANTILES}
    return {"mean": float(np.mean(values)), "sd": float(np.std(values)), "quantiles": quantiles}
