"""Scenario: a checked file, and the objects of the numeric core that it describes."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from optimizer.constraints.base import AbstractDoseLimit, ConstraintError, DoseFrame
from optimizer.endpoints.base import AbstractEndpoint, AtVisits
from optimizer.endpoints.burden_factor import BurdenFactor
from optimizer.files.event_tables import Target
from optimizer.objectives.base import AbstractTerm, Objective
from optimizer.observations.base import Channel
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem
from optimizer.programs import stored
from optimizer.regimens import Regimen, Rule
from optimizer.scenario.build import around, as_regimens, build_endpoint, build_system, make, number_of, too_stiff
from optimizer.scenario.check import check
from optimizer.scenario.faults import ScenarioError, with_lines
from optimizer.scenario.files import include_drugs, own_models, read_toml
from optimizer.scenario.model_files import include_model
from optimizer.scenario.networks import include_networks
from optimizer.scenario.plan import Part, Plan
from optimizer.scenario.resolved import resolve
from optimizer.scenario.schema import classes
from optimizer.simulate import Grid, System

S = TypeVar("S")


def _of_plan(name: str, doc: str) -> Any:
    """What the plan holds under the same name."""
    return property(lambda self: getattr(self.plan, name), doc=doc)


class Scenario:
    """A scenario file, checked; nothing is built before it is asked for.

    Attributes:
        name: stem of the file's name.
        plan: plain numbers in internal units.
        text: the file as it was read.
        tables: what it holds, its drug files filled in.
        folder: where relative paths of the file start.

    Example:
        >>> scenario = Scenario.load("scenarios/crc_caf_cetuximab.toml")
        >>> scenario.seed, scenario.system().drugs
        (0, ('cetuximab',))
    """

    def __init__(
        self,
        plan: Plan,
        name: str,
        text: str = "",
        file: str = "",
        folder: str | os.PathLike[str] = ".",
        tables: Mapping[str, Any] = {},
    ):
        self.plan, self.name, self.text, self.file, self.folder = plan, name, text, file or name, Path(folder)
        self.tables = tables

    @classmethod
    def load(cls, path: str | os.PathLike[str], allow_code: bool = False) -> "Scenario":
        """Read and check a TOML file.

        Args:
            path: the file; drug files and code that it names are relative to it.
            allow_code: whether a model may come from a Python file that the scenario names.

        Raises:
            ScenarioError: with every fault that was found, one sentence each.
        """
        place = Path(path)
        # As text that can be printed and written, whatever bytes the name is made of.
        file = os.fsencode(place).decode("utf-8", "replace")
        data, text = read_toml(place, file)
        name = Path(file).stem
        try:
            return cls.from_tables(data, name, folder=place.parent, allow_code=allow_code, text=text, file=file)
        except ScenarioError as error:
            raise ScenarioError(with_lines(error.faults, file, text)) from None

    @classmethod
    def from_tables(
        cls,
        data: Mapping[str, Any],
        name: str,
        *,
        folder: str | os.PathLike[str] = ".",
        allow_code: bool = False,
        text: str = "",
        file: str = "",
    ) -> "Scenario":
        """Check tables as a TOML file would hold them, for example the `scenario` of `resolved`.

        Raises:
            ScenarioError: with every fault that was found, one sentence each.
        """
        tables, origin = include_drugs(dict(data), Path(folder), file or name)
        tables = include_networks(tables, Path(folder), file or name)
        tables, notes = include_model(tables, Path(folder), file or name)
        code = own_models(tables, Path(folder), file or name) if allow_code else {}
        return cls(check(tables, file or name, code, origin, notes), name, text, file, folder, tables)

    @property
    def title(self) -> str:
        """Title in reports; the name where the file gives none."""
        return self.plan.title or self.name

    doi: tuple[str, ...] = _of_plan("doi", "Sources.")
    seed: int = _of_plan("seed", "Seed of the starting points.")
    restarts: int = _of_plan("restarts", "Number of starting points.")
    tolerance: float = _of_plan("tolerance", "Projected-gradient residual at which the search stops.")
    progression_factor: float = _of_plan(
        "progression_factor", "Beyond this multiple of the first cells it is progression."
    )
    notes: tuple[str, ...] = _of_plan("notes", "What a reader should know though nothing is wrong.")

    @property
    def progression_level(self) -> float | None:
        """Multiple of the first cells at which they have progressed; None where another endpoint says it."""
        return getattr(self.endpoint(), "factor", None)

    @property
    def dose_units(self) -> dict[str, str]:
        """Unit of a dose by drug."""
        return {drug.name: drug.dose_unit for drug in self.plan.drugs}

    def fill(self, settings: S) -> S:
        """The settings (a dataclass) with the seed and the restarts of the file, where they leave them to it (None)."""
        left = [name for name in ("seed", "restarts") if getattr(settings, name, 0) is None]
        change: Callable[..., Any] = replace
        return change(settings, **{name: getattr(self, name) for name in left})

    def target(self) -> Target:
        """What a table of doses is read for: drugs with routes and units, decisions, and the patient's size."""
        drugs, sizes = self.plan.drugs, self.plan.sizes
        units = {drug.name: "1" if drug.direct else drug.total_unit for drug in drugs}
        routes, body = {drug.name: drug.route for drug in drugs}, (sizes.weight, sizes.surface)
        forms = {drug.name: drug.form for drug in drugs}
        return Target(tuple(routes), routes, self.plan.horizon, self.plan.edges, units, body, forms)

    def system(self) -> System:
        """Model and pharmacokinetics.

        Raises:
            ScenarioError: a model of one's own that does not take the numbers given.
        """
        try:
            return build_system(self.plan)
        except (ValueError, TypeError) as error:
            wanted = f"wanted numbers that fit together; got a fault: {_line(error)}"
            raise ScenarioError([f"{self.file}: model: {wanted}"]) from error

    def grid(self) -> Grid:
        """Decision intervals."""
        return Grid(stored(self.plan.edges))

    def objective(self) -> Objective:
        """Terms and weights."""
        given = around(self.plan)
        terms = tuple(make(part, given) for _, part in self.plan.objective)
        return Objective(terms, stored([weight for weight, _ in self.plan.objective]))

    def term(self, kind: str) -> AbstractTerm:
        """A term as the objective has it, else with its defaults.

        Raises:
            TypeError: keys, or visits of an endpoint, that the scenario does not give.
        """
        own = [part for _, part in self.plan.objective if part.kind == kind]
        part = own[0] if own else Part(kind, classes("term")[kind], {}, {})
        if getattr(part.cls, "at_visits", False) and not self.is_read_at_visits:
            raise TypeError(f"{kind}: wanted [endpoint] read at visits; got none")
        return make(part, {"factor": self.plan.progression_factor, **around(self.plan)})

    def problem(self) -> Problem:
        """The problem, with arrays in the precision that is switched on.

        Raises:
            ScenarioError: limits that do not fit the drugs or that no schedule keeps; a model too fast for a search.
        """
        drugs = self.plan.drugs
        least, most = [drug.minimum for drug in drugs], [drug.maximum for drug in drugs]
        given = around(self.plan)
        parts = [replace(p, values={k: number_of(v) for k, v in p.values.items()}) for p in self.plan.constraints]
        limits = tuple(make(part, given) for part in parts)
        system = self.system()
        if said := too_stiff(self.plan, system):
            raise ScenarioError(with_lines([f"{self.file}: model: {said}"], self.file, self.text))
        try:
            problem = Problem.build(system, self.grid(), self.objective(), least, most, limits)
            return as_regimens(self.plan, problem, self.regimens())
        except ConstraintError as error:
            faults = [f"{self.file}: {self._culprit(limits)}: {_line(error)}"]
            raise ScenarioError(with_lines(faults, self.file, self.text)) from None

    def _culprit(self, limits: tuple[Any, ...]) -> str:
        """Key path of the limit that does not fit by itself; of all limits where they only disagree together."""
        drugs, shape = self.plan.drugs, (len(self.plan.edges) - 1, len(self.plan.drugs))
        for i, limit in enumerate(limits):
            if not isinstance(limit, AbstractDoseLimit):
                continue
            lower = np.broadcast_to([drug.minimum for drug in drugs], shape).copy()
            upper = np.broadcast_to([drug.maximum for drug in drugs], shape).copy()
            names, routes = tuple(drug.name for drug in drugs), tuple(drug.route for drug in drugs)
            try:
                limit.apply(DoseFrame(names, routes, self.plan.edges, lower, upper))
            except ConstraintError:
                return f"constraint[{i}]"
        return "constraint"

    def regimens(self) -> list[Regimen]:
        """Ways of dosing to compare with, in the order of the file."""
        own = self.grid()
        found = []
        for regimen in self.plan.regimens:
            same = regimen.edges.shape == self.plan.edges.shape and (regimen.edges == self.plan.edges).all()
            grid = own if same else Grid(stored(regimen.edges))
            if regimen.other is not None:
                grid = Grid(stored(regimen.edges), stored(regimen.other))
            named = regimen.policy
            policy = Schedule(stored(regimen.doses)) if named is None else make(named, around(self.plan))
            found.append(Regimen(regimen.name, policy, grid))
        return found

    def rule(self) -> Rule | None:
        """The rule whose numbers are searched, with their ranges; None where a schedule is searched."""
        rule = self.plan.rule
        if rule is None:
            return None
        lower, upper = np.array([*rule.ranges.values()]).T
        return Rule(make(rule.policy, around(self.plan)), tuple(rule.ranges), lower, upper)

    def channels(self) -> tuple[Channel, ...]:
        """What is measured of a patient, in the order of the file."""
        return tuple(Channel(*(make(part, {}) for part in pair)) for pair in self.plan.observations)

    def endpoint(self) -> AbstractEndpoint:
        """What counts as progression, with the first observation that it reads."""
        return build_endpoint(self.plan) or BurdenFactor(self.plan.progression_factor)

    def progression(self) -> float | AtVisits:
        """What progression is in programs: more than this multiple of the first cells, or an endpoint at its visits."""
        return self.endpoint().at(self.plan.edges)

    @property
    def is_read_at_visits(self) -> bool:
        """Whether progression is known to lie between two visits, no better."""
        return not isinstance(self.progression(), float)

    def resolved(self) -> dict[str, Any]:
        """What the file means: every number after defaults and conversion, with its unit; ready for JSON.

        Its `scenario` is itself a scenario: `Scenario.from_tables(resolved["scenario"], name)` is this one again.
        """
        return resolve(self.plan, self.name)


def _line(error: Exception) -> str:
    """The first line of a message."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
