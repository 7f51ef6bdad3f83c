"""What descents found: which ends keep the limits, which is the best, and which are one optimum."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from optimizer.search.result import Optimum
from optimizer.search.screening import LIMIT_TOLERANCE, ranked

# Objectives closer than this (relative to one or the value) may belong to one optimum.
_SAME = 1e-5


@dataclass(frozen=True)
class Solutions:
    """Ends of R descents."""

    points: Float[np.ndarray, "R n"]  #: flattened shares [R, n]
    values: Float[np.ndarray, "R"]  #: objective as reported [R]
    excess: Float[np.ndarray, "R"]  #: worst relative excess of a limit on states [R]
    converged: Bool[np.ndarray, "R"]  #: whether a descent reached the tolerance [R]; one that breaks a limit has not

    @property
    def feasible(self) -> Bool[np.ndarray, "R"]:
        """Which ends are finite and keep the limits on states."""
        return np.isfinite(self.values) & (self.excess <= LIMIT_TOLERANCE)

    @property
    def order(self) -> np.ndarray:
        """Ends from the best to the worst [R]: those that break a limit by how far, what is not finite last."""
        return ranked(self.values, self.excess)

    @property
    def best(self) -> int:
        """The best end that keeps the limits; where none does, the one that comes nearest."""
        return int(self.order[0])

    @property
    def last_improvement(self) -> int:
        """The descent, counted from 0, after which none found a better end that keeps the limits."""
        values = np.where(self.feasible, self.values, np.inf)
        return int(np.argmax(values <= values.min() + _near(values.min())))

    def distinct(
        self, evaluate: Callable[[np.ndarray], float], doses: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[Optimum, ...]:
        """Group converged ends, best first: two are one optimum when the objective does not rise between them.

        Args:
            evaluate: the objective of a point; asked for the middle of two points of nearly equal value.
            doses: schedule [K, N] of a point.
        """
        groups: list[list[int]] = []
        for i in self.order:
            if not (self.converged[i] and self.feasible[i]):
                continue
            for group in groups:
                first = group[0]
                near = _near(self.values[first])
                if self.values[i] - self.values[first] > near:
                    continue
                if evaluate(0.5 * (self.points[i] + self.points[first])) <= self.values[i] + near:
                    group.append(int(i))
                    break
            else:
                groups.append([int(i)])
        return tuple(Optimum(float(self.values[g[0]]), len(g), doses(self.points[g[0]])) for g in groups)


def _near(value: float) -> float:
    return _SAME * max(1.0, abs(float(value)))
