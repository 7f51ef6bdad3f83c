"""CasADi and IPOPT as an expert would use them: closed forms where there are some, exact Hessian, built once.

Concentrations are closed forms. The growth factor is on its slow manifold to first order, G = Gbar(D) - Gbar'(D) D' /
(dG + bG S), and relaxes to it at that rate behind each bolus. Without a shared capacity log cells are a quadrature, on
Gauss-Legendre panels with the integrals up to each node; with one they are RK4 steps through those concentrations. Time
to progression is a free end time under a path constraint (`FreeEnd`) instead of a smoothed survival.
"""

import itertools
import math
from collections.abc import Sequence

import casadi as ca
import numpy as np

from benchmarks.contenders.base import Answer
from benchmarks.contenders.casadi_usual import MATHS, Program, given
from benchmarks.problems.base import Benchmark, Maths
from benchmarks.problems.clones import Clones
from benchmarks.problems.persisters import ABSORPTION, VOLUME
from benchmarks.problems.stromal import Stromal

OPTIONS = {"tol": 1e-7, "mu_init": 1e-2}
# A wider rounding of the corner than usual: fewer nodes see it, and it costs 0.02 % of the objective.
EXPERT = MATHS._replace(ramp=lambda x: (x + ca.sqrt(x**2 + 9e-4)) / 2)
# Edges of panels of an interval as shares of its length, nodes of a panel.
PANELS = {"colorectal": (0.0, 0.3, 1.0), "bistable": (0.0, 0.003, 0.01, 0.04, 0.12, 0.25, 0.4, 0.6, 0.8, 1.0)}
NODES = 6
# Share of the cells of progression that is kept free: on the limit itself rounding decides when it was passed.
MARGIN = 1e-4
STEPS = {"long": 7, "persisters": 14}


