"""Several drugs: each law against its definition, its null cases and central differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from optimizer.pharmacology.effects import Hill, Linear, LogKill, NortonSimon
from optimizer.pharmacology.interactions import (
    AbstractInteraction,
    Bliss,
    HighestSingleAgent,
    Loewe,
    MuSyC,
    Pooled,
    turned,
)
from optimizer.registry import discover

LAWS = [cls() for cls in discover("optimizer.pharmacology", AbstractInteraction).values()]
STEEP = Hill(emax=0.6, ec50=2.0, hill=2.0)
FLAT = Hill(emax=0.3, ec50=0.5, hill=0.7)
ONE = jnp.ones(())


def kill(law, row, conc, shift=None):
    """Kill rate of a row of effects at concentrations."""
    conc = jnp.asarray(conc, dtype=float)
    return law(row, conc, jnp.ones_like(conc) if shift is None else jnp.asarray(shift), 0.4 * ONE).kill


def test_all_laws_are_found():
    assert {law.kind for law in LAWS} == {"bliss", "hsa", "loewe", "musyc", "pooled"}


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.kind)
def test_a_single_drug_is_unchanged(law):
    for effect in (STEEP, FLAT):
        alone = float(effect(1.3, 2.0).kill)
        assert float(kill(law, (effect, None), [1.3, 5.0], [2.0, 1.0])) == pytest.approx(alone, rel=1e-12)
        assert float(kill(law, (effect, effect), [1.3, 0.0], [2.0, 2.0])) == pytest.approx(alone, rel=1e-9)
    assert float(kill(law, (None, None), [1.0, 1.0])) == 0.0
    only_growth = law((NortonSimon(0.5), None), jnp.array([0.4, 1.0]), jnp.ones(2), ONE)
    assert float(only_growth.inhibition) == pytest.approx(0.2, rel=1e-12)


def test_definitions():
    row, conc = (STEEP, FLAT), [1.5, 0.8]
    singles = [float(e(c, 1.0).kill) for e, c in zip(row, conc, strict=True)]
    assert float(kill(Bliss(), row, conc)) == pytest.approx(sum(singles), rel=1e-14)
    assert float(kill(HighestSingleAgent(), row, conc)) == max(singles)
    shares = (NortonSimon(0.5), NortonSimon(0.25))
    both = [law(shares, jnp.ones(2), jnp.ones(2), ONE).inhibition for law in (Bliss(), HighestSingleAgent(), Loewe())]
    assert np.allclose(both, [1 - 0.5 * 0.75, 0.5, 0.75], rtol=1e-14)


def test_highest_single_agent_weighs_growth_against_kill():
    row = (NortonSimon(0.5), Linear(0.3))
    slow = HighestSingleAgent()(row, jnp.ones(2), jnp.ones(2), 0.5 * ONE)
    quick = HighestSingleAgent()(row, jnp.ones(2), jnp.ones(2), 0.7 * ONE)
    assert [float(a) for a in slow] == [0.0, 0.3]
    assert [float(a) for a in quick] == [0.5, 0.0]


@pytest.mark.parametrize(
    ("row", "conc"),
    [
        ((STEEP, FLAT), [1.5, 0.8]),
        ((STEEP, FLAT), [6.0, 40.0]),  # beyond what the flat curve can reach
        ((STEEP, Linear(0.1)), [1.0, 2.0]),
        ((STEEP, LogKill(0.1), FLAT), [1.0, 0.2, 3.0]),
        ((STEEP, FLAT), [1e-4, 1e-5]),
    ],
)
def test_loewe_solves_its_equation(row, conc):
    def needed(effect, rate):
        """Concentration at which an effect alone kills at a rate, by bracketing."""
        return brentq(lambda c: float(effect(c, 1.0).kill) - rate, 0.0, 1e9, xtol=1e-14, rtol=1e-14)

    found = float(kill(Loewe(), row, conc))
    reached = [(e, c) for e, c in zip(row, conc, strict=True) if not (isinstance(e, Hill) and found >= float(e.emax))]
    assert sum(c / needed(e, found) for e, c in reached) == pytest.approx(1.0, rel=1e-9)
    assert found > max(float(e(c, 1.0).kill) for e, c in zip(row, conc, strict=True)) * (1 - 1e-12)


def test_pooled_is_loewe_where_drugs_differ_in_potency_only():
    row = (Hill(0.6, 2.0, 1.4), Hill(0.6, 0.3, 1.4), Hill(0.6, 7.0, 1.4))
    for conc in ([1.0, 0.2, 0.0], [0.3, 0.3, 9.0], [0.0, 0.0, 0.1]):
        pooled = float(kill(Pooled(), row, conc, [1.0, 2.0, 3.0]))
        assert pooled == pytest.approx(float(kill(Loewe(), row, conc, [1.0, 2.0, 3.0])), rel=1e-11)
    # One drug in two vials is that drug.
    split = (STEEP, STEEP)
    assert float(kill(Pooled(), split, [0.5, 1.0])) == pytest.approx(float(STEEP(1.5, 1.0).kill), rel=1e-14)


def test_musyc_is_the_steady_state_of_its_four_states():
    law = MuSyC(potency_first=3.0, potency_second=0.4, efficacy=0.5)
    conc = np.array([1.5, 0.8])
    x1, x2 = (1.5 / 2.0) ** 2.0, (0.8 / 0.5) ** 0.7
    a, b = 3.0**2.0, 0.4**0.7

    def flow(_, p):
        u, one, two, both = p
        first, second = x1 * u - one, x2 * u - two
        from_second, from_first = a * x1 * two - both, b * x2 * one - both
        return [-first - second, first - from_first, second - from_second, from_second + from_first]

    end = solve_ivp(flow, (0.0, 200.0), [1.0, 0.0, 0.0, 0.0], rtol=1e-11, atol=1e-13).y[:, -1]
    wanted = end @ [0.0, 0.6, 0.3, 1.5 * 0.6]
    assert float(kill(law, (STEEP, FLAT), conc)) == pytest.approx(wanted, rel=1e-8)


def test_musyc_limits():
    conc = [1.5, 0.8]
    null = MuSyC(efficacy=0.3 / 0.6)  # both together as fast as the sum of the two
    assert float(kill(null, (STEEP, FLAT), conc)) == pytest.approx(float(kill(Bliss(), (STEEP, FLAT), conc)), rel=1e-13)
    x1, x2, a = (1.5 / 2.0) ** 2.0, (0.8 / 0.5) ** 0.7, 2.0**2.0
    balanced = MuSyC(potency_first=2.0, potency_second=a ** (1 / 0.7), efficacy=1.0)
    shares = np.array([1.0, x1, x2, a * x1 * x2])
    wanted = shares @ [0.0, 0.6, 0.3, 1.2] / shares.sum()
    assert float(kill(balanced, (STEEP, FLAT), conc)) == pytest.approx(wanted, rel=1e-12)
    # A third drug acts beside the two; a clone on which only one of the two acts has no interaction.
    with_third = float(kill(balanced, (STEEP, FLAT, Linear(0.1)), [*conc, 2.0]))
    assert with_third == pytest.approx(wanted + 0.2, rel=1e-12)
    assert float(kill(balanced, (STEEP, None), conc)) == pytest.approx(float(STEEP(1.5, 1.0).kill), rel=1e-14)


@pytest.mark.parametrize(
    "law", [*LAWS, MuSyC(potency_first=2.0, potency_second=0.5, efficacy=0.8)], ids=lambda law: law.kind
)
@pytest.mark.parametrize("conc", [[1.5, 0.8], [9.0, 30.0], [0.02, 0.001]])
def test_gradients(law, conc):
    row = (STEEP, FLAT)
    value = jax.jit(lambda c: kill(law, row, c))
    exact = np.asarray(jax.grad(value)(jnp.asarray(conc)))
    for j in range(2):
        step = np.zeros(2)
        step[j] = 1e-5 * conc[j]
        central = float(value(conc + step) - value(conc - step)) / (2e-5 * conc[j])
        assert exact[j] == pytest.approx(central, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.kind)
def test_no_drug_has_no_effect_and_a_finite_gradient(law):
    value, slope = jax.value_and_grad(lambda c: kill(law, (STEEP, FLAT), c))(jnp.zeros(2))
    assert float(value) == 0.0
    assert np.all(np.isfinite(slope))
    one = jax.grad(lambda c: kill(law, (STEEP, FLAT), c))(jnp.array([0.0, 1.0]))
    assert np.all(np.isfinite(one))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.kind)
def test_what_is_cytostatic_is_a_share_of_what_the_law_kills(law):
    row = (Hill(emax=0.6, ec50=2.0, hill=2.0, cytostatic=0.25), Hill(emax=0.3, ec50=0.5, hill=0.7, cytostatic=0.75))
    conc = jnp.array([1.5, 0.8])
    slowed, killed = turned(law, row, conc, jnp.ones(2), 0.4 * ONE)
    first, second = (float(effect(c, 1.0).kill) for effect, c in zip(row, conc, strict=True))
    share = (0.25 * first + 0.75 * second) / (first + second)
    assert float(slowed) == pytest.approx(share * float(kill(law, row, conc)), rel=1e-12)
    assert float(killed) == 0.0
    slope = jax.grad(lambda c: turned(law, row, c, jnp.ones(2), 0.4 * ONE)[0])(jnp.zeros(2))
    alone = [effect.cytostatic * jax.grad(lambda c, e=effect: e(c, 1.0).kill)(0.0) for effect in row]
    assert np.allclose(slope, alone, rtol=1e-12)


def test_growth_that_is_lost_is_cytostatic_unless_it_is_said_to_kill():
    for share, wanted in ((None, 0.0), (0.4, 0.6 * 0.5)):
        effect = NortonSimon(0.5) if share is None else NortonSimon(0.5, cytostatic=share)
        slowed, killed = turned(Bliss(), (effect, None), jnp.ones(2), jnp.ones(2), ONE)
        assert float(slowed) == 0.0
        assert float(killed) == pytest.approx(wanted, rel=1e-14)
