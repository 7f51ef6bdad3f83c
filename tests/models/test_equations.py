"""Published models that are written down, against SciPy with the same equations as Python."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import optimizer as opt
from optimizer.models.equations import Equations
from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario
from optimizer.simulate import adaptive, rollout

EXAMPLES = Path(__file__).parents[2] / "examples" / "equations"


def scenario(name):
    """An example."""
    return Scenario.load(EXAMPLES / f"{name}.toml")


def simeoni(t, y, c):
    """Simeoni et al. 2004, weights in mg."""
    x1, x2, x3, x4 = y
    grown = 0.273 * x1 / (1.0 + (0.273 / 814.0 * sum(y)) ** 20) ** 0.05
    return [grown - 0.629 * c * x1, 0.629 * c * x1 - 0.968 * x2, 0.968 * (x2 - x3), 0.968 * (x3 - x4)]


def claret(t, y, c):
    """Claret et al. 2009, in days."""
    return [0.021 / 7 * y[0] - 0.025 / 7 * np.exp(-0.053 / 7 * t) * c * y[0]]


def greene(t, y, c):
    """Greene et al. 2019."""
    sensitive, resistant = y
    room, induced = 1.0 - sensitive - resistant, (1e-6 + 0.01 * c) * sensitive
    return [room * sensitive - induced - c * sensitive, 0.2 * room * resistant + induced]


def two_compartments(central, peripheral, volumes, clearance, exchange):
    """Derivatives of amounts."""
    flow = exchange * (central / volumes[0] - peripheral / volumes[1])
    return [-clearance * central / volumes[0] - flow, flow]


def friberg(t, y, c):
    """Friberg et al. 2002 with the drug's amounts as states."""
    a1, a2, prol, t1, t2, t3, circ, n = y
    level, ktr = a1 / 40.0, 4.0 / (89.3 / 24.0)
    lost = 14.48 * level / (1.0 + 0.1726 * level)
    return [
        *two_compartments(a1, a2, (40.0, 30.0), 240.0, 60.0),
        ktr * prol * ((1.0 - lost) * (5.05e9 / circ) ** 0.163 - 1.0),
        *(ktr * np.array([prol - t1, t1 - t2, t2 - t3, t3 - circ])),
        (0.02 - 0.6 * level) * n,
    ]


def paclitaxel(t, y, c):
    """Friberg et al. 2002 for leukocytes under paclitaxel, amounts in mg."""
    a1, a2, prol, t1, t2, t3, circ, n = y
    level, ktr = a1 / 290.0 / 0.8539, 4.0 / (124.0 / 24.0)
    return [
        *two_compartments(a1, a2, (290.0, 995.0), 285.0 * 24.0, 204.0 * 24.0),
        ktr * prol * ((1.0 - 28.9 * level) * (7.21e9 / circ) ** 0.239 - 1.0),
        *(ktr * np.array([prol - t1, t1 - t2, t2 - t3, t3 - circ])),
        (0.02 - 20.0 * level) * n,
    ]


def ribba(t, y, c):
    """Ribba et al. 2012, in mm and months of 30.4375 days."""
    drug, p, q, damaged = y
    killed = 0.729 * 0.24 * drug
    slope = [
        -0.24 * drug,
        0.121 * p * (1.0 - (p + q + damaged) / 100.0) + 0.0031 * damaged - 0.0295 * p - killed * p,
        0.0295 * p - killed * q,
        killed * q - 0.0031 * damaged - 0.00867 * damaged,
    ]
    return np.array(slope) / 30.4375


def wilbaux(t, y, c):
    """Wilbaux et al. 2015 without the counts of cells, PSA in ug/mL."""
    amount, latent, psa = y
    made = 5.13e-3 * (1.0 + np.exp(6.33)) / np.exp(6.33) * (1.0 - amount / (2.61e-4 + amount))
    return [-0.248 * amount, made - 5.13e-3 * latent, 1.40e-3 * latent - 8.13e-3 * psa]


