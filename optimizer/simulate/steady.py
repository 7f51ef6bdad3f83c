"""Steady states of kinetics: where a patient is who has had the same doses for long."""

import math

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from optimizer.pharmacology.base import AbstractPK
from optimizer.simulate.forms import AbstractForm


def steady_state(kinetics: AbstractPK, amount: float, rate: float, every: float) -> Float[Array, "s"]:
    """State just before a dose that has been given at regular intervals for ever.

    The kinetics are linear: from one dose to the next f(s) = A s + b, so that s = (1 - A)^-1 b.

    Args:
        kinetics: of the drug.
        amount: of each dose.
        rate: of its infusion; 0 for a bolus.
        every: time between two doses [day].

    Raises:
        ValueError: an infusion longer than the interval, or kinetics that are not linear or never settle; for numbers
            that are traced the state is not a number then.

    Example:
        >>> from optimizer.pharmacology.one_compartment import OneCompartment
        >>> pk = OneCompartment(volume=20.0, clearance=20.0 * float(jnp.log(2.0)))
        >>> float(steady_state(pk, 100.0, 0.0, 1.0)[0])
        100.0
    """
    length = amount / rate if rate else 0.0
    if length > every * (1.0 + 1e-9):
        raise ValueError(f"an infusion of at most the interval, {every:g} day; got {length:g} day")

    def cycle(state: Array) -> Array:
        if not rate:
            return kinetics.evolve(kinetics.bolus(state, jnp.asarray(amount)), jnp.zeros(()), jnp.asarray(every))
        state = kinetics.evolve(state, jnp.asarray(rate), jnp.asarray(length))
        return kinetics.evolve(state, jnp.zeros(()), jnp.asarray(every - length))

    if isinstance(kinetics, AbstractForm):
        return kinetics.of_inner(steady_state(kinetics.kinetics, amount, rate, every))
    empty = kinetics.initial()
    if not empty.size:
        return empty
    found = jnp.linalg.solve(jnp.eye(empty.size) - jax.jacobian(cycle)(empty), cycle(empty))
    again = cycle(found)
    settles = jnp.all(jnp.isfinite(found)) & (jnp.max(jnp.abs(again - found)) <= 1e-8 * jnp.max(jnp.abs(found)))
    if isinstance(settles, Tracer):
        return jnp.where(settles, found, math.nan)
    if not bool(settles):
        raise ValueError("kinetics with a steady state in closed form; got others")
    return found
