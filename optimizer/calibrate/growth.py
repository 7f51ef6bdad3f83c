"""Tumor burden under recorded doses: exponential or logistic growth, killed by the drug or slowed by it.

    C' = -ke C, C jumps by each dose           E(C) = C^h / (C^h + EC50^h)
    log-kill        exponential V' = (r - k E) V        logistic V' = r V (1 - V / K) - k E V
    Norton-Simon    exponential V' = r (1 - k E) V      logistic V' = r V (1 - V / K) (1 - k E)

| symbol | here | unit | meaning |
|---|---|---|---|
| V | `initial_burden` at time 0 | as in the table | volume, PSA or circulating DNA |
| r | `growth_rate` | 1/d | growth without drug |
| K | `capacity` | as in the table | largest burden (logistic) |
| k | `drug_effect` | 1/d (log-kill) or 1 (Norton-Simon) | effect at endless dose |
| EC50 | `ec50` | mg | amount of drug in the body at half effect |
| ke, h | `elimination_rate`, `hill` | 1/d, 1 | held at given values unless asked for |

These are models of the simulator: a tumor of one clone, a drug in one compartment of 1 L, the effect `hill`, or
Norton-Simon that saturates (`Saturating`). `simulated` runs them as they are, for every growth law with one capacity.
The exposure integral of E has a closed form between doses, so three of the four above are exact here; logistic
log-kill adds one Gauss-Legendre rule on every interval between doses and observations. These closed forms are what is
fitted where there is one; a law test holds them against the simulator.

Where a record says only whether the patient was treated, E is the level itself, 0 or 1, held until the next record.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from optimizer.axes import Numbers, Scalar
from optimizer.mesh import Mesh
from optimizer.models.growth import AbstractGrowth, Exponential, Gompertz, Logistic, VonBertalanffy
from optimizer.models.tumor import Tumor
from optimizer.pharmacology.direct import Direct
from optimizer.pharmacology.effects import AbstractEffect, Action, Hill, Linear, NortonSimon, hill
from optimizer.pharmacology.one_compartment import OneCompartment
from optimizer.simulate.rollout import System, flow


class Saturating(AbstractEffect):
    """Norton-Simon with an Emax: growth is multiplied by 1 - imax (c / ec50)^k / (1 + (c / ec50)^k).

    A scenario has the linear law alone: with imax > 1 births change sign inside an interval, where fixed steps lose
    their order.
    """

    kind: ClassVar[str] = "saturating_norton_simon"
    imax: Scalar
    ec50: Scalar
    hill: Scalar

    def __call__(self, conc: Numbers, shift: Numbers) -> Action:
        share = self.imax * hill(conc / (self.ec50 * shift), self.hill)
        return Action(jnp.asarray(share), jnp.zeros_like(share))


PARAMETERS: tuple[str, ...] = (
    "initial_burden",
    "growth_rate",
    "capacity",
    "drug_effect",
    "ec50",
    "elimination_rate",
    "hill",
)
LAWS: dict[str, Callable[..., AbstractGrowth]] = {
    law.kind: law for law in (Exponential, Logistic, Gompertz, VonBertalanffy)
}
EFFECTS = {"log_kill": (Hill, Linear), "norton_simon": (Saturating, NortonSimon)}
"""Effect -> that of a concentration, and that of a level which is on or off."""
NODES = 12
NOTHING = -1e30
PANELS = 16
_X, _W = np.polynomial.legendre.leggauss(NODES)
_POINTS, _WEIGHTS = tuple(((_X + 1) / 2).tolist()), tuple((_W / 2).tolist())

Events = tuple[Float[Array, " e"], Float[Array, " e"]]
"""Times [e] in order and amounts [e] of boluses (0 is no dose), or levels [e] from each time on."""
Growth = Callable[[Float[Array, " 7"], Float[Array, " t"], Events], Float[Array, " t"]]
"""predict(parameters, times, events) -> burden; times in days from 0."""


# --- the simulator's own ----------------------------------------------------------------------------------------------


def tumor(theta: Float[Array, " 7"], growth: str, effect: str, held: bool) -> System:
    """The simulator's system for theta in the order of `PARAMETERS`; a cell is a unit of burden."""
    start, rate, capacity, strength, ec50, elimination, steepness = theta
    law = LAWS[growth]() if growth == "exponential" else LAWS[growth](capacity)
    act = EFFECTS[effect][held](strength) if held else EFFECTS[effect][held](strength, ec50, steepness)
    model = Tumor(
        names=("tumor",),
        is_resistant=(False,),
        initial_cells=start[None],
        growth_rate=rate[None],
        death_rate=jnp.zeros(1),
        effects=((act,),),
        growth=law,
    )
    kinetics = Direct() if held else OneCompartment(volume=1.0, clearance=elimination)
    return System(model, (kinetics,), ("drug",), ("infusion" if held else "bolus",), Mesh(PANELS))


@lru_cache(maxsize=64)
def simulated(growth: str, effect: str, held: bool = False) -> Growth:
    """The burden that the simulator shows at each time: its own flow from one dose or observation to the next."""

    def predict(theta: Float[Array, " 7"], times: Float[Array, " t"], events: Events) -> Float[Array, " t"]:
        system = tumor(theta, growth, effect, held)
        time, gap, doses, seen = _knots(times, events)
        given = _level(time, events) if held else doses

        def step(state: Any, inputs: Any) -> tuple[Any, Any]:
            (kinetics, y), (at, length, level) = state, inputs
            now = system.give(kinetics, level[None])
            last, _ = flow(system, (now, y), system.rates(level[None]), at, length)
            return last, system.model.burden(y)

        _, burden = jax.lax.scan(step, system.start(), (time, gap, given))
        return burden[seen]

    return predict


