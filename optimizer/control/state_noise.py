"""State noise: cells that stray from what the model makes of them, and a filter that follows them.

Between two visits the logarithm of each clone's cells walks at random, d ln C_i = (model) dt + s dW_i, and the noise of
an assay is a factor f of what the file says; s and f are numbers of a particle like any other. Given those, the walk is
integrated out: an extended Kalman filter (Jazwinski 1970, Stochastic Processes and Filtering Theory, chapter 8), whose
mean runs through the model's own equations from one correction to the next. Its covariance is carried as that of the
walk, which forgets more slowly than a tumor near its capacity does. With s = 0 it is the model itself.
"""

import itertools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from optimizer.axes import Clones, Doses, Scalar
from optimizer.control.corrected import SAME_DAY
from optimizer.observations import MEASURED, MISSING, Channel, Record
from optimizer.observations.record import LEAST_NOISE, Predicted, correlation, expectations
from optimizer.policies.schedule import Schedule
from optimizer.simulate import Grid, System, rollout
from optimizer.simulate.rollout import flow, read_out

_LEAST_CELLS = 1e-300
# Standard deviations from the median up to which a size is one of noise; more than that is a model that is wrong.
_LARGEST = 2.0


class StateNoise(NamedTuple):
    """What is believed of the noise before anything is measured: both sizes are lognormal."""

    size: float = 0.004  #: median of s, the standard deviation of ln C_i after a day [1/day^0.5]
    spread: float = 1.2  #: standard deviation of ln s
    assay: float = 0.3  #: standard deviation of ln f

    @property
    def count(self) -> int:
        """Numbers that a particle has for it, S."""
        return 2

    def limited(self, z: Float[Array, "W"]) -> Float[Array, "W"]:
        """The particle with sizes up to the largest that are noise: 97.5 % quantiles of what was believed at first."""
        return z.at[-self.count :].min(_LARGEST)

    def sizes(self, z: Float[Array, "2"]) -> tuple[Scalar, Scalar]:
        """s and f of a particle from its standard normal numbers."""
        return self.size * jnp.exp(self.spread * z[0]), jnp.exp(self.assay * z[1])


class Followed(NamedTuple):
    """One particle along a record."""

    at: Predicted  #: normal predictions of the measurements, each given those before it [L, C]
    #: of ln C_i at the start of each interval [K, M]; the last of them is drawn, not a mean. None without noise.
    changes: Float[Array, "K M"] | None


class _Walk(NamedTuple):
    """What the filter carries from one decision to the next."""

    start: Any  #: kinetics and state at the decision, before its dose
    times: Float[Array, "Q"]  #: nodes of the interval before [Q]
    logs: Float[Array, "Q M"]  #: ln C_i at them [Q, M]
    covariance: Float[Array, "M M"]  #: of ln C_i now [M, M]
    error: Float[Array, "M"]  #: of the mean, drawn from that covariance [M]
    #: last error of each channel, in standard deviations, and its day; NaN before there is one [2, C]
    errors: Float[Array, "2 C"]
    mean: Float[Array, "L C"]  #: of the measurements so far [L, C]
    sd: Float[Array, "L C"]  #: likewise
    changes: Float[Array, "K M"]  #: so far [K, M]


def by_decisions(record: Record, grid: Grid, each: int) -> tuple[Int[Array, "decisions R C"], Array]:
    """Which measurements come in the interval that ends with a decision, at most `each` of a channel in one.

    Returns:
        Rows of the record by the decision that they come before; L where there is none [K + 1, R, C]. And the decision
        before which the last of them comes.
    """
    length, count = record.seen.shape
    known = record.seen != MISSING
    place = jnp.clip(jnp.searchsorted(grid.edges, record.day - SAME_DAY), 0, grid.count)
    same = (place[:, None] == place) & (jnp.arange(length) < jnp.arange(length)[:, None])
    slot = jnp.sum(same[:, :, None] & known[None], axis=1)
    where = jnp.where(known, place[:, None], grid.count + 1)
    rows = jnp.full((grid.count + 1, each, count), length)
    rows = rows.at[where, slot, jnp.arange(count)].set(jnp.arange(length)[:, None], mode="drop")
    return rows, jnp.max(jnp.where(known, place[:, None], 0), initial=0)


