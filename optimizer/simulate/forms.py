"""How a dose of a decision reaches the patient: infused over a time of its own, or as tablets through the interval."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from equinox import AbstractVar
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.pharmacology.base import AbstractPK
from optimizer.pharmacology.first_order import divided_decay
from optimizer.pharmacology.oral import Oral

# Days by which an interval may miss a time that only rounding has moved.
_NEAR = 1e-9
# Panels of an infusion begin at about this share of it; time constants after which a jump has faded.
_RISE, _FADES = 20.0, 12.0
# Time constants of a drug in an interval, through all of which it acts.
_LASTS = 20.0
# Panels of the time after a tablet, and after an infusion.
_PANELS = 5

# Boluses as (time [day], amount), and infusions as (start, end [day], rate): of whole intervals [K].
Boluses = tuple[Float[np.ndarray, "D"], Float[np.ndarray, "D"]]
Infusions = tuple[Float[np.ndarray, "E"], Float[np.ndarray, "E"], Float[np.ndarray, "E"]]


class AbstractForm(AbstractPK):
    """Kinetics of a drug whose doses are given in a way of their own; what is given is what `given` says.

    The state is that of the closed form; the audit and whatever puts doses on a grid of their own use the kinetics
    inside under the boluses and infusions of `given`.
    """

    kinetics: AbstractVar[AbstractPK]

    @abstractmethod
    def given(
        self, starts: Float[np.ndarray, "K"], ends: Float[np.ndarray, "K"], doses: Float[np.ndarray, "K"]
    ) -> tuple[Boluses, Infusions]:
        """What doses of intervals are to the kinetics inside."""

    @abstractmethod
    def holds(self, edges: Float[np.ndarray, "edges"], doses: Float[np.ndarray, "K"]) -> bool:
        """Whether the state is enough for doses on edges [day]; else they have to be put on a grid of their own."""

    @abstractmethod
    def of_inner(self, state: Float[Array, "inner"]) -> Float[Array, "s"]:
        """The state of a patient in whom nothing waits, from that of the kinetics inside."""

    @abstractmethod
    def to_inner(self, state: Float[Array, "s"]) -> Float[Array, "inner"]:
        """The other way."""

    def undelayed(self) -> AbstractPK:
        return self.kinetics.undelayed()

    def elimination_rate(self) -> Scalar:
        return self.kinetics.elimination_rate()


def _ladder(begin: Scalar, span: Scalar, fast: Scalar) -> tuple[Scalar, ...]:
    """Panel edges from `begin` to `span` later [day], the first about as long as 1 / fast, then ever longer."""
    ratio = 0.5 * fast * span
    return tuple(begin + span * jnp.expm1(i / _PANELS * jnp.log1p(ratio)) / ratio for i in range(1, _PANELS))


class Infused(AbstractForm):
    """Each dose is an amount that is infused at a constant rate over a time of its own, from the start of its interval.

    The state is that of the kinetics inside, the rate of the infusion [mg/day] and how long it still runs [day]. The
    next dose must not begin before the last one has ended.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | - | kinetics | - | what becomes of the drug | the drug's label or paper |
    | T | duration | day | length of an infusion | same |

    Example:
        >>> from optimizer.pharmacology.one_compartment import OneCompartment
        >>> pk = Infused(OneCompartment(volume=5.0, clearance=0.5), 0.5)
        >>> round(float(pk.concentration(pk.evolve(pk.bolus(pk.initial(), 10.0), 0.0, 0.5), 0.0)), 3)
        1.951
    """

    kind: ClassVar[str] = "infused"
    dose_unit: ClassVar[str] = "mg"
    kinetics: AbstractPK
    duration: Scalar

    def initial(self) -> Float[Array, "s"]:
        return self.of_inner(self.kinetics.initial())

    def of_inner(self, state: Float[Array, "inner"]) -> Float[Array, "s"]:
        return jnp.concatenate([state, jnp.zeros(2, state.dtype)])

    def to_inner(self, state: Float[Array, "s"]) -> Float[Array, "inner"]:
        return state[:-2]

    def bolus(self, state: Float[Array, "s"], amount: Scalar) -> Float[Array, "s"]:
        # Two that overlap are more than a state holds: not a number rather than a wrong one.
        runs = state[-1] > 0.0
        rate = jnp.where(runs, jnp.where(amount > 0.0, jnp.nan, state[-2]), amount / self.duration)
        left = jnp.where(runs, state[-1], self.duration + 0.0 * state[-1])
        return jnp.concatenate([state[:-2], jnp.stack([rate, left])])

    def evolve(self, state: Float[Array, "s"], rate: Scalar, tau: Scalar) -> Float[Array, "s"]:
        own, left = state[-2], state[-1]
        on = jnp.minimum(tau, left)
        inner = self.kinetics.evolve(state[:-2], rate + own, on)
        inner = self.kinetics.evolve(inner, rate, tau - on)
        rest = jnp.where(left - tau > _NEAR, left - tau, 0.0)
        return jnp.concatenate([inner, jnp.stack([own + 0.0 * rest, rest])])

    def field(self, state: Float[Array, "s"], rate: Scalar) -> Float[Array, "s"]:
        runs = state[-1] > 0.0
        inner = self.kinetics.field(state[:-2], rate + jnp.where(runs, state[-2], 0.0))
        return jnp.concatenate([inner, jnp.stack([0.0 * state[-1], jnp.where(runs, -1.0, 0.0)])])

    def concentration(self, state: Float[Array, "s"], rate: Scalar) -> Scalar:
        return self.kinetics.concentration(state[:-2], rate)

    def exposure(self, state: Float[Array, "s"], given: Scalar) -> Scalar:
        return self.kinetics.exposure(state[:-2], given - state[-2] * state[-1])

    def transient_rate(self) -> Scalar:
        return self.kinetics.transient_rate()

    def jumps(self) -> tuple[Scalar, ...]:
        fast = jnp.maximum(self.elimination_rate(), self.transient_rate())
        # A level that rises from nothing may pass through the whole of a response while the infusion runs.
        rise = _ladder(0.0 * self.duration, self.duration, _RISE / self.duration)
        return *rise, self.duration, *_ladder(self.duration, _FADES / fast, fast)

    def crossings(self, state: Float[Array, "s"], rate: Scalar, level: Scalar) -> tuple[Scalar, ...]:
        """Those while the infusion runs, and those after it."""
        left, kinetics = state[-1], self.kinetics
        during = [jnp.where(t < left, t, 0.0) for t in kinetics.crossings(state[:-2], rate + state[-2], level)]
        after = kinetics.crossings(kinetics.evolve(state[:-2], rate + state[-2], left), rate, level)
        return *during, *(jnp.where(t > 0.0, left + t, 0.0) for t in after)

    def given(
        self, starts: Float[np.ndarray, "K"], ends: Float[np.ndarray, "K"], doses: Float[np.ndarray, "K"]
    ) -> tuple[Boluses, Infusions]:
        length, none = float(self.duration), np.zeros(0)
        return (none, none), (starts, starts + length, doses / length)

    def holds(self, edges: Float[np.ndarray, "edges"], doses: Float[np.ndarray, "K"]) -> bool:
        return bool(np.all(np.diff(edges)[doses > 0.0] >= float(self.duration) - _NEAR))


class Tablets(AbstractForm):
    """A daily dose as tablets: the first at the start of an interval, then one every so many days, all alike.

    A rate u [mg/day] of an interval is a tablet of u times `every` at each multiple of `every`. The state are the
    amounts in gut and body [mg], the time since the last tablet [day], and of it what waits for the lag [mg]; the lag
    is shorter than the time between two tablets.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | - | kinetics | - | what becomes of the drug | the drug's label or paper |
    | - | every | day | time between two tablets | same |
    | - | most | 1 | tablets of the longest interval; in a longer one the state is not a number | the decisions |

    Superposed is the closed form of Bateman 1910, Proc Cambridge Philos Soc 15:423.

    Example:
        >>> pk = Tablets(Oral(volume=50.0, clearance=10.0, absorption=20.0), 0.5, 14)
        >>> state = pk.evolve(pk.initial(), 100.0, 7.0)
        >>> 4.0 < float(pk.concentration(state, 100.0)) < 10.0
        True
    """

    kind: ClassVar[str] = "tablets"
    dose_unit: ClassVar[str] = "mg"
    kinetics: Oral
    every: Scalar
    most: int = eqx.field(static=True)

    def initial(self) -> Float[Array, "s"]:
        return self.of_inner(self.kinetics.initial())

    def of_inner(self, state: Float[Array, "inner"]) -> Float[Array, "s"]:
        none = jnp.zeros_like(state[2])
        return jnp.stack([state[0] + state[1], state[2], none, none])

    def to_inner(self, state: Float[Array, "s"]) -> Float[Array, "inner"]:
        none = jnp.zeros_like(state[0])
        return jnp.stack([none, state[0], state[1], none, none, none, none])

    def bolus(self, state: Float[Array, "s"], amount: Scalar) -> Float[Array, "s"]:
        # A further dose that waits is more than a state holds: `arrivals` takes it, and nothing else gives one.
        open_now = (self.kinetics.lag == 0.0) | (amount == 0.0)
        return state.at[0].add(jnp.where(open_now, self.kinetics.bioavailability * amount, jnp.nan))

    def evolve(self, state: Float[Array, "s"], rate: Scalar, tau: Scalar) -> Float[Array, "s"]:
        gut, body, since, waiting = state
        inner, k, every = self.kinetics, self.kinetics.elimination(), self.every
        # The interval begins with a tablet, or some time after one.
        first = jnp.where(since > _NEAR, every - since, 0.0)
        count = jnp.clip(jnp.ceil((tau - _NEAR - first) / every), 0.0, self.most)
        last = jnp.where(count > 0, tau - first - every * (count - 1.0), since + tau)
        # The lag keeps back the last tablet at most, and one from before.
        has_opened, old = last >= inner.lag, tau + since - inner.lag
        opened = jnp.where((count > 0) & ~has_opened, count - 1.0, count)
        newest = jnp.maximum(last - inner.lag + jnp.where(has_opened, 0.0, every), 0.0)
        amount, freed = inner.bioavailability * rate * every, jnp.where(old >= 0.0, waiting, 0.0)
        age, a = jnp.maximum(old, 0.0), inner.absorption
        left, fill = _superposed(a, k, newest, every, opened)
        left = amount * left + freed * jnp.exp(-a * age) + gut * jnp.exp(-a * tau)
        fill = amount * fill + freed * divided_decay(a, k, age) + gut * divided_decay(a, k, tau)
        in_body = body * jnp.exp(-k * tau) + a * fill
        waits = amount * (count - opened) + waiting - freed
        is_beyond = first + every * self.most < tau - _NEAR
        since = jnp.where(jnp.abs(last - every) <= _NEAR, 0.0, last)
        return jnp.stack([left, jnp.where(is_beyond, jnp.nan, in_body), since, waits])

    def field(self, state: Float[Array, "s"], rate: Scalar) -> Float[Array, "s"]:
        # Between two tablets; what waits is not seen to end.
        gone = self.kinetics.absorption * state[0]
        still = jnp.zeros_like(gone)
        return jnp.stack([-gone, gone - self.kinetics.elimination() * state[1], jnp.ones_like(gone), still])

    def concentration(self, state: Float[Array, "s"], rate: Scalar) -> Scalar:
        return state[1] / self.kinetics.volume

    def exposure(self, state: Float[Array, "s"], given: Scalar) -> Scalar:
        return (self.kinetics.bioavailability * given - state[0] - state[1] - state[3]) / self.kinetics.clearance

    def delay(self) -> Scalar:
        return self.kinetics.delay()

    def elimination_rate(self) -> Scalar:
        # Renewed by each tablet, a drug is never gone for long.
        return jnp.minimum(self.kinetics.elimination_rate(), _LASTS / (self.every * self.most))

    def jumps(self) -> tuple[Scalar, ...]:
        fast, lag = self.kinetics.transient_rate(), self.kinetics.lag
        begins = [lag + self.every * i for i in range(self.most)]
        return tuple(edge for begin in begins for edge in (begin, *_ladder(begin, self.every, fast)))

    def crossings(self, state: Float[Array, "s"], rate: Scalar, level: Scalar) -> tuple[Scalar, ...]:
        # A level is crossed with every tablet, each of which has panels of its own.
        return ()

    def given(
        self, starts: Float[np.ndarray, "K"], ends: Float[np.ndarray, "K"], doses: Float[np.ndarray, "K"]
    ) -> tuple[Boluses, Infusions]:
        every, none = float(self.every), np.zeros(0)
        numbers = np.arange(np.ceil((starts[0] - _NEAR) / every), np.ceil((ends[-1] - _NEAR) / every))
        own = np.searchsorted(starts, every * numbers + _NEAR, side="right") - 1
        return (every * numbers, every * doses[own]), (none, none, none)

    def holds(self, edges: Float[np.ndarray, "edges"], doses: Float[np.ndarray, "K"]) -> bool:
        every = float(self.every)
        return tablets_fit(edges, every) and bool(np.diff(edges).max() <= self.most * every + _NEAR)


def _superposed(a: Scalar, k: Scalar, newest: Scalar, every: Scalar, count: Scalar) -> tuple[Scalar, Scalar]:
    """Sums over the ages t = newest + i every, i < count, of exp(-a t) and of (exp(-k t) - exp(-a t)) / (a - k).

    The first is S_a = A_a N_a / M_a, with A = exp(-a newest), N = 1 - exp(-a every count), M = 1 - exp(-a every). The
    second is the divided difference of S, by those of its three factors, so that nothing cancels where k is a.
    """
    left, all_a, one_a = jnp.exp(-a * newest), -jnp.expm1(-a * every * count), -jnp.expm1(-a * every)
    all_k, one_k = -jnp.expm1(-k * every * count), -jnp.expm1(-k * every)
    step = all_a / one_a * divided_decay(a, k, every) - divided_decay(a, k, every * count)
    return left * all_a / one_a, (divided_decay(a, k, newest) * all_k + left * step) / one_k


def tablets_fit(edges: Float[np.ndarray, "edges"], every: float) -> bool:
    """Whether all edges [day] are multiples of the time between two tablets [day]."""
    return bool(np.all(np.abs(edges - every * np.round(edges / every)) <= _NEAR))
