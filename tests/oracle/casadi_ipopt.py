"""Best-known dose schedules of the stromal model by multi-start IPOPT, independent of the package under test.

Model and units: `tests.oracle.stromal_scipy` (doi 10.1038/s41540-025-00495-0). Every seven days a bolus may be
given, K = 26 of them over 180 days (the last interval lasts 5 days); the search moves the doses [K, N] [ug/mL]
inside [0, dose_max] and under a limit on the sum of the first drug's doses.

Transcription: multiple shooting over the dose intervals; the states at their starts are log cells, the growth
factor and the concentrations before the dose. Inside an interval the drugs are closed forms. The stroma is
constant and the printed clamp cannot act (it needs G > 6 Gbar for caf and 51 Gbar for general, while the largest
Gbar is 2.4 and 34 times the smallest), so the growth factor relaxes linearly to Gbar(D); three-stage Radau IIA
on a mesh graded into the layer of rate dG + bG S behind each dose integrates it. Log cells are a quadrature on
the same nodes; with a shared capacity one scalar, the integral of N / K, is found by Picard sweeps. Derivatives
are CasADi's, the Hessian is exact. Every optimum is clipped to its limits and evaluated by SciPy, and must agree
with IPOPT's own objective to 1e-6.

    python -m tests.oracle.casadi_ipopt --problem caf --starts 20 --seed 0
    python -m tests.oracle.casadi_ipopt --problem all --record          writes best_known.json
"""

import argparse
import copy
import functools
import itertools
import json
import math
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import casadi as ca
import numpy as np

from tests.oracle.stromal_scipy import BLOCKER, CAF, GENERAL, HOURS, simulate, weekly_edges

EVERY, HORIZON = 7.0, 180.0  # day
BEST_KNOWN = Path(__file__).with_name("best_known.json")
LAYER = (0.0, 0.003, 0.007, 0.012, 0.018, 0.025, 0.034, 0.045, 0.06, 0.085, 0.13, 0.2, 0.3, 0.45)  # day
SAME = 1e-6  # optima whose objectives differ by less are counted as one
AGREE = 1e-6  # IPOPT's objective against SciPy's
LN10 = math.log(10.0)


@dataclass(frozen=True)
class Problem:
    """Minimize burden + resistance + drug use over doses[K, N] [ug/mL].

    burden: time average of log10(N + 1). resistance: that of log10(C + 1) of the second clone. drug use: mean
    over the K intervals of the first drug's dose / dose_max. The first drug's doses sum to at most `budget`
    [ug/mL]. `step` [day] is the mesh behind the layer; `corners` are the successive roundings of the blocker's
    corner, the last of them without.
    """

    name: str
    parameters: dict
    dose_max: tuple
    budget: float = 26.0
    burden: float = 1.0
    resistance: float = 0.0
    drug_use: float = 0.0
    step: float = 0.5
    corners: tuple = (0.0,)

    @property
    def edges(self):
        return weekly_edges(EVERY, HORIZON)


def _main_scenario():
    parameters = copy.deepcopy(CAF)
    resistant = dict(parameters["clones"][0], cells=1e3, ec50_max=73.4, net_growth_max=0.006 * HOURS)
    parameters["clones"].append(resistant)
    parameters["capacity"] = 1e9
    return parameters


def _combination():
    parameters = copy.deepcopy(CAF)
    parameters["drugs"].append(dict(BLOCKER))
    return parameters


def problems():
    """The four problems by name."""
    table = [
        Problem("caf", CAF, (3.0,)),
        Problem("general", GENERAL, (3.0,), step=0.1),
        Problem("main", _main_scenario(), (3.0,), resistance=0.3, drug_use=0.05),
        Problem("combination", _combination(), (3.0, 1.0), step=0.25, corners=(0.03, 1e-3, 0.0)),
    ]
    return {p.name: p for p in table}


