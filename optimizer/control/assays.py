"""How a virtual patient is measured: visits, the noise of the assays, and what a feedback rule is shown of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from optimizer.axes import Doses, Index, Scalar
from optimizer.control.conduct import Adherence, Lives
from optimizer.observations import Assay, Channel
from optimizer.observations.burden import Burden
from optimizer.observations.record import draw_errors, expectations, measure, visit_days
from optimizer.policies.base import AbstractPolicy, Observation
from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario, ScenarioError
from optimizer.settings import Changes
from optimizer.simulate import Grid, System, Trajectory, rollout

# Days by which a visit may miss a decision, and a result its decision, through rounding.
_NEAR = 1e-6
# Quantities from which a burden can be told, with the power of the quantity that the burden is.
_POWERS = {"burden": 1.0, "volume": 1.0, "ca125": 1.0, "psa": 1.0, "ctdna": 1.0, "diameter": 3.0}
# Keeps the noise of a patient apart from the numbers of patient and prior, which are drawn from the same seed.
_NOISE, _BELIEF, _STEPS, _LIVED = 0x0B5E7, 0xBE11E, 0x57E95, 0x11FED


class Visits(NamedTuple):
    """Samples of C channels at K decisions."""

    taken: Bool[Array, "K C"]  #: whether a sample is taken at a decision [K, C]
    counts: Int[Array, "K C"]  #: first decision at which its result is known; K or more where that is never [K, C]


class Results(NamedTuple):
    """Samples of a patient, by the decision at which they are taken [K, C]."""

    shown: Float[Array, "K C"]  #: on the scales on which errors add
    seen: Int[Array, "K C"]  #: MISSING, MEASURED or BELOW


class Assays(NamedTuple):
    """How one patient is measured: the one noise model of every closed loop.

    Chance is drawn for every decision, whether there is a visit or not.
    """

    channels: tuple[Channel, ...]  #: C quantities with their assays; none where nothing is measured
    errors: Float[Array, "K C"]  #: in standard deviations [K, C]
    #: uniform numbers; a result is missing where its number is below the share of missing ones [K, C]
    lots: Float[Array, "K C"]
    visits: Visits  #: when samples are taken, and when their results count
    adherence: Adherence | None = None  #: how the patient takes doses; None where as they are asked for

    @property
    def present(self) -> Bool[Array, "K C"]:
        """Where there is a result; the first visit of a channel always has one."""
        missing = jnp.stack([jnp.asarray(c.assay.missing) for c in self.channels])
        is_first = self.visits.taken & (jnp.cumsum(self.visits.taken, axis=0) == 1)
        return self.visits.taken & ((self.lots >= missing) | is_first)

    def results(self, system: System, trajectory: Trajectory, grid: Grid) -> Results:
        """All samples along a trajectory."""
        if not self.channels:
            none = jnp.zeros((grid.count, 0))
            return Results(none, none.astype(int))
        expected = expectations(self.channels, system, trajectory, grid.edges[:-1])
        shown, seen = jax.vmap(lambda e, n, p: measure(self.channels, e, n, p))(expected, self.errors, self.present)
        return Results(shown, seen)

    def under(self, system: System, doses: Doses, grid: Grid) -> tuple[Results, Trajectory]:
        """All samples of a patient under doses [K, N], and what becomes of the patient."""
        trajectory = rollout(system, Schedule(doses), grid)
        return self.results(system, trajectory, grid), trajectory

    def newest_burden(self, results: Results, k: Index) -> Scalar:
        """Logarithm of the burden, up to a constant, by the newest result known at a decision; infinite without one."""
        c = watched(self.channels)
        if c is None:
            return jnp.asarray(jnp.inf)
        known = self.present[:, c] & (self.visits.counts[:, c] <= k)
        newest = jnp.max(jnp.where(known, jnp.arange(known.size), -1))
        return jnp.where(newest >= 0, power(self.channels[c]) * results.shown[jnp.maximum(newest, 0), c], jnp.inf)

    def measured(self, rule: AbstractPolicy, grid: Grid, drugs: int) -> "Measured":
        """A rule for so many drugs that is shown the burden as these assays measure it."""
        c = watched(self.channels)
        assert c is not None
        errors = power(self.channels[c]) * self.channels[c].assay.noise * self.errors[:, c]
        decisions, last = jnp.arange(grid.count), grid.count
        known = self.present[:, c][None, :] & (self.visits.counts[:, c][None, :] <= decisions[:, None])
        newest = jnp.max(jnp.where(known, decisions[None, :], -1), axis=1)
        is_new = jnp.concatenate([jnp.ones(1, bool), newest[1:] != newest[:-1]])
        following = jax.lax.cummin(jnp.where(is_new, decisions, last), reverse=True)
        following = jnp.append(following[1:], last)
        return Measured(rule, errors, newest, is_new, grid.edges[following] - grid.edges[:-1], drugs)


class TrialAssays(eqx.Module):
    """The assays of a trial: a patient's are known by the seed and the patient's number alone."""

    channels: tuple[Channel, ...]  #: C quantities with their assays
    visits: Visits  #: when samples are taken, and when their results count
    seed: Array  #: of the trial
    days: Float[Array, "K"]  #: of the K decisions
    lives: Lives | None = None  #: what patients meet; None where they keep to everything

    def __call__(self, index: Index) -> Assays:
        """How a patient is measured."""
        found = self._measured(index)
        if self.lives is None:
            return found
        adherence = self.lives(_key(self.seed, index, _LIVED))
        taken = jnp.zeros_like(self.visits.taken).at[adherence.arrives].max(self.visits.taken)
        visits = self.visits._replace(taken=taken & (self.days <= adherence.leaves)[:, None])
        return found._replace(visits=visits, adherence=adherence)

    def _measured(self, index: Index) -> Assays:
        own, lots = jax.random.split(_key(self.seed, index, _NOISE))
        if not self.channels:
            none = jnp.zeros((self.days.shape[0], 0))
            return Assays(self.channels, none, none, self.visits)
        errors = draw_errors(self.channels, own, self.days)
        return Assays(self.channels, errors, jax.random.uniform(lots, errors.shape), self.visits)


class BurdenAssays(eqx.Module):
    """The burden at every decision, burden times exp(noise z); the draws depend on the patient's number alone."""

    noise: Scalar  #: standard deviation of the logarithm of a measured burden
    decisions: int = eqx.field(static=True)  #: how many there are, K

    def __call__(self, index: Index) -> Assays:
        """How a patient is measured."""
        key = jax.random.key(index)
        draw = jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(key, k), dtype=float))
        at, every = jnp.arange(self.decisions), jnp.ones((self.decisions, 1))
        channel = Channel(Burden(), replace(Assay(), noise=self.noise, missing=jnp.zeros(())))
        return Assays((channel,), draw(at)[:, None], every, Visits(every > 0.0, at[:, None]))