def eribulin(t, y, c):
    """Kawamura et al. 2018 for neutrophils under eribulin, amounts in mg."""
    a1, a2, a3, prol, t1, t2, t3, circ, n = y
    level, ktr = a1 / 4.06, 24.0 * 4.0 / 104.5
    to2, to3 = 24.0 * 2.64 * (level - a2 / 2.42), 24.0 * 6.60 * (level - a3 / 121.0)
    return [
        *(-24.0 * 3.11 * level - to2 - to3, to2, to3),
        24.0 * 0.0377 * prol * (1.0 - 41.3 * level) * (3.2e9 / circ) ** 0.203 - ktr * prol,
        *(ktr * np.array([prol - t1, t1 - t2, t2 - t3])),
        ktr * t3 - 24.0 * 0.0295 * circ,
        (0.01 - 4.0 * level) * n,
    ]


def stein(t, y, c):
    """Stein et al. 2011: what grows and what shrinks."""
    return [0.0016 * y[0], -0.0014 * c * y[1]]


# Equations, start, doses of a course, and what the doses are: levels, or amounts into two compartments.
MODELS = {
    "simeoni2004": (simeoni, [55.0, 0.0, 0.0, 0.0], [30.0, 0.0, 20.0, 5.0, 0.0, 5.0], "kinetics"),
    "claret2009": (claret, [200.0], [4.0, 0.0, 2.0, 3.0, 0.0, 1.0, 1.0, 2.0, 3.0, 0.0, 0.0, 1.0], "level"),
    "greene2019": (greene, [0.01, 0.0], [1.5, 0.0, 0.5, 2.0] * 5, "level"),
    "friberg2002": (friberg, [0.0, 0.0, *[5.05e9] * 5, 1e9], [150.0, 0.0, 90.0], "state"),
    "friberg2002_paclitaxel": (*(paclitaxel, [0.0, 0.0, *[7.21e9] * 5, 1e9], [150.0, 0.0, 90.0, *[0.0] * 18], "rate"),),
    "kawamura2018_eribulin": (eribulin, [0.0, 0.0, 0.0, *[3.2e9] * 5, 1e9], [2.0, 1.0, 0.5], "state"),
    "stein2011": (stein, [70.0, 70.0], [1.0, 0.0, 0.5, 0.7, 1.0, 0.2, 0.0, 0.0, 0.9, 0.1, 1.0, 0.4], "level"),
    "ribba2012": (ribba, [0.0, 7.13, 41.2, 0.0], [*[1.0] * 6, *[0.0] * 18], "state"),
    "wilbaux2015": (wilbaux, [0.0, 1.0, 0.153], [1.0, 1.0, 0.2, 0.7, 0.5, 1.0, 0.0, 0.0, 0.0], "state"),
}


def course(name):
    """States at the end of each interval by SciPy [K, n]."""
    field, start, doses, kind = MODELS[name]
    edges, y, out = scenario(name).plan.edges, np.array(start), []
    kinetics = np.zeros(2)
    for dose, first, last in zip(doses, edges[:-1], edges[1:], strict=True):
        level, rate = dose if kind == "level" else 0.0, dose if kind == "rate" else 0.0
        y[0] += dose if kind == "state" else 0.0
        kinetics[0] += dose if kind == "kinetics" else 0.0

        def both(t, z, level=level, rate=rate):
            drug = two_compartments(z[0], z[1], (0.81, 0.058), 16.87, 0.1166)
            own = [*field(t, z[2:], z[0] / 0.81 if kind == "kinetics" else level)]
            return [*drug, own[0] + rate, *own[1:]]

        end = solve_ivp(both, (first, last), [*kinetics, *y], method="LSODA", rtol=1e-11, atol=1e-12).y[:, -1]
        kinetics, y = end[:2], end[2:]
        out.append(y.copy())
    return np.array(out)


@pytest.mark.parametrize("name", MODELS)
def test_trajectories_are_those_of_scipy(name):
    own, doses = scenario(name), jnp.asarray(MODELS[name][2])[:, None]
    system, grid, wanted = own.system(), own.grid(), course(name)
    for solved, near in ((rollout(system, Schedule(doses), grid), 1e-4), (adaptive.solve(system, doses, grid), 1e-7)):
        values = [solved.observables[state] for state, _ in system.model.states]
        found = np.stack(values, -1).reshape(grid.count, -1, len(values))[:, -1]
        size = np.abs(wanted).max(0) if own.plan.drugs[0].pk.kind == "given" else np.abs(wanted)
        assert np.all(np.abs(found - wanted) <= near * size + 1e-12 * np.abs(wanted).max())


