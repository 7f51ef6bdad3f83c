"""Particle filter: what is believed of a patient as weighted particles, and how measurements change them.

The tumor has no noise of its own: numbers and doses decide its course. A particle is therefore one set of the numbers
that are not known; its state on any day follows by simulation, and its weight says how well it explains what was
measured. Sequential Monte Carlo over such particles is that of Chopin 2002 (doi 10.1093/biomet/89.3.539), tempered
(Del Moral, Doucet and Jasra 2006, doi 10.1111/j.1467-9868.2006.00553.x), by blackjax.
"""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp, ndtr
from jaxtyping import Array, Float

from optimizer.axes import Doses, Index, Scalar
from optimizer.control.prior import Prior, draw
from optimizer.ensemble.ensemble import Members, build_ensemble, system_at, with_system
from optimizer.ensemble.patients import Patients
from optimizer.observations import BELOW, MISSING, Channel, Record, log_likelihood
from optimizer.observations.record import expectations, predicted
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Task
from optimizer.scenario import Scenario, ScenarioError
from optimizer.simulate import System, Trajectory, rollout

# Particles are moved once the effective number of them falls below this share of all.
_LEAST_ESS = 0.5
# Steps of the random walk at each temperature, and its length for V numbers (Roberts, Gelman and Gilks 1997,
# doi 10.1214/aoap/1034625254).
_MOVES = 8
_LENGTH = 2.38
_MOST_TEMPERATURES = 200
# Plain vmap over more than about this many patients falls out of a CPU's cache.
_BATCH = 128
# Patients of the prior on whose extremes the nodes of an interval are chosen.
_SHAPES = 64
# Draws for each patient of the prior that is asked for, and the number of the first of them, far from hidden patients'.
_SPARE = 4
_PRIOR_INDEX = 2**20


class Belief(NamedTuple):
    """E particles.

    Attributes:
        z: their numbers as the prior's standard normal ones [E, V].
        log_weights: normalised [E].
    """

    z: Float[Array, "E V"]
    log_weights: Float[Array, "E"]


class Updated(NamedTuple):
    """How an update went.

    Attributes:
        ess: effective number of particles after the measurements were weighed, before any was moved.
        temperatures: stages in which particles were moved; 0 where their weights alone were changed.
        accepted: mean share of accepted moves; NaN without any.
        negative_log_predictive: minus the logarithm of the density that the belief gave to each new measurement, 0
            elsewhere [L, C].
        predictive_p: two-sided probability, by the belief before it, of a value as far out as each new measurement; of
            one below its detection limit, that it is; NaN elsewhere [L, C].
    """

    ess: Scalar
    temperatures: Index
    accepted: Scalar
    negative_log_predictive: Float[Array, "L C"]
    predictive_p: Float[Array, "L C"]


