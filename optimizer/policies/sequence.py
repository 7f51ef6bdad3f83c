"""Rules one after the other."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Flag, Index, Scalar
from optimizer.mechanisms.myelosuppression import GRADES
from optimizer.policies.base import AbstractPolicy, Observation

# Days by which a visit may fall short of the end of a phase that rounding put just after it.
_NEAR = 1e-9
# What each end is where a phase has none of that kind.
NEVER = {"after": float("inf"), "below": 0.0, "above": float("inf"), "grade": float("inf"), "progression": False}


def _as_arrays(ends: Any) -> tuple[Array, ...]:
    return tuple(jnp.asarray(end, dtype=float) for end in ends)


class Progress(NamedTuple):
    """Where a sequence is."""

    phase: Index  #: number of the phase
    index: Index  #: number of the visit at which it began
    time: Scalar  #: its start [day]
    first: Scalar  #: burden at its start [cell]
    nadir: Scalar  #: least burden since [cell]
    since: Scalar  #: from which day on all visits show progression; infinite where the last does not [day]
    memories: tuple[Any, ...]  #: of all phases


class Sequential(AbstractPolicy):
    """Rules in phases: each doses until its end, at a visit, by time, burden, toxicity or progression.

    A rule counts visits and days from the start of its phase, and the first burden is that of day 0 for all of them.
    At a visit at which a phase ends the next one gives the dose; the last has no end. Progression is by the scenario's
    endpoint, whose first value, nadir and days are those of the phase; the assay is taken for in balance. Ends stay as
    hard as they are where rules are smooth.
    """

    kind: ClassVar[str] = "sequence"
    phases: tuple[AbstractPolicy, ...]  #: the rules, P of them
    #: each ends so many days after its start, infinite where it does not
    after: tuple[Scalar, ...] = eqx.field(converter=_as_arrays)
    #: it ends below this multiple of the burden at its start, 0 where it does not
    below: tuple[Scalar, ...] = eqx.field(converter=_as_arrays)
    #: it ends above this multiple of the least burden since its start, infinite where it does not
    above: tuple[Scalar, ...] = eqx.field(converter=_as_arrays)
    #: it ends at this grade of neutropenia or a worse one (CTCAE v5), infinite where it does not
    grade: tuple[Scalar, ...] = eqx.field(converter=_as_arrays)
    #: whether it ends at progression
    progression: tuple[bool, ...] = eqx.field(static=True)
    endpoint: Any = None  #: what progression is (`AbstractEndpoint`); None where no phase asks

    @property
    def watches(self) -> bool:
        burdens = np.any(np.asarray(self.below) > 0.0) or np.any(np.isfinite(np.asarray(self.above)))
        return bool(burdens) or any(self.progression) or any(phase.watches for phase in self.phases)

    def number(self, name: str) -> Any:
        """A number of a phase, or what ends it: `phases[0].share`, `phases[0].ends_after`."""
        place, _, own = name.partition("].")
        i = int(place.removeprefix("phases["))
        end = own.removeprefix("ends_")
        return self.phases[i].number(own) if end == own else getattr(self, end)[i]

    def init(self) -> Any:
        zero = jnp.zeros(())
        memories = tuple(phase.init() for phase in self.phases)
        return Progress(jnp.zeros((), int), jnp.zeros((), int), zero, zero, zero, zero + jnp.inf, memories)

    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        now = self._begun(memory, observation)
        seen = observation._replace(index=observation.index - now.index, time=observation.time - now.time)
        asked = [phase.decide(own, seen) for phase, own in zip(self.phases, now.memories, strict=True)]
        doses = jnp.stack([doses for doses, _ in asked])[now.phase]
        # Whoever has not begun, or is over, remembers nothing new.
        memories = tuple(
            jax.tree.map(lambda new, old, i=i: jnp.where(now.phase == i, new, old), new, old)
            for i, ((_, new), old) in enumerate(zip(asked, now.memories, strict=True))
        )
        return doses, now._replace(memories=memories)

    def _begun(self, memory: Progress, observation: Observation) -> Progress:
        """The phase of this visit: the one before, or the next if that has ended."""
        first, i = observation.index == 0, memory.phase
        over = observation.time - memory.time >= jnp.stack(self.after)[i] - _NEAR
        over |= observation.burden < jnp.stack(self.below)[i] * memory.first
        over |= observation.burden > jnp.stack(self.above)[i] * memory.nadir
        if "neutrophils" in observation.observables:
            grade = jnp.sum(observation.observables["neutrophils"] < jnp.asarray(GRADES))
            over |= grade >= jnp.stack(self.grade)[i]
        since, confirmed = self._progressed(memory, observation)
        over |= confirmed & jnp.asarray(self.progression)[i]
        over &= ~first
        begins = first | over
        return Progress(
            jnp.minimum(i + over, len(self.phases) - 1),
            jnp.where(begins, observation.index, memory.index),
            jnp.where(begins, observation.time, memory.time),
            jnp.where(begins, observation.burden, memory.first),
            jnp.where(begins, observation.burden, jnp.minimum(memory.nadir, observation.burden)),
            jnp.where(begins, jnp.inf, since),
            memory.memories,
        )

    def _progressed(self, memory: Progress, observation: Observation) -> tuple[Scalar, Flag]:
        """From which day on all visits of the phase show progression, and whether that is confirmed."""
        if not any(self.progression):
            return memory.since, jnp.asarray(False)
        now, first, nadir = (
            self.endpoint.of_burden(burden)
            for burden in (observation.burden, memory.first, jnp.minimum(memory.nadir, observation.burden))
        )
        met = (now >= self.endpoint.level(first, nadir)) & self.endpoint.counts(observation.time - memory.time)
        since = jnp.where(met, jnp.minimum(memory.since, observation.time), jnp.inf)
        return since, observation.time - since >= self.endpoint.confirm - _NEAR

    def smooth(self, temperature: Scalar) -> "AbstractPolicy":
        phases = tuple(phase.smooth(temperature) for phase in self.phases)
        return Sequential(phases, self.after, self.below, self.above, self.grade, self.progression, self.endpoint)