def test_what_is_said_of_the_published_models():
    """What follows from the published numbers alone."""
    # Ribba et al.: tumors go on shrinking long after the last cycle (day 225), and grow again.
    task = scenario("ribba2012").problem().task
    sizes = rollout(task.system, Schedule(jnp.asarray(MODELS["ribba2012"][2])[:, None]), task.grid)
    nadir = float(sizes.times[jnp.argmin(sizes.burden)])
    assert 360.0 < nadir < 1000.0
    assert float(sizes.burden[-1]) > float(sizes.burden.min())
    # Wilbaux et al.: an untreated patient's PSA goes to KinPSA / KoutPSA = 172 ng/mL; cycles every three weeks keep the
    # latent burden from being made almost wholly, which has a closed form.
    task = scenario("wilbaux2015").problem().task
    free, treated = (rollout(task.system, Schedule(x * jnp.ones((9, 1))), task.grid).burden for x in (0.0, 1.0))
    assert 0.153 < float(free[-1]) < 1.40e-3 / 8.13e-3 * (1.0 + np.exp(-6.33))
    latent, own = np.exp(-5.13e-3 * 189.0), np.exp(-8.13e-3 * 189.0)
    without = 0.153 * own + 1.40e-3 * (latent - own) / (8.13e-3 - 5.13e-3)
    assert without < float(treated[-1]) < 1.02 * without


def test_claret_has_its_closed_form():
    """The paper's equation solved by hand: y = y0 exp(KL t - KD E (1 - exp(-lambda t)) / lambda), t in weeks."""
    task = scenario("claret2009").problem().task
    sizes = rollout(task.system, Schedule(jnp.full((12, 1), 2.5)), task.grid)
    weeks = np.asarray(sizes.times) / 7.0
    wanted = 200.0 * np.exp(0.021 * weeks - 0.025 * 2.5 * (1.0 - np.exp(-0.053 * weeks)) / 0.053)
    np.testing.assert_allclose(np.asarray(sizes.burden), wanted, rtol=1e-7)
    # The smallest size comes when growth has caught up: log(KD E / KL) / lambda weeks.
    nadir = weeks[int(np.argmin(sizes.burden))]
    assert nadir == pytest.approx(np.log(0.025 * 2.5 / 0.021) / 0.053, abs=1.5)


def test_stein_has_its_closed_form():
    """The published equation under the treatment of the study."""
    task = scenario("stein2011").problem().task
    sizes = rollout(task.system, Schedule(jnp.ones((12, 1))), task.grid)
    days = np.asarray(sizes.times)
    wanted = 70.0 * (np.exp(-0.0014 * days) + np.exp(0.0016 * days) - 1.0)
    np.testing.assert_allclose(np.asarray(sizes.burden), wanted, rtol=1e-7)
    # As it grows faster than it shrinks, the smallest size is the first.
    assert float(sizes.burden.min()) == pytest.approx(70.0, rel=1e-9)


