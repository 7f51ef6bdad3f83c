"""Greene, Gevertz and Sontag 2019 as BioModels has it (BIOMD0000000825): a search against the file's own rule.

The file's event gives 1.5 from the day on which the tumor is larger than 0.1, and never stops.
"""

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import optimizer as opt

FOLDER = Path(__file__).parents[1] / "equations" / "sbml"
HORIZON, FLOOR = 60.0, 1e-10
TABLES = {
    "model": {
        "kind": "sbml",
        "file": "BIOMD0000000825.xml",
        "control": ["u"],
        "time_unit": "day",
        "burden": "Sensitive_tumor_S + Resistant_tumor_R",
        "resistant": "Resistant_tumor_R",
        "cell_floor": FLOOR,
    },
    "drug": [{"name": "u", "route": "infusion", "pk": {"kind": "direct"}, "dose": {"max": 1.5}}],
    "decision": {"every": "3 day", "horizon": f"{HORIZON} day"},
    "objective": {"burden": 1.0},
    "search": {"restarts": 2},
}


def of_the_event():
    """Time average of log10 of the tumor under the file's event, by SciPy."""

    def slope(t, y, u):
        sensitive, resistant, _ = y
        room, induced = 1.0 - sensitive - resistant, (1e-6 + 0.01 * u) * sensitive
        size = np.log10(sensitive + resistant + FLOOR)
        return [(room - u) * sensitive - induced, 0.2 * room * resistant + induced, size]

    def crossed(t, y, u):
        return y[0] + y[1] - 0.1

    crossed.terminal = True
    near = {"method": "LSODA", "rtol": 1e-10, "atol": 1e-13}
    first = solve_ivp(slope, (0.0, HORIZON), [0.01, 0.0, 0.0], args=(0.0,), events=crossed, **near)
    then = solve_ivp(slope, (first.t[-1], HORIZON), first.y[:, -1], args=(1.5,), **near)
    return then.y[2, -1] / HORIZON


def test_a_searched_regimen_beats_the_event_of_the_file():
    scenario = opt.Scenario.from_tables(TABLES, "greene", folder=FOLDER)
    result = opt.optimize(scenario.problem(), seed=0, restarts=2)
    assert result.status is opt.Status.SOLVED, result.reason
    assert result.report.violation == 0.0
    # With less drug in all than the event gives from day 2.4 on.
    assert result.report.total == pytest.approx(-1.26852, rel=1e-4)
    assert of_the_event() == pytest.approx(-0.73851, rel=1e-4)
    assert float(np.sum(result.policy.doses)) * 3.0 < 1.5 * 57.5