def most_in_one(days: Any, edges: Any) -> int:
    """Visits that fall into one interval between decisions, at most."""
    import numpy as np

    places = np.searchsorted(np.asarray(edges), np.asarray(days) - SAME_DAY)
    return int(np.bincount(places).max()) if len(places) else 1


def follow(
    system: System,
    grid: Grid,
    doses: Doses,
    channels: tuple[Channel, ...],
    record: Record,
    sizes: tuple[Scalar, Scalar],
    key: Array,
    each: int = 1,
) -> Followed:
    """Run the filter along what was measured.

    Args:
        system: the patient that a particle stands for.
        grid: decisions.
        doses: what was given [K, N].
        channels: what is measured.
        record: its results.
        sizes: s and f.
        key: of the draw from what is left unknown of the cells at the last visit.
        each: most results of a channel between two decisions.
    """
    (rows, last), lag = by_decisions(record, grid, each), _lag(system, grid, doses, channels, record)
    model, first = system.model, system.start()
    clones = model.cells(first[1]).shape[0]

    def visits(walk: _Walk, k: Array) -> _Walk:
        """Correct the cells by what was measured in the interval before decision k."""
        change = jnp.zeros(clones)
        for r, c in itertools.product(range(each), range(len(channels))):
            at = _Result.of(record, rows[k, r, c], c, channels[c], lag, sizes[1])
            drawn = jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, 2 * k), r * len(channels) + c))
            walk, change = _corrected(walk, change, system, at, drawn)
        state = model.changed(walk.start[1], change)
        return walk._replace(start=(walk.start[0], state), changes=walk.changes.at[k].set(change, mode="drop"))

    def interval(k: Array, walk: _Walk) -> _Walk:
        walk = visits(walk, k)
        end, (times, _, _, states) = _flown(system, grid, doses, walk.start, k)
        grown = sizes[0] * jnp.sqrt(grid.lengths[k])
        drawn = jax.random.normal(jax.random.fold_in(key, 2 * k + 1), (clones,))
        return walk._replace(
            start=end,
            times=times,
            logs=_logs(jax.vmap(model.cells)(states)),
            covariance=walk.covariance + grown**2 * jnp.eye(clones),
            error=walk.error + grown * drawn,
        )

    walk = _start(system, grid, doses, record, first)
    walk = visits(jax.lax.fori_loop(0, last, interval, walk), last)
    # What is left unknown of the cells is drawn at the last visit.
    changes = walk.changes.at[last].add(walk.error, mode="drop")
    return Followed(Predicted(walk.mean, walk.sd), changes)


def _flown(system: System, grid: Grid, doses: Doses, start: Any, k: Array) -> Any:
    """One interval from kinetics and state at its start."""
    other = None if grid.other is None else grid.other[k]
    given = system.give(start[0], doses[k], other), start[1]
    return flow(system, given, system.rates(doses[k], other), grid.edges[k], grid.lengths[k])


def _start(system: System, grid: Grid, doses: Doses, record: Record, first: Any) -> _Walk:
    """Before the first visit."""
    logs, shape = _logs(system.model.cells(first[1])), record.shown.shape
    nodes = jax.eval_shape(lambda: _flown(system, grid, doses, first, jnp.zeros((), int)))[1][0].shape[0]
    return _Walk(
        first,
        jnp.zeros(nodes),
        jnp.broadcast_to(logs, (nodes, logs.size)),
        jnp.zeros((logs.size, logs.size)),
        jnp.zeros(logs.size),
        jnp.full((2, shape[1]), jnp.nan),
        jnp.zeros(shape),
        jnp.ones(shape),
        jnp.zeros((grid.count, logs.size)),
    )


