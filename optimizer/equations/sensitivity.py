"""Courses of a model in equations and how they change with free numbers: forward sensitivities by complex steps.

    y' = f(y, p, t)        S' = df/dy S + df/dp        S = dy/dp

S' is the imaginary part of f(y + i h S, p + i h) / h, exact to rounding for any small h (Squire and Trapp 1998, doi
10.1137/S003614459631241X). y and S are one system for the step control, so that the derivatives are as sure as the
values (LSODA: Petzold 1983, doi 10.1137/0904010). Values themselves are computed with real numbers: a logarithm of a
negative number is none.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.integrate import ODEintWarning, odeint

from optimizer.equations.expression import COMPARISONS, TIME, Tree, parse
from optimizer.equations.imported import Imported
from optimizer.equations.values import Values

_STEP = 1e-30
_RTOL, _ATOL, _MOST_STEPS = 1e-8, 1e-12, 20_000
# A steady state: what still changes in a day as a share of what is there; and the power of ten of days waited for it.
_STEADY, _LONGEST = 1e-9, 8


@dataclass(frozen=True)
class Experiment:
    """What is done to a model, in the names of its equations."""

    begin: float  #: time at which it starts [day]; -inf where a steady state is before the first of `later`
    first: Mapping[str, Tree]  #: equations of numbers at the start, over numbers of the problem
    #: times [day] and equations of what is set then, over everything at that time
    later: Sequence[tuple[float, Mapping[str, Tree]]] = ()


class _Steps(Values):
    """Numbers with an imaginary part for each direction; what is compared is the real part."""

    def of(self, tree: Tree) -> Any:
        if isinstance(tree, tuple) and tree[0] in COMPARISONS:
            kept = Values({"a": np.real(self.of(tree[1])), "b": np.real(self.of(tree[2]))}, {}, np)
            return kept.of((tree[0], "a", "b"))
        if isinstance(tree, tuple) and tree[0] == "abs":
            x = self.of(tree[1])
            return np.where(np.real(x) < 0.0, -x, x)
        return super().of(tree)


@dataclass(frozen=True)
class Dual:
    """Numbers by name and their derivatives: each value NumPy's own, for division by zero, each derivative [P]."""

    values: dict[str, np.float64]
    slopes: dict[str, Float[np.ndarray, "P"]]

    def of(self, tree: Tree, outputs: Mapping[str, Tree], width: int) -> tuple[np.float64, Float[np.ndarray, "P"]]:
        """Value and derivative [P] of a tree."""
        return self.all_of([tree], outputs, width)[0]

    def all_of(
        self, trees: Sequence[Tree], outputs: Mapping[str, Tree], width: int
    ) -> list[tuple[np.float64, Float[np.ndarray, "P"]]]:
        """Values and derivatives [P] of trees."""
        moved = {name: self.values[name] + 1j * _STEP * slope for name, slope in self.slopes.items()} if width else {}
        return _evaluated(self.values, moved, trees, outputs, width)


_NONE = np.zeros(0)


def _evaluated(
    values: Mapping[str, np.float64],
    moved: Mapping[str, np.ndarray],
    trees: Sequence[Tree],
    outputs: Mapping[str, Tree],
    width: int,
) -> list[tuple[np.float64, np.ndarray]]:
    """Trees at real numbers, and their derivatives by those that have an imaginary part."""
    real = Values(values, outputs, np)
    found = [real.of(tree) for tree in trees]
    if not width:
        return [(value, _NONE) for value in found]
    steps, flat = _Steps({**values, **moved}, outputs, np), np.zeros(width)
    return [(value, flat + np.imag(steps.of(tree)) / _STEP) for value, tree in zip(found, trees, strict=True)]


