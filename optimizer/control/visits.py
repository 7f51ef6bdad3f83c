"""When a virtual patient is measured, when each result counts, and the noise that all policies see alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from optimizer.axes import Doses
from optimizer.observations import Channel
from optimizer.observations.record import draw_errors, expectations, measure, visit_days
from optimizer.policies.schedule import Schedule
from optimizer.scenario import ScenarioError
from optimizer.settings import Changes
from optimizer.simulate import Grid, System, rollout

# Days by which a visit may miss a decision, and a result its decision, through rounding.
_NEAR = 1e-6
# Quantities from which a burden can be told, with the power of the quantity that the burden is.
_POWERS = {"burden": 1.0, "volume": 1.0, "psa": 1.0, "ctdna": 1.0, "diameter": 3.0}
# Keeps the noise of a patient apart from the numbers of patient and prior, which are drawn from the same seed.
_NOISE, _BELIEF, _STEPS = 0x0B5E7, 0xBE11E, 0x57E95


class Visits(NamedTuple):
    """Samples of C channels at K decisions.

    Attributes:
        taken: whether a sample is taken at a decision [K, C].
        counts: first decision at which its result is known; K or more where that is never [K, C].
    """

    taken: Bool[Array, "K C"]
    counts: Int[Array, "K C"]


class Noise(NamedTuple):
    """What chance adds to the measurements of a patient, drawn for every decision, whether there is a visit or not.

    Attributes:
        errors: in standard deviations [K, C].
        lots: uniform numbers; a result is missing where its number is below the share of missing ones [K, C].
    """

    errors: Float[Array, "K C"]
    lots: Float[Array, "K C"]


class Results(NamedTuple):
    """Samples of a patient, by the decision at which they are taken [K, C].

    Attributes:
        shown: on the scales on which errors add.
        seen: MISSING, MEASURED or BELOW.
    """

    shown: Float[Array, "K C"]
    seen: Int[Array, "K C"]


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


def without_visits(channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
    """The same assays whatever their visits, so that one program serves them all."""
    plain = [Channel(c.quantity, replace(c.assay, every=0.0, days=())) for c in channels]
    # Strongly typed, or a number that was changed would be a second compilation.
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=float), tuple(plain))


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
                wanted = f"wanted visits of a trial on days of decisions ({_listed(starts)}); got day {day:g}"
                raise ScenarioError([f"{file}: observation[{c}]: {wanted}"])
            taken[k, c] = True
        counts[:, c] = np.searchsorted(starts, starts + float(channel.assay.delay) - _NEAR)
    return Visits(jnp.asarray(taken), jnp.asarray(np.maximum(counts, np.arange(len(starts))[:, None])))


def _listed(days: np.ndarray) -> str:
    first = ", ".join(f"{day:g}" for day in days[:4])
    return first if len(days) <= 4 else f"{first}, ..."


def draw_noise(channels: tuple[Channel, ...], seed: Array, index: Array, days: Float[Array, "K"]) -> Noise:
    """The noise of a patient, who is known by the seed and the index alone."""
    own, lots = jax.random.split(key_of(seed, index, _NOISE))
    shape = (days.shape[0], len(channels))
    return Noise(draw_errors(channels, own, days), jax.random.uniform(lots, shape))


def key_of(seed: Array, index: Array, purpose: int) -> Array:
    """A key of a patient for one purpose."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), purpose), index)


def belief_keys(seed: Array, index: Array) -> tuple[Array, Array]:
    """Keys of a patient's first particles and of what moves them."""
    return key_of(seed, index, _BELIEF), key_of(seed, index, _STEPS)


def present(channels: tuple[Channel, ...], noise: Noise, visits: Visits) -> Bool[Array, "K C"]:
    """Where there is a result; the first visit of a channel always has one."""
    missing = jnp.stack([jnp.asarray(c.assay.missing) for c in channels])
    is_first = visits.taken & (jnp.cumsum(visits.taken, axis=0) == 1)
    return visits.taken & ((noise.lots >= missing) | is_first)


def results(
    channels: tuple[Channel, ...], system: System, grid: Grid, doses: Doses, noise: Noise, visits: Visits
) -> tuple[Results, Float[Array, "T"], Float[Array, "T"]]:
    """All samples of a patient under doses [K, N], and the burden [T] at the saved times [T]."""
    trajectory = rollout(system, Schedule(doses), grid)
    expected = expectations(channels, system, trajectory, grid.edges[:-1])
    there = present(channels, noise, visits)
    shown, seen = jax.vmap(lambda e, n, p: measure(channels, e, n, p))(expected, noise.errors, there)
    return Results(shown, seen), trajectory.times, trajectory.burden


class Watch(eqx.Module):
    """What a rule is shown: errors of the log burden at each decision, and which sample is the newest that it knows.

    Attributes:
        errors: of the logarithm of the burden [K].
        newest: decision at which the newest result that is known was taken; -1 before there is one [K].
        lengths: days until there is something new [K].
    """

    errors: Float[Array, "K"]
    newest: Int[Array, "K"]
    lengths: Float[Array, "K"]


def watch(channels: tuple[Channel, ...], noise: Noise, visits: Visits, edges: Float[Array, "edges"]) -> Watch:
    """The watched channel as rules see it."""
    c = watched(channels)
    assert c is not None
    decisions = jnp.arange(edges.shape[0] - 1)
    errors = power(channels[c]) * channels[c].assay.noise * noise.errors[:, c]
    there, counts = present(channels, noise, visits)[:, c], visits.counts[:, c]
    known = there[None, :] & (counts[None, :] <= decisions[:, None])
    newest = jnp.max(jnp.where(known, decisions[None, :], -1), axis=1)
    following = jax.lax.cummin(jnp.where(is_new(newest), decisions, edges.shape[0] - 1), reverse=True)
    following = jnp.append(following[1:], edges.shape[0] - 1)
    return Watch(errors, newest, edges[following] - edges[:-1])


def is_new(newest: Int[Array, "K"]) -> Bool[Array, "K"]:
    """Decisions at which something new is known, and the first one."""
    return jnp.concatenate([jnp.ones(1, bool), newest[1:] != newest[:-1]])
