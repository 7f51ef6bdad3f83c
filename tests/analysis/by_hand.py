"""The stromal tumor under boluses by SciPy alone: equations written out, each dose edge a boundary, no package."""

import itertools
import math

import numpy as np
from scipy.integrate import solve_ivp

# kraut2025_general and kraut2025_caf (doi 10.1038/s41540-025-00495-0), rates per day.
GENERAL = {"low": -0.12, "high": 0.36, "d50": 10.0, "hill": 2.0, "ghat": 300.0, "kg": 0.03, "top": 350.0, "s": 5.0}
GENERAL |= {"dhat": 0.7, "decay": 120.0, "gain": 2.4, "k": 0.72}
CAF = {"low": -0.1896, "high": 0.3528, "d50": 7.34, "hill": 0.93, "ghat": 379.4, "kg": 0.0078, "top": 27.1, "s": 65.7}
CAF |= {"dhat": 0.0049, "decay": 120.0, "gain": 24.0, "k": 0.144, "blocker": 0.096}


def last_days(p: dict, horizon: float, last: float, doses: list[tuple[float, float, float]]) -> tuple[float, float]:
    """Mean and peak of log10(cells + 1) over the last days, of doses (time, drug, blocker) and 1e8 cells at first.

    (ln C)' = low + (high - low) / (1 + (D / D50)^hill),  D50 = d50 / (1 + exp(-kg (G max(1 - B, 0) - ghat)))
    G' = max(Gbar (decay + gain) - gain G, 0) - decay G,  Gbar = top / (1 + exp(-s (D - dhat)))
    D' = -k D,  B' = -blocker B
    """
    begin = horizon - last

    def field(t, y):
        _, g, d, b, _ = y
        d50 = p["d50"] / (1.0 + math.exp(-p["kg"] * (g * max(1.0 - b, 0.0) - p["ghat"])))
        growth = p["low"] + (p["high"] - p["low"]) / (1.0 + (max(d, 0.0) / d50) ** p["hill"])
        steady = p["top"] / (1.0 + math.exp(-p["s"] * (d - p["dhat"])))
        made = max(steady * (p["decay"] + p["gain"]) - p["gain"] * g, 0.0) - p["decay"] * g
        seen = math.log10(math.exp(y[0]) + 1.0) if t >= begin else 0.0
        return [growth, made, -p["k"] * d, -p.get("blocker", 0.0) * b, seen]

    times = sorted({0.0, begin, horizon, *(time for time, _, _ in doses)})
    # The corner at B = 1 is a boundary too.
    state, peak = np.array([math.log(1e8), 0.0, 0.0, 0.0, 0.0]), -math.inf
    for start, end in itertools.pairwise(times):
        for time, drug, blocker in doses:
            state[2:4] += (drug, blocker) if time == start else (0.0, 0.0)
        stops = [start, end]
        if state[3] > 1.0 and start + math.log(state[3]) / p["blocker"] < end:
            stops.insert(1, start + math.log(state[3]) / p["blocker"])
        for low, high in itertools.pairwise(stops):
            done = solve_ivp(field, (low, high), state, method="LSODA", rtol=1e-10, atol=1e-11, dense_output=True)
            assert done.success
            if low >= begin:
                cells = done.sol(np.linspace(low, high, 1000))[0]
                peak = max(peak, float(np.max(np.log10(np.exp(cells) + 1.0))))
            state = done.y[:, -1].copy()
    return state[4] / last, peak


def mean_of_boluses(k: float, times: list[float], horizon: float) -> float:
    """Mean concentration over the horizon under doses of 1 that decay at the rate k, summed dose by dose."""
    return sum(-math.expm1(-k * (horizon - t)) / k for t in times) / horizon
