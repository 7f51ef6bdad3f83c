"""The 29 dosing scenarios of mrgsolve/nmtests as tables and models of our own, against sums of closed forms.

Numbers are our own. A dose into the central compartment meets `one_compartment`, one into the depot `oral`. What NONMEM
says by F and ALAG of the central compartment our tables say by their amounts and times, as these kinetics have neither.
Scenario 17 gives both its doses into the central compartment: a drug has one kind of kinetics.
"""

import numpy as np
import pytest

from optimizer.files.faults import DataError
from tests.cases.test_tables import VOLUME, K, given, scenario

KA, LAG, HEAD = 6.0, 0.2, "TIME,AMT,RATE,II,ADDL,SS,EVID,DUR\n"
EARLIER = 60  # doses before the first that a steady state stands for


def decays(rate, t):
    """What is left of a unit after t >= 0, and 0 before."""
    return np.where(t >= 0.0, np.exp(-rate * np.maximum(t, 0.0)), 0.0)


def filled(rate, t, length):
    """What is there of a unit a day that has run for a length."""
    t = np.maximum(t, 0.0)
    return (np.exp(-rate * np.maximum(t - length, 0.0)) - np.exp(-rate * t)) / rate


def central(times, doses):
    """Concentration under doses (time, amount, length) into the central compartment."""
    parts = [
        a / length * filled(K, times - s, length) if length else a * decays(K, times - s) for s, a, length in doses
    ]
    return np.sum(parts, 0) / VOLUME


def depot(times, doses):
    """The same through the depot."""
    parts = []
    for s, a, length in doses:
        one, other = (
            a / length * filled(k, times - s, length) if length else a * decays(k, times - s) for k in (K, KA)
        )
        parts.append(KA / (KA - K) * (one - other))
    return np.sum(parts, 0) / VOLUME


def repeated(start, amount, length, every, more, steady=False):
    """A dose and its repetitions, behind those that led to a steady state."""
    return [(start + i * every, amount, length) for i in range(-EARLIER if steady else 0, more + 1)]