class _Result(NamedTuple):
    """One measurement, its place in the record, and its assay; the row is behind the last where there is none."""

    row: Array
    column: int
    channel: Channel
    day: Scalar
    shown: Scalar
    is_measured: Array
    lag: Scalar
    noise: Scalar

    @classmethod
    def of(cls, record: Record, row: Array, c: int, channel: Channel, lag: Array, factor: Scalar) -> "_Result":
        length = record.day.shape[0]
        i = jnp.minimum(row, length - 1)
        noise = jnp.maximum(channel.assay.noise, LEAST_NOISE) * factor
        is_measured = (row < length) & (record.seen[i, c] == MEASURED)
        return cls(row, c, channel, record.day[i], record.shown[i, c], is_measured, lag[i, c], noise)


def _corrected(walk: _Walk, change: Array, system: System, at: _Result, drawn: Array) -> tuple[_Walk, Array]:
    """Kalman's correction by one result; `change` is what others of the same interval have corrected before."""
    logs = jax.vmap(lambda column: jnp.interp(at.day, walk.times, column))(walk.logs.T)

    def read(change: Array) -> Scalar:
        return _shown(system, at.channel, jnp.exp(logs + change), walk.start[1]) + at.lag

    expected, slope = jax.value_and_grad(read)(change)
    error, day = walk.errors[:, at.column]
    rho = jnp.where(jnp.isnan(error), 0.0, correlation(at.day - day, at.channel.assay.correlation_time))
    own = at.noise * jnp.sqrt(1.0 - rho**2)
    mean = expected + at.noise * jnp.where(jnp.isnan(error), 0.0, rho * error)
    cross = walk.covariance @ slope
    variance = slope @ cross + own**2
    gain = jnp.where(at.is_measured, cross / variance, 0.0)
    step = gain * (at.shown - mean)
    left = jnp.stack([(at.shown - expected - slope @ step) / at.noise, at.day])
    place = at.row, at.column
    walk = walk._replace(
        covariance=walk.covariance - jnp.outer(gain, cross),
        error=walk.error - gain * (slope @ walk.error + own * drawn),
        errors=walk.errors.at[:, at.column].set(jnp.where(at.is_measured, left, walk.errors[:, at.column])),
        mean=walk.mean.at[place].set(mean, mode="drop"),
        sd=walk.sd.at[place].set(jnp.sqrt(variance), mode="drop"),
    )
    return walk, change + step


def _logs(cells: Array) -> Array:
    return jnp.log(jnp.maximum(cells, _LEAST_CELLS))


def _shown(system: System, channel: Channel, cells: Clones, state: Any) -> Scalar:
    """What a channel would show without error of a tumor that stays as it is."""
    states, cells = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf])[None], (state, cells))
    times, none = jnp.asarray([[0.0, 1.0]]), jnp.zeros((1, 2, len(system.drugs)))
    still = read_out(system, times, jnp.full((1, 2), 0.5), none, states, none[0, :1])
    still = eqx.tree_at(lambda t: (t.cells, t.burden), still, (cells[0], jnp.sum(cells[0], axis=1)))
    return channel.expected(system, still, jnp.zeros(1))[0]


def _lag(system: System, grid: Grid, doses: Doses, channels: tuple[Channel, ...], record: Record) -> Array:
    """By how much quantities that follow the cells slowly are behind them, by the model without noise [L, C]."""
    if not any(channel.quantity.follows for channel in channels):
        return jnp.zeros(record.shown.shape)
    path = rollout(system, Schedule(doses), grid)

    def at(day: Scalar) -> Array:
        cells = jnp.exp(jax.vmap(lambda column: jnp.interp(day, path.times, column))(_logs(path.cells).T))
        return jnp.stack([_shown(system, channel, cells, system.start()[1]) for channel in channels])

    return expectations(channels, system, path, record.day) - jax.vmap(at)(record.day)
