"""Closed forms of the kinetics: value and gradient against SciPy's integration of `field`; equal rates as a limit."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from optimizer.pharmacology.base import AbstractPK
from optimizer.pharmacology.first_order import FirstOrder, decayed_share, divided_decay
from optimizer.pharmacology.one_compartment import OneCompartment
from optimizer.pharmacology.oral import Oral
from optimizer.pharmacology.sustained_release import SustainedRelease
from optimizer.pharmacology.two_compartment import TwoCompartment
from optimizer.registry import discover

KINETICS = {
    "first_order": FirstOrder(0.4),
    "one_compartment": OneCompartment(volume=5.0, clearance=2.0),
    "two_compartment": TwoCompartment(volume=5.0, clearance=9.0, peripheral_volume=30.0, exchange=12.0),
    "two_compartment, fast": TwoCompartment(volume=8.0, clearance=900.0, peripheral_volume=300.0, exchange=200.0),
    "oral": Oral(volume=20.0, clearance=12.0, absorption=8.0, bioavailability=0.6),
    "oral, flip-flop": Oral(volume=20.0, clearance=80.0, absorption=0.3),
    "oral, equal": Oral(volume=20.0, clearance=20.0, absorption=1.0, lag=0.2),
    "sustained_release": SustainedRelease(release=0.2, volume=9.0, clearance=18.0, carrier_loss=0.3),
    "sustained_release, equal": SustainedRelease(release=2.0, volume=9.0, clearance=18.0),
}
DOSES = (3.0, 0.0, 1.5)
EVERY = 1.5


def infused(pk):
    """Whether a dose of the test is a rate."""
    return "infusion" in pk.routes


def give(pk, state, dose, route):
    """State after a dose, and the rate of the infusion."""
    return (pk.bolus(state, dose), 0.0) if route == "bolus" else (state, dose)


def closed(pk, doses, route):
    """Concentration at the middle and end of each interval by the closed form."""
    state, out = pk.initial(), []
    for dose in doses:
        state, rate = give(pk, state, dose, route)
        for _ in range(2):
            state = pk.evolve(state, rate, 0.5 * EVERY)
            out.append(pk.concentration(state, rate))
    return jnp.stack(out)


def integrated(pk, doses, route):
    """The same by SciPy, which stops where a lag ends; until then the rate before arrives."""
    state, out, before = np.asarray(pk.initial(), dtype=float), [], 0.0
    field = jax.jit(lambda s, r: pk.field(s, r))
    for dose in doses:
        state, rate = give(pk, jnp.asarray(state), dose, route)
        lag = pk.delay()
        stops = [0.0, *([float(lag)] if lag is not None and lag > 0 else []), 0.5 * EVERY, EVERY]
        for a, b in itertools.pairwise(stops):
            shift = 1e-9 if a > 0.0 else 0.0  # just past the jump
            state = np.asarray(state) + 0.0
            if lag is not None and a == float(lag):
                state = np.asarray(state) + shift * np.eye(7)[3]
            arrives = before if lag is not None and b <= float(lag) else rate
            state = solve_ivp(
                lambda t, y, rate=arrives: np.asarray(field(jnp.asarray(y), rate)),
                (a, b),
                state,
                method="LSODA",
                rtol=1e-11,
                atol=1e-13,
            ).y[:, -1]
            if b >= 0.5 * EVERY:
                out.append(float(pk.concentration(jnp.asarray(state), rate)))
        before = rate
    return np.array(out)


def test_every_kind_is_here():
    names = {name.split(",")[0] for name in KINETICS}
    # Kinetics that somebody adds have the tests of tests/laws.
    assert names <= set(discover("optimizer.pharmacology", AbstractPK)) - {"direct"}


@pytest.mark.parametrize(("name", "route"), [(name, route) for name, pk in KINETICS.items() for route in pk.routes])
def test_closed_form_is_the_solution(name, route):
    pk = KINETICS[name]
    exact, numeric = np.asarray(closed(pk, DOSES, route)), integrated(pk, DOSES, route)
    assert np.all(exact > 0.0)
    assert np.allclose(exact, numeric, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", KINETICS)
def test_gradients(name):
    pk = KINETICS[name]
    route = pk.routes[-1]
    value = jax.jit(lambda p, d: jnp.sum(closed(p, d, route)))
    by_pk, by_dose = jax.jit(jax.grad(value, argnums=(0, 1)))(pk, jnp.array(DOSES))
    for i in range(len(DOSES)):
        unit = jnp.eye(len(DOSES))[i]  # linear in the doses: any step is exact
        assert float(by_dose[i]) == pytest.approx(
            float(value(pk, jnp.array(DOSES) + unit) - value(pk, jnp.array(DOSES)))
        )
    leaves, tree = jax.tree.flatten(pk)
    for i, (leaf, slope) in enumerate(zip(leaves, jax.tree.leaves(by_pk), strict=True)):
        h = 1e-5 * max(float(leaf), 0.1)

        def moved(by, i=i):
            return jax.tree.unflatten(tree, [x + by if j == i else x for j, x in enumerate(leaves)])

        if pk.kind == "oral" and float(leaf) == 0.0:
            continue  # a lag of zero has a slope on one side only
        if float(leaf) == 0.0:
            central = float(value(moved(h), jnp.array(DOSES)) - value(pk, jnp.array(DOSES))) / h
            assert float(slope) == pytest.approx(central, rel=1e-3, abs=1e-6)
            continue
        central = float(value(moved(h), jnp.array(DOSES)) - value(moved(-h), jnp.array(DOSES))) / (2.0 * h)
        assert float(slope) == pytest.approx(central, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", KINETICS)
def test_time_splits(name):
    pk = KINETICS[name]
    rate = 0.7 if infused(pk) else 0.0
    start = pk.bolus(pk.evolve(pk.bolus(pk.initial(), 2.0), rate, 1.0), 3.0)
    whole = pk.evolve(start, rate, 0.9)
    for part in (0.1, 0.2, 0.6):
        assert np.allclose(pk.evolve(pk.evolve(start, rate, part), rate, 0.9 - part), whole, rtol=1e-12, atol=1e-14)
    assert np.allclose(pk.evolve(start, rate, 0.0), start, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", KINETICS)
def test_a_dose_takes_nothing_of_the_one_before(name):
    pk, rest = KINETICS[name], 0.3
    first = pk.evolve(pk.bolus(pk.initial(), 2.0), 0.0, 0.25)
    both = pk.evolve(pk.bolus(first, 3.0), 0.0, rest)
    alone = [pk.evolve(first, 0.0, rest), pk.evolve(pk.bolus(pk.initial(), 3.0), 0.0, rest)]
    level, parts = pk.concentration(both, 0.0), [pk.concentration(state, 0.0) for state in alone]
    assert float(level) == pytest.approx(float(sum(parts)), rel=1e-12)


def test_bioavailability_and_lag():
    pk, late = KINETICS["oral"], Oral(20.0, 12.0, 8.0, bioavailability=0.6, lag=0.25)
    state = pk.evolve(pk.bolus(pk.initial(), 10.0), 0.0, 0.5)
    assert np.allclose(late.evolve(late.bolus(late.initial(), 10.0), 0.0, 0.75)[:3], state[:3], rtol=1e-12)
    assert float(late.concentration(late.evolve(late.bolus(late.initial(), 10.0), 0.0, 0.2), 0.0)) == 0.0
    # All that is absorbed is cleared: the area under the curve is F dose / CL.
    times = jnp.linspace(0.0, 60.0, 60_001)
    levels = jax.vmap(lambda t: pk.concentration(pk.evolve(pk.bolus(pk.initial(), 10.0), 0.0, t), 0.0))(times)
    assert float(jnp.trapezoid(levels, times)) == pytest.approx(0.6 * 10.0 / 12.0, rel=1e-5)


def test_carrier_that_is_cleared_frees_less():
    pk = KINETICS["sustained_release"]
    times = jnp.linspace(0.0, 100.0, 100_001)
    levels = jax.vmap(lambda t: pk.concentration(pk.evolve(pk.bolus(pk.initial(), 10.0), 0.0, t), 0.0))(times)
    assert float(jnp.trapezoid(levels, times)) == pytest.approx(0.2 / 0.5 * 10.0 / 18.0, rel=1e-5)


def test_phases_of_two_compartments():
    pk = KINETICS["two_compartment"]
    k10, k12, k21 = 9.0 / 5.0, 12.0 / 5.0, 12.0 / 30.0
    roots = np.sort(-np.linalg.eigvals([[-k10 - k12, k21], [k12, -k21]]).real)
    assert np.allclose([pk.elimination_rate(), pk.transient_rate()], roots, rtol=1e-12)


@pytest.mark.parametrize("z", [0.0, 1e-6, 0.0199, 0.0201, 3.0, 700.0])
def test_equal_rates_are_a_limit(z):
    exact = 1.0 if z == 0.0 else float(-np.expm1(-z) / z)
    assert float(decayed_share(jnp.asarray(z))) == pytest.approx(exact, rel=1e-14)
    slope = -0.5 + z / 3 - z**2 / 8 if z < 1e-3 else float((np.exp(-z) * (1 + z) - 1) / z**2)
    assert float(jax.grad(decayed_share)(jnp.asarray(z))) == pytest.approx(slope, rel=1e-9)
    first, second = jax.grad(divided_decay, argnums=(0, 1))(jnp.asarray(0.5), jnp.asarray(0.5 + z / 2.0), 2.0)
    swapped = jax.grad(divided_decay, argnums=(1, 0))(jnp.asarray(0.5 + z / 2.0), jnp.asarray(0.5), 2.0)
    assert np.allclose([first, second], swapped, rtol=1e-12)
    if z == 0.0:
        assert np.allclose([first, second], -0.5 * 2.0**2 * np.exp(-1.0), rtol=1e-12)
