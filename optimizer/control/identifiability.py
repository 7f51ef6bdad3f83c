"""Identifiability: how many numbers of a patient the measurements tell of, and whether they decide the next dose.

With z the standard normal numbers of the prior, m_i and s_i mean and standard deviation of measurement i given those
before it, the Fisher information is

    F = sum_i (dm_i/dz)^T (dm_i/dz) / s_i^2

at the belief's mean. A free number is x_i = mean + r_i z (its logarithm, where that is normal): by the data alone its
profile likelihood is as wide as (r_i F^-1 r_i)^1/2, with the prior as (r_i (F + 1)^-1 r_i)^1/2, both by the quadratic
approximation (Raue et al. 2009, doi 10.1093/bioinformatics/btp358).
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from optimizer.axes import Doses
from optimizer.control.belief import Belief, Inference
from optimizer.control.plan_restarts import PlanRestarts
from optimizer.control.prediction import Prediction, followed_at
from optimizer.observations import MEASURED, Record
from optimizer.search.multistart import Progress

# Step in a standard normal number for a central difference, and the least share of the largest eigenvalue that is one.
_STEP, _LEAST = 1e-3, 1e-6
# Draws whose outlook under the plan is at these quantiles: the ends and the inside of the 95 % band.
BAND = (0.025, 0.25, 0.5, 0.75, 0.975)
# Shares of the largest dose up to which treatment is stopped, and from which it goes on.
STOP, GO = 0.05, 0.25


@dataclass(frozen=True)
class Identifiability:
    """What the measurements decide."""

    #: eigenvalues of F, decreasing; 1 is what the prior knows of a standard normal number [V]
    information: Float[np.ndarray, "V"]
    #: width of each number's profile over the prior's, by the data alone; infinite without an end [V]
    by_data: Float[np.ndarray, "V"]
    width: Float[np.ndarray, "V"]  #: the same with the prior [V]
    next_doses: Float[np.ndarray, "5 N"]  #: the best next dose for the draws at `BAND` [5, N], as shares of the largest

    @property
    def rank(self) -> int:
        """Directions of which the data tell anything."""
        return int(np.sum(self.information > _LEAST * max(self.information.max(initial=0.0), 1.0)))

    @property
    def stops(self) -> int:
        """Draws for which the best next dose is none of any drug."""
        return int((self.next_doses <= STOP).all(axis=1).sum())

    @property
    def goes(self) -> int:
        """Draws for which it is a dose of some drug."""
        return int((self.next_doses >= GO).any(axis=1).sum())

    @property
    def decides(self) -> bool:
        """Whether the best plan is the same across the band: stop, or go."""
        return not (self.stops and self.goes)

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        of = len(self.next_doses)
        if not self.decides:
            return (
                f"The data cannot decide between stop and go: across the 95 % band of what is believed, the best next "
                f"dose is none for {self.stops} and a dose for {self.goes} of {of} draws."
            )
        low, high = 100.0 * self.next_doses.min(axis=0), 100.0 * self.next_doses.max(axis=0)
        ranges = ", ".join(f"{a:.0f} to {b:.0f} %" for a, b in zip(low, high, strict=True))
        return f"Across the 95 % band of what is believed, the best next dose is {ranges} of the largest."


def identify(
    search: PlanRestarts, belief: Belief, record: Record, plan: Prediction, start: Float[np.ndarray, "K N"]
) -> Identifiability:
    """What is known of the numbers of a patient, and whether that decides the next dose.

    Args:
        search: of plans, from what was given on.
        belief: given all that was measured.
        record: what was measured. What lies beyond a limit of its assay tells nothing here.
        plan: what the belief expects of the plan.
        start: doses from which the plans of single draws are searched [K, N].
    """
    inference, best = search.controller.inference, []
    scale = np.asarray(search.problem.task.scale)
    for n, i in enumerate(_draws(belief, plan)):
        search.tell(Progress("identifiability", n, len(BAND), None))
        found = np.asarray(search.near(_alone(belief, i), start).doses)
        best.append(search.settled(found)[search.index] / scale)
    values, by_data, width = widths(
        information(inference, belief, jnp.asarray(search.given), record), np.asarray(inference.prior.root)
    )
    return Identifiability(values, by_data, width, np.stack(best))


def widths(
    information: Float[np.ndarray, "V V"], root: Float[np.ndarray, "V V"]
) -> tuple[Float[np.ndarray, "V"], Float[np.ndarray, "V"], Float[np.ndarray, "V"]]:
    """Eigenvalues of F, and the widths of the profiles over the prior's: by the data alone, and with the prior.

    >>> widths(np.diag([3.0, 0.0]), np.eye(2))[1:]
    (array([0.57735027,        inf]), array([0.5, 1. ]))
    """
    values, vectors = np.linalg.eigh(information)
    values, own = np.maximum(values, 0.0), root @ vectors
    told = values > _LEAST * max(values.max(initial=0.0), 1.0)
    norm = np.maximum(np.linalg.norm(root, axis=1), 1e-300)
    hidden = np.linalg.norm(own[:, ~told], axis=1) > 1e-6 * norm
    alone = np.sqrt(np.sum(own[:, told] ** 2 / values[told], axis=1)) / norm
    return values[::-1], np.where(hidden, np.inf, alone), np.sqrt(np.sum(own**2 / (1.0 + values), axis=1)) / norm


def information(inference: Inference, belief: Belief, doses: Doses, record: Record) -> Float[np.ndarray, "V V"]:
    """F at the belief's mean, by central differences of what the particles' own program foretells."""
    count, weights = len(inference.prior.places), np.exp(np.asarray(belief.log_weights))
    middle = weights @ np.asarray(belief.z) / weights.sum()
    steps = _STEP * np.eye(len(middle))[:count]
    rows = np.concatenate([middle + steps, middle - steps, middle[None]])
    # As many at a time as there are particles: the program is compiled for these.
    blocks = [np.resize(rows[i : i + inference.particles], belief.z.shape) for i in range(0, len(rows), len(belief.z))]
    found: list[Any] = [followed_at(inference, jnp.asarray(block), doses, record) for block in blocks]
    mean, sd = (np.concatenate([np.asarray(getattr(f, name)) for f in found])[: len(rows)] for name in ("mean", "sd"))
    slopes = (mean[:count] - mean[count : 2 * count]) / (2.0 * _STEP * sd[-1])
    used = (np.asarray(record.seen) == MEASURED) & np.isfinite(slopes).all(axis=0)
    slopes = slopes[:, used]
    return slopes @ slopes.T


def _draws(belief: Belief, plan: Prediction) -> list[int]:
    """Particles at the quantiles of the band, by their objective under the plan."""
    order = np.argsort(plan.objective)
    reached = np.cumsum(plan.weights[order])
    used = np.flatnonzero(np.exp(np.asarray(belief.log_weights)) > 0.0)
    return [int(used[order[np.searchsorted(reached, q * reached[-1])]]) for q in BAND]


def _alone(belief: Belief, i: int) -> Belief:
    """The belief that one particle is the patient."""
    return belief._replace(log_weights=jnp.where(jnp.arange(belief.z.shape[0]) == i, 0.0, -jnp.inf))
