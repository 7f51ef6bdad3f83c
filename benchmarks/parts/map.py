"""A map of 40 x 40 points, mean concentration by dosing interval: the paper's way beside `adose map`.

The paper's way is a loop over the grid with SciPy's odeint between doses (its default tolerances, output every hour,
the equations in NumPy). A random subset of the points is timed, one core, and scaled to the whole grid: the ratio is an
estimate, and the line says from how many points. Ours is timed in this process from the read scenario to the finished
map, first with everything to be compiled, then again.
"""

import os
import statistics
import time
from collections.abc import Iterator

import numpy as np
from scipy.integrate import odeint

from benchmarks.parts import Options
from benchmarks.rows import Row

SCENARIO = "scenarios/bistable_general.toml"
X, Y = "drug[drug].mean_concentration=0.2:2 mg/L:40", "decision.every=1:30 day:40"
HORIZON, LAST, SUBSET = 180.0, 30.0, 48


def field(y, _):
    """Kraut et al. 2025, doi 10.1038/s41540-025-00495-0, the general set, in hours: cells, drug, growth factor."""
    cells, drug, growth_factor = y
    steady = 350.0 / (1.0 + np.exp(-5.0 * (drug - 0.7)))
    target = steady * (5.0 + 1e-4 * 1000.0) / (1e-4 * 1000.0)
    d50 = 10.0 / (1.0 + np.exp(-0.03 * (growth_factor - 300.0)))
    rate = -0.005 + (0.015 + 0.005) / (1.0 + (drug / d50) ** 2)
    secreted = 1e-4 * max(target - growth_factor, 0.0) * 1000.0
    return [rate * cells, -0.03 * drug, secreted - 5.0 * growth_factor]


def the_papers_way(mean: float, every: float) -> float:
    """log10 cells, its mean over the last days, of boluses every so many days at a mean concentration [mg/L]."""
    doses = np.arange(0.0, HORIZON - 1e-9, every)
    dose = mean * HORIZON * 0.72 / np.sum(-np.expm1(-0.72 * (HORIZON - doses)))
    y, times, logs = np.array([1e8, 0.0, 0.0]), [], []
    for start, end in zip(doses, [*doses[1:], HORIZON], strict=True):
        hours = np.append(np.arange(0.0, 24.0 * (end - start), 1.0), 24.0 * (end - start))
        path = odeint(field, y + np.array([0.0, dose, 0.0]), hours)
        y = path[-1]
        times.append(start + hours / 24.0)
        logs.append(np.log10(path[:, 0] + 1.0))
    time_, log = np.concatenate(times), np.concatenate(logs)
    late = time_ >= HORIZON - LAST
    return float(np.trapezoid(log[late], time_[late]) / np.ptp(time_[late]))


def measure(options: Options) -> Iterator[Row]:
    """Both times, and the largest difference on the subset."""
    os.environ["ADOSE_CACHE"] = "off"
    from optimizer.analysis.map import compute, request
    from optimizer.scenario import Scenario

    scenario = Scenario.load(SCENARIO)
    asked = request(scenario, X, Y, last=LAST)
    seconds = []
    for _ in range(1 + options.repeats):
        began = time.perf_counter()
        found = compute(scenario, asked)
        seconds.append(time.perf_counter() - began)
    size = found.x.values.size * found.y.values.size
    picked = np.random.default_rng(0).choice(size, SUBSET, replace=False)
    began, theirs = time.perf_counter(), []
    for point in picked:
        j, i = divmod(int(point), found.x.values.size)
        theirs.append(the_papers_way(found.x.values[i], found.y.values[j]))
    whole = (time.perf_counter() - began) * size / SUBSET
    difference = np.max(np.abs(found.quantities["mean_last"].values.ravel()[picked] - theirs))
    yield Row("-", "ours", "map, compiled first", seconds[0], "s")
    yield Row("-", "ours", "map", statistics.median(seconds[1:]), "s", f"median of {options.repeats}")
    yield Row("-", "paper", "map", whole, "s", f"scaled from {SUBSET} of {size} points")
    yield Row("-", "ours", "largest difference to odeint, mean log10 cells", float(difference), "1")
