"""The [cohort] table: numbers that vary between virtual patients, or where patients come from."""

import math
from typing import Any

import numpy as np

from optimizer.fields import FieldInfo
from optimizer.scenario.check_parts import Context
from optimizer.scenario.faults import one_of
from optimizer.scenario.fields import show
from optimizer.scenario.keys import Place, find
from optimizer.scenario.plan import CohortPlan, Model, RiskPlan, Vary
from optimizer.units import QuantityError

_SPREAD = FieldInfo("", "", minimum=0.0)
# Standard deviations beyond this many times the number say nothing, and their squares leave the range of numbers.
_WIDEST = 1e6


def check_cohort(context: Context, spec: Any, model: Model) -> CohortPlan:
    """Exactly one way to make patients, its keys known and its correlations possible."""
    faults = context.faults
    ways = [name for name in ("vary", "table", "posterior", "risk") if getattr(spec, name)]
    if len(ways) != 1 and ways != ["vary", "risk"]:
        wanted = "one of vary, table, posterior and risk, or vary and risk"
        faults.add("cohort", f"wanted {wanted}; got {' and '.join(ways) or 'none'}")
    if spec.correlation and not spec.vary:
        faults.add("cohort.correlation", "wanted keys that vary beside it; got none")
    written, risk = spec.model_dump(exclude_none=True), spec.risk and _risk(context, spec.risk, model)
    if not spec.vary:
        return CohortPlan(table=spec.table, posterior=spec.posterior, risk=risk, written=written)
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
    if risk and find(model, context.drugs, risk.key).steps in [place.steps for place in found]:
        faults.add("cohort.vary", f"wanted each number once; got {risk.key}, which risk draws")
    names = [entry.key for entry in spec.vary]
    listed = spec.correlation or []
    matrix = _correlation(context, names, listed) if len(found) == len(names) else np.eye(len(found))
    return CohortPlan(tuple(vary), matrix, risk=risk, written=written | {"correlation": written.get("correlation", [])})


def _risk(context: Context, spec: Any, model: Model) -> RiskPlan | None:
    """The clone that a probability is of: resistant, with cells, and not the only one."""
    faults = context.faults
    if spec.model is not None and spec.column is not None:
        faults.add("cohort.risk", "wanted either a column of probabilities or a model that makes them; got both")
    cells = {clone.name: clone.numbers.get("cells") or 0.0 for clone in model.clones}
    known = [clone.name for clone in model.clones if clone.resistant and cells[clone.name] > 0.0]
    name = known[0] if spec.clone is None and len(known) == 1 else spec.clone
    if name is None:
        wanted = "the name of a clone, of one that is resistant and has cells"
        faults.add("cohort.risk.clone", f"wanted {wanted}; got none of {len(known)} such clones")
    elif name not in known:
        wanted = f"one that is resistant and has cells: {', '.join(known) or 'there is none'}"
        faults.add("cohort.risk.clone", f"wanted {wanted}; got {show(name)}")
    elif not sum(cells.values()) > cells[name]:
        faults.add("cohort.risk.clone", f"wanted another clone with cells beside it; got {show(name)} alone")
    else:
        key = f"model.clone[{list(cells).index(name)}].cells"
        column = {} if spec.column is None else {"column": spec.column}
        return RiskPlan(key, math.sqrt(math.log1p(spec.cv**2)), spec.table, model=spec.model, **column)
    return None


def _vary(context: Context, path: str, entry: Any, place: Place) -> Vary:
    """The spread as a standard deviation, of the logarithm where the number is lognormal."""
    if (entry.cv is None) == (entry.sd is None):
        got = "neither" if entry.cv is None else "both"
        context.faults.add(path, f"wanted either cv or sd, the spread; got {got}")
        return Vary(entry.key, entry.distribution, 0.0)
    if entry.cv is not None:
        sd = entry.cv * abs(place.value)
    else:
        sd = context.number(f"{path}.sd", entry.sd, _SPREAD, place.unit)
    if math.isinf(sd) or (entry.distribution == "lognormal" and sd > _WIDEST * abs(place.value) > 0.0):
        wanted = f"a spread of at most {_WIDEST:g} times the number, which is {abs(place.value):g}"
        context.faults.add(path, f"wanted {wanted}; got {sd:g}")
        return Vary(entry.key, entry.distribution, 0.0)
    if entry.distribution == "normal":
        return Vary(entry.key, "normal", sd)
    if place.value == 0.0:
        context.faults.add(f"{path}.distribution", 'wanted "normal" for a number that is 0; got "lognormal"')
        return Vary(entry.key, "lognormal", 0.0)
    return Vary(entry.key, "lognormal", math.sqrt(math.log1p((sd / place.value) ** 2)))


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
