"""A checked scenario: plain numbers in internal units, names resolved, nothing built yet."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizer.fields import default_of, describe
from optimizer.files.prescriptions import Form
from optimizer.scenario.fields import DOSE, DRUG_FIELDS, TOTAL, Sizes, level_unit
from optimizer.simulate.forms import tablets_fit
from optimizer.units import format_quantity


def written(value: Any, unit: Any) -> Any:
    """A value as a scenario would write it: a bare number where there is no unit, else "NUMBER UNIT" text."""
    if isinstance(value, Mapping):
        return {name: written(item, unit[name]) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [written(item, unit) for item in value]
    if isinstance(value, bool | str) or unit == "":
        return value
    if unit in ("1", "cell"):
        return value if isinstance(value, int) else float(value) + 0.0
    return format_quantity(float(value), unit)


@dataclass(frozen=True)
class Part:
    """One object of the numeric core, to be built."""

    kind: str  #: its word in the scenario
    cls: type  #: its class
    values: Mapping[str, Any]  #: what its fields are given, in internal units; fields left out keep their default
    units: Mapping[str, Any]  #: unit of each of those values, of a table by name; empty for text
    key: str = "kind"  #: the word of a scenario that chooses the kind; empty where none does
    direct: bool = False  #: whether a concentration has no unit

    def filled(self) -> "Part":
        """The part with the defaults of its class, so that one that is written out and read again is the same."""
        values, units = dict(self.values), dict(self.units)
        for name, info in describe(self.cls).items():
            default = default_of(self.cls, name)
            is_said = name in values or info.unit in (DOSE, TOTAL) or name in DRUG_FIELDS
            if not is_said and default is not dataclasses.MISSING and default is not None:
                values[name], units[name] = default, level_unit(info.unit, self.direct)
        return dataclasses.replace(self, values=values, units=units)

    def table(self) -> dict[str, Any]:
        """The part as a table of the scenario, the defaults of its class spelled out."""
        full, chosen = self.filled(), {self.key: self.kind} if self.key else {}
        return chosen | {name: written(value, full.units.get(name, "")) for name, value in full.values.items()}


@dataclass(frozen=True)
class Drug:
    """A drug: doses are in `dose_unit`, sums of doses in `total_unit`."""

    name: str
    role: Part
    route: str  #: "bolus" (an amount a decision) or "infusion" (a rate), as the numeric core has it
    pk: Part
    dose_unit: str
    total_unit: str
    direct: bool
    minimum: float
    maximum: float
    doi: tuple[str, ...]
    #: time between two tablets, whose daily dose is the rate [day]; None where there are none
    every: float | None = None
    duration: float | None = None  #: time over which an amount is infused [day]; None where it is given at once
    #: doses that the patient has had for long: amount, and time between two [day]
    steady: tuple[float, float] | None = None

    @property
    def said_route(self) -> str:
        """The route as a scenario has it."""
        return "oral" if self.every is not None else "infusion" if self.duration is not None else self.route

    @property
    def form(self) -> Form:
        """How tables of doses have what a decision gives."""
        return Form(self.every, self.duration)

    def misfit(self, edges: np.ndarray, longest: float) -> str:
        """What is wrong with its tablets or infusions in intervals between edges [day]; empty when nothing."""
        lengths = np.diff(edges)
        if self.every is not None and not tablets_fit(edges, self.every):
            off = float(edges[np.argmax(np.abs(edges / self.every - np.round(edges / self.every)))])
            return (
                f"days that are multiples of {self.every:g} day, the time between tablets of {self.name}; got {off:g}"
            )
        if self.every is not None and lengths.max() > longest * (1.0 + 1e-9):
            return f"intervals of at most {longest:g} day for tablets of {self.name}; got {lengths.max():g} day"
        if self.duration is not None and self.duration > lengths.min() * (1.0 + 1e-9):
            said = f"at least {self.duration:g} day, an infusion of {self.name}, between two doses"
            return f"{said}; got {lengths.min():g} day"
        return ""


@dataclass(frozen=True)
class Clone:
    """A clone: its numbers, its effects as (index of the drug, effect), and the clone and rate it arises from."""

    name: str
    resistant: bool
    numbers: Mapping[str, float]
    units: Mapping[str, str]
    effects: tuple[tuple[int, Part], ...] = ()
    mutation: tuple[str, float] | None = None


@dataclass(frozen=True)
class Transition:
    """Cells that leave one clone for another, by name, and the law by which they do."""

    source: str
    target: str
    law: Part


@dataclass(frozen=True)
class Model:
    """The tumor."""

    kind: str  #: "stromal", "tumor", or that of a model which stands alone
    whole: Mapping[str, float]  #: numbers of the model as a whole, with their units
    units: Mapping[str, str]
    clones: tuple[Clone, ...] = ()
    preset: str | None = None
    growth: Part | None = None
    mechanisms: tuple[Part, ...] = ()
    interaction: Part | None = None
    transitions: tuple[Transition, ...] = ()
    alone: Part | None = None  #: the model itself where it is neither stromal nor tumor
    observables: tuple[str, ...] | None = None  #: names a trajectory will have; None where only the built model knows


@dataclass(frozen=True)
class RegimenPlan:
    """A regimen: doses [K, N] on its own edges, and `other` by the route that is not a drug's own; or a policy."""

    name: str
    edges: np.ndarray
    doses: np.ndarray | None = None
    listed: tuple[Mapping[str, Any], ...] = ()
    policy: Part | None = None
    every: float | None = None
    other: np.ndarray | None = None


