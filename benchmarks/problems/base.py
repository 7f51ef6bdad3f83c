"""What a contender types in: the equations once, for plain Python, CasADi and GEKKO alike, in day, cell and mg/L."""

import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

SCENARIOS = Path(__file__).parents[1] / "scenarios"


class Maths(NamedTuple):
    """Functions of the library in which the equations are written down.

    Attributes:
        exp: exponential.
        log10: decadic logarithm.
        ramp: max(x, 0), rounded where a solver cannot do with the corner.
        base: what is raised to a power, kept from below zero where the library does not do so itself.
        softplus: log(1 + exp(x)).
    """

    exp: Callable[[Any], Any]
    log10: Callable[[Any], Any]
    ramp: Callable[[Any], Any]
    base: Callable[[Any], Any]
    softplus: Callable[[Any], Any]


class Equations(Protocol):
    """One patient's equations; `p` holds the numbers in which patients differ, in the order of `typical`.

    Attributes:
        typical: those numbers of the typical patient.
        boluses: state that each drug's bolus enters; None for an infusion.
        least: smallest value of each state; None where there is none.
    """

    typical: tuple[float, ...]
    boluses: tuple[int | None, ...]
    least: tuple[float | None, ...]

    def first(self, p: Sequence[Any], maths: Maths) -> list[Any]:
        """State at the start."""
        ...

    def slope(self, maths: Maths, y: Sequence[Any], rate: Sequence[Any], p: Sequence[Any]) -> list[Any]:
        """Derivative of the state [1/day] under infusions at `rate`."""
        ...

    def cost(self, maths: Maths, y: Sequence[Any], p: Sequence[Any]) -> Any:
        """What is averaged over the horizon."""
        ...


class Setting(NamedTuple):
    """Limits and times, as the scenario file has them.

    Attributes:
        edges: of the decision intervals [K + 1, day].
        most: largest dose of each drug [N].
        budget: largest sum of each drug's doses [N]; infinite where there is none.
    """

    edges: np.ndarray
    most: np.ndarray
    budget: np.ndarray

    @property
    def intervals(self) -> int:
        """Number of intervals K."""
        return len(self.edges) - 1

    @property
    def horizon(self) -> float:
        """End of the last interval [day]."""
        return float(self.edges[-1])

    def start(self) -> np.ndarray:
        """The even schedule that every contender starts from [K, N]: half of what is allowed, or nearly the budget."""
        level = np.minimum(0.5 * self.most, 0.97 * self.budget / self.intervals)
        return np.tile(level, (self.intervals, 1))

    def inside(self, doses: np.ndarray) -> np.ndarray:
        """Doses [K, N] moved onto the limits that they overstep; a solver's tolerance is no license to give more."""
        doses = np.clip(np.reshape(doses, (self.intervals, -1)), 0.0, self.most)
        total = doses.sum(axis=0)
        return doses * np.where(total > self.budget, (self.budget / np.maximum(total, 1e-300)) * (1.0 - 1e-12), 1.0)


def _number(quantity: Any) -> float:
    return float(str(quantity).split()[0])


@dataclass(frozen=True)
class Benchmark:
    """A problem, as our scenario file and as the equations that the contenders are given.

    Attributes:
        name: in tables; our scenario is benchmarks/scenarios/NAME.toml.
        title: one line.
        equations: with every fast factor at its quasi-steady level, as most people would write them for RK4.
        full: the same with nothing simplified, for odeint and GEKKO.
        steps: RK4 steps in a decision interval.
        drug_use: weight of the mean share of the largest dose.
        patients: size of the cohort that is timed.
        starts: of the search in the part `seeds`; None where that is not measured.
        temperatures: of a smoothed objective, from rough to fine; the temperature is the last entry of `p`.
        quadrature: whether our integrator is a plain quadrature, which has a target of its own.
    """

    name: str
    title: str
    equations: Equations
    full: Equations
    steps: int
    drug_use: float = 0.0
    patients: int = 64
    starts: int | None = None
    temperatures: tuple[float, ...] = ()
    quadrature: bool = False

    @property
    def path(self) -> Path:
        """Our scenario file."""
        return SCENARIOS / f"{self.name}.toml"

    @cached_property
    def setting(self) -> Setting:
        """Limits and times; read without our package, whose import would be charged to the contenders."""
        table = tomllib.loads(self.path.read_text(encoding="utf-8"))
        every, horizon = (_number(table["decision"][key]) for key in ("every", "horizon"))
        limits = {c["drug"]: _number(c["limit"]) for c in table.get("constraint", [])}
        drugs = table["drug"]
        count = math.ceil(horizon / every - 1e-9)
        return Setting(
            edges=np.array([*(every * np.arange(count)), horizon]),
            most=np.array([_number(drug["dose"]["max"]) for drug in drugs]),
            budget=np.array([limits.get(drug["name"], math.inf) for drug in drugs]),
        )

    def numbers(self, patient: Sequence[float] | None = None, temperature: float | None = None) -> np.ndarray:
        """The equations' `p` of a patient, the typical one when None."""
        typical = np.array(self.equations.typical)
        if patient is not None:
            typical[: len(patient)] = patient
        if temperature is not None:
            typical[-1] = temperature
        return typical
