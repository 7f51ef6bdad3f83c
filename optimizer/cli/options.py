"""What commands are asked that no room reads: settings as those of `optimizer.settings`, of the command line alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from optimizer.settings import MOST_CHUNK, MOST_SEED, TIME_UNIT, option


@dataclass(frozen=True)
class SimulateSettings:
    """Simulate a schedule or a regimen under the scenario's objective and constraints."""

    schedule: Path | None = option(None, "event table (CSV, Parquet)")
    regimen: str | None = option(None, "name of a regimen of the scenario")
    time_unit: str | None = option(None, TIME_UNIT)


@dataclass(frozen=True)
class StochasticSettings(SimulateSettings):
    """Simulate single cells under a schedule or a regimen: chances of extinction, resistance and progression."""

    runs: int = option(1000, "how many", min=1, max=MOST_CHUNK)
    seed: int = option(None, "of the runs; else the file's", min=0, max=MOST_SEED)


@dataclass(frozen=True)
class NewSettings:
    """Write a scenario to begin with: for one drug, two drugs, cycles of chemotherapy, a plate, or a course of PSA."""

    question: str | None = option(None, "a template's name, as one_drug; all are shown when it is left out")
    to: Path | None = option(None, "file to write; QUESTION.toml when left out")


@dataclass(frozen=True)
class PageSettings:
    """Open a page in the browser: sliders and curves, searches, the scenario's text, and the runs that are there."""

    scenario: Path | None = option(None, "scenario file (TOML); without one the page begins with a template")
    port: int = option(0, "of 127.0.0.1; 0: one that is free", min=0, max=65535)
    no_browser: bool = option(False, "open no browser; the address is printed either way")


@dataclass(frozen=True)
class CheckSettings:
    """Print the resolved scenario: what the file means, every number with its unit."""


@dataclass(frozen=True)
class SchemaSettings:
    """Print the JSON Schema of scenario files, for editors."""

    out: Path | None = option(None, "file to write; else stdout")


@dataclass(frozen=True)
class ExportSettings:
    """Write the doses of a run for another tool: NONMEM, mrgsolve, rxode2, or a calendar."""

    to: Literal["nonmem", "mrgsolve", "rxode2", "calendar"] = option(
        ..., "nonmem (CSV), mrgsolve or rxode2 (R code), calendar (iCalendar, or CSV where --out says so)"
    )
    start: str | None = option(None, "date of day 0 for the calendar, as in 2027-01-04")
    out: Path | None = option(None, "file to write; else it is printed")


@dataclass(frozen=True)
class ListSettings:
    """List the words of a scenario (models, kinetics, limits, terms, rules, tables, units), or the keys of one."""

    family: str | None = option(None, "a family of words, such as policy, constraint or table; else all")
    word: str | None = option(None, "one of them, whose keys are shown with units, defaults and ranges")


@dataclass(frozen=True)
class ImportSettings:
    """Write the scenario of a model file (SBML, NONMEM, PEtab), with a comment for what was left out or chosen."""

    to: Path = option(..., "scenario file to write (TOML); an existing one is kept")
    burden: str = option(..., "equation of the size of the tumor, over names of the file")
    resistant: str | None = option(None, "equation of what counts as resistant")
    control: tuple[str, ...] = option((), "a quantity of the file that is a drug; may be repeated")
    dose: tuple[str, ...] = option((), "STATE=DRUG: a state that doses of a drug enter; may be repeated")
    parameter: tuple[str, ...] = option((), "NAME=NUMBER: in place of the file's, or a covariate; may be repeated")
    time_unit: str | None = option(None, "of the file's time, such as hour, where the file does not say")
    experiment: str | None = option(None, "of a PEtab problem that has several")


@dataclass(frozen=True)
class RiskApplySettings:
    """Foretell a patient's risk of resistance by a trained model: a probability with an interval for each."""

    features: Path = option(..., "table of features, as the model was trained on")
    clinical: Path | None = option(None, "table of clinical columns, where the model was trained on one")
    out: Path | None = option(None, "file to write (CSV); else it is printed")


@dataclass(frozen=True)
class WindowSettings:
    """Find the concentrations at which a held level makes each clone shrink or grow."""

    drug: str | None = option(None, "drug whose level is held; else the first inhibitor")
    at: tuple[str, ...] = option((), 'level of another drug, "NAME=0.4 ug/mL"; none when left out')
    vary: tuple[str, ...] = option((), 'number to vary, "KEY=A,B,C": a key path or another drug; may be repeated')
    schedule: Path | None = option(None, "event table (CSV, Parquet)")
    time_unit: str | None = option(None, TIME_UNIT)


@dataclass(frozen=True)
class MapSettings:
    """Map what repeated doses come to over two numbers of the scenario or the schedule; find the best y for each x."""

    x: str = option(..., 'number to the right, "KEY=from:to:count", ":log" behind it for even ratios')
    y: str = option(..., 'number upwards, such as "decision.every=1:30 day:40"')
    at: tuple[str, ...] = option((), 'a further number to hold, "KEY=VALUE"; may be repeated')
    regimen: str | None = option(None, "what the other drugs follow; else they are not given")
    schedule: Path | None = option(None, "event table to mark")
    time_unit: str | None = option(None, TIME_UNIT)
    last: str = option("30 day", "days at the end of which mean and peak are taken")
    show: str = option("mean_last", "quantity that is drawn and printed")


@dataclass(frozen=True)
class ParetoSettings:
    """Trace the trade-off between two terms: the best of one for each value of the other, the regimens beside it."""

    terms: str = option(..., 'two terms of an objective, such as "burden,drug_use"')
    points: int = option(9, "of the front, both ends included", min=3, max=200)
    restarts: int = option(None, "of the ends; else the file's", min=1, max=4096)
    seed: int = option(None, "of the starting points; else the file's", min=0)


@dataclass(frozen=True)
class VerifySettings:
    """Recompute published numbers and simulate every shipped scenario; exit code 1 when one differs."""