class Measured(AbstractPolicy):
    """A rule that is asked only when a result is new; what it sees are measured burdens, the first one included.

    Before the first result it takes the tumor for unchanged.
    """

    kind: ClassVar[str] = "measured"
    rule: AbstractPolicy  #: without noise and delay of its own
    errors: Float[Array, "K"]  #: of the logarithm of the burden at each decision [K]
    newest: Int[Array, "K"]  #: decision at which the newest result that is known was taken; -1 before there is one [K]
    is_new: Bool[Array, "K"]  #: decisions at which something new is known, and the first one [K]
    lengths: Float[Array, "K"]  #: days until there is something new [K]
    drugs: int = eqx.field(static=True)  #: how many there are, N

    def init(self) -> Any:
        return self.rule.init(), jnp.zeros(self.drugs), jnp.zeros(self.errors.shape)

    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        own, held, shown = memory
        k = observation.index
        shown = shown.at[k].set(jnp.log(observation.burden) + self.errors[k])
        seen = observation._replace(
            length=self.lengths[k],
            burden=jnp.exp(shown[jnp.maximum(self.newest[k], 0)]),
            start_burden=jnp.exp(shown[0]),
        )
        asked, after = self.rule.decide(own, seen)
        dose = jnp.where(self.is_new[k], asked, held)
        own = jax.tree.map(lambda new, old: jnp.where(self.is_new[k], new, old), after, own)
        return dose, (own, dose, shown)


