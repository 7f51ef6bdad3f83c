"""Particle filter: what is believed of a patient as weighted particles, and how measurements change them.

A particle is one set of the numbers that are not known, the sizes of the noise among them; its weight says how well it
explains what was measured. Its cells follow by simulation and, where they stray from the model, by a filter along what
was measured (`state_noise`), from whose last state one is drawn: the walk of the cells is integrated out, as in a
marginalised particle filter (Schon, Gustafsson and Nordlund 2005, doi 10.1109/TSP.2005.849151). Sequential Monte Carlo
over such particles is that of Chopin 2002 (doi 10.1093/biomet/89.3.539), tempered (Del Moral, Doucet and Jasra 2006,
doi 10.1111/j.1467-9868.2006.00553.x), by blackjax.
"""

from copy import copy
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp, ndtr, ndtri
from jaxtyping import Array, Float, Int

from optimizer.axes import Doses, Index, Scalar
from optimizer.control.corrected import corrected
from optimizer.control.prior import Prior, draw
from optimizer.control.state_noise import Followed, follow
from optimizer.control.tempering import BATCH, LEAST_ESS, tempered
from optimizer.ensemble.ensemble import Members, build_ensemble, system_at
from optimizer.ensemble.patients import Patients
from optimizer.observations import BELOW, MISSING, Channel, Record
from optimizer.observations.record import Predicted, expectations, log_density, predicted
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem
from optimizer.scenario import Scenario, ScenarioError
from optimizer.simulate import System, rollout

# Patients of the prior on whose extremes the nodes of an interval are chosen.
_SHAPES = 64
# Draws for each patient of the prior that is asked for, and the number of the first of them, far from hidden patients'.
_SPARE = 4
_PRIOR_INDEX = 2**20


class Belief(NamedTuple):
    """E particles.

    Attributes:
        z: their numbers as the prior's standard normal ones, W = V + H + S of them [E, W].
        log_weights: normalised [E].
        changes: by how much the logarithm of their cells was corrected at the start of each interval [E, K, M]; None
            where cells do as the model says.
        risk: the patient's probability that a resistant clone was there from the start; None where nobody says.
    """

    z: Float[Array, "E W"]
    log_weights: Float[Array, "E"]
    changes: Float[Array, "E K M"] | None = None
    risk: Scalar | None = None


class Updated(NamedTuple):
    """How an update went."""

    ess: Scalar  #: effective number of particles after the measurements were weighed, before any was moved
    temperatures: Index  #: stages in which particles were moved; 0 where their weights alone were changed
    #: minus the logarithm of the density that the belief gave to each new measurement, 0 elsewhere [L, C]
    negative_log_predictive: Float[Array, "L C"]
    #: two-sided probability, by the belief before it, of a value as far out as each new measurement; of one below its
    #: detection limit, that it is; NaN elsewhere [L, C]
    predictive_p: Float[Array, "L C"]