# Number of the scenario: rows, and the doses that they are [(time, amount, length)]; those through the depot first.
ORAL = {
    1: ("0,120,0,1,3,0,1,0\n", repeated(0.0, 120.0, 0.0, 1.0, 3)),
    6: ("0,120,240,1,3,0,1,0\n", repeated(0.0, 120.0, 0.5, 1.0, 3)),
    21: ("0,120,0,0.5,0,1,4,0\n", repeated(0.0, 120.0, 0.0, 0.5, 0, True)),
    22: ("0,120,0,0.5,2,1,4,0\n", repeated(0.0, 120.0, 0.0, 0.5, 2, True)),
}
CENTRAL = {
    2: (f"{LAG},264,0,1,3,0,1,0\n", repeated(LAG, 2.2 * 120.0, 0.0, 1.0, 3)),
    3: ("0,120,300,1,3,0,1,0\n", repeated(0.0, 120.0, 0.4, 1.0, 3)),
    4: ("0,240,120,0,0,0,1,0\n", repeated(0.0, 240.0, 2.0, 0.0, 0)),
    5: ("0,240,-2,0,0,0,1,2\n", repeated(0.0, 240.0, 2.0, 0.0, 0)),
    7: (f"{LAG},120,300,1,3,0,1,0\n", repeated(LAG, 120.0, 0.4, 1.0, 3)),
    8: (f"{LAG},48,300,1,3,0,1,0\n", repeated(LAG, 0.4 * 120.0, 0.16, 1.0, 3)),
    13: ("0,48,120,0.4,8,1,1,0\n", repeated(0.0, 48.0, 0.4, 0.4, 8, True)),
    14: ("0,120,300,0.4,8,1,1,0\n", repeated(0.0, 120.0, 0.4, 0.4, 8, True)),
    16: (f"{LAG},48,0,1,3,0,1,0\n", repeated(LAG, 48.0, 0.0, 1.0, 3)),
    17: (
        f"{LAG},120,0,0,0,0,1,0\n0.6,50,100,1,2,0,1,0\n",
        [*repeated(LAG, 120.0, 0.0, 0.0, 0), *repeated(0.6, 50.0, 0.5, 1.0, 2)],
    ),
    18: (f"{LAG},72,-2,1,3,0,1,0.4\n", repeated(LAG, 0.6 * 120.0, 0.4, 1.0, 3)),
    19: ("0,72,-2,1,3,1,1,0.4\n", repeated(0.0, 0.6 * 120.0, 0.4, 1.0, 3, True)),
}
# Rows, and the sentence that refuses them. Through the depot, with a lag, where the row says so.
LAGGED = "SS: wanted SS 1 at the first dose of drugA, on day 0, without a lag"
RESET = "EVID: wanted a reset (EVID 3, 4) before the first dose, as a tumor does not begin anew in the midst of it"
LONGER = "SS: wanted an infusion of at most the interval"
REFUSED = {
    9: (f"{LAG},120,300,1,3,1,1,0\n", False, LAGGED),
    10: ("0,96,48,0.5,4,1,1,0\n", False, LONGER),
    11: ("0,120,60,0.5,3,1,1,0\n", False, LONGER),
    12: ("0,120,240,0.25,12,1,1,0\n", False, LONGER),
    15: (f"{LAG},48,0,1,3,1,1,0\n", False, LAGGED),
    20: ("0,120,240,1,2,0,1,0\n4,100,0,1,3,0,4,0\n", True, RESET),
    23: ("0,120,0,0.5,0,1,4,0\n", True, LAGGED),
    24: ("0,120,0,0.5,2,1,4,0\n", True, LAGGED),
    25: ("0,120,0,0.5,0,1,4,0\n0.5,240,0,0.5,0,1,4,0\n", True, RESET),
    26: ("0,120,240,1,3,0,1,0\n5,0,0,0,0,0,3,0\n6,100,0,1,2,0,1,0\n", False, RESET),
    27: ("0,120,240,1,3,0,1,0\n5,0,0,0,0,0,3,0\n6,100,0,1,2,0,1,0\n", True, RESET),
    28: ("0,120,0,1,3,1,1,0\n0.5,60,0,1,3,2,1,0\n", False, "SS: wanted 0, or 1 for a first dose that finds a steady"),
    29: ("0,0,100,0,0,1,1,0\n", False, "AMT: wanted more than 0 with a RATE"),
}


def own(through_depot, is_infused, lag=0.0):
    """The scenario of test_tables, its kinetics through a depot or not."""
    oral = {"kind": "oral", "absorption": f"{KA} / day", "lag": f"{lag} day"} if through_depot else None
    return scenario("infusion" if is_infused else "bolus", oral)


@pytest.mark.parametrize("number", sorted([*ORAL, *CENTRAL]))
def test_what_a_table_means_is_a_sum_of_closed_forms(tmp_path, number):
    text, doses = (ORAL | CENTRAL)[number]
    problem, regimen = given(tmp_path, HEAD + text, own(number in ORAL, any(length for _, _, length in doses)))
    trajectory, _ = problem.simulate(regimen.policy, regimen.grid)
    times, found = np.asarray(trajectory.times), np.asarray(trajectory.conc)[:, 0]
    # At an edge the value before it stands beside the one behind it.
    jumps = np.isclose(times[:, None], [s for s, _, length in doses if not length]).any(1)
    wanted = (depot if number in ORAL else central)(times, doses)
    assert jumps.sum() < len(times) / 2
    assert np.allclose(found[~jumps], wanted[~jumps], rtol=1e-8, atol=1e-9 * wanted.max())
    assert wanted.max() > 1.0


@pytest.mark.parametrize("number", REFUSED)
def test_what_is_refused_says_why(tmp_path, number):
    text, is_lagged, said = REFUSED[number]
    with pytest.raises(DataError) as refused:
        given(tmp_path, HEAD + text, own(is_lagged, False, LAG))
    assert said in str(refused.value)


def test_all_29_are_here():
    assert sorted([*ORAL, *CENTRAL, *REFUSED]) == list(range(1, 30))
