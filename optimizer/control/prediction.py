"""Posterior predictive distributions: what a belief expects of a schedule, and whether what was measured fits.

The sequential model check is a posterior predictive test at each visit, with the run rule of a control chart. The tail
probability of a visit is the smallest two-sided predictive probability of its results, given all before, times their
number (Bonferroni). A visit is outside when it is below 0.01: its results lie outside the 99 % predictive interval. The
model misfits after one visit below 1e-4, or after two visits outside in a row, as 2 of 10,000 visits would be were the
model right. It fits again after three visits in a row that are not outside.
"""

from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Doses, Flag, Index, Scalar
from optimizer.control.belief import Belief, Inference
from optimizer.control.tempering import BATCH
from optimizer.endpoints.base import AtVisits, Progressed
from optimizer.ensemble.ensemble import with_system
from optimizer.ensemble.evaluate import evaluation
from optimizer.ensemble.risk import Risk, risk_of
from optimizer.observations import MEASURED, MISSING, Record
from optimizer.observations.record import Predicted
from optimizer.policies.schedule import Schedule
from optimizer.simulate import rollout

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# A model that makes so little sense of what was measured is said not to fit.
MISFIT = 0.01
OUTSIDE = 0.01
_FAR = 1e-4
_RUN = 2
_BACK = 3
# Places of equal probability that stand for a normal error.
_NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / 32) for i in range(32)])


@dataclass(frozen=True)
class Prediction:
    """What a schedule comes to over a belief."""

    days: Float[np.ndarray, "D"]  #: on which the burden is told [D]
    burden: Float[np.ndarray, "D Q"]  #: its quantiles on these days [D, Q]
    progression: Float[np.ndarray, "E"]  #: of each particle [E, day]; infinite where there is none up to the horizon
    objective: Float[np.ndarray, "E"]  #: of each particle [E]
    weights: Float[np.ndarray, "E"]  #: of the particles [E]
    violation: float  #: worst relative excess of a limit on states, over the particles

    def probability(self) -> Float[np.ndarray, "D"]:
        """Probability of progression up to each day."""
        return np.array([np.sum(self.weights * (self.progression <= day)) for day in self.days])

    def median_progression(self) -> float | None:
        """Day by which progression is as likely as not; None when that is after the horizon."""
        order = np.argsort(self.progression)
        reached = np.cumsum(self.weights[order])
        day = float(self.progression[order][min(np.searchsorted(reached, 0.5), len(order) - 1)])
        return day if np.isfinite(day) else None

    def risk(self, risk: Risk, alpha: float) -> float:
        """The particles' objectives as one number; each counts by its weight."""
        if risk is Risk.MEAN:
            return float(self.weights @ self.objective)
        # As many copies of a particle as its weight is worth, so that one definition serves all.
        copies = np.repeat(self.objective, np.maximum(np.round(self.weights * 100 * len(self.weights)).astype(int), 0))
        return risk_of(risk, copies, alpha)


class Fit(NamedTuple):
    """How well what was measured fits."""

    #: posterior predictive probability of residuals as large as those measured; None without a measurement
    p_value: float | None
    #: mean standardized residual of each measurement, given those before it [L, C]; NaN where none is
    residuals: Float[np.ndarray, "L C"]


def predict(inference: Inference, belief: Belief, doses: Doses, progressed: float | AtVisits) -> Prediction:
    """Simulate all particles under doses [K, N]."""
    grid = inference.problem.task.grid
    edges = np.asarray(grid.edges)
    days = np.unique(np.concatenate([edges, 0.5 * (edges[1:] + edges[:-1])]))
    logs, evaluated = _outlook(inference, belief, doses, jnp.asarray(days), jax.tree.map(jnp.asarray, progressed))
    weights = np.exp(np.asarray(belief.log_weights))
    weights = weights / weights.sum()
    used = weights > 0.0
    bands = np.stack([quantiles(column[used], weights[used]) for column in np.asarray(logs).T])
    progression, objective = np.asarray(evaluated.progression), np.asarray(evaluated.objective)
    violation = float(np.max(np.asarray(evaluated.excess)[used], initial=0.0))
    return Prediction(days, np.exp(bands), progression[used], objective[used], weights[used], violation)


@partial(jax.jit, static_argnums=0)
def _outlook(inference: Inference, belief: Belief, doses: Array, days: Array, progressed: Progressed) -> Any:
    """Log burden on some days and evaluation of every particle."""

    def one(own: Any) -> Any:
        task = with_system(inference.problem.task, inference.system(*own))
        trajectory = rollout(task.system, Schedule(doses), task.grid)
        found = evaluation(task, task.scene(trajectory), progressed)
        return jnp.interp(days, trajectory.times, jnp.log(trajectory.burden)), found

    return jax.lax.map(one, (belief.z, belief.changes), batch_size=BATCH)