def collocation(nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights of the unit interval, and the integrals from 0 to each node [nodes, nodes]."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    points, weights = (points + 1.0) / 2.0, weights / 2.0
    powers = np.vander(points, nodes, increasing=True)
    integrals = np.stack([points ** (k + 1) / (k + 1) for k in range(nodes)], axis=1)
    return points, weights, integrals @ np.linalg.inv(powers)


def _symbols(benchmark: Benchmark) -> tuple[ca.SX, ca.SX, ca.SX]:
    equations = benchmark.equations
    sizes = {"y": len(equations.least), "u": len(equations.boluses), "p": len(equations.typical)}
    return tuple(ca.SX.sym(name, size) for name, size in sizes.items())


def _levels(equations: Stromal, maths: Maths, before: Sequence, after: Sequence, time: float, p: Sequence) -> tuple:
    """Concentrations of the drugs [mg/L] and free growth factor [pg/mL] at a time since the bolus [day].

    `before` and `after` are the concentrations around the bolus: it relaxes from one manifold to the other.
    """
    k, drug = equations.of(p)[0], ca.SX.sym("D")
    steady = equations.steady(maths, drug, p)
    lag = k["elimination"] / k["relaxation"] * drug * ca.jacobian(steady, drug)
    manifold = ca.Function("manifold", [drug, *p], [steady + lag])
    conc = [after[0] * ca.exp(-k["elimination"] * time)]
    layer = manifold(before[0], *p) - manifold(after[0], *p)
    factor = manifold(conc[0], *p) + layer * math.exp(-k["relaxation"] * time)
    if equations.blocker:
        conc.append(after[1] * ca.exp(-k["blocker_elimination"] * time))
        factor *= maths.ramp(1.0 - conc[1])
    return conc, factor


def quadrature(benchmark: Benchmark, maths: Maths, length: float) -> ca.Function:
    """One interval of a single clone without capacity: its log is an integral over the concentrations."""
    equations = benchmark.equations
    y, dose, p = _symbols(benchmark)
    numbers, before = ca.vertsplit(p), ca.vertsplit(y)
    after = ca.vertsplit(given(y, dose, equations.boluses))
    points, weights, integrals = collocation(NODES)
    log, cost = after[0], 0
    for left, right in itertools.pairwise(length * np.array(PANELS[benchmark.name])):
        h, rates = right - left, []
        for point in points:
            conc, factor = _levels(equations, maths, before[1:], after[1:], left + point * h, numbers)
            rates.append(equations.growth(maths, conc[0], factor, numbers)[0])
        logs = log + h * ca.mtimes(ca.DM(integrals), ca.vertcat(*rates))
        values = [equations.cost(maths, [x], numbers) for x in ca.vertsplit(logs)]
        cost += h * sum(w * v for w, v in zip(weights, values, strict=True))
        log += h * sum(w * r for w, r in zip(weights, rates, strict=True))
    conc, _ = _levels(equations, maths, before[1:], after[1:], length, numbers)
    return ca.Function("interval", [y, dose, p], [ca.vertcat(log, *conc), cost])


def crowded(benchmark: Benchmark, maths: Maths, length: float) -> ca.Function:
    """One interval of clones that share a capacity or feed each other: RK4 through concentrations in closed form."""
    equations = benchmark.equations
    y, dose, p = _symbols(benchmark)
    numbers, before = ca.vertsplit(p), ca.vertsplit(y)
    after = ca.vertsplit(given(y, dose, equations.boluses))
    stroma = isinstance(equations, Stromal)
    clones = equations.clones if stroma else 3

    def slope(time: float, logs: list) -> list:
        if stroma:
            conc, factor = _levels(equations, maths, before[clones:], after[clones:], time, numbers)
            growth = equations.growth(maths, conc[0], factor, numbers)
            return equations.crowded(maths, growth, logs, numbers)
        _, body = _bateman(after[3], after[4], dose[0], numbers[1] / VOLUME, time)
        return equations.cells_slope(maths, logs, body / VOLUME, dose[1], numbers)

    logs, cost, h = after[:clones], 0, length / STEPS[benchmark.name]

    def moved(by: float, slopes: list) -> list:
        return [x + by * s for x, s in zip(logs, slopes, strict=True)]

    for index in range(STEPS[benchmark.name]):
        stages, weights, total = [logs], (1.0, 2.0, 2.0, 1.0), [0.0] * clones
        for weight, ahead in zip(weights, (0.5, 0.5, 1.0, None), strict=True):
            time = (index + (0.0, 0.5, 0.5, 1.0)[len(stages) - 1]) * h
            slopes = slope(time, stages[-1])
            total = [t + weight * s for t, s in zip(total, slopes, strict=True)]
            cost += h / 6 * weight * equations.cost(maths, stages[-1], numbers)
            stages += [moved(ahead * h, slopes)] if ahead else []
        logs = moved(h / 6, total)
    if stroma:
        end = _levels(equations, maths, before[clones:], after[clones:], length, numbers)[0]
    else:
        end = _bateman(after[3], after[4], dose[0], numbers[1] / VOLUME, length)
    return ca.Function("interval", [y, dose, p], [ca.vertcat(*logs, *end), cost])


def _bateman(gut, body, rate, elimination, time: float) -> tuple:
    """Amounts [mg] after a time [day] of tablets at an even rate [mg/day]."""
    steady = rate / ABSORPTION
    left = math.exp(-ABSORPTION * time)
    gone = ca.exp(-elimination * time)
    absorbed = ABSORPTION * (gut - steady) * (gone - left) / (ABSORPTION - elimination)
    return steady + (gut - steady) * left, body * gone + rate * (1.0 - gone) / elimination + absorbed


class FreeEnd:
    """Time to progression: the largest end time in interval k under N <= 1.2 N(0) at every RK4 step; k by bisection.

    Args:
        benchmark: of competing clones.
    """

    def __init__(self, benchmark: Benchmark):
        self.benchmark, self.setting = benchmark, benchmark.setting
        equations, count = benchmark.equations, self.setting.intervals
        doses, logs, h = ca.MX.sym("doses", count), ca.MX.sym("logs", 2, count), ca.MX.sym("h")
        p, share = ca.MX.sym("p", 3), ca.MX.sym("share", 2, count)  # length = share[0] + share[1] h
        self.interval = self._interval(equations)
        first = ca.vertcat(*equations.first(ca.vertsplit(p), MATHS)[:2])
        lengths = share[0, :] + share[1, :] * h
        ends, excess = self.interval.map(count)(ca.horzcat(first, logs[:, :-1]), doses.T, lengths, p)
        nlp = {
            "x": ca.vertcat(doses, ca.vec(logs), h),
            "p": ca.vertcat(p, ca.vec(share)),
            "f": -h,
            "g": ca.vertcat(ca.vec(ends - logs), ca.vec(excess)),
        }
        size, paths = 2 * count, excess.numel()
        self.bounds = {
            "lbx": np.r_[np.zeros(count), np.full(size, -np.inf), 0.0],
            "ubx": np.r_[np.ones(count), np.full(size, np.inf), 7.0],
            "lbg": np.r_[np.zeros(size), np.full(paths, -np.inf)],
            "ubg": np.r_[np.zeros(size), np.full(paths, -MARGIN)],
        }
        options = {"print_level": 0, "sb": "yes", "max_iter": 200, "tol": 1e-7}
        self.solver = ca.nlpsol("solver", "ipopt", nlp, {"print_time": False, "expand": True, "ipopt": options})

    def _interval(self, equations: Clones) -> ca.Function:
        """Function (log cells, dose, length, p) -> (log cells at the end, excess at each step)."""
        y, dose, length, p = ca.SX.sym("y", 2), ca.SX.sym("u"), ca.SX.sym("length"), ca.SX.sym("p", 3)
        numbers, h = ca.vertsplit(p), length / self.benchmark.steps

        def slope(state: ca.SX) -> ca.SX:
            return ca.vertcat(*equations.slope(MATHS, [*ca.vertsplit(state), 0.0], [dose], numbers)[:2])

        state, excess = y, []
        for _ in range(self.benchmark.steps):
            k1 = slope(state)
            k2 = slope(state + h / 2 * k1)
            k3 = slope(state + h / 2 * k2)
            state += h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(state + h * k3))
            excess.append(equations.excess(MATHS, ca.vertsplit(state), numbers))
        return ca.Function("interval", [y, dose, length, p], [state, ca.vertcat(*excess)])

    def solve(self, patient: Sequence[float] | None = None) -> Answer:
        """The end time in each interval that bisection asks for, from the last answer."""
        p, count = self.benchmark.numbers(patient), self.setting.intervals
        low, high, best = 0, count - 1, None
        doses, iterations, evaluations = self.setting.start().ravel(), 0, 0
        while low <= high:
            k = (low + high) // 2
            share = np.zeros((2, count))
            share[0, :k], share[1, k] = 7.0, 1.0
            numbers = np.r_[p, share.ravel(order="F")]
            out = self.solver(x0=self._guess(doses, p, share), p=numbers, **self.bounds)
            stats = self.solver.stats()
            iterations, evaluations = iterations + stats["iter_count"], evaluations + stats["n_call_nlp_f"]
            if stats["success"]:
                x = np.array(out["x"]).ravel()
                best, doses = x[:count].copy(), np.clip(x[:count], 0.0, 1.0)
                if float(x[-1]) < 7.0 - 1e-6:
                    break
                low = k + 1
            else:
                high = k - 1
        found = doses if best is None else best
        return Answer(found[:, None], iterations, evaluations, "" if best is not None else "no feasible end time")

    def _guess(self, doses: np.ndarray, p: np.ndarray, share: np.ndarray) -> np.ndarray:
        state, path = np.array(self.benchmark.equations.first(p, MATHS)[:2], float), []
        for dose, length in zip(doses, share.sum(axis=0), strict=True):
            state = self.interval(state, dose, length, p)[0]
            path.append(np.array(state).ravel())
        return np.r_[doses, np.ravel(path), 1.0]


def build(benchmark: Benchmark) -> Program | FreeEnd:
    """The contender, its solver made."""
    made = FreeEnd(benchmark) if isinstance(benchmark.equations, Clones) else program(benchmark)
    _ = made.solver
    return made


def program(benchmark: Benchmark) -> Program:
    """The program of an objective that is smooth as it is."""
    interval = quadrature if benchmark.name in PANELS else crowded
    return Program(benchmark, interval, OPTIONS, EXPERT, expand=True)
