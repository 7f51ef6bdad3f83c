"""CasADi and IPOPT as usual: multiple shooting, RK4 with fixed steps, default options, built once for all patients."""

from collections.abc import Callable, Sequence
from functools import cached_property

import casadi as ca
import numpy as np

from benchmarks.contenders.base import Answer
from benchmarks.problems.base import Benchmark, Maths

# The corner of max(1 - B, 0) rounded over 0.01: on the bare one IPOPT does not converge in its 3000 iterations.
MATHS = Maths(
    exp=ca.exp,
    log10=ca.log10,
    ramp=lambda x: (x + ca.sqrt(x**2 + 1e-4)) / 2,
    base=lambda x: x,
    softplus=lambda x: ca.fmax(x, 0) + ca.log1p(ca.exp(-ca.fabs(x))),
)
IPOPT = {"print_level": 0, "sb": "yes"}


def runge_kutta(benchmark: Benchmark, maths: Maths, length: float) -> ca.Function:
    """Function (state, dose, p) -> (state after `length` days, integral of the cost) of one interval."""
    equations = benchmark.equations
    size, drugs = len(equations.least), len(equations.boluses)
    y, q, dose, p = (ca.SX.sym(n, s) for n, s in (("y", size), ("q", 1), ("u", drugs), ("p", len(equations.typical))))
    rate = [0.0 if place is not None else dose[j] for j, place in enumerate(equations.boluses)]
    numbers = ca.vertsplit(p)
    slope = ca.vertcat(*equations.slope(maths, ca.vertsplit(y), rate, numbers))
    f = ca.Function("f", [y, dose, p], [slope, equations.cost(maths, ca.vertsplit(y), numbers)])
    h = length / benchmark.steps
    k1, q1 = f(y, dose, p)
    k2, q2 = f(y + h / 2 * k1, dose, p)
    k3, q3 = f(y + h / 2 * k2, dose, p)
    k4, q4 = f(y + h * k3, dose, p)
    moved = [y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), q + h / 6 * (q1 + 2 * q2 + 2 * q3 + q4)]
    step = ca.Function("step", [y, q, dose, p], moved)
    end, cost = given(y, dose, equations.boluses), 0
    for _ in range(benchmark.steps):
        end, cost = step(end, cost, dose, p)
    return ca.Function("interval", [y, dose, p], [end, cost])


def given(state: ca.SX, dose: ca.SX, boluses: Sequence[int | None]) -> ca.SX:
    """The state just after the boluses."""
    jump = [0] * state.shape[0]
    for j, place in enumerate(boluses):
        if place is not None:
            jump[place] = dose[j]
    return state + ca.vertcat(*jump)


class Program:
    """Multiple shooting over the decision intervals; the patient's numbers and the start are arguments.

    Args:
        benchmark: what is asked.
        interval: makes the function of one interval from its length.
        options: of IPOPT.
        maths: CasADi's functions.
        expand: whether the whole program is one expression of scalars, which is faster to evaluate and longer to build.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        interval: Callable[[Benchmark, Maths, float], ca.Function] = runge_kutta,
        options: dict | None = None,
        maths: Maths = MATHS,
        expand: bool = False,
    ):
        self.benchmark, self.setting = benchmark, benchmark.setting
        setting, equations = self.setting, benchmark.equations
        self.count, self.drugs, self.size = setting.intervals, len(setting.most), len(equations.least)
        lengths = np.diff(setting.edges)
        self.whole = interval(benchmark, maths, float(lengths[0]))
        even = np.isclose(lengths[-1], lengths[0])
        self.last = self.whole if even else interval(benchmark, maths, float(lengths[-1]))
        doses, states = ca.MX.sym("doses", self.drugs, self.count), ca.MX.sym("states", self.size, self.count - 1)
        p = ca.MX.sym("p", len(equations.typical))
        self.first = ca.Function("first", [p], [ca.vertcat(*equations.first(ca.vertsplit(p), maths))])
        begins = ca.horzcat(self.first(p), states)
        given = ca.MX(ca.DM(setting.most)) * doses  # shares of the largest dose are what is searched
        ends, costs = self.whole.map(self.count - 1)(begins[:, :-1], given[:, :-1], p)
        _, cost = self.last(begins[:, -1], given[:, -1], p)
        objective = (ca.sum2(costs) + cost) / setting.horizon
        objective += benchmark.drug_use * ca.sum1(ca.vec(doses)) / (self.count * self.drugs)
        gaps = ca.vec(ends - states)
        limited = np.flatnonzero(np.isfinite(setting.budget))
        sums = ca.sum2(doses)[limited.tolist()] if limited.size else ca.MX(0, 1)
        bounds = setting.budget[limited] / setting.most[limited]
        low = np.tile([-np.inf if least is None else least for least in equations.least], self.count - 1)
        zeros = np.zeros(gaps.shape[0])
        self.bounds = {
            "lbx": np.append(np.zeros(doses.numel()), low),
            "ubx": np.append(np.ones(doses.numel()), np.full(low.shape, np.inf)),
            "lbg": np.append(zeros, np.full(limited.size, -np.inf)),
            "ubg": np.append(zeros, bounds),
        }
        variables = ca.veccat(doses, states)
        self.nlp = {"x": variables, "p": p, "f": objective, "g": ca.vertcat(gaps, sums)}
        self.options = {"print_time": False, "expand": expand, "ipopt": IPOPT | (options or {})}
        self.value = ca.Function("value", [variables, p], [objective])

    @cached_property
    def solver(self) -> ca.Function:
        """IPOPT with the derivatives of the program."""
        return ca.nlpsol("solver", "ipopt", self.nlp, self.options)

    def simulated(self, shares: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Variables of the program at shares [K, N]."""
        state, path = self.first(p), []
        for share in shares[:-1]:
            state, _ = self.whole(state, share * self.setting.most, p)
            path.append(state)
        return np.append(shares.ravel(), np.array(ca.vertcat(*path)).ravel())

    def solve(self, patient: Sequence[float] | None = None) -> Answer:
        """From the even schedule; where there are temperatures, down through them."""
        shares = self.setting.start() / self.setting.most
        iterations = evaluations = 0
        for temperature in self.benchmark.temperatures or (None,):
            p = self.benchmark.numbers(patient, temperature)
            out = self.solver(x0=self.simulated(shares, p), p=p, **self.bounds)
            stats = self.solver.stats()
            iterations += stats["iter_count"]
            evaluations += stats["n_call_nlp_f"]
            shares = np.array(out["x"]).ravel()[: shares.size].reshape(shares.shape)
            shares = np.clip(shares, 0.0, 1.0)
        note = "" if stats["success"] else stats["return_status"]
        return Answer(shares * self.setting.most, iterations, evaluations, note)

    def objective(
        self, doses: np.ndarray, patient: Sequence[float] | None = None, temperature: float | None = None
    ) -> float:
        """What the program makes of doses [K, N]."""
        p = self.benchmark.numbers(patient, temperature)
        return float(self.value(self.simulated(doses / self.setting.most, p), p))


def build(benchmark: Benchmark) -> Program:
    """The contender, its solver made."""
    program = Program(benchmark)
    _ = program.solver
    return program
