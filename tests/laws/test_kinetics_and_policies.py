"""Kinetics: the closed form is the solution of `field`. Policies: whatever they observe, a dose that can be given."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.pharmacology.base import AbstractPK
from optimizer.policies.base import AbstractPolicy, Observation
from optimizer.policies.continuous import Continuous
from optimizer.policies.network import weight_count
from optimizer.policies.schedule import Schedule
from optimizer.policies.threshold import Threshold
from optimizer.registry import discover
from tests.laws.factory import make

KINETICS = list(discover("optimizer.pharmacology", AbstractPK).values())
POLICIES = list(discover("optimizer.policies", AbstractPolicy).values())
STEPS = 400


def integrated(pk, state, rate, start, stop):
    """`field` by Runge-Kutta steps."""
    h = (stop - start) / STEPS

    def step(y, _):
        k1 = pk.field(y, rate)
        k2 = pk.field(y + 0.5 * h * k1, rate)
        k3 = pk.field(y + 0.5 * h * k2, rate)
        k4 = pk.field(y + h * k3, rate)
        return y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4), None

    return jax.lax.scan(step, state, None, length=STEPS)[0]


def both(pk, amount, rate, tau):
    """A dose, and some time later another: by `evolve`, and by `field` with a stop where it has a jump.

    Until a lag ends the rate before arrives; of what waits the field knows nothing, so that levels are compared there.
    """
    closed = pk.evolve(pk.bolus(pk.evolve(pk.bolus(pk.initial(), amount), rate, tau), amount), 0.5 * rate, 0.7 * tau)
    state, before = pk.initial(), 0.0 * rate
    for given, length in ((rate, tau), (0.5 * rate, 0.7 * tau)):
        state = pk.bolus(state, amount)
        jump = jnp.minimum(0.0 if pk.delay() is None else pk.delay(), length)
        state = integrated(pk, state, before, 0.0, jump)
        state = integrated(pk, state, given, jump, length)
        before = given
    again = pk.evolve(pk.evolve(closed, rate, 0.3 * tau), rate, 0.4 * tau)
    level = pk.concentration(closed, rate)
    ends = (closed, state) if pk.delay() is None else (level, pk.concentration(state, rate))
    return *ends, again, pk.evolve(closed, rate, 0.7 * tau), level


@pytest.mark.parametrize("cls", KINETICS, ids=lambda cls: cls.kind)
def test_closed_form_is_the_solution_and_a_semigroup(cls):
    rng = np.random.default_rng(0)
    one = make(cls, rng, {})
    many = jax.tree.map(lambda a: a * jnp.asarray(rng.uniform(0.6, 1.0, (50, *a.shape))), one)
    numbers = [jnp.asarray(rng.uniform(low, high, 50)) for low, high in ((0.0, 5.0), (0.0, 3.0), (0.5, 6.0))]
    if "infusion" not in cls.routes:
        numbers[1] = 0.0 * numbers[1]
    compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1})
    closed, solved, twice, once, level = compiled(jax.vmap(both))(many, *numbers)
    # A jump of the slope inside a step costs the order of the method.
    jumps = one.delay() is not None
    assert np.allclose(closed, solved, rtol=2e-2 if jumps else 1e-7, atol=2e-2 if jumps else 1e-9)
    assert np.allclose(twice, once, rtol=1e-12, atol=1e-13)
    assert np.all(level >= 0.0)
    assert one.dose_unit in ("mg", "mg/L", "1")


@pytest.mark.parametrize("cls", POLICIES, ids=lambda cls: cls.kind)
def test_policies_dose(cls):
    if cls.kind == "schedule":
        policy = cls(jnp.asarray(np.random.default_rng(0).uniform(0.0, 2.0, (6, 2))))
    elif cls.kind == "limited":
        asked = Schedule(jnp.asarray(np.random.default_rng(0).uniform(0.0, 2.0, (6, 2))))
        policy = cls(asked, jnp.zeros((1, 2)), jnp.full((1, 2), 1.5), (jnp.zeros(0), jnp.linspace(0.0, 2.0, 9)))
    elif cls.kind == "sequence":
        rules = Continuous(jnp.full(2, 2.0)), Threshold(jnp.full(2, 2.0), 0.5, 1.0)
        ends = [14.0, np.inf], [0.5, 0.0], [1.3, np.inf], [np.inf, np.inf]
        policy = cls(rules, *ends, (False, False))
    elif cls.kind == "network":
        policy = cls(jnp.full(2, 2.0), jnp.asarray(np.random.default_rng(0).normal(size=weight_count(2, 16))))
    else:
        around = {"drugs": ("first", "second"), "routes": ("bolus", "infusion"), "drug": 0}
        around |= {"dose_min": jnp.zeros(2), "dose_max": jnp.full(2, 2.0)}
        policy = make(cls, np.random.default_rng(0), around)
    decide = eqx.filter_jit(lambda memory, seen: policy.decide(memory, seen))
    for burdens in (1e8 * 0.5 ** np.arange(6.0), 1e8 * 1.5 ** np.arange(6.0)):
        memory = policy.init()
        shape = jax.tree.map(jnp.shape, memory)
        for k, burden in enumerate(burdens):
            seen = Observation(jnp.asarray(k), *(jnp.asarray(v) for v in (7.0 * k, 7.0, burden, 1e8)))
            dose, memory = decide(memory, seen)
            again, _ = decide(memory, seen)
            assert dose.shape == (2,)
            assert again.shape == (2,)
            assert np.all(np.isfinite(dose))
            assert np.all(dose >= 0.0)
            assert jax.tree.map(jnp.shape, memory) == shape