def _knots(times: Float[Array, " t"], events: Events) -> tuple[Array, Array, Array, Array]:
    """Doses and observations in one order: times [k], gaps to the next [k], doses [k], knot of each observation [t]."""
    at = jnp.concatenate([jnp.zeros(1), times, events[0]])
    doses = jnp.concatenate([jnp.zeros(1 + times.shape[0]), events[1]])
    order = jnp.argsort(at, stable=True)
    time = at[order]
    return time, jnp.diff(time, append=time[-1:]), doses[order], jnp.argsort(order)[1 : 1 + times.shape[0]]


def _level(time: Float[Array, " k"], events: Events) -> Float[Array, " k"]:
    """The level in force from each time on; 0 before the first event."""
    last = jnp.searchsorted(events[0], time, side="right") - 1
    return jnp.where(last >= 0, events[1][last], 0.0)


# --- closed forms -----------------------------------------------------------------------------------------------------


class Timeline(NamedTuple):
    """Doses and observations in one order [knots]; `seen` [t] is the knot of each observation.

    `gap` is the time to the next knot, `spent` the integral of E up to the knot, `exposure` that of E over a wait
    [knots, ...] after it.
    """

    time: Float[Array, " k"]
    gap: Float[Array, " k"]
    spent: Float[Array, " k"]
    seen: Int[Array, " t"]
    exposure: Callable[[Array], Array]


def _timeline(theta: Float[Array, " 7"], times: Float[Array, " t"], events: Events, held: bool) -> Timeline:
    """Exact: after a dose the integral of E is log((C0^h + EC50^h) / (C^h + EC50^h)) / (h ke)."""
    ec50, elimination, hill = theta[4:]
    time, gap, doses, seen = _knots(times, events)

    def step(left: Float[Array, ""], event: tuple[Array, Array]) -> tuple[Array, Array]:
        amount, wait = event
        peak = left + amount
        return peak * jnp.exp(-elimination * wait), peak

    if held:
        level = _level(time, events)

        def exposure(wait: Array) -> Array:
            return level.reshape(-1, *[1] * (wait.ndim - 1)) * wait
    else:
        _, peaks = jax.lax.scan(step, jnp.zeros((), doses.dtype), (doses, gap))
        some = peaks > 0
        # log((C / EC50)^h) just after the knot, kept finite.
        height = jnp.where(some, hill * (jnp.log(jnp.where(some, peaks, 1.0)) - jnp.log(ec50)), NOTHING)

        def exposure(wait: Array) -> Array:
            top = height.reshape(-1, *[1] * (wait.ndim - 1))
            fall = jax.nn.softplus(top) - jax.nn.softplus(top - hill * elimination * wait)
            return fall / (hill * elimination)

    each = exposure(gap)
    return Timeline(time, gap, jnp.cumsum(each) - each, seen, exposure)


CLOSED = tuple((growth, effect) for growth in ("exponential", "logistic") for effect in EFFECTS)
"""(growth, effect) for which there is a closed form."""


@lru_cache(maxsize=64)
def closed_form(growth: str, effect: str, held: bool = False) -> Growth:
    """The burden at each time in closed form: V0 e^A without a capacity, A = r t - k integral of E, where r k stands
    for k if growth is slowed. Norton-Simon's logistic is the plain one at the time A / r.

    Raises:
        KeyError: it is not in `CLOSED`.
    """
    if (growth, effect) not in CLOSED:
        raise KeyError(growth, effect)

    def predict(theta: Float[Array, " 7"], times: Float[Array, " t"], events: Events) -> Float[Array, " t"]:
        start, rate, capacity, strength = theta[:4]
        line = _timeline(theta, times, events, held)
        kill = strength if effect == "log_kill" else rate * strength
        rise = rate * times - kill * line.spent[line.seen]
        if growth == "exponential":
            return jnp.exp(jnp.log(start) + rise)
        if effect == "norton_simon":
            return capacity / (1.0 + (capacity / start - 1.0) * jnp.exp(-rise))
        return jnp.exp(jnp.log(start) + rise - _crowding(theta, line, kill))

    return predict


def _crowding(theta: Float[Array, " 7"], line: Timeline, kill: Float[Array, ""]) -> Float[Array, " t"]:
    """log(1 + (r / K) V0 integral of e^A) of Bernoulli's equation, V = V0 e^A / (1 + (r / K) V0 integral of e^A)."""
    start, rate, capacity = theta[:3]
    wait = line.gap[:, None] * jnp.asarray(_POINTS)
    rise = rate * (line.time[:, None] + wait) - kill * (line.spent[:, None] + line.exposure(wait))
    part = jax.nn.logsumexp(rise, axis=1, b=jnp.asarray(_WEIGHTS))
    real = line.gap > 0
    part = jnp.where(real, part + jnp.log(jnp.where(real, line.gap, 1.0)), NOTHING)
    before = jnp.concatenate([jnp.full(1, NOTHING), jax.lax.cumlogsumexp(part)[:-1]])[line.seen]
    return jax.nn.softplus(jnp.log(rate) - jnp.log(capacity) + jnp.log(start) + before)
