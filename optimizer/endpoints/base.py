"""The protocol of an endpoint, and how visits, confirmation and nadir are read."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractClassVar, AbstractVar
from jaxtyping import Array, Bool, Float

from optimizer.axes import Scalar
from optimizer.observations.base import AbstractQuantity, Assay, Channel
from optimizer.programs import stored
from optimizer.simulate import System, Trajectory

# A criterion that is met but for rounding is met.
_ROUNDING = 1e-12
# Largest logarithm of a value that is told from more; how far from progression a visit is that does not count.
_MOST, _NEVER = 600.0, -1e3
# Of values at visits [V], plain or in a program.
Values: TypeAlias = Float[np.ndarray, "V"] | Float[Array, "V"]


class Verdict(NamedTuple):
    """What the visits say."""

    #: of the first visit at which the tumor has progressed, once that is confirmed; None when it never is
    day: float | None
    #: the last visit at which it had not, so that it did between the two [day]; without progression the last visit
    #: before a rise that is not confirmed yet; None without such a visit
    after: float | None = None
    unconfirmed: float | None = None  #: first visit of a rise at the end that no later visit confirms [day]
    response: float | None = None  #: first visit at which the tumor had responded, once confirmed [day]


class AbstractEndpoint(eqx.Module):
    """A criterion of progression, on values that are measured at visits.

    The tumor has progressed at the first visit of a run of visits that all meet the criterion and of which the last is
    at least `confirm` days after the first. A visit without a value counts for nothing. What is compared is what the
    assay shows without its error.
    """

    kind: AbstractClassVar[str]
    # Kinds of [[observation]] that it reads, the first that there is.
    reads: AbstractClassVar[tuple[str, ...]]
    # Share of the first value at or below which the tumor has responded, and after how many days that is confirmed.
    responds: ClassVar[float] = 0.0
    response_confirm: ClassVar[float] = 0.0
    confirm: AbstractVar[float]
    # Time between visits [day]; 0: those of the observation, else every decision.
    every: AbstractVar[float]
    channel: AbstractVar[Channel | None]

    @abstractmethod
    def level(self, first: Any, nadir: Values) -> Values:
        """Value from which on it is progression at each visit, of the first value and the least one until then.

        Arithmetic alone, or functions of `nadir.__array_namespace__()`: values are NumPy's or JAX's.
        """

    def counts(self, days: Values) -> Bool[np.ndarray, "V"] | Bool[Array, "V"]:
        """Visits at which progression may be found."""
        return days > -np.inf

    @classmethod
    def standard(cls) -> AbstractQuantity | None:
        """What is read where the scenario has no such observation; None where it must have one."""
        return None

    def assess(self, days: Float[np.ndarray, "V"], values: Float[np.ndarray, "V"]) -> Verdict:
        """The verdict on values at visits.

        Args:
            days: increasing.
            values: in the unit of the quantity; not a number where a visit has none.
        """
        seen = ~np.isnan(values)
        days, values = days[seen], values[seen]
        if not days.size:
            return Verdict(None)
        level = self.level(float(values[0]), np.minimum.accumulate(values))
        met = (values >= level * (1.0 - _ROUNDING)) & self.counts(days)
        start, is_confirmed = _run(days, met, self.confirm)
        after = None if start == 0 else float(days[start - 1])
        low = values <= self.responds * values[0] * (1.0 + _ROUNDING)
        reached, is_response = _run(days, low & (self.responds > 0.0), self.response_confirm)
        day = float(days[start]) if start < days.size else None
        return Verdict(
            day if is_confirmed else None,
            after,
            None if is_confirmed else day,
            float(days[reached]) if is_response else None,
        )

    def read(self, system: System, trajectory: Trajectory, edges: Float[np.ndarray, "edges"]) -> Verdict:
        """The verdict on a simulated patient whose doses are decided at `edges` [day]."""
        days = self.visits(edges)
        channel = self._channel()
        values = np.asarray(channel.value(_shown(channel, system, trajectory, jnp.asarray(days))))
        # What grew out of the range of numbers is large.
        return self.assess(days, np.where(np.isfinite(values), values, np.inf))

    def margins(self, system: System, trajectory: Trajectory, days: Float[Array, "V"]) -> Float[Array, "V"]:
        """How far each visit is beyond progression: the first one at zero or more gives the date.

        The least logarithm of value over level from this visit to the one that confirms it; far below zero where none
        does, and at visits that do not count. Differentiable.
        """
        return self._margins(self.values(system, trajectory, days), days)[1]

    def of_burden(self, burden: Scalar) -> Scalar:
        """What is read of so many cells [cell], where the assay is in balance with them; rising in them."""
        one, channel, zero, column = jnp.reshape(burden, (1,)), self._channel(), jnp.zeros(1), jnp.zeros((1, 1))
        still = Trajectory(zero, zero, column, None, one[:, None], one, zero, {}, column, jnp.asarray(True))
        return channel.quantity.expected(None, still)[0]  # type: ignore[arg-type]

    def at(self, edges: Float[np.ndarray, "edges"]) -> "AtVisits | float":
        """What progression is in programs, where doses are decided at `edges` [day]."""
        return AtVisits(self, stored(self.visits(edges)))

    def found(
        self, values: Float[Array, "V"], days: Float[Array, "V"], seen: Bool[Array, "V"]
    ) -> tuple[Scalar, Scalar]:
        """What `assess` finds, in a program: the day of progression, infinite when never, and `after` it.

        Args:
            values: in the unit of the quantity.
            days: increasing.
            seen: visits that have a value; the others count for nothing.
        """
        order = jnp.argsort(~seen)
        days = jnp.where(seen, days, jnp.inf)[order]
        beyond, lasting = self._margins(values[order], days)
        start = jnp.argmax(lasting >= 0.0)
        free = jnp.max(jnp.where((beyond < 0.0) & jnp.isfinite(days), jnp.arange(days.size), -1))
        last = jnp.where(lasting[start] >= 0.0, start - 1, free)
        day = jnp.where(lasting[start] >= 0.0, days[start], jnp.inf)
        return day, jnp.where(last >= 0, days[last], 0.0)

    def values(self, system: System, trajectory: Trajectory, days: Float[Array, "V"]) -> Float[Array, "V"]:
        channel = self._channel()
        return channel.value(jnp.clip(_shown(channel, system, trajectory, days), -_MOST, _MOST))

    def _margins(self, values: Float[Array, "V"], days: Float[Array, "V"]) -> tuple[Array, Array]:
        """Logarithm of value over level at each visit, and its least until the one that confirms it [V]."""
        level = jnp.asarray(self.level(values[0], jax.lax.cummin(values))) * (1.0 - _ROUNDING)
        beyond = jnp.log(values) - jnp.log(level)
        beyond = jnp.where(self.counts(days) & jnp.isfinite(days), beyond, _NEVER)
        place = jnp.arange(days.size)
        last = jnp.maximum(jnp.searchsorted(days, days + self.confirm - 1e-9), place)
        within = (place >= place[:, None]) & (place <= last[:, None])
        lasting = jnp.min(jnp.where(within, beyond, jnp.inf), axis=1)
        return beyond, jnp.where(last < days.size, lasting, _NEVER)

    def _channel(self) -> Channel:
        """What is read, by a standard assay where the scenario has none."""
        if self.channel is not None:
            return self.channel
        quantity = self.standard()
        if quantity is None:
            raise ValueError(f"{self.kind}: wanted a channel that measures {' or '.join(self.reads)}; got none")
        return Channel(quantity, Assay())

    def visits(self, edges: Float[np.ndarray, "edges"]) -> Float[np.ndarray, "V"]:
        """Days of the visits, to the horizon."""
        assay, end = None if self.channel is None else self.channel.assay, float(edges[-1])
        if not self.every and assay is not None and assay.days:
            return np.array([day for day in assay.days if day <= end])
        every = self.every or (0.0 if assay is None else assay.every)
        return every * np.arange(int(end / every + 1e-9) + 1) if every else np.asarray(edges, dtype=float)


class AtVisits(eqx.Module):
    """An endpoint as programs read it."""

    endpoint: AbstractEndpoint  #: the criterion
    visits: Float[Array, "V"]  #: days on which it is read [V]
    #: number of the channel whose samples it reads, errors, missing ones and all, where a trial takes them; None where
    #: it reads what an assay without error shows
    column: int | None = eqx.field(static=True, default=None)

    def read(self, system: System, trajectory: Trajectory) -> tuple[Scalar, Scalar]:
        """Day of progression, infinite when never, and the last visit that is known to be without it."""
        values = self.endpoint.values(system, trajectory, self.visits)
        return self.endpoint.found(values, self.visits, jnp.ones(self.visits.shape, bool))


# What progression is in programs: more than this multiple of the cells at the start, or an endpoint at its visits.
Progressed: TypeAlias = Scalar | AtVisits


def _shown(channel: Channel, system: System, trajectory: Trajectory, days: Float[Array, "V"]) -> Float[Array, "V"]:
    """What an assay shows without its error, its detection limit where there is less."""
    return jnp.maximum(channel.expected(system, trajectory, days), channel.limit())


def _run(days: np.ndarray, met: np.ndarray, confirm: float) -> tuple[int, bool]:
    """Start of the first run of visits that lasts for so long; else of the run that the last visit ends, else V."""
    start = 0
    for i in range(days.size):
        if not met[i]:
            start = i + 1
        elif days[i] - days[start] >= confirm - 1e-9:
            return start, True
    return start, False
