"""Random schedules and parameters with their burden and its gradient by SciPy, independent of the package under test.

Model and units: `tests.oracle.stromal_scipy`. Four families of 50 cases, every 7 days for 180 days (the last interval
lasts 5 days), each parameter of the preset times a random factor. The value is the time average of log10(N + 1) by
LSODA at rtol 1e-10. The gradient with respect to the doses is by central differences of fourth order: all displaced
schedules are integrated as one system by DOP853, so that they share their steps and the error of the steps cancels.
Where the inhibitor's concentration is near 0 just after a dose of 0, differences say nothing of (D / D50)^k, whose
slope or curvature is infinite there: no number is recorded (null).

    python -m tests.oracle.random_cases          writes random_cases.json (of some cases only, where they are named)
"""

import copy
import itertools
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

from tests.oracle.stromal_scipy import BLOCKER, CAF, GENERAL, LN10, simulate, weekly_edges

RECORD = Path(__file__).with_name("random_cases.json")
FAMILIES = ("caf", "general", "blocker", "clones")
CASES = 50  # of each family
EDGES = weekly_edges(7.0, 180.0)
# Displacements, in steps, and weights of the difference quotients of fourth order.
_CENTRAL = ((-2, -1, 1, 2), (1 / 12, -2 / 3, 2 / 3, -1 / 12))
_FORWARD = ((0, 1, 2, 3, 4), (-25 / 12, 4.0, -3.0, 4 / 3, -1 / 4))


@dataclass(frozen=True)
class Case:
    """One random patient and schedule."""

    family: str
    shape: str  # of the schedule
    parameters: dict
    doses: np.ndarray  # [K, N] ug/mL


def _preset(family):
    parameters = copy.deepcopy(GENERAL if family == "general" else CAF)
    if family == "blocker":
        parameters["drugs"].append(dict(BLOCKER))
    if family == "clones":
        resistant = dict(parameters["clones"][0], cells=1e3, ec50_max=73.4, net_growth_max=0.144)
        parameters["clones"].append(resistant)
        parameters["capacity"] = 1e9
    return parameters


def _varied(part, rng):
    fixed = {"cells", "growth_factor"}
    return {
        name: value * rng.uniform(0.8, 1.25) if isinstance(value, float) and name not in fixed else value
        for name, value in part.items()
    }


def _schedule(shape, n, rng):
    count, most = len(EDGES) - 1, np.array([3.0, 1.0])[:n]
    shares = rng.uniform(0.0, 1.0, (count, n))
    if shape == "zero":
        shares = np.zeros((count, n))
    elif shape == "constant":
        shares = np.broadcast_to(shares[0], (count, n)).copy()
    elif shape == "alternating":
        shares = np.tile(np.arange(count)[:, None] % 2 == rng.integers(2), n).astype(float)
    elif shape == "sparse":
        shares = shares * (rng.uniform(size=(count, n)) < 0.3)
    elif shape == "tapered":
        shares = np.exp(-np.arange(count)[:, None] / rng.uniform(5.0, 20.0, n))
    return shares * most


def cases(family):
    """The cases of a family, always the same ones."""
    rng = np.random.default_rng(FAMILIES.index(family))
    shapes = ("random", "zero", "constant", "alternating", "sparse", "tapered", "random", "random", "random", "random")
    out = []
    for i in range(CASES):
        preset = _preset(family)
        parameters = {
            "clones": [_varied(clone, rng) for clone in preset["clones"]],
            "capacity": preset["capacity"],
            "stroma": _varied(preset["stroma"], rng),
            "drugs": [_varied(drug, rng) for drug in preset["drugs"]],
        }
        shape = shapes[i % len(shapes)]
        out.append(Case(family, shape, parameters, _schedule(shape, len(preset["drugs"]), rng)))
    return out


