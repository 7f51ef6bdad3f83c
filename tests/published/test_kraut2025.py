"""Numbers of Kraut et al. 2025, doi 10.1038/s41540-025-00495-0, and of its equations integrated independently."""

from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from optimizer.mechanisms.stroma import Stroma, StromaState
from optimizer.objectives.base import Scene
from optimizer.objectives.final_burden import FinalBurden
from optimizer.objectives.peak_burden import PeakBurden
from optimizer.scenario import Scenario
from tests.oracle import stromal_scipy as oracle
from tests.oracle.stromal_scipy import CAF, GENERAL, SECTION_1
from tests.simulate.systems import simulate

CETUXIMAB = {
    "name": "cetuximab",
    "role": "inhibitor",
    "route": "bolus",
    "pk": {"kind": "first_order", "elimination": "0.006 / hour"},
    "dose": {"min": "0 ug/mL", "max": "3 ug/mL"},
}
OTHER = {**CETUXIMAB, "name": "other", "pk": {"kind": "first_order", "elimination": "0.03 / hour"}}
ANTIBODY = {
    **CETUXIMAB,
    "name": "antibody",
    "role": "ligand_blocker",
    "pk": {"kind": "first_order", "elimination": "0.004 / hour"},
}


@cache
def preset(name, every=7, combined=False):
    """System and grid of a preset as a scenario asks for it, over 90 days."""
    drugs = [OTHER if name == "kraut2025_general" else CETUXIMAB, *([ANTIBODY] if combined else [])]
    tables = {
        "model": {"kind": "stromal", "preset": name},
        "drug": drugs,
        "decision": {"every": f"{every} day", "horizon": "90 day"},
        "objective": {"burden": 1.0},
    }
    task = Scenario.from_tables(tables, name).problem().task
    return task.system, task.grid


def net_growth(system, conc, growth_factor=None):
    """Net growth rate [1/day] of the first clone; at the steady growth factor where none is given."""
    model, level = system.model, jnp.array([conc])
    stroma: Stroma = model.mechanisms[0]
    if growth_factor is None:
        growth_factor = stroma.steady_growth_factor(stroma.cells, level)
    drive = model.drive((StromaState(jnp.log(stroma.cells), jnp.asarray(growth_factor)),), level)
    return float((drive.growth - drive.loss)[0])


@pytest.mark.parametrize(
    ("name", "growth_factor", "low", "high", "printed"),
    [
        ("kraut2025_caf", 0.0, 0.1, 5.0, "0.7055271"),
        ("kraut2025_caf", 27.1, 0.1, 5.0, "0.8615974"),
        ("kraut2025_general", 0.0, 1e-3, 1e-2, "0.00213726"),
        ("kraut2025_general", None, 1e-3, 1e-1, "0.00292019"),
        ("kraut2025_general", None, 0.1, 5.0, "0.7501596"),
        ("kraut2025_general", None, 5.0, 50.0, "14.160805"),
    ],
    ids=["caf", "caf, most growth factor", "general", "window opens", "window closes", "high dose"],
)
def test_critical_concentrations(name, growth_factor, low, high, printed):
    system, _ = preset(name)
    parameters = CAF if name == "kraut2025_caf" else GENERAL

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
    system, _ = preset("kraut2025_general")
    signs = [np.sign(net_growth(system, c)) for c in (0.0, 0.0029, 0.003, 0.75, 0.7503, 14.16, 14.17)]
    assert signs == [1, 1, -1, -1, 1, 1, -1]
    # The stroma of the other set never secretes enough for that: growth only falls.
    caf, _ = preset("kraut2025_caf")
    assert np.all(np.diff([net_growth(caf, c) for c in np.linspace(0.86, 20.0, 50)]) < 0.0)
    assert net_growth(caf, 0.8615) > 0.0 > net_growth(caf, 0.8617)


@pytest.mark.parametrize(
    ("name", "asked", "doses"),
    [
        ("caf 1.00 weekly", ("kraut2025_caf",), [1.0]),
        ("caf 0.85 weekly", ("kraut2025_caf",), [0.85]),
        ("caf 0.85 and blocker 0.45 weekly", ("kraut2025_caf", 7, True), [0.85, 0.45]),
        ("general 1.4 every 10 d", ("kraut2025_general", 10), [1.4]),
    ],
)
def test_boluses_over_90_days(name, asked, doses):
    system, grid = preset(*asked)
    trajectory = simulate(system, jnp.tile(jnp.array(doses), (grid.count, 1)), grid)
    scene = Scene(trajectory, grid, jnp.ones(len(doses)), 0.0)
    assert float(FinalBurden().evaluate(scene)) == pytest.approx(SECTION_1[f"{name}, log10 C(90 d)"], rel=1e-6)
    if f"{name}, peak" in SECTION_1:
        assert float(PeakBurden().evaluate(scene)) == pytest.approx(SECTION_1[f"{name}, peak"], rel=1e-6)


def test_printed_values_are_the_converged_ones():
    printed = {"caf 1.00 weekly, log10 C(90 d)": 7.8342163, "caf 1.00 weekly, peak": 8.1503035}
    printed |= {"caf 0.85 weekly, log10 C(90 d)": 8.5566753, "general 1.4 every 10 d, log10 C(90 d)": 6.3953297}
    printed |= {"caf 0.85 and blocker 0.45 weekly, log10 C(90 d)": 8.0179714}
    assert printed.keys() == SECTION_1.keys()
    for name, value in printed.items():
        assert value == pytest.approx(SECTION_1[name], rel=2e-7)