def test_simeoni_grows_exponentially_then_linearly():
    """Unperturbed growth: lambda0 as long as it is small, lambda1 a day when it is large."""
    system = scenario("simeoni2004").system()
    small, large = (
        system.model.vector_field(0.0, jnp.array([np.log(w), 0.0, 0.0, 0.0]), jnp.zeros(1))[0] for w in (1.0, 1e6)
    )
    assert float(small) == pytest.approx(0.273, rel=1e-9)
    assert float(large) * 1e6 == pytest.approx(814.0, rel=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_differences(name):
    task, doses = scenario(name).problem().task, jnp.asarray(MODELS[name][2])[:, None]

    def burden(x):
        return jnp.log(rollout(task.system, Schedule(x), task.grid).burden[-1])

    value, slope = jax.jit(burden), jax.jit(jax.grad(burden))(doses)
    for k in range(min(len(doses), 6)):
        step = jnp.zeros_like(doses).at[k, 0].set(1e-4 * float(doses.max()))
        central = (value(doses + step) - value(doses - step)) / (2.0 * step[k, 0])
        assert float(slope[k, 0]) == pytest.approx(float(central), rel=1e-5, abs=1e-5 * float(jnp.abs(slope).max()))


def test_logarithms_are_found():
    assert scenario("simeoni2004").system().model.structure().is_log == (True, False, False, False)
    assert scenario("claret2009").system().model.structure().is_log == (True,)
    assert scenario("greene2019").system().model.structure().is_log == (True, False)
    assert scenario("friberg2002").system().model.structure().is_log == (
        *(False, False, True, False, False, False, False, True),
    )


def test_an_output_of_the_rates_counts_as_they_do():
    model = Equations({"r": 0.1}, {"N": 2.0}, {"N": "growth"}, {"growth": "r*N*(1 - N)", "burden": "N"})
    assert model.structure().is_log == (True,)
    assert float(model.vector_field(0.0, model.initial_state(), jnp.zeros(0))[0]) == pytest.approx(-0.1)
    linear = Equations({"r": 0.1}, {"N": 2.0}, {"N": "r*N"}, {"burden": "N"}, linear=("N",))
    assert linear.structure().is_log == (False,)


@pytest.mark.parametrize("rate", [0.05, 3.0, 400.0])
def test_the_fastest_rate_is_that_of_the_jacobian(rate):
    texts = {"x": "-k*(x - y)", "y": "x - y", "N": "0.1*N*(1 - N)"}
    model = Equations({"k": rate}, {"x": 1.0, "y": 2.0, "N": 0.5}, texts, {"burden": "N"})
    wanted = np.abs(np.linalg.eigvals([[-rate, rate], [1.0, -1.0]])).max()
    assert float(model.fastest_rate()) == pytest.approx(wanted, rel=0.1)


def test_what_becomes_fast_on_the_way_is_seen():
    tables = {
        "model": {
            "kind": "equations",
            "parameters": {"k": "1 / day"},
            "states": {"x": 0.0, "N": 0.5},
            "rates": {"x": "k*(30*u - x)", "N": "(0.1 + x)*N*(1 - N)"},
            "outputs": {"burden": "N"},
        },
        "drug": [{"name": "u", "route": "infusion", "pk": {"kind": "direct"}, "dose": {"max": 1}}],
        "decision": {"every": "7 day", "horizon": "28 day"},
    }
    own = Scenario.from_tables(tables, "fast")
    # Without drug nothing is faster than 1 / day; under the most of it x is 30.
    assert own.system().mesh.uniform > 7 * 25 / 0.4


def test_a_search_is_solved_and_audited():
    result = opt.optimize(scenario("greene2019").problem(), seed=0, restarts=2)
    assert result.status is opt.Status.SOLVED, result.reason
    constant = scenario("greene2019").regimens()[0]
    _, report = result.problem.simulate(constant.policy, constant.grid)
    assert result.report.total < report.total


def test_marrow_is_the_mechanism_of_the_library():
    """The marrow in equations is `myelosuppression`, and the amounts are `two_compartment`."""
    own = scenario("friberg2002")
    tables = own.resolved()["scenario"]
    tables["model"] = {
        "kind": "tumor",
        "clone": [{"name": "N", "cells": 1e9, "growth_rate": "0.02 / day", "effect": [
            {"drug": "docetaxel", "law": "linear", "strength": "0.6 L/mg/day"}]}],
        "mechanism": [{"kind": "myelosuppression", "drug": "docetaxel", "baseline": "5.05e9 cell/L",
                       "transit_time": "89.3 hour", "feedback": 0.163, "slope": "14.48 L/mg",
                       "saturation": "0.1726 L/mg"}],
    }  # fmt: skip
    tables["drug"][0]["pk"] = {
        "kind": "two_compartment",
        "volume": "40 L",
        "clearance": "240 L/day",
        "peripheral_volume": "30 L",
        "exchange": "60 L/day",
    }
    doses = jnp.asarray(MODELS["friberg2002"][2])[:, None]
    one, other = (adaptive.solve(s.system(), doses, s.grid()) for s in (own, Scenario.from_tables(tables, "library")))
    assert np.allclose(one.observables["neutrophils"], other.observables["neutrophils"], rtol=1e-6)
    assert np.allclose(one.burden, other.burden, rtol=1e-6)