def evaluate(problem, doses, **options):
    """Objective and its terms at doses[K, N] by SciPy, as a dictionary."""
    doses = np.asarray(doses, float).reshape(len(problem.edges) - 1, -1)
    solution = simulate(problem.parameters, problem.edges, doses, floor=1.0, **options)
    terms = {"burden": solution.mean_log10_burden}
    if problem.resistance:
        terms["resistance"] = float(solution.mean_log10_clone[1])
    if problem.drug_use:
        terms["drug_use"] = float(np.mean(doses[:, 0]) / problem.dose_max[0])
    objective = sum(getattr(problem, name) * value for name, value in terms.items())
    return {"objective": objective, **terms}


def clip(problem, doses):
    """Doses [K, N] with IPOPT's violations of bounds and budget (about 1e-8) removed."""
    doses = np.clip(doses, 0.0, problem.dose_max)
    total = doses[:, 0].sum()
    if total > problem.budget:
        doses[:, 0] *= problem.budget / total
    return doses


# ---------------------------------------------------------------------------------------------- transcription


def _radau():
    """Three-stage Radau IIA of order 5: nodes and matrix; the last row of the matrix holds the weights."""
    root = math.sqrt(6.0)
    nodes = np.array([(4 - root) / 10, (4 + root) / 10, 1.0])
    powers = np.vander(nodes, 3, increasing=True)
    integrals = np.stack([nodes ** (p + 1) / (p + 1) for p in range(3)], axis=1)
    return nodes, integrals @ np.linalg.inv(powers)


NODES, MATRIX = _radau()
WEIGHTS = MATRIX[2]


def _mesh(length, step):
    """Times of one interval [day]: graded into the layer behind the dose, then about equally spaced."""
    count = math.ceil((length - LAYER[-1]) / step)
    return np.concatenate([LAYER, np.linspace(LAYER[-1], length, count + 1)[1:]])


def _scale(problem):
    """Largest growth factor [pg/mL]; the states of the program are G / scale."""
    part = problem.parameters["stroma"]
    return part.get("growth_factor_max") or part["growth_factor_max_per_cell"] * part["cells"]


def _steady(problem, conc):
    """Gbar [pg/mL] at the concentrations conc[3] of the inhibitor at the nodes."""
    part = problem.parameters["stroma"]
    return _scale(problem) / (1 + ca.exp(-part["secretion_slope"] * (conc - part["secretion_midpoint"])))


def _growth(clone, conc, factor):
    """Net growth [1/day] at the nodes, without capacity."""
    shift = 1 + ca.exp(-clone["shift_slope"] * (factor - clone["shift_midpoint"]))
    effect = (conc * shift / clone["ec50_max"]) ** clone["hill"]
    low, high = clone["net_growth_min"], clone["net_growth_max"]
    return low + (high - low) / (1 + effect)


def _rounded(value, corner):
    """Smooth max(value, 0), above it by at most corner / 2; IPOPT does not converge on the bare corner."""
    return (value + ca.sqrt(value**2 + corner**2)) / 2


def _crowding(parameters, free, crowd, h, sweeps=6):
    """Integral of N / K [day] at the nodes: Picard sweeps, each of which gains one order in h."""
    if parameters["capacity"] is None:
        return ca.SX.zeros(3)
    nodes = ca.repmat(crowd, 3, 1)
    for _ in range(sweeps):
        cells = sum(ca.exp(x - c["net_growth_max"] * nodes) for x, c in zip(free, parameters["clones"], strict=True))
        nodes = crowd + h * ca.mtimes(MATRIX, cells / parameters["capacity"])
    return nodes


