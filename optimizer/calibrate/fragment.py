"""A fit as a scenario: what the data told, in the words of a scenario, and what a scenario needs besides.

The fragment is a whole scenario, so that it loads and runs as it stands. What the data did not tell is taken from a
published set or assumed, and said in its first lines; a fit that would need to be invented rather than completed has
no scenario.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from optimizer.calibrate.fit import Settings
from optimizer.calibrate.growth import EFFECTS
from optimizer.calibrate.report import DISCLAIMER, FitReport, Fragment, quantity
from optimizer.calibrate.tables import Table
from optimizer.calibrate.timeseries import Series, burden
from optimizer.fields import describe
from optimizer.files.headers import split_header
from optimizer.files.toml import toml_text
from optimizer.mechanisms.stroma import Stroma
from optimizer.models.stromal import StromalClone

PRESET = "kraut2025_caf"
OBJECTIVE = {"burden": 1.0}
COHORT = {"posterior": "posterior.nc"}
CELLS = 1e9
DECISIONS = 26
STROMAL_PROBLEM: Mapping[str, Any] = {
    "drug": [
        {
            "name": "cetuximab",
            "role": "inhibitor",
            "route": "bolus",
            "pk": {"kind": "first_order", "elimination": "0.006 / hour"},
            "dose": {"min": "0 ug/mL", "max": "3 ug/mL"},
        }
    ],
    "decision": {"every": "7 day", "horizon": "180 day"},
    "objective": OBJECTIVE,
    "constraint": [{"kind": "cumulative_dose", "drug": "cetuximab", "limit": "26 ug/mL"}],
}
"""Weekly cetuximab within 26 ug/mL over 180 days (doi 10.1038/s41540-025-00495-0)."""


def none(why: str) -> Fragment:
    """No scenario, and why."""
    return Fragment(notes=(why,))


def drug_of(table: Table, role: str = "drug") -> str:
    """Name of the drug in a header."""
    return split_header(table.names[role], "concentration")[0]


def stromal(table: Table, values: Mapping[str, tuple[float, str]]) -> Fragment:
    """The stromal tumor with these values (name -> number and unit) in place of the published ones.

    There is none for doses in mol, nor for values that the model does not take.
    """
    if "mol" in table.units["drug"]:
        return none(f"doses in {table.units['drug']} are no mass in a volume, which the stroma model takes")
    known = describe(Stroma) | describe(StromalClone)
    for name, (value, unit) in values.items():
        info = known[name]
        if value < (info.minimum if info.minimum is not None else -math.inf) or (info.positive and value <= 0.0):
            least = "more than 0" if info.positive else f"at least {info.minimum:g}"
            return none(f"{name} is {value:.4g} {unit}, and the stroma model takes {least}")
    numbers = {name: quantity(value, unit) for name, (value, unit) in values.items()}
    notes = (
        f"All numbers of the tumor but {', '.join(values)} are those of {PRESET}, not of these data.",
        "Doses, kinetics and decisions are those of cetuximab in the same source.",
    )
    return Fragment({"model": {"kind": "stromal", "preset": PRESET} | numbers} | dict(STROMAL_PROBLEM), notes)


def cultured(
    level: tuple[str, float, str], growth: tuple[float, str], effect: Mapping[str, tuple[float, str]], *notes: str
) -> Fragment:
    """Cells in culture, where a concentration is held: exponential growth at the rate `growth` under a Hill curve.

    Args:
        level: name of the drug, its largest dose, and the unit that both doses and the EC50 are in.
        growth: net growth rate without drug, and its unit.
        effect: emax, ec50 and hill, with their units.
        notes: what was assumed.
    """
    name, most, unit = level
    own = {"drug": name, "law": "hill", "emax": quantity(*effect["emax"]), "ec50": effect["ec50"][0]}
    own["hill"] = effect["hill"][0]
    clone = {"name": "tumor", "cells": 1e6, "growth_rate": quantity(*growth), "effect": [own]}
    drug = {"name": name, "route": "infusion", "pk": {"kind": "direct"}, "dose": {"min": 0.0, "max": most}}
    tables = {
        "model": {"kind": "tumor", "clone": [clone]},
        "drug": [drug],
        "decision": {"every": "1 day", "horizon": "14 day"},
        "objective": OBJECTIVE,
    }
    said = f"Levels of {name} are in {unit} and held, as in culture; the first 1e6 cells and 14 days are illustrative."
    return Fragment(tables, (said, *notes))


def patient(
    table: Table, series: Series, values: Mapping[str, float], draws: Mapping[str, Any], settings: Settings
) -> Fragment:
    """A patient's tumor under the drug of the table: one clone, one drug in 1 L, given as often as in the table.

    Values and draws [chain, draw] are by the names of `growth.PARAMETERS`, burdens in the table's unit.
    """
    unit, held = burden(table)[1], series.held
    kind = EFFECTS[settings.effect][held].kind
    strength = "strength" if held else "emax"
    rate = "1" if settings.effect == "norton_simon" else "1/day"
    own: dict[str, tuple[str, float, str]] = {strength: ("drug_effect", values["drug_effect"], rate)}
    if not held:
        own |= {key: (key, values[key], per) for key, per in (("ec50", "mg/L"), ("hill", "1"))}
    effect = {"drug": "drug", "law": kind} | {key: quantity(value, per) for key, (_, value, per) in own.items()}
    clone = {
        "name": "tumor",
        "cells": values["initial_burden"] * CELLS,
        "growth_rate": f"{values['growth_rate']!r} / day",
    }
    model: dict[str, Any] = {"kind": "tumor", "clone": [clone | {"effect": [effect]}]}
    if settings.growth != "exponential":
        model["growth"] = {"law": settings.growth, "capacity": values["capacity"] * CELLS}
    most, gaps = float(series.amounts.max()), np.diff(np.unique(series.event_times))
    every = float(np.median(gaps)) if len(gaps) else 7.0
    drug: dict[str, Any] = {"name": "drug", "route": "infusion", "pk": {"kind": "direct"}, "dose": {"max": most}}
    notes = [
        f"A cell stands for 1e-9 {unit}: only ratios of burdens are fitted. The {DECISIONS} decisions are illustrative."
    ]
    if not held:
        clearance = f"{values['elimination_rate']!r} L/day"
        drug |= {"route": "bolus", "pk": {"kind": "one_compartment", "volume": "1 L", "clearance": clearance}}
        drug["dose"] = {"max": f"{most!r} mg"}
        notes.append("Amounts in the body are fitted, not concentrations: the volume of 1 L stands for any.")
    horizon = {"every": f"{every!r} day", "horizon": f"{DECISIONS * every!r} day"}
    tables = {"model": model, "drug": [drug], "decision": horizon, "objective": OBJECTIVE}
    named = {"model.cells": (draws["initial_burden"] * CELLS, "cell")}
    if settings.growth != "exponential":
        named["model.growth.capacity"] = (draws["capacity"] * CELLS, "cell")
    named |= {f"model.clone[0].effect[0].{key}": (draws[name], per) for key, (name, _, per) in own.items()}
    if "elimination_rate" in settings.free and not held:
        named["drug[0].pk.clearance"] = (draws["elimination_rate"], "L/day")
    return Fragment(tables, tuple(notes), named)


def effect_draws(values: Mapping[str, tuple[Any, str]], settings: Settings) -> dict[str, tuple[Any, str]]:
    """Draws [m] of the numbers of the only effect on the only clone by key path, as [chain, draw], with their units."""
    shape = settings.chains, settings.draws
    return {f"model.clone[0].effect[0].{key}": (x.reshape(shape), unit) for key, (x, unit) in values.items()}


def fragment_text(report: FitReport) -> str:
    """The fragment as TOML, what it assumes in its first lines."""
    lines = [f"Fitted by adose calibrate --kind {report.kind} (method {report.method}).", DISCLAIMER]
    head = "".join(f"# {line}\n" for line in (*lines, *report.fragment.notes))
    title = {"title": f"Fit of a table of kind {report.kind}"}
    return head + "\n" + toml_text(title | dict(report.fragment.tables) | {"cohort": COHORT})
