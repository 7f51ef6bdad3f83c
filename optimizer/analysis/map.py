"""Maps: what a schedule of repeated doses comes to over any two numbers of a scenario, all points as one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.analysis.axes import EVERY, Axis, Number, axis_of, check_together, fixed_of
from optimizer.analysis.repeated import repeated_drugs
from optimizer.scenario import Scenario
from optimizer.scenario.faults import one_of
from optimizer.scenario.fields import MAX_LIST
from optimizer.scenario.plan import RegimenPlan
from optimizer.settings import OptionError
from optimizer.status import DISCLAIMER

if TYPE_CHECKING:
    import xarray as xr

_MOST_POINTS = 250_000
_MOST_DOSES = 50_000_000
# Values that differ by less, relative to their size or to one, are equal.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Quantity:
    """One number of every point, as it is drawn."""

    name: str  #: "objective", the name of a term, "mean_last", "peak_last", "progression_day" or "amount NAME"
    meaning: str  #: with its unit, for a reader
    unit: str  #: of the values
    values: np.ndarray  #: [Y, X]; NaN where there is none
    small_is_good: bool | None = True  #: whether the best is the smallest one; None where neither end is good

    def best(self) -> list[int | None]:
        """Number of the best y for each x [X]; None where no y is better than the others by more than rounding.

        A time that some y never reach has no best either: they are as good as each other.
        """
        if self.small_is_good is None:
            return [None] * self.values.shape[1]
        return [self._best_of(column) for column in self.values.T]

    def _best_of(self, column: np.ndarray) -> int | None:
        known = np.isfinite(column)
        if not known.any() or not (self.small_is_good or known.all()):
            return None
        if known.all() and np.ptp(column) <= _ROUNDING * max(1.0, float(np.abs(column).max())):
            return None
        return int(np.argmin(np.where(known, column if self.small_is_good else -column, np.inf)))


@dataclass(frozen=True)
class Map:
    """What `compute` found."""

    x: Axis  #: the axis to the right
    y: Axis  #: the axis upwards
    fixed: Mapping[str, tuple[float, str]]  #: keys that were held, with their values and units
    regimen: str  #: name of the regimen that the other drugs follow; empty where they are not given
    last: float  #: days at the end over which mean and peak are taken
    quantities: Mapping[str, Quantity]  #: by name
    failed: int  #: points whose simulation is not finite
    precision: str  #: of the numbers, "float64" or "float32"

    def best(self, name: str) -> list[dict[str, float | None]]:
        """The best y for each x by a quantity."""
        quantity, found = self.quantities[name], []
        for i, j in enumerate(quantity.best()):
            value = (None, None) if j is None else (float(self.y.values[j]), float(quantity.values[j, i]))
            found.append({"x": float(self.x.values[i]), "y": value[0], "value": value[1]})
        return found

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON; what is not a number becomes null."""
        held = {key: {"value": value, "unit": unit} for key, (value, unit) in self.fixed.items()}
        out: dict[str, Any] = {"x": self.x.to_json(), "y": self.y.to_json(), "at": held, "regimen": self.regimen}
        out |= {"last_days": self.last, "limits": "limits on doses and states are not applied", "failed": self.failed}
        out["precision"] = self.precision
        out["quantities"] = {
            name: {"meaning": q.meaning, "unit": q.unit, "values": q.values.tolist()}
            for name, q in self.quantities.items()
        }
        out["best"] = {name: self.best(name) for name, q in self.quantities.items() if q.small_is_good is not None}
        return out


@dataclass(frozen=True)
class Request:
    """What a map is asked for, read and checked."""

    x: Axis
    y: Axis
    fixed: tuple[tuple[Number, float], ...]  #: numbers that are held, with their values
    regimen: RegimenPlan | None  #: what the drugs get that are not given every so many days
    last: float  #: days at the end over which mean and peak are taken

    @property
    def numbers(self) -> list[Number]:
        """All that differ from the scenario, the axes first."""
        return [self.x.number, self.y.number, *(number for number, _ in self.fixed)]

    def quantities(self, scenario: Scenario) -> list[str]:
        """Names of what is computed at each point."""
        terms = [part.kind for _, part in scenario.plan.objective]
        amounts = [f"amount {scenario.plan.drugs[j].name}" for j in repeated_drugs(self.numbers)]
        return ["objective", *terms, "mean_last", "peak_last", "progression_day", *amounts]

    def points(self) -> np.ndarray:
        """Values of the numbers at each point [P, A], x running fastest."""
        ys, xs = np.meshgrid(self.y.values, self.x.values, indexing="ij")
        held = [np.full(xs.size, value) for _, value in self.fixed]
        return np.column_stack([xs.ravel(), ys.ravel(), *held])


def request(
    scenario: Scenario, x: str, y: str, at: Sequence[str] = (), regimen: str | None = None, last: float = 30.0
) -> Request:
    """Read the options of a map: its axes, numbers to hold, a regimen by name, and the last days for mean and peak.

    Raises:
        OptionError: a key, a range, a combination or a regimen that is not one.
    """
    plan = scenario.plan
    axes = axis_of(plan, "--x", x), axis_of(plan, "--y", y)
    fixed = tuple(fixed_of(plan, "--at", text) for text in at)
    asked = Request(*axes, fixed, _regimen(scenario, regimen), last)
    check_together(plan, asked.numbers)
    size = axes[0].values.size * axes[1].values.size
    if size > _MOST_POINTS:
        raise OptionError(f"--x and --y: wanted at most {_MOST_POINTS} points; got {size}")
    if not 0.0 < last <= plan.horizon:
        raise OptionError(f"--last: wanted more than 0 and at most the horizon, {plan.horizon:g} day; got {last:g} day")
    shortest = min(
        [a.values[0] for a in axes if a.number.kind == EVERY] + [v for n, v in fixed if n.kind == EVERY] + [1e9]
    )
    most = plan.horizon / shortest
    if most > MAX_LIST or most * size * len(plan.drugs) > _MOST_DOSES:
        wanted = f"at most {MAX_LIST} doses in {plan.horizon:g} day, and {_MOST_DOSES:.0e} in all points"
        raise OptionError(f"decision.every: wanted {wanted}; got one every {shortest:g} day")
    return asked


def _regimen(scenario: Scenario, name: str | None) -> RegimenPlan | None:
    if name is None:
        return None
    known = {r.name: r for r in scenario.plan.regimens if r.doses is not None and r.other is None}
    if name not in known:
        listed = (
            one_of(list(known), name) if known else f'wanted a regimen that lists its doses; got "{name}", and no such'
        )
        raise OptionError(f"--regimen: {listed}")
    return known[name]


def dataset(found: Map) -> "xr.Dataset":
    """The map with names and units, as it is written to `map.nc`; coordinates are called x and y."""
    axes = {
        name: (name, axis.values, {"units": axis.number.unit, "long_name": axis.number.key})
        for name, axis in (("x", found.x), ("y", found.y))
    }
    values = {
        name.replace(" ", "_"): (("y", "x"), q.values, {"units": q.unit, "long_name": q.meaning})
        for name, q in found.quantities.items()
    }
    held = [f"{key} = {value!r} {unit}" for key, (value, unit) in found.fixed.items()]
    attributes = {"Conventions": "CF-1.11", "comment": DISCLAIMER, "at": "; ".join(held), "regimen": found.regimen}
    attributes["precision"] = found.precision
    import xarray as xr

    return xr.Dataset(values, axes, attributes)