def interval(problem, length):
    """CasADi function (state, dose[N], corner) -> (state at the end, cost) of one interval of `length` days.

    The state is [log cells (M), G / scale, concentrations before the dose (N)]; the cost is the integral of the
    weighted log10 terms [day]; `corner` rounds the corner max(1 - beta B, 0) of a ligand blocker.
    """
    parameters, part = problem.parameters, problem.parameters["stroma"]
    clones, drugs = parameters["clones"], parameters["drugs"]
    relax = part["growth_factor_decay"] + part["growth_factor_production"] * part["cells"]
    x, factor, corner = ca.SX.sym("x", len(clones)), ca.SX.sym("g"), ca.SX.sym("corner")
    before, dose = ca.SX.sym("c", len(drugs)), ca.SX.sym("u", len(drugs))
    state, after = ca.vertcat(x, factor, before), before + dose
    factor, crowd, cost = factor * _scale(problem), ca.SX(0), ca.SX(0)
    free = [x[i] for i in range(len(clones))]  # log cells as if there were no capacity
    for start, end in itertools.pairwise(_mesh(length, problem.step)):
        h = end - start
        conc = [after[j] * np.exp(-d["elimination"] * (start + NODES * h)) for j, d in enumerate(drugs)]
        implicit = np.linalg.inv(np.eye(3) + h * relax * MATRIX)
        stages = implicit @ np.ones(3) * factor + h * relax * implicit @ MATRIX @ _steady(problem, conc[0])
        blocked = sum((d["beta"] * c for d, c in zip(drugs, conc, strict=True) if d["role"] == "ligand_blocker"), 0.0)
        effective = stages * _rounded(1 - blocked, corner)
        growth = [_growth(c, conc[0], effective) for c in clones]
        inside = [v + h * ca.mtimes(MATRIX, r) for v, r in zip(free, growth, strict=True)]
        crowds = _crowding(parameters, inside, crowd, h)
        logs = [v - c["net_growth_max"] * crowds for v, c in zip(inside, clones, strict=True)]
        rate = problem.burden * ca.log(sum(ca.exp(v) for v in logs) + 1)
        if problem.resistance:
            rate += problem.resistance * ca.log(ca.exp(logs[1]) + 1)
        cost += h * ca.dot(WEIGHTS, rate) / LN10
        free, crowd, factor = [v[2] for v in inside], crowds[2], stages[2]
    last = [v - c["net_growth_max"] * crowd for v, c in zip(free, clones, strict=True)]
    later = [after[j] * math.exp(-d["elimination"] * length) for j, d in enumerate(drugs)]
    end_state = ca.vertcat(*last, factor / _scale(problem), *later)
    return ca.Function("interval", [state, dose, corner], [end_state, cost])


