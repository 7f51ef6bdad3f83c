"""The protocol of an endpoint, and how visits, confirmation and nadir are read."""

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from equinox import AbstractClassVar, AbstractVar
from jaxtyping import Bool, Float

from optimizer.observations.base import AbstractQuantity, Assay, Channel
from optimizer.simulate import System, Trajectory

# A criterion that is met but for rounding is met.
_ROUNDING = 1e-12


class Verdict(NamedTuple):
    """What the visits say.

    Attributes:
        day: of the first visit at which the tumor has progressed, once that is confirmed; None when it never is.
        after: the last visit at which it had not, so that it did between the two [day]; without progression the last
            visit before a rise that is not confirmed yet; None without such a visit.
        unconfirmed: first visit of a rise at the end that no later visit confirms [day].
        response: first visit at which the tumor had responded, once confirmed [day].
    """

    day: float | None
    after: float | None = None
    unconfirmed: float | None = None
    response: float | None = None


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
    def level(self, first: float, nadir: Float[np.ndarray, "V"]) -> Float[np.ndarray, "V"]:
        """Value from which on it is progression at each visit, of the first value and the least one until then."""

    def counts(self, days: Float[np.ndarray, "V"]) -> Bool[np.ndarray, "V"]:
        """Visits at which progression may be found."""
        return np.ones(days.shape, dtype=bool)

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
        days = self._visits(edges)
        channel = self.channel
        if channel is None:
            quantity = self.standard()
            if quantity is None:
                raise ValueError(f"{self.kind}: wanted a channel that measures {' or '.join(self.reads)}; got none")
            channel = Channel(quantity, Assay())
        shown = np.maximum(
            np.asarray(channel.expected(system, trajectory, jnp.asarray(days))), np.asarray(channel.limit())
        )
        values = np.asarray(channel.value(shown))
        # What grew out of the range of numbers is large.
        return self.assess(days, np.where(np.isfinite(values), values, np.inf))

    def _visits(self, edges: Float[np.ndarray, "edges"]) -> Float[np.ndarray, "V"]:
        """Days of the visits, to the horizon."""
        assay, end = None if self.channel is None else self.channel.assay, float(edges[-1])
        if not self.every and assay is not None and assay.days:
            return np.array([day for day in assay.days if day <= end])
        every = self.every or (0.0 if assay is None else assay.every)
        return every * np.arange(int(end / every + 1e-9) + 1) if every else np.asarray(edges, dtype=float)


def _run(days: np.ndarray, met: np.ndarray, confirm: float) -> tuple[int, bool]:
    """Start of the first run of visits that lasts for so long; else of the run that the last visit ends, else V."""
    start = 0
    for i in range(days.size):
        if not met[i]:
            start = i + 1
        elif days[i] - days[start] >= confirm - 1e-9:
            return start, True
    return start, False
