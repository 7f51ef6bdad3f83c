"""The paper's way: SciPy's odeint between doses, hourly output, finite differences, L-BFGS-B; a budget as a penalty."""

import math
import time
from collections.abc import Sequence

import numpy as np
from scipy.integrate import odeint
from scipy.optimize import minimize

from benchmarks.contenders.base import Answer
from benchmarks.problems.base import Benchmark, Maths
from benchmarks.problems.clones import Clones

MATHS = Maths(
    exp=lambda x: math.exp(min(x, 700.0)),
    log10=math.log10,
    ramp=lambda x: max(x, 0.0),
    base=lambda x: max(x, 0.0),
    softplus=lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
)
PENALTY = 10.0


class _OutOfTime(Exception):
    """The solve has used up its time."""


class Paper:
    """The equations in full, nothing simplified.

    Args:
        benchmark: what is asked.
        cap: seconds after which a solve is stopped and its best schedule returned.
    """

    def __init__(self, benchmark: Benchmark, cap: float = 20.0):
        self.benchmark, self.setting, self.cap = benchmark, benchmark.setting, cap
        self.patient: Sequence[float] | None = None
        self.evaluations, self.deadline = 0, math.inf
        self.best: tuple[float, np.ndarray] = (math.inf, self.setting.start())

    def objective(self, doses: np.ndarray, patient: Sequence[float] | None = None) -> float:
        """Of doses [K, N], without the penalty."""
        equations, setting = self.benchmark.full, self.setting
        p = self.benchmark.numbers(patient, 1.0 if self.benchmark.temperatures else None).tolist()
        y, total = np.array(equations.first(p, MATHS)), 0.0
        for start, end, dose in zip(setting.edges[:-1], setting.edges[1:], doses, strict=True):
            rate = dose.tolist()
            for j, place in enumerate(equations.boluses):
                if place is not None:
                    y[place] += dose[j]
                    rate[j] = 0.0
            times = np.linspace(0.0, end - start, round(24.0 * (end - start)) + 1)
            path = odeint(lambda state, _, rate=rate: equations.slope(MATHS, state.tolist(), rate, p), y, times)
            y = path[-1].copy()
            if isinstance(equations, Clones):
                excess = np.array([equations.excess(MATHS, row, p) for row in path])
                if excess[-1] > 0.0:
                    after = max(int(np.argmax(excess > 0.0)), 1)
                    share = excess[after - 1] / (excess[after - 1] - excess[after])
                    return -(start + times[after - 1] + share * (times[after] - times[after - 1])) / setting.horizon
            else:
                total += np.trapezoid([equations.cost(MATHS, row, p) for row in path.tolist()], times)
        if isinstance(equations, Clones):
            return -1.0
        return total / setting.horizon + self.benchmark.drug_use * float(np.mean(doses / setting.most))

    def _penalized(self, shares: np.ndarray) -> float:
        if time.perf_counter() > self.deadline:
            raise _OutOfTime
        doses = shares.reshape(self.setting.intervals, -1) * self.setting.most
        value = self.objective(doses, self.patient)
        over = np.maximum(doses.sum(axis=0) / self.setting.budget - 1.0, 0.0)
        value += PENALTY * float(np.sum(over**2))
        self.evaluations += 1
        if value < self.best[0]:
            self.best = value, doses
        return value

    def gradient(self, doses: np.ndarray) -> np.ndarray:
        """By forward differences, one simulation for each dose."""
        base, slopes = self.objective(doses), []
        for index in range(doses.size):
            moved = doses.copy().ravel()
            moved[index] += 1e-6
            slopes.append((self.objective(moved.reshape(doses.shape)) - base) / 1e-6)
        return np.reshape(slopes, doses.shape)

    def solve(self, patient: Sequence[float] | None = None) -> Answer:
        """From the even schedule until L-BFGS-B stops or the time is up."""
        self.patient, self.evaluations, iterations = patient, 0, [0]
        self.best, self.deadline = (math.inf, self.setting.start()), time.perf_counter() + self.cap
        start = (self.setting.start() / self.setting.most).ravel()

        def count(_: np.ndarray) -> None:
            iterations[0] += 1

        try:
            out = minimize(self._penalized, start, method="L-BFGS-B", bounds=[(0.0, 1.0)] * start.size, callback=count)
            note = "" if out.success else str(out.message)
        except _OutOfTime:
            note = f"stopped after {self.cap:g} s"
        return Answer(self.best[1], iterations[0], self.evaluations, note)


def build(benchmark: Benchmark) -> Paper:
    """The contender."""
    return Paper(benchmark)
