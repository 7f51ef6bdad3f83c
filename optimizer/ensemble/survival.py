"""Survival analysis of an ensemble: Kaplan-Meier estimate, tests of two policies, how numbers of patients are told."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy
from jaxtyping import Float

# End of the observation [day], of all patients or of each.
Ends: TypeAlias = float | Float[np.ndarray, "P"]
_LEVEL = 0.95
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Days by which one policy must hold longer than another to count as longer.
_LONGER = 1e-6
# Ends of the search for a logarithm of a hazard ratio.
_MOST = 20.0
# Most sweeps of the expectation and maximization of Turnbull's estimate.
_SWEEPS = 5000


class Survival(NamedTuple):
    """Kaplan-Meier estimate of the share of patients without progression, with a pointwise confidence band."""

    days: Float[np.ndarray, "E"]  #: of progressions, from 0 [E + 1]
    share: Float[np.ndarray, "E"]  #: without progression from that day on [E + 1]
    low: Float[np.ndarray, "E"]  #: lower end of the band [E + 1]
    high: Float[np.ndarray, "E"]  #: upper end of the band [E + 1]

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


def survival(days: Float[np.ndarray, "P"], horizon: Ends, after: Float[np.ndarray, "P"] | None = None) -> Survival:
    """Kaplan-Meier estimate (doi 10.1080/01621459.1958.10501452) with a band by Greenwood's formula for log(-log S).

    Progression that is known to lie between two visits is no better known than that: where `after` is given the
    estimate is Turnbull's (doi 10.1111/j.2517-6161.1976.tb01597.x), each fall at the end of the time that it lies in.

    A day of progression that is infinite is censored at the horizon [day], of all patients or of each. `after` are the
    last visits known to be without progression [day]; None where it is read at any time.
    """
    happened = np.isfinite(days)
    if not happened.any():
        return Survival(np.zeros(1), *[np.ones(1)] * 3)
    if after is not None:
        return _between_visits(days, after)
    estimate = scipy.stats.ecdf(censored(days, horizon)).sf
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


def _between_visits(days: np.ndarray, after: np.ndarray) -> Survival:
    """Turnbull's estimate; its band counts the events that it expects on each day as Greenwood's formula does."""
    ends = np.append(np.unique(days[np.isfinite(days)]), np.inf)
    within = (after[:, None] < ends) & (ends <= np.where(np.isfinite(days), days, np.inf)[:, None])
    mass = np.full(ends.size, 1.0 / ends.size)
    for _ in range(_SWEEPS):
        expected = (within * mass / (within @ mass)[:, None]).sum(axis=0)
        change, mass = np.abs(expected / days.size - mass).max(), expected / days.size
        if change < 1e-12:
            break
    expected, at_risk = expected[:-1], np.cumsum(expected[::-1])[::-1][:-1]
    share = np.maximum(1.0 - np.cumsum(mass[:-1]), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.cumsum(expected / (at_risk * (at_risk - expected)))) / np.abs(np.log(share))
        reach = scipy.stats.norm.ppf(0.5 + 0.5 * _LEVEL) * error
        low, high = (np.where(np.isfinite(e := share ** np.exp(s * reach)), e, share) for s in (1.0, -1.0))
    return Survival(np.r_[0.0, ends[:-1]], *(np.r_[1.0, each] for each in (share, low, high)))


def between(median: float | None, after: Float[np.ndarray, "P"] | None) -> dict[str, float | None]:
    """The last visit before that of the median, JSON-able; nothing where progression is read at any time."""
    if after is None:
        return {}
    return {"median_after_day": None if median is None else float(np.max(after[after < median], initial=0.0))}


def grades(worst: Float[np.ndarray, "P"] | None) -> dict[str, dict[str, int]]:
    """Patients by their worst grade of neutropenia, 0 to 4; nothing where there are no counts."""
    return {} if worst is None else {"neutropenia": {str(g): int((worst == g).sum()) for g in range(5)}}


def censored(days: Float[np.ndarray, "P"], horizon: Ends) -> Any:
    """Days of progression as SciPy takes them."""
    happened = np.isfinite(days)
    return scipy.stats.CensoredData(uncensored=days[happened], right=np.broadcast_to(horizon, days.shape)[~happened])


def spread(values: Float[np.ndarray, "P"]) -> dict[str, Any]:
    """Mean, standard deviation and quantiles."""
    if not values.size:
        return {"mean": None, "sd": None, "quantiles": {}}
    quantiles = {f"{q:g}": float(np.quantile(values, q)) for q in _QUANTILES}
    return {"mean": float(np.mean(values)), "sd": float(np.std(values)), "quantiles": quantiles}


# --- two policies on the same virtual patients ------------------------------------------------------------------------


def compared(
    mine: Float[np.ndarray, "P"],
    theirs: Float[np.ndarray, "P"],
    horizon: Ends,
    after: Sequence[Float[np.ndarray, "P"]] = (),
) -> dict[str, Any]:
    """How days of progression under one policy stand to those of the same patients under another; JSON-able.

    Wilcoxon's signed-rank test (doi 10.2307/3001968), the difference in restricted mean time with an interval of
    Student's t for pairs, the log-rank test (doi 10.1093/biomet/52.1-2.203), the same stratified by patient, and the
    hazard ratio of Cox (doi 10.1111/j.2517-6161.1972.tb00899.x), or Finkelstein's where progression lies between two
    visits; all else goes by the day of the visit.
    A day that is infinite is censored at the horizon. `after` are the last visits known to be without progression under
    either policy; none where it is read at any time.
    """
    gain = np.minimum(mine, horizon) - np.minimum(theirs, horizon)
    test = None
    if np.isfinite(mine).any() or np.isfinite(theirs).any():
        found = scipy.stats.logrank(censored(mine, horizon), censored(theirs, horizon))
        test = {"statistic": float(found.statistic), "p": float(found.pvalue)}
    return {
        "log_rank": test,
        "stratified_log_rank": stratified(mine, theirs),
        "wilcoxon": signed_rank(gain),
        "restricted_mean_difference": mean_difference(gain),
        "hazard_ratio": hazard_ratio_at_visits(mine, theirs, *after) if after else hazard_ratio(mine, theirs, horizon),
        "longer_day": spread(gain),
        "patients_longer": int((gain > _LONGER).sum()),
        "patients_shorter": int((gain < -_LONGER).sum()),
    }


def signed_rank(gain: Float[np.ndarray, "P"]) -> dict[str, float] | None:
    """Wilcoxon's paired test; None where no patient differs."""
    gain = gain[np.abs(gain) > _LONGER]
    if not gain.size:
        return None
    is_exact = gain.size <= 25 and np.unique(np.abs(gain)).size == gain.size
    found: Any = scipy.stats.wilcoxon(gain, method="exact" if is_exact else "asymptotic")
    return {"statistic": float(found.statistic), "p": float(found.pvalue)}