def changed(channels: tuple[Channel, ...], changes: Changes) -> tuple[Channel, ...]:
    """The channels with other assays."""
    own, out = watched(channels), []
    for c, channel in enumerate(channels):
        assay = channel.assay
        if changes.visit_every is not None:
            every = changes.visit_every if c == own else max(changes.visit_every, assay.every)
            assay = replace(assay, every=every, days=())
        new = {"noise": changes.noise if c == own else None, "delay": changes.delay, "missing": changes.missing}
        assay = replace(
            assay, **{name: jnp.asarray(value, dtype=float) for name, value in new.items() if value is not None}
        )
        out.append(Channel(channel.quantity, assay))
    return tuple(out)


def watched(channels: Sequence[Channel]) -> int | None:
    """The channel that rules watch: the first from which a burden can be told."""
    return next((c for c, channel in enumerate(channels) if channel.quantity.kind in _POWERS), None)


def power(channel: Channel) -> float:
    """Power of the quantity to which the burden is proportional."""
    return _POWERS[channel.quantity.kind]


def trial_assays(scenario: Scenario, channels: tuple[Channel, ...], seed: int) -> TrialAssays:
    """How the patients of a trial are measured by some channels; the same program serves all visits.

    Raises:
        ScenarioError: visits on days that are no decisions.
    """
    edges = scenario.plan.edges
    plain = tuple(Channel(c.quantity, replace(c.assay, every=0.0, days=())) for c in channels)
    # Strongly typed, or a number that was changed would be a second compilation.
    plain = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=float), plain)
    visits, conduct = plan_visits(scenario.file, channels, edges), scenario.plan.conduct
    jitter, least = 0.0 if conduct is None else conduct["visit_jitter"], 0.5 * float(np.diff(edges).min())
    if 0.0 < jitter < least:
        wanted = f"0 or at least {least:g} day, as visits are on days of decisions"
        raise ScenarioError([f"{scenario.file}: conduct.visit_jitter: wanted {wanted}; got {jitter:g} day"])
    lives = None if conduct is None else Lives.of(conduct, scenario.problem().task)
    return TrialAssays(plain, visits, jnp.asarray(np.uint32(seed)), jnp.asarray(edges[:-1]), lives)


def plan_visits(file: str, channels: Sequence[Channel], edges: np.ndarray) -> Visits:
    """Samples at decisions, and the decisions at which their results count.

    Raises:
        ScenarioError: a visit between two decisions.
    """
    starts = edges[:-1]
    taken = np.zeros((len(starts), len(channels)), bool)
    counts = np.full(taken.shape, len(starts))
    for c, channel in enumerate(channels):
        for day in visit_days(channel, edges.tolist()):
            k = int(np.argmin(np.abs(starts - day)))
            if abs(starts[k] - day) > _NEAR:
                days = ", ".join([*(f"{day:g}" for day in starts[:4]), *(["..."] if len(starts) > 4 else [])])
                wanted = f"wanted visits of a trial on days of decisions ({days}); got day {day:g}"
                raise ScenarioError([f"{file}: observation[{c}]: {wanted}"])
            taken[k, c] = True
        counts[:, c] = np.searchsorted(starts, starts + float(channel.assay.delay) - _NEAR)
    return Visits(jnp.asarray(taken), jnp.asarray(np.maximum(counts, np.arange(len(starts))[:, None])))


def belief_keys(seed: Array, index: Index | Array) -> tuple[Array, Array]:
    """Keys of a patient's first particles and of what moves them."""
    return _key(seed, index, _BELIEF), _key(seed, index, _STEPS)


def _key(seed: Array, index: Index | Array, purpose: int) -> Array:
    """A key of a patient for one purpose."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), purpose), index)
