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

The exposure integral of E has a closed form between doses, so three of the four models are exact; logistic
log-kill adds one Gauss-Legendre rule on every interval between doses and observations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

PARAMETERS = ("initial_burden", "growth_rate", "capacity", "drug_effect", "ec50", "elimination_rate", "hill")
NODES = 12
NOTHING = -1e30
_X, _W = np.polynomial.legendre.leggauss(NODES)
_POINTS, _WEIGHTS = tuple(((_X + 1) / 2).tolist()), tuple((_W / 2).tolist())

Events = tuple[Float[Array, " e"], Float[Array, " e"]]
"""Times [e] in order and amounts [e] of boluses; an amount of 0 is no dose."""


class Timeline(NamedTuple):
    """Doses and observations in one order [knots]; `seen` [t] is the knot of each observation.

    `height` is log((C / EC50)^h) just after the knot (-inf is kept finite), `gap` the time to the next knot, `spent`
    the integral of E up to the knot.
    """

    time: Float[Array, " k"]
    gap: Float[Array, " k"]
    height: Float[Array, " k"]
    spent: Float[Array, " k"]
    seen: Int[Array, " t"]


def timeline(
    times: Float[Array, " t"],
    events: Events,
    ec50: Float[Array, ""],
    elimination: Float[Array, ""],
    hill: Float[Array, ""],
) -> Timeline:
    """The exposure integral of E at every dose and observation, exact: between doses it is
    log((C0^h + EC50^h) / (C^h + EC50^h)) / (h ke)."""
    at = jnp.concatenate([jnp.zeros(1), times, events[0]])
    doses = jnp.concatenate([jnp.zeros(1 + times.shape[0]), events[1]])
    order = jnp.argsort(at, stable=True)
    time = at[order]
    gap = jnp.diff(time, append=time[-1:])

    def step(left: Float[Array, ""], event: tuple[Array, Array]) -> tuple[Array, Array]:
        amount, wait = event
        peak = left + amount
        return peak * jnp.exp(-elimination * wait), peak

    _, peaks = jax.lax.scan(step, jnp.zeros((), doses.dtype), (doses[order], gap))
    some = peaks > 0
    height = jnp.where(some, hill * (jnp.log(jnp.where(some, peaks, 1.0)) - jnp.log(ec50)), NOTHING)
    each = _exposure(height, gap, elimination, hill)
    spent = jnp.cumsum(each) - each
    return Timeline(time, gap, height, spent, jnp.argsort(order)[1 : 1 + times.shape[0]])


def _exposure(
    height: Float[Array, "..."], wait: Float[Array, "..."], elimination: Float[Array, ""], hill: Float[Array, ""]
) -> Float[Array, "..."]:
    """The integral of E over `wait` from a height."""
    fall = jax.nn.softplus(height) - jax.nn.softplus(height - hill * elimination * wait)
    return fall / (hill * elimination)


def _exponential_log_kill(theta: Float[Array, " 7"], times: Float[Array, " t"], events: Events) -> Float[Array, " t"]:
    start, rate, _, effect, ec50, elimination, hill = theta
    line = timeline(times, events, ec50, elimination, hill)
    return jnp.exp(jnp.log(start) + rate * times - effect * line.spent[line.seen])


def _exponential_norton_simon(
    theta: Float[Array, " 7"], times: Float[Array, " t"], events: Events
) -> Float[Array, " t"]:
    start, rate, _, effect, ec50, elimination, hill = theta
    line = timeline(times, events, ec50, elimination, hill)
    return jnp.exp(jnp.log(start) + rate * (times - effect * line.spent[line.seen]))


def _logistic_norton_simon(theta: Float[Array, " 7"], times: Float[Array, " t"], events: Events) -> Float[Array, " t"]:
    start, rate, capacity, effect, ec50, elimination, hill = theta
    line = timeline(times, events, ec50, elimination, hill)
    grown = jnp.exp(-rate * (times - effect * line.spent[line.seen]))
    return capacity / (1.0 + (capacity / start - 1.0) * grown)


def _logistic_log_kill(theta: Float[Array, " 7"], times: Float[Array, " t"], events: Events) -> Float[Array, " t"]:
    """Bernoulli's equation: V = V0 e^A / (1 + (r / K) V0 integral of e^A), A = r t - k integral of E."""
    start, rate, capacity, effect, ec50, elimination, hill = theta
    line = timeline(times, events, ec50, elimination, hill)
    wait = line.gap[:, None] * jnp.asarray(_POINTS)
    spent = line.spent[:, None] + _exposure(line.height[:, None], wait, elimination, hill)
    rise = rate * (line.time[:, None] + wait) - effect * spent
    part = jax.nn.logsumexp(rise, axis=1, b=jnp.asarray(_WEIGHTS))
    real = line.gap > 0
    part = jnp.where(real, part + jnp.log(jnp.where(real, line.gap, 1.0)), NOTHING)
    before = jnp.concatenate([jnp.full(1, NOTHING), jax.lax.cumlogsumexp(part)[:-1]])[line.seen]
    crowd = jax.nn.softplus(jnp.log(rate) - jnp.log(capacity) + jnp.log(start) + before)
    return jnp.exp(jnp.log(start) + rate * times - effect * line.spent[line.seen] - crowd)


Growth = Callable[[Float[Array, " 7"], Float[Array, " t"], Events], Float[Array, " t"]]
GROWTH: dict[tuple[str, str], Growth] = {
    ("exponential", "log_kill"): _exponential_log_kill,
    ("exponential", "norton_simon"): _exponential_norton_simon,
    ("logistic", "log_kill"): _logistic_log_kill,
    ("logistic", "norton_simon"): _logistic_norton_simon,
}
"""(growth, effect) -> predict(parameters, times, events) -> burden; times in days from 0."""