class Courses:
    """A model whose free numbers are given when it is run.

    Args:
        found: the model; its doses are given as it says.
        fixed: further numbers by name.
        free: names of the free numbers [P].
    """

    def __init__(self, found: Imported, fixed: Mapping[str, float], free: Sequence[str]):
        self.found, self.free = found, tuple(free)
        self.own = {found.called.get(name, name): value for name, value in found.constants.items()}
        self.fixed = {name: value for name, value in fixed.items() if name not in self.free}
        self.rates = [parse(text) for text in found.rates.values()]
        self.outputs = {name: parse(text) for name, text in found.outputs.items()}
        self.states = tuple(found.states)

    def run(
        self, theta: Float[np.ndarray, "P"], how: Experiment, times: Sequence[float], sensitive: bool = True
    ) -> list[Dual]:
        """Every number at each time [day, in order], after what is set at that time; NaN where it cannot be solved."""
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ODEintWarning)
            return self._run(theta, how, times, len(theta) if sensitive else 0)

    def _run(self, theta: np.ndarray, how: Experiment, times: Sequence[float], width: int) -> list[Dual]:
        known = self._start(theta, how, width)
        given = [(day, {state: ("+", state, amount)}) for state, day, amount in self.found.doses if day >= how.begin]
        changes: list[tuple[float, Mapping[str, Tree]]] = sorted([*how.later, *given], key=lambda change: change[0])
        if how.begin == -np.inf:
            known = self._settled(known, width)
            known.values[TIME] = np.float64(changes[0][0] if changes else 0.0)
        out: list[Dual] = []
        for day, trees in [*changes, (np.inf, {})]:
            before = [time for time in times[len(out) :] if time < day]
            is_last = len(out) + len(before) == len(times)
            *seen, known = self._moved(known, before if is_last else [*before, day], width) or [known]
            out += [*seen, known] if is_last else seen
            if is_last:
                break
            found = known.all_of(list(trees.values()), self.outputs, width)
            for name, (value, slope) in zip(trees, found, strict=True):
                known.values[name], known.slopes[name] = value, slope
        return out[: len(times)]

    def _settled(self, known: Dual, width: int) -> Dual:
        """The steady state that is reached, NaN where none is."""
        for until in 10.0 ** np.arange(2.0, _LONGEST + 1.0):
            known = self._moved(known, [known.values[TIME] + until], width)[-1]
            rates = known.all_of(self.rates, self.outputs, width)
            left = [abs(rate) / (1.0 + abs(known.values[n])) for n, (rate, _) in zip(self.states, rates, strict=True)]
            left += [
                np.max(np.abs(slope)) / (1.0 + np.max(np.abs(known.slopes[name])))
                for name, (_, slope) in zip(self.states, rates, strict=True)
                if width
            ]
            if max(left, default=0.0) <= _STEADY:
                return known
        return Dual(dict.fromkeys(known.values, np.float64(np.nan)), known.slopes)

    def _start(self, theta: np.ndarray, how: Experiment, width: int) -> Dual:
        """Every number at the start."""
        problem = Dual(
            {name: np.float64(x) for name, x in (self.fixed | dict(zip(self.free, theta, strict=True))).items()},
            dict(zip(self.free, np.eye(width), strict=True)) if width else {},
        )
        set_first = dict(zip(how.first, problem.all_of(list(how.first.values()), {}, width), strict=True))
        starting = {n: t for n, t in self.found.starting.items() if n not in set_first and n not in problem.values}
        numbers = {name: np.float64(value) for name, value in (dict(self.found.states) | self.own).items()}
        values = {name: value for name, value in numbers.items() if name not in starting} | problem.values
        known = Dual(values | {TIME: np.float64(how.begin if np.isfinite(how.begin) else 0.0)}, dict(problem.slopes))
        for name, (value, slope) in set_first.items():
            known.values[name], known.slopes[name] = value, slope
        if starting:
            found = known.all_of(list(starting), self.outputs | starting, width)
            for name, (value, slope) in zip(starting, found, strict=True):
                known.values[name], known.slopes[name] = value, slope
        if width:
            known.slopes.update({name: np.zeros(width) for name in self.states if name not in known.slopes})
        return known

    def _moved(self, known: Dual, times: Sequence[float], width: int) -> list[Dual]:
        """The same numbers at later times."""
        names, count, now = self.states, len(self.states), known.values[TIME]
        still = {name: known.values[name] + 1j * _STEP * slope for name, slope in known.slopes.items()}

        def real(time: float, both: np.ndarray) -> dict[str, np.float64]:
            return {**known.values, TIME: np.float64(time), **dict(zip(names, both[:count], strict=True))}

        def at(time: float, both: np.ndarray) -> Dual:
            slopes = dict(zip(names, both[count:].reshape(count, width), strict=True)) if width else {}
            return Dual(real(time, both), {**known.slopes, **slopes})

        def field(time: float, both: np.ndarray) -> np.ndarray:
            steps = both[:count, None] + 1j * _STEP * both[count:].reshape(count, width)
            moved = {**still, **dict(zip(names, steps, strict=True))}
            found = _evaluated(real(time, both), moved, self.rates, self.outputs, width)
            return np.concatenate([[value for value, _ in found], *(slope for _, slope in found)])

        first = [np.array([known.values[name] for name in names])]
        first += [known.slopes[name] for name in names] if width else []
        if not names or all(time == now for time in times) or not np.all(np.isfinite(first[0])):
            return [at(time, np.concatenate(first)) for time in times]
        how: dict[str, Any] = {"rtol": _RTOL, "atol": _ATOL, "mxstep": _MOST_STEPS, "tfirst": True}
        ends, said = odeint(field, np.concatenate(first), [now, *times], full_output=True, **how)
        if not said["message"].startswith("Integration successful"):
            ends = np.full_like(ends, np.nan)
        return [at(time, both) for time, both in zip(times, ends[1:], strict=True)]