class Program:
    """The nonlinear program of one problem, built once and solved from many starts."""

    def __init__(self, problem):
        parameters = problem.parameters
        lengths = np.diff(problem.edges)
        self.problem, self.k, self.n = problem, len(lengths), len(problem.dose_max)
        m = len(parameters["clones"])
        self.size = m + 1 + self.n
        self.whole, last = interval(problem, lengths[0]), interval(problem, lengths[-1])
        self.first = np.array(
            [math.log(c["cells"]) for c in parameters["clones"]]
            + [parameters["stroma"]["growth_factor"] / _scale(problem)]
            + [0.0] * self.n
        )
        doses, states = ca.MX.sym("doses", self.n, self.k), ca.MX.sym("states", self.size, self.k - 1)
        corner = ca.MX.sym("corner")
        starts = ca.horzcat(ca.DM(self.first), states)
        ends, costs = self.whole.map(self.k - 1)(starts[:, :-1], doses[:, :-1], corner)
        _, cost = last(starts[:, -1], doses[:, -1], corner)
        total = ca.sum2(doses[0, :])
        objective = (ca.sum2(costs) + cost) / HORIZON
        objective += problem.drug_use * total / (self.k * problem.dose_max[0])
        gaps = ca.vec(ends - states)
        self.nlp = {
            "x": ca.veccat(doses, states),
            "p": corner,
            "f": objective,
            "g": ca.vertcat(gaps, total),
        }
        low = np.tile([-np.inf] * m + [0.0] * (1 + self.n), self.k - 1)
        self.bounds = {
            "lbx": np.concatenate([np.zeros(self.n * self.k), low]),
            "ubx": np.concatenate([np.tile(problem.dose_max, self.k), np.full(low.shape, np.inf)]),
            "lbg": np.concatenate([np.zeros(low.shape), [-np.inf]]),
            "ubg": np.concatenate([np.zeros(low.shape), [problem.budget]]),
        }

    @functools.cache  # noqa: B019  a program lives as long as the run
    def solver(self, local):
        """IPOPT; `local` keeps the iterates near the start instead of in the middle of the bounds."""
        options = {
            "print_level": 0,
            "sb": "yes",
            "tol": 1e-9,
            "max_iter": 1500,
            "bound_relax_factor": 0.0,
            "acceptable_iter": 0,
        }
        if local:
            options |= {"mu_init": 1e-4, "bound_push": 1e-6, "bound_frac": 1e-6}
        return ca.nlpsol("solver", "ipopt", self.nlp, {"print_time": False, "ipopt": options})

    def _guess(self, doses):
        """The program's variables at doses[K, N]: a simulation, hence feasible."""
        doses = np.maximum(doses, 1e-6)  # the slope of (D / D50)^k is infinite at 0
        states, state = [], self.first
        for dose in doses[:-1]:
            state = self.whole(state, dose, 0.0)[0]
            states.append(state)
        return np.concatenate([doses.ravel(), np.array(ca.vertcat(*states)).ravel()])

    def _at_most_blocker(self, doses):
        """Doses and bounds with every dose of the blockers fixed at its maximum.

        That is optimal: net growth rises with G_eff, which falls with the blocker, and the blocker costs
        nothing. The rounded stages before search all drugs and lead there too, but for the doses whose effect
        is below the solver's tolerance.
        """
        doses = np.column_stack([doses[:, :1], np.tile(self.problem.dose_max[1:], (self.k, 1))])
        low = self.bounds["lbx"].copy()
        fixed = np.flatnonzero(np.arange(self.n * self.k) % self.n > 0)
        low[fixed] = self.bounds["ubx"][fixed]
        return doses, self.bounds | {"lbx": low}

    def solve(self, doses, local=False):
        """(succeeded, IPOPT's objective, doses[K, N], seconds) from the start doses[K, N]."""
        clock = time.perf_counter()
        for corner in self.problem.corners:
            solver, bounds = self.solver(local), self.bounds
            if corner == 0 and self.n > 1:
                doses, bounds = self._at_most_blocker(doses)
            out = solver(x0=self._guess(doses), p=corner, **bounds)
            found = np.array(out["x"]).ravel()[: self.n * self.k].reshape(self.k, self.n)
            doses, local = clip(self.problem, found), True
        return solver.stats()["success"], float(out["f"]), doses, time.perf_counter() - clock


# ------------------------------------------------------------------------------------------------ multi-start


def random_start(problem, rng):
    """Random feasible doses [K, N] of varied kinds: level, dense, sparse, ramps and a pulse."""
    k, n = len(problem.edges) - 1, len(problem.dose_max)
    unit = np.empty((k, n))
    for j in range(n):
        kind = rng.integers(5)
        if kind == 0:
            column = np.full(k, rng.uniform(0.02, 0.98))
        elif kind == 1:
            column = rng.uniform(0, 1, k)
        elif kind == 2:
            column = rng.uniform(0, 1, k) * (rng.random(k) < rng.uniform(0.1, 0.9))
        elif kind == 3:
            column = np.linspace(rng.uniform(0, 1), rng.uniform(0, 1), k)
        else:
            low, high = np.sort(rng.integers(0, k + 1, 2))
            column = np.where((np.arange(k) >= low) & (np.arange(k) < high), rng.uniform(0, 1), 0.01)
        unit[:, j] = column * rng.choice([1.0, 0.3, 0.1])
    return clip(problem, unit * problem.dose_max)