def quantiles(values: np.ndarray, weights: np.ndarray, at: tuple[float, ...] = QUANTILES) -> np.ndarray:
    """Quantiles of weighted values."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return np.interp(np.array(at) * reached[-1], reached - 0.5 * weights[order], values[order])


def fit(inference: Inference, belief: Belief, doses: Doses, record: Record) -> Fit:
    """Whether residuals as large as those measured are to be expected, were the model right.

    The sum of squared residuals, each given those before it, follows a chi-squared law in every particle, so that the
    posterior predictive probability is the mean of its tails (Gelman, Meng and Stern 1996, Statistica Sinica 6). Noise
    counts up to the 97.5 % quantile of what was believed of it at first: a model that takes more does not fit.
    """
    seen = np.asarray(record.seen) == MEASURED
    if not seen.any():
        return Fit(None, np.full(seen.shape, np.nan))
    noise = inference.prior.noise
    z = belief.z if noise is None else jax.vmap(noise.limited)(belief.z)
    at = followed_at(inference, z, doses, record)
    far = np.asarray((record.shown - at.mean) / at.sd)
    weights = np.exp(np.asarray(belief.log_weights))
    used = weights > 0.0
    squares = np.sum(np.where(seen, far, 0.0) ** 2, axis=(1, 2))[used]
    from scipy.stats import chi2

    p_value = float(np.sum(weights[used] * chi2.sf(squares, int(seen.sum()))) / weights[used].sum())
    mean = np.tensordot(weights[used] / weights[used].sum(), np.where(seen, far, 0.0)[used], axes=1)
    return Fit(p_value, np.where(seen, mean, np.nan))


def forecast(inference: Inference, belief: Belief, doses: Doses, record: Record, row: int) -> Float[np.ndarray, "C 3"]:
    """Values of a visit that the belief before it expects: the 5, 50 and 95 % quantiles of each channel's assay.

    Args:
        inference: the particles' model.
        belief: given every visit before the row.
        doses: what was given [K, N].
        record: of which the row's own results are not used.
        row: the visit.

    Returns:
        The quantiles; NaN for a channel without a result, and where no particle can be simulated.
    """
    at = followed_at(inference, belief.z, doses, record)
    mean, sd, weights = np.asarray(at.mean)[:, row], np.asarray(at.sd)[:, row], np.exp(np.asarray(belief.log_weights))
    used = (weights > 0.0) & np.isfinite(mean).all(axis=1)
    if not used.any():
        return np.full((mean.shape[1], 3), np.nan)
    values = mean[used, None] + sd[used, None] * _NORMAL[:, None]
    each = np.repeat(weights[used], len(_NORMAL))
    found = [quantiles(values[:, :, i].ravel(), each, (0.05, 0.5, 0.95)) for i in range(mean.shape[1])]
    told = [channel.value(jnp.asarray(own)) for channel, own in zip(inference.channels, found, strict=True)]
    return np.where((np.asarray(record.seen)[row] != MISSING)[:, None], np.stack(told), np.nan)


@partial(jax.jit, static_argnums=0)
def followed_at(inference: Inference, z: Array, doses: Array, record: Record) -> Predicted:
    """What each particle predicts of each measurement, given those before it [E, L, C]."""
    key = jax.random.key(0)
    return jax.lax.map(lambda own: inference.followed(own, doses, record, key).at, z, batch_size=BATCH)


# --- sequential model check -------------------------------------------------------------------------------------------


class ModelCheck(NamedTuple):
    """What the test says so far."""

    misfits: Flag  #: whether the model is not to be believed now
    outside: Index  #: visits outside in a row
    inside: Index  #: visits in a row that were not
    p: Scalar  #: tail probability of the last visit; 1 before there is one

    @classmethod
    def start(cls) -> "ModelCheck":
        """Before the first visit."""
        return cls(jnp.asarray(False), jnp.zeros((), int), jnp.zeros((), int), jnp.ones(()))

    def after(self, p: Scalar) -> "ModelCheck":
        """After a visit with a tail probability; NaN for a visit without a result, which changes nothing.

        >>> fits = ModelCheck.start().after(0.5).after(0.005)
        >>> bool(fits.misfits), bool(fits.after(0.005).misfits), bool(fits.after(1e-5).misfits)
        (False, True, True)
        """
        is_out, is_new = p < OUTSIDE, ~jnp.isnan(p)
        outside = jnp.where(is_out, self.outside + 1, 0)
        inside = jnp.where(is_out, 0, self.inside + 1)
        turns = (p < _FAR) | (outside >= _RUN)
        found = (turns | (self.misfits & (inside < _BACK)), outside, inside, jnp.asarray(p, float))
        return ModelCheck(*(jnp.where(is_new, new, old) for new, old in zip(found, self, strict=True)))


def tail_of(p: Float[Array, "*results"]) -> Scalar:
    """Tail probability of a visit from those of its results; NaN for results that are not new, and without any."""
    known = ~jnp.isnan(p)
    least = jnp.min(jnp.where(known, p, jnp.inf), initial=jnp.inf)
    return jnp.where(jnp.any(known), jnp.minimum(least * jnp.sum(known), 1.0), jnp.nan)
