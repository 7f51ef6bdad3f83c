"""The virtual patients of a scenario: which numbers vary, and how they go together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from optimizer.fields import FieldInfo
from optimizer.scenario.check_parts import Context
from optimizer.scenario.faults import one_of
from optimizer.scenario.keys import Place, find
from optimizer.scenario.plan import CohortPlan, Model, Vary
from optimizer.units import QuantityError

_SPREAD = FieldInfo("", "", minimum=0.0)


def check_cohort(context: Context, spec: Any, model: Model) -> CohortPlan:
    """Exactly one way to make patients, its keys known and its correlations possible."""
    faults = context.faults
    ways = [name for name in ("vary", "table", "posterior") if getattr(spec, name)]
    if len(ways) != 1:
        faults.add("cohort", f"wanted one of vary, table and posterior; got {' and '.join(ways) or 'none'}")
    if spec.correlation and not spec.vary:
        faults.add("cohort.correlation", "wanted keys that vary beside it; got none")
    if not spec.vary:
        return CohortPlan(table=spec.table, posterior=spec.posterior)
    found: list[Place] = []
    vary = []
    for i, entry in enumerate(spec.vary):
        path = f"cohort.vary[{i}]"
        try:
            place = find(model, context.drugs, entry.key)
        except QuantityError as error:
            faults.add(f"{path}.key", str(error))
            continue
        if place.steps in [other.steps for other in found]:
            faults.add(f"{path}.key", f'wanted each number once; got "{entry.key}" twice')
        found.append(place)
        vary.append(_vary(context, path, entry, place))
    names = [entry.key for entry in spec.vary]
    listed = spec.correlation or []
    matrix = _correlation(context, names, listed) if len(found) == len(names) else np.eye(len(found))
    written = tuple({"keys": list(entry.keys), "value": entry.value} for entry in listed)
    return CohortPlan(tuple(vary), matrix, listed=written)


def _vary(context: Context, path: str, entry: Any, place: Place) -> Vary:
    """The spread as a standard deviation, of the logarithm where the number is lognormal."""
    written = {"key": entry.key, "distribution": entry.distribution}
    if (entry.cv is None) == (entry.sd is None):
        got = "neither" if entry.cv is None else "both"
        context.faults.add(path, f"wanted either cv or sd, the spread; got {got}")
        return Vary(entry.key, entry.distribution, 0.0, written)
    if entry.cv is not None:
        written["cv"] = entry.cv
        sd = entry.cv * abs(place.value)
    else:
        written["sd"] = entry.sd
        sd = context.number(f"{path}.sd", entry.sd, _SPREAD, place.unit)
    if entry.distribution == "normal":
        return Vary(entry.key, "normal", sd, written)
    if place.value == 0.0:
        context.faults.add(f"{path}.distribution", 'wanted "normal" for a number that is 0; got "lognormal"')
        return Vary(entry.key, "lognormal", 0.0, written)
    return Vary(entry.key, "lognormal", math.sqrt(math.log1p((sd / place.value) ** 2)), written)


def _correlation(context: Context, names: list[str], listed: list[Any]) -> np.ndarray:
    """Correlation matrix; a fault where no numbers can go together like that."""
    faults, matrix = context.faults, np.eye(len(names))
    before = len(faults.found)
    for i, entry in enumerate(listed):
        path = f"cohort.correlation[{i}]"
        if len(entry.keys) != 2 or entry.keys[0] == entry.keys[1]:
            faults.add(f"{path}.keys", f"wanted two different keys; got {', '.join(entry.keys) or 'none'}")
            continue
        for name in entry.keys:
            if name not in names:
                faults.add(f"{path}.keys", one_of(names, name))
        if all(name in names for name in entry.keys):
            a, b = (names.index(name) for name in entry.keys)
            matrix[a, b] = matrix[b, a] = entry.value
    if len(faults.found) == before and np.linalg.eigvalsh(matrix)[0] < -1e-12:
        wanted = "correlations that numbers can have together (a positive semidefinite matrix)"
        faults.add("cohort.correlation", f"wanted {wanted}; got some that contradict each other")
    return matrix