class Inference:
    """Beliefs about the patients of a scenario.

    Args:
        scenario: model, drugs and decisions.
        prior: what is not known.
        channels: what is measured.
        particles: how many, E.

    Raises:
        ScenarioError: nothing is measured, or the prior's own middle cannot be simulated.
    """

    def __init__(self, scenario: Scenario, prior: Prior, channels: tuple[Channel, ...], particles: int = 256):
        if not channels:
            wanted = "at least one [[observation]], which says what is measured"
            raise ScenarioError([f"{scenario.file}: observation: wanted {wanted}; got none"])
        self.scenario, self.prior, self.channels, self.particles = scenario, prior, channels, particles
        self.problem = _on_common_nodes(scenario, prior)
        self.update = jax.jit(self._update)

    def measured_by(self, channels: tuple[Channel, ...]) -> Inference:
        """The same beliefs with other assays of the same quantities, whose numbers may be tracers."""
        other = copy(self)
        other.channels, other.update = channels, jax.jit(other._update)
        return other

    def sharpened(self, noise: float) -> Inference:
        """The same with all assays of another noise."""
        channels = tuple(
            eqx.tree_at(lambda c: c.assay.noise, channel, jnp.asarray(noise, dtype=float)) for channel in self.channels
        )
        return Inference(self.scenario, self.prior, channels, self.particles)

    def begin(self, seed: int) -> Belief:
        """The prior's particles."""
        z = draw(self.prior, jax.random.key(np.uint32(seed)), self.particles)
        return Belief(z, jnp.asarray(np.full(self.particles, -np.log(self.particles))))

    def system(self, z: Float[Array, "V"]) -> System:
        """The patient that a particle stands for."""
        mesh = self.problem.task.system.mesh
        return system_at(self.scenario.plan, self.prior.places, self.prior.numbers(z), mesh)

    def systems(self, z: Float[Array, "E V"]) -> System:
        """The patients of particles, each leaf with a leading axis [E]."""
        return jax.vmap(self.system)(z)

    def members(self, count: int, spread: float = 1.0) -> Members:
        """So many patients of the prior with its spreads widened; who is out of range gives way to another."""
        z = spread * draw(self.prior, jax.random.key(1), _SPARE * count)
        allowed = np.asarray(jax.vmap(lambda one: self.prior.allowed(self.prior.numbers(one)))(z))
        # Where nobody is within the ranges, the prior's middle is everybody.
        rows = np.resize(np.flatnonzero(allowed), count) if allowed.any() else np.zeros(count, int)
        chosen_ = z[rows] if allowed.any() else jnp.zeros_like(z[rows])
        return Members(self.problem.task, jax.jit(self.systems)(chosen_), jnp.arange(count) + _PRIOR_INDEX)

    def task_of(self, z: Float[Array, "V"]) -> Task:
        """The task of the patient that a particle stands for."""
        return with_system(self.problem.task, self.system(z))

    def trajectory(self, z: Float[Array, "V"], doses: Doses) -> Trajectory:
        """What becomes of a particle under doses [K, N]."""
        return rollout(self.system(z), Schedule(doses), self.problem.task.grid)

    def likelihoods(self, z: Float[Array, "V"], doses: Doses, record: Record) -> Float[Array, "L C"]:
        """Log density of each measurement in a particle; minus infinity for one that cannot be."""
        trajectory = self.trajectory(z, doses)
        found = log_likelihood(self.channels, self.system(z), trajectory, record)
        good = self.prior.allowed(self.prior.numbers(z)) & trajectory.ok
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
        each, reached = self._mapped(
            lambda z: (self.likelihoods(z, doses, record), self._cumulative(z, doses, record)), belief.z
        )
        new = jnp.where(fresh & (record.seen != MISSING), each, 0.0)
        weights = belief.log_weights[:, None, None]
        negative_log_predictive = jnp.where(fresh & (record.seen != MISSING), -logsumexp(weights + new, axis=0), 0.0)
        log_weights = belief.log_weights + jnp.sum(new, (1, 2))
        normalised = log_weights - logsumexp(log_weights)
        ess = jnp.where(jnp.any(jnp.isfinite(log_weights)), jnp.exp(-logsumexp(2.0 * normalised)), 0.0)
        moved, temperatures, accepted = jax.lax.cond(
            ess >= _LEAST_ESS * self.particles,
            lambda: (Belief(belief.z, normalised), jnp.zeros((), int), jnp.asarray(jnp.nan)),
            lambda: self._moved(key, belief, doses, record, fresh),
        )
        below = jnp.tensordot(jnp.exp(belief.log_weights - logsumexp(belief.log_weights)), reached, axes=1)
        p = jnp.where(record.seen == BELOW, below, 2.0 * jnp.minimum(below, 1.0 - below))
        p = jnp.where(fresh & (record.seen != MISSING), p, jnp.nan)
        return moved, Updated(ess, temperatures, accepted, negative_log_predictive, p)

    def _cumulative(self, z: Float[Array, "V"], doses: Doses, record: Record) -> Float[Array, "L C"]:
        """Probability in a particle of a value below each measurement, or below its detection limit."""
        expected = expectations(self.channels, self.system(z), self.trajectory(z, doses), record.day)
        at = predicted(self.channels, expected, record)
        limits = jnp.stack([channel.limit() for channel in self.channels])
        level = jnp.where(record.seen == BELOW, jnp.where(jnp.isfinite(limits), limits, 0.0), record.shown)
        found = ndtr((level - at.mean) / at.sd)
        return jnp.where(jnp.isfinite(found), found, 0.0)

    def _mapped(self, function: Any, z: Array) -> Array:
        return jax.lax.map(function, z, batch_size=_BATCH)

    def _moved(
        self, key: Array, belief: Belief, doses: Doses, record: Record, fresh: Array
    ) -> tuple[Belief, Index, Scalar]:
        """Tempered sequential Monte Carlo from the belief before to the one after the fresh measurements."""
        from blackjax.smc import adaptive_tempered, resampling
        from blackjax.smc.tempered import TemperedSMCState

        def before(z: Array) -> Scalar:
            old = jnp.where(fresh, 0.0, self.likelihoods(z, doses, record))
            return -0.5 * jnp.sum(z**2) + jnp.sum(old)

        def added(z: Array) -> Scalar:
            found = jnp.sum(jnp.where(fresh, self.likelihoods(z, doses, record), 0.0))
            # Weights of minus infinity times a temperature of 0 would be no number.
            return jnp.maximum(found, -1e12)

        kernel = adaptive_tempered.build_kernel(
            before, added, _walk_step, _walk_start, resampling.systematic, _LEAST_ESS, batch_size=_BATCH
        )

        def stage(carry: Any) -> Any:
            key, state, count, accepted = carry
            key, own = jax.random.split(key)
            root = _spread(state.particles, state.weights)
            state, info = kernel(own, state, _MOVES, {"root": root[None]})
            return key, state, count + 1, accepted + jnp.mean(info.update_info.acceptance_rate)

        first = TemperedSMCState(belief.z, jnp.exp(belief.log_weights), jnp.zeros(()))
        carry = (key, first, jnp.zeros((), int), jnp.zeros(()))
        _, state, count, accepted = jax.lax.while_loop(
            lambda c: (c[1].tempering_param < 1.0) & (c[2] < _MOST_TEMPERATURES), stage, carry
        )
        return Belief(state.particles, jnp.log(state.weights)), count, accepted / count


