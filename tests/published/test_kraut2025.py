"""Numbers of Kraut et al. 2025, doi 10.1038/s41540-025-00495-0, and of its equations integrated independently."""

import copy

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from optimizer.mechanisms.stroma import Stroma, StromaState
from optimizer.objectives.base import Scene
from optimizer.objectives.final_burden import FinalBurden
from optimizer.objectives.peak_burden import PeakBurden
from tests.oracle import stromal_scipy as oracle
from tests.oracle.stromal_scipy import BLOCKER, CAF, GENERAL, SECTION_1
from tests.simulate.systems import simulate, system_of, weekly


def net_growth(system, conc, growth_factor=None):
    """Net growth rate [1/day] of the first clone; at the steady growth factor where none is given."""
    model, level = system.model, jnp.array([conc])
    stroma: Stroma = model.mechanisms[0]
    if growth_factor is None:
        growth_factor = stroma.steady_growth_factor(stroma.cells, level)
    drive = model.drive((StromaState(jnp.log(stroma.cells), jnp.asarray(growth_factor)),), level)
    return float((drive.growth - drive.loss)[0])


@pytest.mark.parametrize(
    ("parameters", "growth_factor", "low", "high", "printed"),
    [
        (CAF, 0.0, 0.1, 5.0, "0.7055271"),
        (CAF, 27.1, 0.1, 5.0, "0.8615974"),
        (GENERAL, 0.0, 1e-3, 1e-2, "0.00213726"),
        (GENERAL, None, 1e-3, 1e-1, "0.00292019"),
        (GENERAL, None, 0.1, 5.0, "0.7501596"),
        (GENERAL, None, 5.0, 50.0, "14.160805"),
    ],
    ids=["caf", "caf, most growth factor", "general", "window opens", "window closes", "high dose"],
)
def test_critical_concentrations(parameters, growth_factor, low, high, printed):
    system = system_of(parameters)

    def by_hand(conc):
        level = oracle.steady_growth_factor(parameters, [conc]) if growth_factor is None else growth_factor
        return oracle.net_growth(parameters, [conc], level)[0]

    found, reference = (
        brentq(f, low, high, xtol=1e-16, rtol=1e-14) for f in (lambda c: net_growth(system, c, growth_factor), by_hand)
    )
    # Two of the printed numbers have fewer digits than 1e-6 asks for: all that they have must agree.
    decimals = len(printed.split(".")[1])
    assert f"{found:.{decimals}f}" == printed
    assert found == pytest.approx(reference, rel=1e-9)


def test_more_drug_can_be_worse():
    system = system_of(GENERAL)
    signs = [np.sign(net_growth(system, c)) for c in (0.0, 0.0029, 0.003, 0.75, 0.7503, 14.16, 14.17)]
    assert signs == [1, 1, -1, -1, 1, 1, -1]
    # The stroma of the other set never secretes enough for that: growth only falls.
    caf = system_of(CAF)
    assert np.all(np.diff([net_growth(caf, c) for c in np.linspace(0.86, 20.0, 50)]) < 0.0)
    assert net_growth(caf, 0.8615) > 0.0 > net_growth(caf, 0.8617)


def with_blocker():
    both = copy.deepcopy(CAF)
    both["drugs"].append(dict(BLOCKER))
    return both


@pytest.mark.parametrize(
    ("name", "parameters", "doses", "every"),
    [
        ("caf 1.00 weekly", CAF, [1.0], 7.0),
        ("caf 0.85 weekly", CAF, [0.85], 7.0),
        ("caf 0.85 and blocker 0.45 weekly", with_blocker(), [0.85, 0.45], 7.0),
        ("general 1.4 every 10 d", GENERAL, [1.4], 10.0),
    ],
)
def test_boluses_over_90_days(name, parameters, doses, every):
    grid = weekly(every)
    system = system_of(parameters, every)
    trajectory = simulate(system, jnp.tile(jnp.array(doses), (grid.count, 1)), grid)
    scene = Scene(trajectory, grid, jnp.ones(len(doses)), 0.0)
    assert float(FinalBurden().evaluate(scene)) == pytest.approx(SECTION_1[f"{name}, log10 C(90 d)"], rel=1e-6)
    if f"{name}, peak" in SECTION_1:
        assert float(PeakBurden().evaluate(scene)) == pytest.approx(SECTION_1[f"{name}, peak"], rel=1e-6)