class Inference:
    """Beliefs about the patients of a scenario.

    Args:
        scenario: model, drugs and decisions.
        prior: what is not known.
        channels: what is measured.
        particles: how many, E.
        each: most results of a channel between two decisions.

    Raises:
        ScenarioError: nothing is measured, or the prior's own middle cannot be simulated.
    """

    def __init__(
        self, scenario: Scenario, prior: Prior, channels: tuple[Channel, ...], particles: int = 256, each: int = 1
    ):
        if not channels:
            wanted = "at least one [[observation]], which says what is measured"
            raise ScenarioError([f"{scenario.file}: observation: wanted {wanted}; got none"])
        self.scenario, self.prior, self.channels, self.particles = scenario, prior, channels, particles
        self.problem, self.each = _on_common_nodes(scenario, prior), each
        self.update = jax.jit(self._update)

    def measured_by(self, channels: tuple[Channel, ...]) -> "Inference":
        """The same beliefs with other assays of the same quantities, whose numbers may be tracers."""
        other = copy(self)
        other.channels, other.update = channels, jax.jit(other._update)
        return other

    def begin(self, seed: int, patient: int = 0) -> Belief:
        """The prior's particles of a patient."""
        return self.begun(jax.random.key(np.uint32(seed)), patient)

    def begun(self, key: Array, patient: Index | int = 0) -> Belief:
        """The prior's particles of a key; of a patient by number, whose risk they are weighed by."""
        z, changes = draw(self.prior, key, self.particles), None
        if self.prior.noise is not None:
            model, grid = self.problem.task.system.model, self.problem.task.grid
            changes = jnp.zeros((self.particles, grid.count, len(model.clone_names())))
        if self.prior.risks is None:
            return Belief(z, jnp.full(self.particles, -np.log(self.particles)), changes)
        risk = jnp.asarray(self.prior.risks.probability)[patient]
        log_weights = self.prior.log_risk(z, risk)
        return Belief(z, log_weights - logsumexp(log_weights), changes, risk)

    def system(self, z: Float[Array, "W"], changes: Float[Array, "K M"] | None = None) -> System:
        """The patient that a particle stands for, with the cells corrected where they were."""
        mesh = self.problem.task.system.mesh
        found = system_at(self.scenario.plan, self.prior.places, self.prior.numbers(z), mesh)
        return found if changes is None else corrected(found, self.problem.task.grid.edges, changes)

    def systems(self, z: Float[Array, "E W"], changes: Float[Array, "E K M"] | None = None) -> System:
        """The patients of particles, each leaf with a leading axis [E]."""
        return jax.vmap(self.system)(z, changes)

    def standing(self, belief: Belief, count: int) -> System:
        """So many patients who stand for all particles, each leaf with a leading axis."""
        rows = places(belief, count)
        return self.systems(belief.z[rows], None if belief.changes is None else belief.changes[rows])

    def members(self, count: int, spread: float = 1.0) -> Members:
        """So many patients of the prior with its spreads widened; who is out of range gives way to another.

        Of a prior that is widened, where there is noise, the cells stray as the particles' do.
        """
        z = spread * draw(self.prior, jax.random.key(1), _SPARE * count)
        if self.prior.risks is not None:
            # They count alike: as many have the clone as of all patients.
            share = float(np.clip(np.mean(self.prior.risks.probability), 1e-9, 1.0 - 1e-9))
            z = z.at[:, len(self.prior.places)].add(spread * float(ndtri(share)))
        allowed = np.asarray(jax.vmap(lambda one: self.prior.allowed(self.prior.numbers(one)))(z))
        # Where nobody is within the ranges, the prior's middle is everybody.
        rows = np.resize(np.flatnonzero(allowed), count) if allowed.any() else np.zeros(count, int)
        z, changes, noise = z[rows] if allowed.any() else jnp.zeros_like(z[rows]), None, self.prior.noise
        if noise is not None and spread > 1.0:
            sizes, _ = jax.vmap(noise.sizes)(z[:, -noise.count :])
            grid, clones = self.problem.task.grid, self.problem.task.system.model.clone_names()
            walk = jax.random.normal(jax.random.key(2), (count, grid.count, len(clones)))
            # The first burden is measured.
            changes = (sizes[:, None, None] * jnp.sqrt(grid.lengths)[:, None] * walk).at[:, 0].set(0.0)
        return Members(self.problem.task, jax.jit(self.systems)(z, changes), jnp.arange(count) + _PRIOR_INDEX)

    def followed(self, z: Float[Array, "W"], doses: Doses, record: Record, key: Array) -> Followed:
        """What a particle predicts of each measurement, given those before it, and where its cells are then."""
        system, grid, noise = self.system(z), self.problem.task.grid, self.prior.noise
        if noise is not None:
            sizes = noise.sizes(z[-noise.count :])
            return follow(system, grid, doses, self.channels, record, sizes, key, self.each)
        trajectory = rollout(system, Schedule(doses), grid)
        at = predicted(self.channels, expectations(self.channels, system, trajectory, record.day), record)
        return Followed(Predicted(jnp.where(trajectory.ok, at.mean, jnp.nan), at.sd), None)

    def likelihoods(self, z: Float[Array, "W"], at: Predicted, record: Record) -> Float[Array, "L C"]:
        """Log density of each measurement in a particle; minus infinity for one that cannot be."""
        found = log_density(self.channels, at, record)
        good = self.prior.allowed(self.prior.numbers(z))
        return jnp.where(good & jnp.isfinite(found), found, -jnp.inf)

    def _update(self, key: Array, belief: Belief, doses: Doses, record: Record, fresh: Array) -> tuple[Belief, Updated]:
        """Weigh new measurements; move the particles where too few of them explain all.

        Args:
            key: of resampling and moves.
            belief: given everything measured before.
            doses: what was given; later doses change nothing [K, N].
            record: everything measured so far.
            fresh: which of it is new [L, C].
        """

        def one(z: Array) -> tuple[Array, Array]:
            at = self.followed(z, doses, record, key).at
            return self.likelihoods(z, at, record), self._cumulative(at, record)

        each, reached = jax.lax.map(one, belief.z, batch_size=BATCH)
        new = jnp.where(fresh & (record.seen != MISSING), each, 0.0)
        weights = belief.log_weights[:, None, None]
        negative_log_predictive = jnp.where(fresh & (record.seen != MISSING), -logsumexp(weights + new, axis=0), 0.0)
        log_weights = belief.log_weights + jnp.sum(new, (1, 2))
        normalised = log_weights - logsumexp(log_weights)
        ess = jnp.where(jnp.any(jnp.isfinite(log_weights)), jnp.exp(-logsumexp(2.0 * normalised)), 0.0)
        moved, temperatures = jax.lax.cond(
            ess >= LEAST_ESS * self.particles,
            lambda: (belief._replace(log_weights=normalised), jnp.zeros((), int)),
            lambda: self._moved(key, belief, doses, record, fresh),
        )
        below = jnp.tensordot(jnp.exp(belief.log_weights - logsumexp(belief.log_weights)), reached, axes=1)
        p = jnp.where(record.seen == BELOW, below, 2.0 * jnp.minimum(below, 1.0 - below))
        p = jnp.where(fresh & (record.seen != MISSING), p, jnp.nan)
        return self._filtered(key, moved, doses, record), Updated(ess, temperatures, negative_log_predictive, p)

    def _filtered(self, key: Array, belief: Belief, doses: Doses, record: Record) -> Belief:
        """The particles with their cells where the measurements say that they are."""
        if belief.changes is None:
            return belief
        own = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(self.particles))
        changes = jax.lax.map(
            lambda each: self.followed(each[0], doses, record, each[1]).changes, (belief.z, own), batch_size=BATCH
        )
        return belief._replace(changes=changes)

    def _cumulative(self, at: Predicted, record: Record) -> Float[Array, "L C"]:
        """Probability in a particle of a value below each measurement, or below its detection limit."""
        limits = jnp.stack([channel.limit() for channel in self.channels])
        level = jnp.where(record.seen == BELOW, jnp.where(jnp.isfinite(limits), limits, 0.0), record.shown)
        found = ndtr((level - at.mean) / at.sd)
        return jnp.where(jnp.isfinite(found), found, 0.0)

    def _moved(self, key: Array, belief: Belief, doses: Doses, record: Record, fresh: Array) -> tuple[Belief, Index]:
        """Tempered sequential Monte Carlo from the belief before to the one after the fresh measurements."""

        def likelihoods(z: Array) -> Array:
            return self.likelihoods(z, self.followed(z, doses, record, key).at, record)

        def before(z: Array) -> Scalar:
            own = 0.0 if belief.risk is None else self.prior.log_risk(z, belief.risk)
            return own - 0.5 * jnp.sum(z**2) + jnp.sum(jnp.where(fresh, 0.0, likelihoods(z)))

        def added(z: Array) -> Scalar:
            found = jnp.sum(jnp.where(fresh, likelihoods(z), 0.0))
            # Weights of minus infinity times a temperature of 0 would be no number.
            return jnp.maximum(found, -1e12)

        z, log_weights, count = tempered(key, belief.z, belief.log_weights, before, added)
        return belief._replace(z=z, log_weights=log_weights), count


