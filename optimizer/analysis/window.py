"""Windows: the held concentrations at which each clone shrinks, how they move, and what a schedule makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from optimizer.analysis.axes import levels_of, numbers_of, split
from optimizer.analysis.held import Levels, frozen_growth, held_growth
from optimizer.analysis.intervals import HIGHEST, LOWEST, Response, responses
from optimizer.analysis.levels import Profile, profile, time_shares, warnings
from optimizer.files.event_tables import read_grid
from optimizer.mechanisms.stroma import Stroma
from optimizer.models.base import AbstractModel
from optimizer.models.tumor import Tumor
from optimizer.outcome import level_units
from optimizer.pharmacology.roles import Inhibitor
from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.build import build_system
from optimizer.scenario.faults import one_of
from optimizer.scenario.keys import find, substituted
from optimizer.settings import OptionError
from optimizer.simulate import System
from optimizer.units import QuantityError

SETTLED = (
    "growth factor and pump as the held levels have them; cells, stromal cells and immune effectors as at the start; "
    "cells that arrive from other clones are not counted"
)


@dataclass(frozen=True)
class Critical:
    """Concentration above which a clone shrinks while the growth factor is held, D_crit(G)."""

    clone: str  #: its name
    growth_factor: float  #: G [pg/mL]
    conc: float | None  #: None where no concentration, or every one, makes the clone shrink

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"clone": self.clone, "growth_factor_pg_per_ml": self.growth_factor, "concentration": self.conc}


@dataclass(frozen=True)
class Varied:
    """Windows at other values of one number."""

    key: str  #: key path of the scenario, or the name of another drug, whose level it is
    unit: str  #: of the values
    values: tuple[float, ...]  #: [V]
    clones: tuple[tuple[Response, ...], ...]  #: the responses at each value

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        pairs = zip(self.values, self.clones, strict=True)
        found = [{"value": value, "clones": clones} for value, clones in pairs]
        return {"key": self.key, "unit": self.unit, "values": found}


@dataclass(frozen=True)
class Windows:
    """What `windows` found."""

    drug: str  #: whose level is held
    unit: str  #: of its level
    held: Mapping[str, str]  #: levels of the other drugs, by name, with their units
    clones: tuple[Response, ...]  #: one response a clone [M]
    curve: tuple[np.ndarray, np.ndarray]  #: levels [C] and net growth rates there [C, M, 1/day], for a figure
    critical: tuple[Critical, ...] = ()  #: for a stroma only
    varied: tuple[Varied, ...] = ()  #: one for each number that was asked for
    profile: Profile | None = None  #: the drug under a schedule
    file: str = ""  #: name of the schedule

    def shares(self) -> list[list[float]]:
        """Share of the time in each interval of each clone; empty without a schedule."""
        if self.profile is None:
            return []
        return [time_shares(self.profile, response.intervals).tolist() for response in self.clones]

    def warnings(self) -> list[str]:
        """What a reader should know: responses that are not monotone, troughs where clones grow."""
        said = []
        for r in self.clones:
            if r.rise is not None:
                where = f"between {r.rise.start:.4g} and {r.rise.end:.4g} {self.unit}"
                said.append(f"{r.clone}: more {self.drug} is worse {where}: net growth rises by {r.rise.by:.4g} / day")
            if self.profile is not None:
                said += warnings(self.profile, r, self.drug, self.unit)
        return said

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON; the last interval has no end (null)."""
        out: dict[str, Any] = {"drug": self.drug, "unit": self.unit, "held": dict(self.held)}
        out |= {"searched": {"from": LOWEST, "to": HIGHEST}, "settled": SETTLED}
        out["clones"] = [{**r.to_json(), "monotone": r.rise is None} for r in self.clones]
        out |= {"critical": self.critical, "vary": self.varied}
        if self.profile is not None:
            by_clone = zip(self.clones, self.shares(), strict=True)
            out["schedule"] = {
                "file": self.file,
                "time_shares": {r.clone: own for r, own in by_clone},
                "troughs": self.profile.troughs,
                "peaks": self.profile.peaks,
            }
        return out | {"warnings": self.warnings()}


def windows(
    scenario: Scenario,
    drug: str | None = None,
    at: Sequence[str] = (),
    vary: Sequence[str] = (),
    schedule: Path | None = None,
    time_unit: str | None = None,
) -> Windows:
    """The held concentrations at which each clone shrinks or grows.

    Args:
        scenario: model and drugs.
        drug: whose level is held; the first inhibitor, else the first drug, when left out.
        at: levels of other drugs, "NAME=LEVEL"; none when left out.
        vary: numbers to vary one at a time, "KEY=A,B,C"; KEY is a key path or the name of another drug.
        schedule: event table of which the time in each interval is asked.
        time_unit: of its times, where the header has none.

    Raises:
        OptionError: a drug, key or value that is not one.
        ScenarioError: a model that does not say its net growth at a held level, or says one that is not finite.
        DataError: the event table was refused.
    """
    system = scenario.system()
    j = _which(system, scenario, drug)
    units = level_units(system, scenario.dose_units)
    own = system.drugs[j]
    others = {name: unit for name, unit in units.items() if name != own}
    held = dict.fromkeys(others, 0.0)
    for text in at:
        name, (value, *_) = levels_of("--at", text, others, single=True)
        held[name] = value
    levels = Levels(np.array([held.get(name, 0.0) for name in system.drugs]), j)
    clones = _responses(scenario, system.model, levels)
    found = Windows(
        own,
        units[own],
        {name: f"{value:g} {others[name]}".removesuffix(" 1") for name, value in held.items()},
        clones,
        _curve(system.model, levels, clones),
        _critical(system.model, levels, len(clones)),
        tuple(_vary(scenario, system, levels, text, others) for text in vary),
    )
    if schedule is None:
        return found
    return replace(found, profile=_profile(system, scenario, j, schedule, time_unit), file=schedule.name)