def burdens(parameters, doses):
    """Time averages of log10(N + 1) of schedules doses[L, K, N], integrated together; the stroma is constant."""
    clones, part, drugs = parameters["clones"], parameters["stroma"], parameters["drugs"]
    lanes, m = len(doses), len(clones)
    decline = np.array([drug["elimination"] for drug in drugs])
    is_inhibitor = np.array([drug["role"] == "inhibitor" for drug in drugs])
    beta = np.array([drug.get("beta", 0.0) for drug in drugs])
    gain = part["growth_factor_production"] * part["cells"]
    decay = part["growth_factor_decay"]
    top = part.get("growth_factor_max", 0.0) + part.get("growth_factor_max_per_cell", 0.0) * part["cells"]
    low, high, ec50, hill, slope, middle = (
        np.array([clone[name] for clone in clones])[:, None]
        for name in ("net_growth_min", "net_growth_max", "ec50_max", "hill", "shift_slope", "shift_midpoint")
    )

    def field(t, y, conc):
        y = y.reshape(m + 2, lanes)
        conc = np.maximum(conc * np.exp(-decline * t), 0.0)
        inhibitor = conc[:, is_inhibitor].sum(1)
        effective = y[m] * np.maximum(1.0 - conc @ beta, 0.0)
        half = ec50 / (1.0 + np.exp(-slope * (effective - middle)))
        rate = low + (high - low) / (1.0 + (inhibitor / half) ** hill)
        cells = np.exp(y[:m])
        total = cells.sum(0)
        if parameters["capacity"] is not None:
            rate = rate - high * total / parameters["capacity"]
        level = top / (1.0 + np.exp(-part["secretion_slope"] * (inhibitor - part["secretion_midpoint"])))
        secreted = np.maximum(level * (decay + gain) - gain * y[m], 0.0)
        return np.concatenate([rate, [secreted - decay * y[m]], [np.log(total + 1.0) / LN10]]).ravel()

    start = [np.full(lanes, math.log(clone["cells"])) for clone in clones]
    state = np.concatenate([*start, np.full(lanes, part["growth_factor"]), np.zeros(lanes)])
    conc = np.zeros((lanes, len(drugs)))
    for k, length in enumerate(np.diff(EDGES)):
        conc = conc + doses[:, k]
        # Where a lane's blocker clamp opens, the field has a kink: there, too, the integration stops.
        bound = conc @ beta
        opens = np.log(np.maximum(bound, 1.0)) / (decline[beta > 0.0][0] if beta.any() else 1.0)
        stops = [0.0, *np.unique(opens[(opens > 0.0) & (opens < length)]), length]
        for a, b in itertools.pairwise(stops):
            out = solve_ivp(field, (a, b), state, method="DOP853", rtol=1e-10, atol=1e-11, args=(conc,))
            if not out.success:
                raise RuntimeError(out.message)
            state = out.y[:, -1]
        conc = conc * np.exp(-decline * length)
    return state.reshape(m + 2, lanes)[-1] / EDGES[-1]


def _levels(case):
    """Concentrations just after each dose [K, N]."""
    decline = np.array([drug["elimination"] for drug in case.parameters["drugs"]])
    conc, out = np.zeros(len(decline)), []
    for dose, length in zip(case.doses, np.diff(EDGES), strict=True):
        conc = conc + dose
        out.append(conc)
        conc = conc * np.exp(-decline * length)
    return np.array(out)


def gradient(case):
    """Gradient of the average in the doses [K, N]; NaN where differences say nothing."""
    levels, displaced, plans = _levels(case), [], []
    for index in np.ndindex(*case.doses.shape):
        empty = levels[index] < 1e-3
        if empty and case.parameters["drugs"][index[1]]["role"] == "inhibitor":
            continue
        offsets, weights = _FORWARD if empty else _CENTRAL
        # A blocker's clamp that opens just after a dose is a kink close by.
        most = 3e-4 if case.family == "blocker" else 2e-3
        step = 1e-3 if empty else min(most, levels[index] / 60.0)
        for offset in offsets:
            doses = case.doses.copy()
            doses[index] += offset * step
            displaced.append(doses)
        plans.append((index, np.array(weights) / step))
    out = np.full(case.doses.shape, np.nan)
    values = burdens(case.parameters, np.array([case.doses, *displaced]))[1:]
    for index, weights in plans:
        out[index] = weights @ values[: weights.size]
        values = values[weights.size :]
    return out


def value(case):
    """The average by the oracle."""
    return simulate(case.parameters, EDGES, case.doses, rtol=1e-10, method="LSODA").mean_log10_burden


def main():
    """Record all cases, or those named on the command line as FAMILY or FAMILY:NUMBER."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for wanted in sys.argv[1:] or FAMILIES:
        family, _, number = wanted.partition(":")
        kept = record.setdefault(family, [None] * CASES)
        for i, case in enumerate(cases(family)):
            if number and int(number) != i:
                continue
            slopes = [[None if math.isnan(s) else float(f"{s:.10g}") for s in row] for row in gradient(case)]
            kept[i] = {"value": value(case), "gradient": slopes}
            print(family, i, case.shape, kept[i]["value"], file=sys.stderr)
    RECORD.write_text(json.dumps(record).replace("}, {", "},\n{") + "\n")


if __name__ == "__main__":
    main()