@dataclass(frozen=True)
class RulePlan:
    """A policy with open numbers: each with its smallest and largest value, in the policy's units."""

    policy: Part
    ranges: Mapping[str, tuple[float, float]]
    units: Mapping[str, str]


@dataclass(frozen=True)
class Vary:
    """A number that differs between patients: normal, or lognormal about the scenario's value as its median."""

    key: str  #: its key path
    distribution: str  #: "lognormal" or "normal"
    sd: float  #: standard deviation of the number, or of its logarithm where it is lognormal


@dataclass(frozen=True)
class RiskPlan:
    """Who has a resistant clone from the start: each patient with a probability; the others have no cell of it."""

    key: str  #: key path of the clone's cells; the scenario's number is their median where the clone is present
    sd: float  #: of the logarithm of the cells there
    table: str  #: file of one row a patient, as the scenario names it
    column: str = "probability"  #: of its probabilities
    model: str | None = None  #: directory of a model that makes them from features; None where they stand in the table


@dataclass(frozen=True)
class CohortPlan:
    """Virtual patients: one of numbers that vary, a table, draws of a posterior, and a risk; or first and last."""

    vary: tuple[Vary, ...] = ()  #: numbers that vary [V]
    #: correlations of their logarithms or values [V, V]
    correlation: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(0))
    table: str | None = None  #: file of one row a patient, as the scenario names it
    posterior: str | None = None  #: file of draws, as the scenario names it
    risk: RiskPlan | None = None  #: who has a resistant clone from the start
    written: Mapping[str, Any] = dataclasses.field(default_factory=dict)  #: the table as it stands in the file


@dataclass(frozen=True)
class Plan:
    """Everything a scenario says, checked; of an observation the quantity and its assay."""

    title: str
    doi: tuple[str, ...]
    model: Model
    drugs: tuple[Drug, ...]
    edges: np.ndarray
    every: float | None
    objective: tuple[tuple[float, Part], ...]
    constraints: tuple[Part, ...]
    regimens: tuple[RegimenPlan, ...]
    restarts: int
    seed: int
    tolerance: float
    sizes: Sizes
    progression_factor: float
    notes: tuple[str, ...]
    cohort: CohortPlan | None = None
    rule: RulePlan | None = None
    observations: tuple[tuple[Part, Part], ...] = ()
    endpoint: Part | None = None
    may_stop: bool = False
    conduct: Mapping[str, Any] | None = None

    @property
    def horizon(self) -> float:
        """End of the last interval [day]."""
        return float(self.edges[-1])

    @property
    def longest(self) -> float:
        """The longest interval of the search and the regimens [day]."""
        return max(float(np.diff(edges).max()) for edges in (self.edges, *(r.edges for r in self.regimens)))

    def overtaken(self, edges: np.ndarray, doses: np.ndarray, lags: Mapping[int, float] | None = None) -> str:
        """What is wrong with doses [K, N] on edges [K + 1] where a lag or an infusion outlasts the interval, or tablets
        do not fit into it; empty when nothing.

        `lags` [day] are those of drugs that have others than the scenario's, by number.
        """
        lengths = np.diff(edges)[:-1]
        for j, drug in enumerate(self.drugs):
            lag = (lags or {}).get(j, drug.pk.values.get("lag", 0.0))
            short = lengths[(doses[:-1, j] > 0.0) & (lengths < lag)]
            if short.size:
                said = (
                    f"no dose within the lag of {drug.name}, {lag:g} day, after one of it (simulate takes such a table)"
                )
                return f"{said}; got one after {short.min():g} day"
            if doses[:, j].any() and (misfit := drug.misfit(edges, self.longest)):
                return misfit
        return ""