def _which(system: System, scenario: Scenario, drug: str | None) -> int:
    if drug is not None and drug not in system.drugs:
        raise OptionError(f"--drug: {one_of(system.drugs, drug)}")
    if drug is not None:
        return system.drugs.index(drug)
    kinds = [part.role.cls for part in scenario.plan.drugs]
    return kinds.index(Inhibitor) if Inhibitor in kinds else 0


def _responses(scenario: Scenario, model: AbstractModel, levels: Levels) -> tuple[Response, ...]:
    if held_growth(model, levels.rows(np.zeros(1))) is None:
        wanted = "wanted a model that says the net growth of its clones at a held level (its method held_growth, and"
        got = ", ".join([model.kind, *(m.kind for m in getattr(model, "mechanisms", ()))])
        raise ScenarioError([f"{scenario.file}: model: {wanted} held_state of each mechanism); got {got}"])
    try:
        return responses(lambda conc: np.asarray(held_growth(model, levels.rows(conc))), model.clone_names())
    except FloatingPointError as error:
        raise ScenarioError([f"{scenario.file}: model: wanted finite rates; got a fault: {error}"]) from None


def _curve(model: AbstractModel, levels: Levels, clones: Sequence[Response]) -> tuple[np.ndarray, np.ndarray]:
    """Net growth for a figure, two decades beyond what changes its sign or its slope."""
    places = [c for r in clones for c in (*r.crossings, *((r.rise.start, r.rise.end) if r.rise else ())) if c > LOWEST]
    places = places or [1.0]
    conc = np.geomspace(max(min(places) / 100.0, LOWEST), min(max(places) * 100.0, HIGHEST), 1000)
    return conc, np.asarray(held_growth(model, levels.rows(conc)))


def _critical(model: AbstractModel, levels: Levels, clones: int) -> tuple[Critical, ...]:
    """D_crit of each clone without growth factor and with the most that the stroma can secrete."""
    stroma = next((m for m in getattr(model, "mechanisms", ()) if isinstance(m, Stroma)), None)
    if stroma is None or not isinstance(model, Tumor) or not isinstance(stroma.roles[levels.j], Inhibitor):
        return ()
    most = float(stroma.growth_factor_max + stroma.growth_factor_max_per_cell * stroma.cells)
    found = []
    for factor in (0.0, most):

        def growth(conc: np.ndarray, factor: float = factor) -> np.ndarray:
            return np.asarray(frozen_growth(model, jnp.asarray(factor), levels.rows(conc)))

        for response in responses(growth, model.clone_names()):
            last = response.intervals[-1]
            found.append(Critical(response.clone, factor, last.start if last.sign < 0 and last.start > 0.0 else None))
    return tuple(found)


def _vary(scenario: Scenario, system: System, levels: Levels, text: str, others: Mapping[str, str]) -> Varied:
    """Windows at each value of a number; a model of the same shape, so that nothing is compiled again."""
    key, values = split("--vary", text)
    found = []
    if key in others:
        _, numbers = levels_of("--vary", text, others)
        for number in numbers:
            base = np.where(np.array(system.drugs) == key, number, levels.base)
            found.append(_responses(scenario, system.model, Levels(base, levels.j)))
        return Varied(key, others[key], tuple(numbers), tuple(found))
    plan = scenario.plan
    try:
        place = find(plan.model, plan.drugs, key)
    except QuantityError as error:
        also = f" (or another drug: {', '.join(others)})" if others else ""
        raise OptionError(f"--vary: {error}{also}") from None
    numbers = numbers_of(f"--vary {key}", values, place.info, place.unit)
    for number in numbers:
        try:
            model = build_system(substituted(plan, [place], [number]), system.mesh).model
        except (ValueError, TypeError) as error:
            raise OptionError(f"--vary {key}: wanted a number that fits the model; got {number:g}: {error}") from None
        found.append(_responses(scenario, model, levels))
    return Varied(key, place.unit, tuple(numbers), tuple(found))


def _profile(system: System, scenario: Scenario, j: int, path: Path, time_unit: str | None) -> Profile:
    """The drug's concentration under the event table, up to the scenario's horizon."""
    edges, doses = read_grid(path, replace(scenario.target(), edges=()), time_unit)
    return profile(system.pharmacokinetics[j], system.routes[j], edges, doses[:, j], system.start()[0][j])