def _on_common_nodes(scenario: Scenario, prior: Prior) -> Problem:
    """The scenario's problem on nodes that are enough for the prior's patients."""
    z = draw(prior, jax.random.key(0), _SHAPES)
    values = np.asarray(jax.vmap(prior.numbers)(z))
    allowed = np.asarray(jax.vmap(prior.allowed)(jnp.asarray(values)))
    names = tuple(str(i) for i in range(_SHAPES))
    faults = {int(i): f"patient {i}: outside its range" for i in np.flatnonzero(~allowed)}
    ensemble = build_ensemble(scenario, Patients(prior.places, values, names, faults))
    if not ensemble.included.any():
        wanted = "a patient of the prior who can be simulated"
        raise ScenarioError([f"{scenario.file}: cohort: wanted {wanted}; got none"])
    return ensemble.problem


def effective(belief: Belief) -> Scalar:
    """Effective number of particles, 1 / sum of squared weights."""
    return jnp.exp(-logsumexp(2.0 * (belief.log_weights - logsumexp(belief.log_weights))))


def places(belief: Belief, count: int) -> Int[Array, "n"]:
    """Which particles stand for all, so many of them: systematic resampling without chance."""
    weights = jnp.exp(belief.log_weights - logsumexp(belief.log_weights))
    steps = (jnp.arange(count) + 0.5) / count
    return jnp.clip(jnp.searchsorted(jnp.cumsum(weights), steps), 0, belief.z.shape[0] - 1)
