"""GEKKO with its local solver: dynamic optimization (IMODE 6), IPOPT, its own collocation.

A bolus is an infusion over a fiftieth of a day, since a state cannot jump; doses are manipulated variables that are
held over a decision interval.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gekko import GEKKO
from scipy.integrate import odeint

from benchmarks.contenders.base import Answer
from benchmarks.contenders.paper import MATHS as PLAIN
from benchmarks.problems.base import Benchmark, Maths

PULSE = 0.02  # day
# Points of an interval after the pulse, as shares of what is left of it.
_POINTS = np.array([0.01, 0.1, 0.3, 0.6, 1.0])
TEMPERATURE = 0.1


class Gekko:
    """The quasi-steady equations; a model is written anew for each patient, which is how GEKKO works.

    Args:
        benchmark: what is asked.
        cap: seconds that a solve may take.
    """

    def __init__(self, benchmark: Benchmark, cap: float = 20.0):
        self.benchmark, self.setting, self.cap = benchmark, benchmark.setting, cap

    def _grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Times [day], and 1 / PULSE where a bolus is running."""
        times, gate = [0.0], [0.0]
        for start, end in zip(self.setting.edges[:-1], self.setting.edges[1:], strict=True):
            left = end - start - PULSE
            times += [start + PULSE, *(start + PULSE + left * _POINTS)]
            gate += [1.0 / PULSE, *np.zeros(len(_POINTS))]
        return np.array(times), np.array(gate)

    def _simulated(self, p: list[float]) -> np.ndarray:
        """States under the even schedule at the times of the grid, from which the solver starts [T, states]."""
        equations, (times, gate) = self.benchmark.equations, self._grid()
        dose, y = self.setting.start()[0], np.array(equations.first(p, PLAIN))
        rate = [0.0 if place is not None else u for place, u in zip(equations.boluses, dose, strict=True)]
        path = [y]
        for start, end, open_ in zip(times[:-1], times[1:], gate[1:], strict=True):

            def field(state: np.ndarray, _: float, open_: float = open_) -> np.ndarray:
                slope = np.array(equations.slope(PLAIN, state.tolist(), rate, p))
                for place, u in zip(equations.boluses, dose, strict=True):
                    if place is not None:
                        slope[place] += open_ * u
                return slope

            path.append(odeint(field, path[-1], [start, end])[-1])
        return np.array(path)

    def _model(self, patient: Sequence[float] | None) -> tuple[Any, list]:
        equations, setting = self.benchmark.equations, self.setting
        m = GEKKO(remote=False)
        maths = Maths(
            exp=m.exp,
            log10=m.log10,
            ramp=lambda x: (x + m.sqrt(x**2 + 1e-4)) / 2,
            base=lambda x: x + 1e-6,  # a power of 0 has no slope
            softplus=lambda x: m.log(1 + m.exp(x)),
        )
        p = self.benchmark.numbers(patient, TEMPERATURE if self.benchmark.temperatures else None).tolist()
        m.time, gate = self._grid()
        pulse, last = m.Param(gate), m.Param(np.r_[np.zeros(len(m.time) - 1), 1.0])
        path = self._simulated(p)
        y = [m.Var(value=values.tolist(), lb=least) for values, least in zip(path.T, equations.least, strict=True)]
        u = [
            m.MV(value=float(d), lb=0.0, ub=float(most))
            for d, most in zip(setting.start()[0], setting.most, strict=True)
        ]
        for dose in u:
            dose.STATUS, dose.MV_STEP_HOR, dose.DCOST = 1, 1 + len(_POINTS), 0
        rates = [0.0 if place is not None else dose for dose, place in zip(u, equations.boluses, strict=True)]
        slopes = equations.slope(maths, y, rates, p)
        for j, place in enumerate(equations.boluses):
            if place is not None:
                slopes[place] = slopes[place] + pulse * u[j]
            if np.isfinite(setting.budget[j]):
                given = m.Var(value=0.0, lb=0.0, ub=float(setting.budget[j]))
                m.Equation(given.dt() == pulse * u[j])
        for state, slope in zip(y, slopes, strict=True):
            m.Equation(state.dt() == slope)
        cost = m.Var(value=0.0)
        used = sum(dose / float(most) for dose, most in zip(u, setting.most, strict=True)) / len(u)
        m.Equation(cost.dt() == equations.cost(maths, y, p) + self.benchmark.drug_use * used)
        m.Minimize(cost * last / setting.horizon)
        m.options.IMODE, m.options.SOLVER, m.options.NODES = 6, 3, 3
        m.options.MAX_TIME, m.options.MAX_ITER = self.cap, 500
        return m, u

    def solve(self, patient: Sequence[float] | None = None) -> Answer:
        """From the even schedule."""
        model, doses = self._model(patient)
        try:
            model.solve(disp=False)
            note = "" if model.options.APPSTATUS == 1 else "no solution"
            iterations = int(model.options.ITERATIONS)
        except Exception as error:  # GEKKO raises bare exceptions
            note, iterations = " ".join(str(error).split())[:80] or "failed", 0
        finally:
            model.cleanup()
        held = [np.array(list(dose.value), float) for dose in doses]
        stride = 1 + len(_POINTS)
        if any(values.size != len(model.time) for values in held):
            return Answer(self.setting.start(), iterations, 0, note)
        return Answer(np.stack([values[1::stride] for values in held], axis=1), iterations, 0, note)


def build(benchmark: Benchmark) -> Gekko:
    """The contender."""
    return Gekko(benchmark)