def mean_difference(gain: Float[np.ndarray, "P"]) -> dict[str, Any]:
    """Mean difference within patients [day], with its 95 % interval; none of fewer than two patients.

    >>> mean_difference(np.array([1.0, 2.0, 3.0]))["interval_95"]
    [-0.48..., 4.48...]
    """
    if gain.size < 2:
        return {"day": float(gain[0]) if gain.size else None, "interval_95": [None, None]}
    reach = scipy.stats.t.ppf(0.5 + 0.5 * _LEVEL, gain.size - 1) * np.std(gain, ddof=1) / np.sqrt(gain.size)
    return {"day": float(np.mean(gain)), "interval_95": [float(np.mean(gain) - reach), float(np.mean(gain) + reach)]}


def stratified(mine: Float[np.ndarray, "P"], theirs: Float[np.ndarray, "P"]) -> dict[str, float] | None:
    """Log-rank test with each patient a stratum: only who progressed first under which policy counts."""
    first, later = int((mine < theirs).sum()), int((mine > theirs).sum())
    if not first + later:
        return None
    statistic = (first - later) ** 2 / (first + later)
    return {"statistic": float(statistic), "p": float(scipy.stats.chi2.sf(statistic, 1))}


def hazard_ratio(mine: Float[np.ndarray, "P"], theirs: Float[np.ndarray, "P"], horizon: Ends) -> dict[str, Any] | None:
    """Cox's hazard ratio of the first policy over the second, ties after Breslow; None where it is 0 or infinite.

    >>> round(hazard_ratio(np.array([10.0, 20.0]), np.array([10.0, 20.0]), 30.0)["ratio"], 6)
    1.0
    """
    if not (np.isfinite(mine).any() and np.isfinite(theirs).any()):
        return None
    days = np.unique(np.concatenate([mine, theirs]))
    days = days[np.isfinite(days) & (days <= np.max(horizon))]
    own = np.array([(mine == day).sum() for day in days])
    events = own + np.array([(theirs == day).sum() for day in days])
    at_risk, others = (np.array([(np.minimum(who, horizon) >= day).sum() for day in days]) for who in (mine, theirs))

    def share(log_ratio: float) -> np.ndarray:
        return at_risk * np.exp(log_ratio) / (others + at_risk * np.exp(log_ratio))

    def score(log_ratio: float) -> float:
        return float(np.sum(own - events * share(log_ratio)))

    if not score(-_MOST) > 0.0 > score(_MOST):
        return None
    found: Any = scipy.optimize.brentq(score, -_MOST, _MOST)
    error = 1.0 / np.sqrt(np.sum(events * share(found) * (1.0 - share(found))))
    reach = scipy.stats.norm.ppf(0.5 + 0.5 * _LEVEL) * error
    return {"ratio": float(np.exp(found)), "interval_95": [float(np.exp(found - reach)), float(np.exp(found + reach))]}


