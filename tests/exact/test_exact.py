"""Systems with a closed-form solution (derived in README.md): value and gradient."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.mechanisms.stroma import Stroma
from optimizer.mesh import Mesh
from optimizer.models.growth import Gompertz, Logistic, VonBertalanffy
from optimizer.models.tumor import Tumor
from optimizer.pharmacology.direct import Direct
from optimizer.pharmacology.effects import Hill
from optimizer.pharmacology.first_order import FirstOrder
from optimizer.pharmacology.one_compartment import OneCompartment
from optimizer.pharmacology.roles import Inhibitor
from optimizer.policies.schedule import Schedule
from optimizer.simulate import Grid, System, rollout

GRID = Grid(jnp.array([0.0, 3.0, 7.0, 7.5, 14.0]))
LENGTHS = np.diff(np.asarray(GRID.edges))
LEFT = 14.0 - np.asarray(GRID.edges)  # time to the end, from each edge
DOSES = jnp.array([[2.0], [0.0], [1.5], [0.7]])
NOBODY = Tumor(("tumor",), (False,), jnp.array([1e6]), jnp.array([0.1]), jnp.array([0.02]), effects=((None,),))


def system(pk, route, model=NOBODY, panels=4):
    """One drug and a tumor on even panels."""
    return System(model, (pk,), ("drug",), (route,), Mesh(panels))


KINETICS = {
    "first_order": (FirstOrder(0.3), 0.3, 1.0),
    "one_compartment": (OneCompartment(volume=5.0, clearance=1.5), 0.3, 5.0),
}


@pytest.mark.parametrize("route", ["bolus", "infusion"])
@pytest.mark.parametrize("kind", KINETICS)
def test_kinetics(kind, route):
    pk, k, volume = KINETICS[kind]
    if route == "bolus":
        factors = np.exp(-k * LEFT[:-1]) / volume
        slope = -np.sum(np.asarray(DOSES[:, 0]) * LEFT[:-1] * np.exp(-k * LEFT[:-1])) / volume
    else:
        filled = -np.expm1(-k * LENGTHS) / k
        factors = filled * np.exp(-k * LEFT[1:]) / volume
        by_k = LENGTHS * np.exp(-k * LENGTHS) / k - filled / k - filled * LEFT[1:]
        slope = np.sum(np.asarray(DOSES[:, 0]) * by_k * np.exp(-k * LEFT[1:])) / volume

    def simulated(pk, doses):
        trajectory = rollout(system(pk, route), Schedule(doses), GRID)
        return trajectory.conc[-1, 0], jnp.sum(trajectory.weights * trajectory.conc[:, 0])

    program = jax.jit(jax.value_and_grad(simulated, argnums=(0, 1), has_aux=True))
    (value, area), (by_pk, gradient) = program(pk, DOSES)
    assert float(value) == pytest.approx(factors @ np.asarray(DOSES[:, 0]), rel=1e-13)
    assert np.allclose(gradient[:, 0], factors, rtol=1e-13)
    # k = CL / V: the clearance moves it by 1 / V.
    own = by_pk.elimination if kind == "first_order" else by_pk.clearance * volume
    assert float(own) == pytest.approx(slope, rel=1e-12)
    given = np.sum(np.asarray(DOSES[:, 0]) * (1.0 if route == "bolus" else LENGTHS)) / volume
    # Simpson's rule on four panels of at most 6.5 days at 0.3 a day.
    assert float(area) == pytest.approx((given - float(value)) / k, rel=1e-4)


@pytest.mark.parametrize("hill", [0.93, 1.0, 2.5])
def test_hill_kill_at_constant_concentration(hill):
    emax, ec50, net = 0.4, 0.8, 0.1 - 0.02
    model = eqx.tree_at(lambda m: m.effects, NOBODY, ((Hill(emax, ec50, hill),),), is_leaf=lambda x: x is None)
    built = system(Direct(), "infusion", model)
    levels = np.asarray(DOSES[:, 0]) + np.array([0.0, 0.01, 0.0, 0.0])
    raised = levels**hill
    killed = emax * raised / (raised + ec50**hill)
    slopes = -LENGTHS * emax * hill * levels ** (hill - 1.0) * ec50**hill / (raised + ec50**hill) ** 2
    simulated = jax.jit(jax.value_and_grad(lambda d: jnp.log(rollout(built, Schedule(d), GRID).burden[-1])))
    value, gradient = simulated(jnp.asarray(levels[:, None]))
    assert float(value) == pytest.approx(np.log(1e6) + np.sum(LENGTHS * (net - killed)), rel=1e-13)
    assert np.allclose(gradient[:, 0], slopes, rtol=1e-11)


def logistic(g, k, n, p):
    return k / (1.0 + (k / n - 1.0) * jnp.exp(-g * 14.0))


def gompertz(g, k, n, p):
    return k * jnp.exp(jnp.log(n / k) * jnp.exp(-g * 14.0))


def von_bertalanffy(g, k, n, p):
    return k * (1.0 - (1.0 - (n / k) ** p) * jnp.exp(-g * p * 14.0)) ** (1.0 / p)


@pytest.mark.parametrize(
    ("law", "exact"),
    [
        (lambda k, p: Logistic(k), logistic),
        (lambda k, p: Gompertz(k), gompertz),
        (lambda k, p: VonBertalanffy(k, p), von_bertalanffy),
    ],
    ids=["logistic", "gompertz", "von_bertalanffy"],
)
def test_crowding_without_drug(law, exact):
    def simulated(numbers):
        g, k, n, p = numbers
        model = Tumor(("tumor",), (False,), n[None], g[None], jnp.zeros(1), effects=((None,),), growth=law(k, p))
        built = system(FirstOrder(0.3), "bolus", model, panels=160)
        return jnp.log(rollout(built, Schedule(0.0 * DOSES), GRID).burden[-1])

    numbers = jnp.array([0.25, 3e8, 2e7, 0.4])
    value, gradient = jax.jit(jax.value_and_grad(simulated))(numbers)
    wanted, slopes = jax.value_and_grad(lambda x: jnp.log(exact(*x)))(numbers)
    assert float(value) == pytest.approx(float(wanted), rel=1e-10)
    # Relative to the size of each number: they differ by nine decades.
    assert np.allclose(gradient * numbers, slopes * numbers, rtol=1e-7, atol=1e-10)


def stroma(start):
    return Stroma(
        cells=1e3,
        secretion_slope=3.0,
        secretion_midpoint=1.0,
        secretion_rate=2e-3,
        growth_factor_decay=1.5,
        shift_slope=jnp.array([0.01]),
        shift_midpoint=jnp.array([300.0]),
        roles=(Inhibitor(),),
        growth_factor_max=100.0,
        growth_factor=start,
    )


@pytest.mark.parametrize(
    "start",
    [0.0, 40.0, 400.0, 5000.0],
    ids=["from none", "from below", "from above the clamp", "always above the clamp"],
)
def test_growth_factor_at_constant_drug(start):
    model = eqx.tree_at(lambda m: m.mechanisms, NOBODY, (stroma(start),))
    built, rate, decay = system(Direct(), "infusion", model, panels=24), 1.5 + 2.0, 1.5
    # Where it starts is forgotten after a few days.
    grid = Grid(jnp.array([0.0, 0.3, 0.9, 1.0, 1.8]))

    def exact(u):
        steady = 100.0 / (1.0 + jnp.exp(-3.0 * (u - 1.0)))
        ceiling = steady * rate / 2.0
        if start < 100.0:
            return steady + (start - steady) * jnp.exp(-rate * 1.8)
        reached = jnp.log(start / ceiling) / decay
        later = steady + (ceiling - steady) * jnp.exp(-rate * (1.8 - reached))
        return jnp.where(reached < 1.8, later, start * jnp.exp(-decay * 1.8))

    def simulated(u):
        return rollout(built, Schedule(jnp.full((4, 1), u)), grid).observables["growth_factor"][-1]

    value, slope = jax.jit(jax.value_and_grad(simulated))(0.8)
    wanted, wanted_slope = jax.value_and_grad(exact)(0.8)
    # Exact but for the panel in which secretion sets in again.
    across = start == 400.0
    assert float(value) == pytest.approx(float(wanted), rel=1e-4 if across else 1e-12)
    assert float(slope) == pytest.approx(float(wanted_slope), rel=1e-2 if across else 1e-10, abs=1e-12)
