"""Measurements as arrays, how likely a trajectory makes them, and measurements drawn from a trajectory."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float, Int

from optimizer.observations.base import Channel
from optimizer.simulate import System, Trajectory

# What there is of a measurement.
# BELOW the assay's own detection limit; UNDER and OVER the value that is shown.
MISSING, MEASURED, BELOW, UNDER, OVER = 0, 1, 2, 3, 4
# Errors a moment apart are not taken for quite the same.
_MOST_ALIKE = 0.999
# No assay is believed to be better than this: a belief in exact numbers is one that nothing can change.
LEAST_NOISE = 0.01


class Record(NamedTuple):
    """L visits with C channels."""

    day: Float[Array, "L"]  #: of each visit, increasing; rows that are still empty come last [L]
    shown: Float[Array, "L C"]  #: measured values on the scale on which errors add [L, C]
    seen: Int[Array, "L C"]  #: MISSING, MEASURED, BELOW (the detection limit), or UNDER or OVER what is shown [L, C]

    @classmethod
    def empty(cls, visits: int, channels: int) -> "Record":
        """Room for so many visits."""
        shape = (visits, channels)
        return cls(jnp.zeros(visits), jnp.zeros(shape), jnp.zeros(shape, int))


class Chain(NamedTuple):
    """The last error of each channel that is known."""

    day: Float[Array, "C"]  #: when [C]
    error: Float[Array, "C"]  #: in standard deviations [C]
    known: Array  #: whether there is one [C]


def _assays(channels: Sequence[Channel]) -> tuple[Array, Array, Array]:
    """Noise, correlation time and detection limit of each channel, [C] each."""
    noise = jnp.stack([jnp.maximum(c.assay.noise, LEAST_NOISE) for c in channels])
    alike = jnp.stack([jnp.asarray(c.assay.correlation_time) for c in channels])
    return noise, alike, jnp.stack([jnp.asarray(c.limit()) for c in channels])


def expectations(
    channels: Sequence[Channel], system: System, trajectory: Trajectory, days: Float[Array, "L"]
) -> Float[Array, "L C"]:
    """What all channels would show without error, on the scales on which errors add."""
    return jnp.stack([c.expected(system, trajectory, days) for c in channels], -1)


def correlation(elapsed: Array, time: Array) -> Array:
    """Correlation of two errors so many days apart."""
    safe = jnp.where(time > 0.0, time, 1.0)
    return jnp.where(time > 0.0, jnp.minimum(jnp.exp(-elapsed / safe), _MOST_ALIKE), 0.0)


class Predicted(NamedTuple):
    """Normal predictions of measurements, each given those before it [L, C]."""

    mean: Float[Array, "L C"]
    sd: Float[Array, "L C"]


def predicted(channels: Sequence[Channel], expected: Float[Array, "L C"], record: Record) -> Predicted:
    """What each measurement should be around, given the errors before it.

    A value below its detection limit tells too little of its error for the next one to be expected nearer: the chain
    of errors goes on from the last value that was measured.
    """
    noise, alike, _ = _assays(channels)
    zero = jnp.zeros(len(channels))
    start = Chain(zero, zero, jnp.zeros(len(channels), bool))

    def visit(chain: Chain, row: Any) -> tuple[Chain, Any]:
        day, expected, shown, seen = row
        rho = jnp.where(chain.known, correlation(day - chain.day, alike), 0.0)
        mean, sd = expected + noise * rho * chain.error, noise * jnp.sqrt(1.0 - rho**2)
        known = seen == MEASURED
        error = jnp.where(known, (shown - expected) / noise, chain.error)
        return Chain(jnp.where(known, day, chain.day), error, chain.known | known), (mean, sd)

    _, (mean, sd) = jax.lax.scan(visit, start, (record.day, expected, record.shown, record.seen))
    return Predicted(mean, sd)


def log_likelihood(
    channels: Sequence[Channel], system: System, trajectory: Trajectory, record: Record
) -> Float[Array, "L C"]:
    """Logarithm of the density of each measurement, given those before it; 0 where there is none.

    Args:
        channels: C of them.
        system: the patient.
        trajectory: what was simulated with the doses that were given.
        record: what was measured.
    """
    return log_density(
        channels, predicted(channels, expectations(channels, system, trajectory, record.day), record), record
    )


def log_density(channels: Sequence[Channel], at: Predicted, record: Record) -> Float[Array, "L C"]:
    """Logarithm of the density of each measurement under its prediction; 0 where there is none.

    A value below the detection limit, or below or above a limit of its own, counts by the probability that it is.
    """
    limit = _assays(channels)[2]
    far = (record.shown - at.mean) / at.sd
    density = -0.5 * far**2 - jnp.log(at.sd) - 0.5 * jnp.log(2.0 * jnp.pi)
    below = log_ndtr(jnp.where(jnp.isfinite(limit), (limit - at.mean) / at.sd, 0.0))
    seen = [record.seen == state for state in (MEASURED, BELOW, UNDER, OVER)]
    return jnp.select(seen, [density, below, log_ndtr(far), log_ndtr(-far)], 0.0)


def draw_errors(channels: Sequence[Channel], key: Array, days: Float[Array, "L"]) -> Float[Array, "L C"]:
    """Errors of measurements on these days, in standard deviations, correlated in time; one chain a channel."""
    alike = _assays(channels)[1]
    draws = jax.random.normal(key, (days.shape[0], len(channels)))
    elapsed = jnp.diff(days, prepend=days[:1])

    def visit(last: Array, row: Any) -> tuple[Array, Array]:
        i, elapsed, draw = row
        rho = jnp.where(i > 0, correlation(elapsed, alike), 0.0)
        error = rho * last + jnp.sqrt(1.0 - rho**2) * draw
        return error, error

    rows = (jnp.arange(days.shape[0]), elapsed, draws)
    return jax.lax.scan(visit, jnp.zeros(len(channels)), rows)[1]


def measure(
    channels: Sequence[Channel], expected: Float[Array, "C"], errors: Float[Array, "C"], present: Array
) -> tuple[Float[Array, "C"], Int[Array, "C"]]:
    """What is shown, and what there is of it, with these errors; the noise is the assay's own, however small.

    Args:
        channels: C of them.
        expected: without error, on the scales on which errors add.
        errors: in standard deviations.
        present: whether there is a result [C].
    """
    noise = jnp.stack([jnp.asarray(c.assay.noise) for c in channels])
    shown = expected + noise * errors
    below = shown < _assays(channels)[2]
    return shown, jnp.where(present, jnp.where(below, BELOW, MEASURED), MISSING)


def visit_days(channel: Channel, edges: Sequence[float]) -> list[float]:
    """Days of the visits of a channel up to the last decision: listed, on a grid, or at every decision."""
    last = edges[-2]
    if channel.assay.days:
        return [day for day in channel.assay.days if day <= last]
    if channel.assay.every > 0.0:
        count = int(last / channel.assay.every + 1e-9) + 1
        return [channel.assay.every * i for i in range(count)]
    return list(edges[:-1])
