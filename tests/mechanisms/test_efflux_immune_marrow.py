"""Efflux, immune effectors and marrow against SciPy, with the equations written down again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.constraints.nadir import Nadir
from optimizer.mechanisms.efflux import Efflux
from optimizer.mechanisms.immune import Immune
from optimizer.mechanisms.myelosuppression import Myelosuppression
from optimizer.models.growth import Logistic
from optimizer.objectives.base import Scene
from optimizer.pharmacology.effects import Hill
from optimizer.pharmacology.roles import CheckpointInhibitor, EffluxInhibitor, Inhibitor
from optimizer.simulate import Grid, adaptive
from tests.models.helpers import assert_gradient, final_cells, reference, simulate, system, tumor

DOSES = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 0.0], [3.0, 0.5]])
RATES = (0.3, 0.2)


def at_edges(trajectory, name, doses):
    """An observable at the end of each interval."""
    return np.asarray(trajectory.observables[name]).reshape(len(doses), -1)[:, -1]


def assert_audit(built, doses, name):
    """The adaptive simulation finds the same cells and observable."""
    own, other = (
        simulate(built, jnp.asarray(doses)),
        adaptive.solve(built, jnp.asarray(doses), Grid(7.0 * jnp.arange(5))),
    )
    assert bool(other.ok)
    last = [np.asarray(t.burden).reshape(len(doses), -1)[:, -1] for t in (own, other)]
    assert np.allclose(*last, rtol=1e-5)
    assert np.allclose(at_edges(own, name, doses), at_edges(other, name, doses), rtol=1e-5)


def test_efflux():
    roles = (Inhibitor(), EffluxInhibitor(ki=0.4, hill=1.2))
    pump = Efflux(
        drug=0, induced=8.0, turnover=0.5, ec50=0.6, roles=roles, basal=0.5, hill=2.0, expression=jnp.array([1.0, 0.0])
    )
    curve = Hill(0.6, 0.5, 1.0)
    model = tumor([(1e8, 0.2, 0.0, [curve, None]), (1e6, 0.15, 0.0, [curve, None])], mechanisms=(pump,))

    def field(y, c):
        flow = y[2] / (1.0 + (c[1] / 0.4) ** 1.2)
        inside = c[0] / (1.0 + flow)  # what is left in the cell, against an EC50 that stays
        induced = 0.5 + 7.5 * c[0] ** 2 / (c[0] ** 2 + 0.36)
        return [
            (0.2 - 0.6 * inside / (inside + 0.5)) * y[0],
            (0.15 - 0.6 * c[0] / (c[0] + 0.5)) * y[1],
            0.5 * (induced - y[2]),
        ]

    built = system(model, RATES)
    expected = reference(field, [1e8, 1e6, 0.5], DOSES, RATES)
    assert np.allclose(final_cells(built, DOSES), expected[:, :2], rtol=1e-5)
    # The observable is the flow that inhibitors leave: all of it without one.
    alone = DOSES * [1.0, 0.0]
    pumps = reference(field, [1e8, 1e6, 0.5], alone, RATES)[:, 2]
    assert np.allclose(at_edges(simulate(built, jnp.asarray(alone)), "pump", DOSES), pumps, rtol=1e-5)
    assert_audit(built, DOSES, "pump")
    assert_gradient(built, DOSES + 0.3)


def test_efflux_shields_only_what_is_pumped():
    roles = (Inhibitor(), EffluxInhibitor(ki=1.0), Inhibitor())
    pump = Efflux(drug=0, induced=8.0, turnover=0.5, ec50=0.6, roles=roles, basal=3.0)
    shift = pump.shift(pump.initial_state(), jnp.array([0.0, 1.0, 0.0]))
    assert np.allclose(shift, [[2.5, 1.0, 2.5]])


@pytest.fixture(scope="module")
def immune():
    """The numbers of Kuznetsov et al. 1994 for a mouse lymphoma, with a checkpoint inhibitor."""
    return Immune(
        inflow=1.3e4,
        recruitment=0.1245,
        half_recruitment=2.019e7,
        inactivation=3.422e-10,
        loss=0.0412,
        kill=jnp.array([1.101e-7]),
        roles=(Inhibitor(), CheckpointInhibitor(efficacy=0.9, ec50=0.5, hill=1.0)),
    )


def test_immune(immune):
    model = tumor([(5e7, 0.18, 0.0, [Hill(0.1, 0.5), None])], growth=Logistic(5e8), mechanisms=(immune,))

    def field(y, c):
        killed, open_ = 0.1 * c[0] / (c[0] + 0.5), 1.0 - 0.9 * c[1] / (c[1] + 0.5)
        effectors = 1.3e4 + 0.1245 * y[1] * y[0] / (2.019e7 + y[0]) - 3.422e-10 * open_ * y[0] * y[1] - 0.0412 * y[1]
        return [0.18 * y[0] * (1.0 - y[0] / 5e8) - 1.101e-7 * y[0] * y[1] - killed * y[0], effectors]

    built = system(model, RATES)
    expected = reference(field, [5e7, 1.3e4 / 0.0412], DOSES, RATES)
    assert np.allclose(final_cells(built, DOSES), expected[:, :1], rtol=1e-5)
    assert np.allclose(at_edges(simulate(built, jnp.asarray(DOSES)), "effectors", DOSES), expected[:, 1], rtol=1e-5)
    assert_audit(built, DOSES, "effectors")
    assert_gradient(built, DOSES + 0.3)


def test_immune_steady_states(immune):
    # With the paper's numbers a small tumor lies dormant where growth balances the effectors' kill.
    model = tumor([(8e6, 0.18, 0.0, [None, None])], growth=Logistic(5e8), mechanisms=(immune,))
    built = system(model, RATES, longest=50.0)
    late = simulate(built, jnp.zeros((30, 2)), every=50.0)
    burden, effectors = float(late.burden[-1]), float(late.observables["effectors"][-1])
    assert 0.18 * (1.0 - burden / 5e8) == pytest.approx(1.101e-7 * effectors, rel=1e-3)
    assert 7e6 < burden < 1e7  # the dormant focus of the paper is near 8e6 cells
    given = eqx_replace(immune, 1e6).initial_state().log_effectors
    assert float(jnp.exp(given)) == pytest.approx(1e6)


def eqx_replace(immune, effectors):
    """The mechanism with so many effectors at the start."""
    import equinox as eqx

    return eqx.tree_at(lambda m: m.effectors, immune, jnp.asarray(effectors))


MARROW = Myelosuppression(drug=0, baseline=5e9, transit_time=3.7, feedback=0.16, slope=2.0)


def marrow_field(y, c):
    """Friberg's five compartments as cell numbers, behind a tumor that the drug kills."""
    ktr = 4.0 / 3.7
    prol, t1, t2, t3, circ = y[1:]
    return [
        (0.1 - 0.3 * c[0] / (c[0] + 0.5)) * y[0],
        ktr * prol * ((1.0 - 2.0 * c[0]) * (5e9 / circ) ** 0.16 - 1.0),
        ktr * (prol - t1),
        ktr * (t1 - t2),
        ktr * (t2 - t3),
        ktr * (t3 - circ),
    ]