def _walk_start(position: Array, log_density: Any) -> Any:
    from blackjax.mcmc import random_walk

    return random_walk.init(position, log_density)


def _walk_step(key: Array, state: Any, log_density: Any, root: Array) -> Any:
    from blackjax.mcmc import random_walk

    def step(key: Array, position: Array) -> Array:
        return root @ jax.random.normal(key, position.shape)

    return random_walk.build_additive_step()(key, state, log_density, step)


def _spread(z: Float[Array, "E V"], weights: Float[Array, "E"]) -> Float[Array, "V V"]:
    """Root of the particles' covariance, as long as a random walk's step should be."""
    count = z.shape[1]
    away = z - weights @ z
    covariance = (weights[:, None] * away).T @ away
    # One Cholesky factor of a matrix kept away from singular: the particles may agree in a direction.
    factor = jnp.linalg.cholesky(covariance + 1e-12 * jnp.eye(count))
    return _LENGTH / count**0.5 * factor


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


def chosen(belief: Belief, count: int) -> Float[Array, "n V"]:
    """So many particles that stand for all, by systematic resampling without chance."""
    weights = jnp.exp(belief.log_weights - logsumexp(belief.log_weights))
    places = (jnp.arange(count) + 0.5) / count
    return belief.z[jnp.clip(jnp.searchsorted(jnp.cumsum(weights), places), 0, belief.z.shape[0] - 1)]