def hazard_ratio_at_visits(
    mine: Float[np.ndarray, "P"],
    theirs: Float[np.ndarray, "P"],
    mine_after: Float[np.ndarray, "P"],
    theirs_after: Float[np.ndarray, "P"],
) -> dict[str, Any] | None:
    """The hazard ratio of proportional hazards where each progression lies between two visits.

    Likelihood of Finkelstein (1986, doi 10.2307/2530698), whose interval is that of the observed information; for days
    that all patients share it is the model of Prentice and Gloeckler. None where the ratio is 0 or infinite.
    """
    if not (np.isfinite(mine).any() and np.isfinite(theirs).any()):
        return None
    days, after = np.concatenate([mine, theirs]), np.concatenate([mine_after, theirs_after])
    first, happened = np.repeat([1.0, 0.0], [mine.size, theirs.size]), np.isfinite(days)
    ends = np.unique(days[happened])
    before, since = ends <= after[:, None], (ends > after[:, None]) & (ends <= days[:, None]) & happened[:, None]

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        steps, ratio = np.exp(x[1:]), np.exp(first * x[0])
        spent, own = ratio * (before @ steps), ratio * (since @ steps)
        own = np.where(happened, np.maximum(own, 1e-300), 1.0)
        pull = np.where(happened, own / np.expm1(np.minimum(own, 700.0)), 0.0)
        value = np.sum(spent) - np.sum(np.log(-np.expm1(-own))[happened])
        slopes = (ratio @ before - (pull / own * ratio) @ since) * steps
        return float(value), np.r_[np.sum(first * (spent - pull)), slopes]

    bounds = [(-_MOST / 2.0, _MOST / 2.0), *[(-_MOST, 5.0)] * ends.size]
    begun = np.r_[0.0, np.full(ends.size, -np.log(2.0 * ends.size))]
    how: Any = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-14, "gtol": 1e-9}
    found: Any = scipy.optimize.minimize(loss, begun, jac=True, method="L-BFGS-B", bounds=bounds, options=how)
    free = np.r_[True, found.x[1:] > 1e-3 - _MOST]
    steps = 1e-4 * np.eye(found.x.size)[free]
    bent = np.array([(loss(found.x + h)[1] - loss(found.x - h)[1])[free] / 2e-4 for h in steps])
    error = np.sqrt(np.linalg.pinv(bent)[0, 0])
    if abs(found.x[0]) > 0.4 * _MOST:
        return None
    reach = scipy.stats.norm.ppf(0.5 + 0.5 * _LEVEL) * error
    ends_of = [float(np.exp(found.x[0] + s * reach)) for s in (-1.0, 1.0)]
    return {"ratio": float(np.exp(found.x[0])), "interval_95": ends_of}


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's correction (1979, Scandinavian Journal of Statistics 6, 65) of p-values for how many there are.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    order = sorted((i for i, value in enumerate(p) if value is not None), key=lambda i: float(p[i] or 0.0))
    out: list[float | None] = [None] * len(p)
    least = 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * float(p[i] or 0.0)))
        out[i] = least
    return out