def test_myelosuppression():
    model = tumor([(1e8, 0.1, 0.0, [Hill(0.3, 0.5), None])], mechanisms=(MARROW,))
    built = system(model, (0.8, 0.2))
    expected = reference(marrow_field, [1e8, *[5e9] * 5], DOSES, (0.8, 0.2))
    assert np.allclose(final_cells(built, DOSES), expected[:, :1], rtol=1e-5)
    trajectory = simulate(built, jnp.asarray(DOSES))
    assert np.allclose(at_edges(trajectory, "neutrophils", DOSES), expected[:, -1], rtol=1e-5)
    assert_audit(built, DOSES, "neutrophils")


def test_marrow_without_drug_rests():
    model = tumor([(1e8, 0.1, 0.0, [Hill(0.3, 0.5), None])], mechanisms=(MARROW,))
    trajectory = simulate(system(model, RATES), jnp.zeros((2, 2)))
    assert np.all(np.asarray(trajectory.observables["neutrophils"]) == 5e9)


def test_nadir():
    model = tumor([(1e8, 0.1, 0.0, [Hill(0.3, 0.5), None])], mechanisms=(MARROW,))
    built = system(model, (0.8, 0.2))
    trajectory = simulate(built, jnp.asarray(DOSES))
    lowest = float(np.min(trajectory.observables["neutrophils"]))
    assert lowest < 4e9
    for limit, sign in ((0.9 * lowest, -1.0), (1.1 * lowest, 1.0)):
        reading = Nadir(limit).read(Scene(trajectory, Grid(7.0 * jnp.arange(5)), jnp.ones(2), 1.0))
        assert 0.9999 * lowest < float(reading.value) <= lowest
        assert float(reading.limit) == pytest.approx(limit)
        assert np.sign(float(jnp.max(reading.excess))) == sign
        assert float(jnp.max(reading.excess)) == pytest.approx(np.log(limit / float(reading.value)), rel=1e-12)

    def worst(doses):
        trajectory = simulate(built, doses)
        return jnp.max(Nadir(4e9).read(Scene(trajectory, Grid(7.0 * jnp.arange(5)), jnp.ones(2), 1.0)).excess)

    # More drug, fewer neutrophils: the search has a slope to follow.
    assert float(jax.grad(worst)(jnp.asarray(DOSES))[0, 0]) > 0.0


def test_lowest_count_does_not_hang_on_when_it_is_saved():
    from optimizer.constraints.nadir import _bottoms

    def curve(t):
        return 0.3 * (t - 1.234) ** 2 + 0.05 * (t - 1.234) ** 3 + 0.01 * (t - 1.234) ** 4 - 2.0

    def lowest(times):
        return float(_bottoms(jnp.asarray(times), jnp.asarray(curve(np.asarray(times)))).min())

    for times in (np.linspace(0.0, 3.0, 7), [0.0, 0.5, 1.2, 1.9, 2.0, 2.0, 3.0], [0.0, 0.7, 1.2, 1.7, 3.0]):
        assert lowest(times) == pytest.approx(-2.0, abs=1e-10)
    assert lowest([1.5, 2.0, 3.0]) == pytest.approx(curve(1.5))  # too few to say more
    assert lowest([1.5, 2.0, 2.5, 3.0, 3.5, 4.0]) == pytest.approx(curve(1.5))
    assert lowest([0.0, 0.5, 1.234, 1.234, 2.0, 3.0]) == pytest.approx(-2.0)
    times = jnp.linspace(0.0, 3.0, 8)
    slope = jax.grad(lambda depth: _bottoms(times, depth * curve(times)).min())(2.0)
    assert float(slope) == pytest.approx(-2.0, abs=1e-9)