def multi_start(problem, starts, seed, hops=0):
    """All distinct optima of `starts` random starts and then `hops` perturbations of the best, best first."""
    rng = np.random.default_rng(seed)
    program, clusters, seconds, failed = Program(problem), [], [], 0
    for index in range(starts + hops):
        if index < starts:
            start = random_start(problem, rng)
        else:
            best = min(clusters, key=lambda c: c["ipopt"])["doses"]
            start = random_start(problem, rng)
            keep = rng.random(best.shape) < rng.choice([0.5, 0.7, 0.9])
            start = clip(problem, np.where(keep, best, start))
        success, value, doses, spent = program.solve(start, local=index % 2 == 1)
        seconds.append(spent)
        if not success:
            failed += 1
            continue
        near = [c for c in clusters if abs(c["ipopt"] - value) < SAME]
        if near:
            near[0]["count"] += 1
            near[0]["spread"] = max(near[0]["spread"], float(np.abs(near[0]["doses"] - doses).max()))
            if value < near[0]["ipopt"]:
                near[0] |= {"ipopt": value, "doses": doses}
        else:
            clusters.append({"ipopt": value, "doses": doses, "count": 1, "spread": 0.0})
    for cluster in clusters:
        cluster |= evaluate(problem, cluster["doses"])
        cluster["gap"] = cluster["objective"] - cluster["ipopt"]
    clusters.sort(key=lambda c: c["objective"])
    return clusters, seconds, failed


def command(problem, starts, seed, hops):
    """The command line that makes this result."""
    text = f"python -m tests.oracle.casadi_ipopt --problem {problem.name} --starts {starts} --seed {seed}"
    return f"{text} --hops {hops}" if hops else text


def summary(problem, starts, seed, hops=0):
    """What the command prints, as a dictionary; doses [K][N] in ug/mL."""
    clusters, seconds, failed = multi_start(problem, starts, seed, hops)
    if not clusters:
        raise RuntimeError(f"{problem.name}: none of {starts} starts converged")
    worst = max(abs(c["gap"]) for c in clusters)
    if worst > AGREE:
        raise RuntimeError(f"{problem.name}: IPOPT and SciPy differ by {worst:.2e}")
    best = clusters[0]
    names = ("objective", "burden", "resistance", "drug_use")
    return {
        **{name: best[name] for name in names if name in best},
        "doses": best["doses"].tolist(),
        "distinct_optima": len(clusters),
        "failed_starts": failed,
        "largest_difference_to_scipy": worst,
        "seconds_per_solve": round(float(np.mean(seconds)), 3),
        "command": command(problem, starts, seed, hops),
        "optima": [
            {
                "objective": c["objective"],
                "count": c["count"],
                "dose_spread": round(c["spread"], 4),
                "doses": np.round(c["doses"], 4).tolist(),
            }
            for c in clusters
        ],
    }


def record(problem):
    """Write one problem into best_known.json: 20 starts, and beside it the best of 100 starts and 100 hops."""
    entry = {
        "every": EVERY,
        "horizon": HORIZON,
        "dose_max": list(problem.dose_max),
        "budget": problem.budget,
        "weights": {name: getattr(problem, name) for name in ("burden", "resistance", "drug_use")},
        **summary(problem, 20, 0),
    }
    more = summary(problem, 100, 1, 100)
    del more["optima"]
    entry["best_of_100"] = more
    known = json.loads(BEST_KNOWN.read_text()) if BEST_KNOWN.exists() else {}
    known[problem.name] = entry
    known = {name: known[name] for name in problems() if name in known}
    text = json.dumps(known, indent=1)
    BEST_KNOWN.write_text(re.sub(r"\[[\d\s.,e+-]*\]", _one_line, text) + "\n")
    return entry


def _one_line(match):
    return " ".join(match.group().split()).replace("[ ", "[").replace(" ]", "]")


def main(arguments=None):
    """Print the optima of one problem as JSON, or record those of one or all problems in best_known.json."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle.casadi_ipopt", description=main.__doc__)
    parser.add_argument("--problem", choices=[*problems(), "all"], default="caf")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--hops", type=int, default=0, help="perturbations of the best, after the starts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="write best_known.json (other options ignored)")
    options = parser.parse_args(arguments)
    for name, problem in problems().items():
        if options.problem in (name, "all"):
            search = (options.starts, options.seed, options.hops)
            result = record(problem) if options.record else summary(problem, *search)
            json.dump({"problem": name, **result}, sys.stdout, indent=1)
            print()


if __name__ == "__main__":
    main()
