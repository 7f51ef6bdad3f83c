"""Steep Hill curves under weekly boluses against SciPy: value to 1e-6, gradient to 1e-5."""

import math
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from optimizer.scenario import Scenario
from tests.simulate.systems import value_and_slope

# ln N grows by RATE (1 - N / CAPACITY) and dies by EMAX c^h / (EC50^h + c^h); 20 L, cleared at 26.4 L/day.
RATE, CAPACITY, EMAX, EC50, VOLUME, ELIMINATION, EVERY = 0.05, 1e10, 0.4, 1.0, 20.0, 1.32, 7.0
# Levels far above, near and below the EC50 [mg].
DOSES = np.array([200.0, 21.0, 60.0, 12.0])


def task(hill: float):
    """As a search has it."""
    effect = {"drug": "d", "law": "hill", "emax": f"{EMAX} / day", "ec50": f"{EC50} mg/L", "hill": hill}
    clone = {"name": "s", "cells": 1e9, "growth_rate": f"{RATE} / day", "effect": [effect]}
    pk = {"kind": "one_compartment", "volume": f"{VOLUME} L", "clearance": f"{VOLUME * ELIMINATION} L/day"}
    tables = {
        "model": {"kind": "tumor", "growth": {"law": "logistic", "capacity": CAPACITY}, "clone": [clone]},
        "drug": [{"name": "d", "route": "bolus", "pk": pk, "dose": {"max": "1000 mg"}}],
        "decision": {"every": f"{EVERY} day", "horizon": f"{EVERY * len(DOSES)} day"},
        "objective": {"burden": 1.0},
    }
    return Scenario.from_tables(tables, "steep").problem().task


def mean_by_scipy(doses: np.ndarray, hill: float) -> float:
    """Mean of log10(N + 1), in pieces that end where the level passes the EC50."""
    state, level = np.array([math.log(1e9), 0.0]), 0.0
    for dose in doses:
        level += dose / VOLUME
        passes = math.log(level / EC50) / ELIMINATION if level > EC50 else EVERY
        edges = [0.0, min(passes, EVERY), EVERY]
        for begin, end in pairwise(edges):
            if end > begin:
                state = _piece(state, level, hill, begin, end)
        level *= math.exp(-ELIMINATION * EVERY)
    return state[1] / (EVERY * len(doses))


def _piece(state: np.ndarray, level: float, hill: float, begin: float, end: float) -> np.ndarray:
    def slope(t: float, y: np.ndarray) -> tuple[float, float]:
        above = (level * math.exp(-ELIMINATION * t) / EC50) ** hill
        cells = math.exp(y[0])
        return RATE * (1.0 - cells / CAPACITY) - EMAX * above / (1.0 + above), math.log10(cells + 1.0)

    return solve_ivp(slope, (begin, end), state, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]


def slope_by_scipy(hill: float) -> np.ndarray:
    """Central differences, extrapolated [K]."""

    def difference(i: int, step: float) -> float:
        way = step * DOSES[i] * np.eye(len(DOSES))[i]
        return (mean_by_scipy(DOSES + way, hill) - mean_by_scipy(DOSES - way, hill)) / (2.0 * step * DOSES[i])

    return np.array([(4.0 * difference(i, 1e-3) - difference(i, 2e-3)) / 3.0 for i in range(len(DOSES))])


@pytest.mark.parametrize("hill", [1.0, 8.0, 20.0])
def test_value_and_gradient(hill):
    own = task(hill)
    value, slope = value_and_slope(jnp.asarray(DOSES[:, None]), own.system, own.grid)
    assert float(value) == pytest.approx(mean_by_scipy(DOSES, hill), rel=1e-6)
    wanted = slope_by_scipy(hill)
    assert np.max(np.abs(np.asarray(slope)[:, 0] - wanted)) < 1e-5 * np.max(np.abs(wanted))
    assert np.min(np.abs(wanted[:3])) > 0.01 * np.max(np.abs(wanted))
