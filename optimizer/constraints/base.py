"""The two protocols of constraints."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import equinox as eqx
import numpy as np
from equinox import AbstractClassVar

from optimizer.axes import Scalar, Times
from optimizer.constraints.given import Given
from optimizer.objectives.base import Scene


class ConstraintError(ValueError):
    """A constraint that does not fit its drugs or its grid, or contradicts another one."""


@dataclass(frozen=True)
class Check:
    """One constraint as reported."""

    name: str  #: of the limit
    value: float  #: what was reached; not a number where the limit is not checked
    limit: float  #: what is allowed
    violation: float  #: relative; 0 when the limit holds
    is_checked: bool = True  #: whether the limit has a meaning for these doses; some have none off the decision grid

    @property
    def wanted(self) -> str:
        """What a value that breaks the limit should have been: one below it breaks a least value."""
        return f"at {'least' if self.value < self.limit else 'most'} {self.limit:.6g}"

    @classmethod
    def at_most(cls, name: str, value: float, limit: float, size: float = 0.0) -> "Check":
        """A value that may not pass a limit; the excess is relative to the limit, or to `size` where that is 0."""
        return cls(name, value, limit, max(value - limit, 0.0) / (abs(limit) or size or 1e-300))

    @classmethod
    def unsaid(cls, name: str, limit: float) -> "Check":
        """A limit that means nothing for these doses."""
        return cls(name, float("nan"), limit, 0.0, is_checked=False)


@dataclass(frozen=True)
class Row:
    """One linear limit on the doses: sum of coefficients times doses <= limit."""

    name: str  #: what a report calls it
    used: tuple[np.ndarray, int]  #: intervals whose doses it limits [n], and the drug
    weights: np.ndarray  #: coefficient of each of these doses [n]
    shape: tuple[int, int]  #: of the doses, (K, N)
    limit: float  #: right-hand side
    key: str  #: what the limit is about; the report shows the worst row of each key

    @property
    def coefficients(self) -> np.ndarray:
        """Coefficients of all doses [K, N]."""
        out = np.zeros(self.shape)
        out[self.used] = self.weights
        return out


@dataclass
class DoseFrame:
    """Doses to be limited: bounds that constraints tighten, rows that they add."""

    drugs: tuple[str, ...]  #: names [N]
    routes: tuple[str, ...]  #: "bolus" or "infusion" [N]
    edges: np.ndarray  #: of the decision intervals [K + 1, day]
    lower: np.ndarray  #: smallest doses [K, N]
    upper: np.ndarray  #: largest doses [K, N]
    rows: list[Row] = field(default_factory=list)  #: linear limits
    levels: dict[str, np.ndarray] = field(default_factory=dict)  #: by drug, the allowed doses: an increasing array
    own: tuple[np.ndarray, np.ndarray] = field(init=False)  #: smallest and largest doses before any limit

    def __post_init__(self) -> None:
        self.own = self.lower.copy(), self.upper.copy()

    def column(self, drug: str) -> int:
        """Index of a drug by name.

        Raises:
            ConstraintError: no such drug.
        """
        if drug not in self.drugs:
            raise ConstraintError(f"wanted one of the drugs {', '.join(self.drugs)}, got {drug!r}")
        return self.drugs.index(drug)

    def amounts(self, drug: str) -> np.ndarray:
        """What one unit of dose in each interval adds to the cumulative dose [K]: 1, or the length for an infusion."""
        lengths = np.diff(self.edges)
        return lengths if self.routes[self.column(drug)] == "infusion" else np.ones_like(lengths)

    def check(self) -> None:
        """Refuse limits that no doses satisfy, naming them (a linear program over the doses).

        Raises:
            ConstraintError: which limit.
        """
        crossed = np.argwhere(self.lower > self.upper)
        if crossed.size:
            k, j = crossed[0]
            raise ConstraintError(
                f"dose bounds of {self.drugs[j]} from day {self.edges[k]:g}: the smallest dose {self.lower[k, j]:g} "
                f"exceeds the largest dose {self.upper[k, j]:g}"
            )
        if not self.rows:
            return
        matrix = np.array([row.coefficients.ravel() for row in self.rows])
        limits = np.array([row.limit for row in self.rows])
        if np.all(matrix @ self.lower.ravel() <= limits):
            return  # the smallest doses do
        from scipy.optimize import linprog

        bounds = np.stack([self.lower.ravel(), self.upper.ravel()], -1)
        size = matrix.shape[1]
        # Minimize the largest relative relaxation: zero when the limits agree.
        relax = np.maximum(np.abs(limits), 1.0)[:, None]
        answer = linprog(
            np.r_[np.zeros(size), 1.0],
            A_ub=np.hstack([matrix, -relax]),
            b_ub=limits,
            bounds=[*bounds, (0.0, None)],
        )
        if answer.x[-1] > 1e-12:
            worst = int(np.argmax(matrix @ answer.x[:-1] - limits))
            row = self.rows[worst]
            least = linprog(matrix[worst], bounds=bounds).fun
            raise ConstraintError(
                f"{row.name}: no schedule satisfies the dose limits together; this one allows {row.limit:g} while the "
                f"other limits ask for at least {max(least, float(matrix[worst] @ answer.x[:-1])):g}"
            )


class AbstractDoseLimit(eqx.Module):
    """A limit on doses alone: linear, so that the search stays inside it and the schedule satisfies it exactly."""

    kind: AbstractClassVar[str]

    @abstractmethod
    def apply(self, frame: DoseFrame) -> None:
        """Tighten the frame's bounds, add rows, or name the allowed levels.

        Raises:
            ConstraintError: the limit does not fit the drugs or the grid.
        """

    def judge(self, frame: DoseFrame, given: Sequence[Given]) -> Check | None:
        """The limit on doses in continuous time, those of each drug [N], that are off the decision grid.

        None where another limit speaks for this one. Left to itself, a limit says that it was not checked.
        """
        return Check.unsaid(self.kind, float("nan"))


class Reading(NamedTuple):
    """A state limit read off a trajectory."""

    excess: Times  #: relative violation where positive, at each saved time [T], or one number [1]
    value: Scalar  #: the number that the limit is about (its worst over time)
    limit: Scalar  #: the limit in the same unit


class AbstractStateLimit(eqx.Module):
    """A limit on what the doses do: enforced by multipliers in the search, checked in the audit."""

    kind: AbstractClassVar[str]
    # Whether the excess at a saved time hangs on what is saved in the same interval (and the cells at the start) alone.
    is_local: ClassVar[bool] = False
    # Observables of the model that the limit reads.
    needs: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def read(self, scene: Scene) -> Reading:
        """Where, and by how much, the limit is violated."""

    def label(self) -> str:
        """Name in reports."""
        return self.kind
