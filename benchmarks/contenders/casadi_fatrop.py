"""CasADi and FATROP: the expert's program stage by stage, its linear systems solved by a Riccati recursion.

Vanroye et al. 2023, "FATROP: a fast constrained optimal control problem solver", doi 10.1109/IROS55552.2023.10342336.
FATROP takes no limit on a sum over stages, so that what was given of each limited drug is a state of its own.
"""

from collections.abc import Sequence
from functools import cached_property

import casadi as ca
import numpy as np

from benchmarks.contenders import casadi_expert
from benchmarks.contenders.base import Answer
from benchmarks.contenders.casadi_usual import Program
from benchmarks.problems.base import Benchmark

OPTIONS = {"print_level": 0, "tol": 1e-8, "max_iter": 500}


class Fatrop:
    """Multiple shooting as FATROP wants it: variables and constraints in the order of the stages.

    Args:
        benchmark: what is asked.
        program: whose intervals are taken, and their options and functions.
    """

    def __init__(self, benchmark: Benchmark, program: Program):
        self.benchmark, self.setting, self.program = benchmark, benchmark.setting, program
        self.limited = np.flatnonzero(np.isfinite(self.setting.budget))
        self.size = program.size + self.limited.size

    @cached_property
    def solver(self) -> ca.Function:
        """FATROP with the derivatives of the stages; the first has no state, as it is given."""
        program, setting, k = self.program, self.setting, self.program.count
        p = ca.MX.sym("p", len(self.benchmark.equations.typical))
        shares = [ca.MX.sym(f"u{i}", program.drugs) for i in range(k)]
        states = [ca.MX.sym(f"x{i}", self.size) for i in range(1, k + 1)]
        begins = [ca.vertcat(program.first(p), ca.DM.zeros(self.limited.size)), *states[:-1]]
        pick = ca.DM(np.eye(program.drugs)[self.limited])
        rows, objective = [], 0
        for i, (begin, share, end) in enumerate(zip(begins, shares, states, strict=True)):
            interval = program.last if i == k - 1 else program.whole
            reached, cost = interval(begin[: program.size], share * ca.DM(setting.most), p)
            rows.append(end - ca.vertcat(reached, begin[program.size :] + pick @ share))
            objective += cost / setting.horizon
            objective += self.benchmark.drug_use * ca.sum1(share) / (k * program.drugs)
        variables = [one for pair in zip(shares, states, strict=True) for one in pair]
        nlp = {
            "x": ca.vertcat(*variables),
            "p": p,
            "f": objective,
            "g": ca.vertcat(*rows, states[-1][program.size :]),
        }
        structure = {
            "structure_detection": "manual",
            "N": k,
            "nx": [0] + [self.size] * k,
            "nu": [program.drugs] * k + [0],
            "ng": [0] * k + [self.limited.size],
            "equality": [True] * (self.size * k) + [False] * self.limited.size,
        }
        return ca.nlpsol("solver", "fatrop", nlp, {"print_time": False, "expand": True, "fatrop": OPTIONS, **structure})

    @cached_property
    def bounds(self) -> dict[str, np.ndarray]:
        """Of variables and constraints."""
        program, k = self.program, self.program.count
        least = [-np.inf if low is None else low for low in self.benchmark.equations.least]
        low = np.r_[np.zeros(program.drugs), least, np.full(self.limited.size, -np.inf)]
        high = np.r_[np.ones(program.drugs), np.full(self.size, np.inf)]
        most = (self.setting.budget / self.setting.most)[self.limited]
        return {
            "lbx": np.tile(low, k),
            "ubx": np.tile(high, k),
            "lbg": np.r_[np.zeros(self.size * k), np.full(self.limited.size, -np.inf)],
            "ubg": np.r_[np.zeros(self.size * k), most],
        }

    def _simulated(self, shares: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Variables at shares [K, N]."""
        program, given = self.program, np.zeros(self.limited.size)
        state, path = program.first(p), []
        for i, share in enumerate(shares):
            interval = program.last if i == program.count - 1 else program.whole
            state, given = interval(state, share * self.setting.most, p)[0], given + share[self.limited]
            path += [share, np.array(state).ravel(), given]
        return np.concatenate(path)

    def solve(self, patient: Sequence[float] | None = None) -> Answer:
        """From the even schedule; where there are temperatures, down through them."""
        shares, program = self.setting.start() / self.setting.most, self.program
        iterations = 0
        for temperature in self.benchmark.temperatures or (None,):
            p = self.benchmark.numbers(patient, temperature)
            out = self.solver(x0=self._simulated(shares, p), p=p, **self.bounds)
            stats = self.solver.stats()
            iterations += stats["iter_count"]
            stages = np.array(out["x"]).reshape(program.count, -1)
            shares = np.clip(stages[:, : program.drugs], 0.0, 1.0)
        note = "" if stats["success"] else stats["return_status"]
        return Answer(shares * self.setting.most, iterations, 0, str(note))


def build(benchmark: Benchmark) -> Fatrop:
    """The contender, its solver made."""
    made = Fatrop(benchmark, casadi_expert.program(benchmark))
    _ = made.solver
    return made
