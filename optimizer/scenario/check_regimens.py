"""Decision intervals and the regimens to compare with."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from optimizer.fields import FieldInfo
from optimizer.files.events import TOLERANCE, DoseEvent, to_mixed_grid
from optimizer.files.faults import DataError
from optimizer.scenario.check_optional import policy, sequence
from optimizer.scenario.check_parts import Context, unique
from optimizer.scenario.faults import Faults, one_of
from optimizer.scenario.fields import MAX_LIST as MOST_INTERVALS, read_quantity
from optimizer.scenario.plan import Drug, Part, RegimenPlan, written

MOST_DAYS = 36_525.0
MOST_DOSES = 100_000
_AMOUNT = FieldInfo("", "", minimum=0.0)
_SHORTEST = 1e-6


def regular_edges(every: float, horizon: float) -> np.ndarray:
    """Edges of intervals of `every` days up to the horizon; the last one may be shorter."""
    # A last sliver that is only rounding is not an interval.
    count = max(1, math.ceil(horizon / every - 1e-9))
    return np.array([every * k for k in range(count)] + [horizon])


def _fits(faults: Faults, path: str, every: float, horizon: float) -> bool:
    if every > horizon:
        faults.add(f"{path}.every", f"wanted at most the horizon, {horizon:g} day; got {every:g} day")
    elif every < _SHORTEST or horizon / every > MOST_INTERVALS:
        wanted = f"at most {MOST_INTERVALS} intervals in {horizon:g} day"
        faults.add(f"{path}.every", f"wanted {wanted}; got {every:g} day each")
    else:
        return True
    return False


def check_decision(context: Context, spec: Any) -> tuple[np.ndarray | None, float | None]:
    """Edges of the decision intervals, and their length where it is regular; no edges where they are refused."""
    faults = context.faults
    if spec.edges is not None:
        extra = [name for name in ("every", "horizon") if getattr(spec, name) is not None]
        if extra:
            faults.add("decision", f"wanted either edges, or every and horizon; got edges and {extra[0]}")
        return _listed(faults, spec.edges), None
    absent = [name for name in ("every", "horizon") if getattr(spec, name) is None]
    if absent:
        faults.add(f"decision.{absent[0]}", "wanted this key beside the other one, or a list of edges; got none")
        return None, None
    if spec.horizon > MOST_DAYS:
        faults.add("decision.horizon", f"wanted at most {MOST_DAYS:g} day; got {spec.horizon:g} day")
        return None, None
    if not _fits(faults, "decision", spec.every, spec.horizon):
        return None, None
    edges = regular_edges(spec.every, spec.horizon)
    last = float(edges[-1] - edges[-2])
    if last < 0.5 * spec.every:
        said = f"the last decision interval has {last:g} day of {spec.every:g}: its dose acts on little of the horizon"
        context.notes.append(f"{said}, which a multiple of {spec.every:g} day mends")
    return edges, spec.every


def _listed(faults: Faults, edges: Sequence[float]) -> np.ndarray | None:
    path = "decision.edges"
    if not 2 <= len(edges) <= MOST_INTERVALS + 1:
        faults.add(path, f"wanted 2 to {MOST_INTERVALS + 1} times; got {len(edges)}")
        return None
    if edges[0] != 0.0:
        faults.add(f"{path}[0]", f"wanted 0 day, where the study starts; got {edges[0]:g} day")
        return None
    for i in range(1, len(edges)):
        if not edges[i] - edges[i - 1] > _SHORTEST:
            faults.add(f"{path}[{i}]", f"wanted more than the {edges[i - 1]:g} day before it; got {edges[i]:g} day")
            return None
    if edges[-1] > MOST_DAYS:
        faults.add(f"{path}[{len(edges) - 1}]", f"wanted at most {MOST_DAYS:g} day; got {edges[-1]:g} day")
        return None
    return np.array(edges)


def check_regimens(
    context: Context, specs: Sequence[Any], edges: np.ndarray, constraints: Sequence[Part] = ()
) -> tuple[RegimenPlan, ...]:
    """All regimens, on the decision grid refined by the times of their doses."""
    unique(context.faults, "regimen", [spec.name for spec in specs])
    regimens, doses = [], 0
    for i, spec in enumerate(specs):
        regimen = _regimen(context, f"regimen[{i}]", spec, edges)
        if regimen is None:
            continue
        regimens.append(regimen)
        doses += 0 if regimen.doses is None else int(np.count_nonzero(regimen.doses))
        if doses > MOST_DOSES:
            context.faults.add(f"regimen[{i}]", f"wanted at most {MOST_DOSES} doses in all regimens; got more")
            break
    for regimen in regimens:
        _note_excess(context, regimen, constraints)
    return tuple(regimens)


def _regimen(context: Context, path: str, spec: Any, edges: np.ndarray) -> RegimenPlan | None:
    given = [name for name in ("dose", "policy", "phases") if getattr(spec, name) is not None]
    if len(given) != 1:
        got = "both" if len(given) == 2 else "all" if given else "neither"
        context.faults.add(path, f"wanted either doses (dose = [] for none) or a policy; got {got}")
        return None
    phases = getattr(spec.policy, "phases", None) if spec.phases is None else spec.phases
    if phases is not None:
        part = sequence(context, path if spec.policy is None else f"{path}.policy", phases)
        return None if part is None else _ruled(context, path, spec.name, part, phases[0].policy.every, edges)
    if spec.policy is not None:
        part = policy(context, f"{path}.policy", spec.policy)
        return None if part is None else _ruled(context, path, spec.name, part, spec.policy.every, edges)
    before, events = len(context.faults.found), []
    for i, dose in enumerate(spec.dose):
        if len(events) > MOST_INTERVALS:
            context.faults.add(path, f"wanted at most {MOST_INTERVALS} doses; got more")
            break
        own = list(_doses(context, f"{path}.dose[{i}]", dose, float(edges[-1])))
        _once(context, f"{path}.dose[{i}]", own, events)
        events += own
    if len(context.faults.found) > before:
        return None
    routes = {drug.name: drug.route for drug in context.drugs}
    try:
        own, doses, other = to_mixed_grid(events, context.drug_names, float(edges[-1]), routes, edges)
    except DataError as error:
        context.faults.add(path, f"wanted doses that fit together; got a fault: {error}")
        return None
    listed = tuple(_dose_table(context, dose) for dose in spec.dose)
    return RegimenPlan(spec.name, own, doses, listed, other=other if other.any() else None)


def _once(context: Context, path: str, own: Sequence[DoseEvent], before: Sequence[DoseEvent]) -> None:
    """A fault where a drug is given twice at one time by one route."""
    alike = [e for e in (*before, *own) if own and e.drug == own[0].drug and (e.rate > 0.0) == (own[0].rate > 0.0)]
    times = sorted(event.time for event in alike)
    for first, second in pairwise(times):
        if second - first <= TOLERANCE:
            wanted = f"one dose of {own[0].drug} at a time"
            context.faults.add(path, f"wanted {wanted}; got a second one on day {second:g}")
            return


def _ruled(context: Context, path: str, name: str, part: Part, every: float | None, edges: Any) -> RegimenPlan | None:
    """The regimen of a rule that decides every so many days, or at the scenario's decisions."""
    if every is None:
        return RegimenPlan(name, edges, policy=part)
    if not _fits(context.faults, f"{path}.policy", every, float(edges[-1])):
        return None
    return RegimenPlan(name, regular_edges(every, float(edges[-1])), policy=part, every=every)


def _times(context: Context, path: str, spec: Any, horizon: float) -> list[float]:
    """Times of the doses of one entry."""
    faults, start, stop = context.faults, spec.start or 0.0, min(spec.stop or horizon, horizon)
    given = [name for name in ("every", "days", "cycle") if getattr(spec, name) is not None]
    if len(given) > 1:
        faults.add(path, f"wanted one of every, days, or cycle with on; got {' and '.join(given)}")
        return []
    if (spec.cycle is None) != (spec.on is None) or (spec.cycle and max(spec.on, default=0) > spec.cycle):
        got = f"{spec.cycle or 0.0:g} day and {spec.on}" if spec.cycle and spec.on else "one of them"
        faults.add(path, f"wanted cycle together with on, the days within it that have a dose; got {got}")
        return []
    if spec.days is not None:
        extra = [name for name in ("start", "stop") if getattr(spec, name) is not None]
        if extra:
            faults.add(f"{path}.{extra[0]}", "wanted it beside every only; got it beside days")
        late = [(i, day) for i, day in enumerate(spec.days) if day >= horizon]
        for i, day in late:
            faults.add(f"{path}.days[{i}]", f"wanted a day before the horizon, {horizon:g} day; got {day:g} day")
        return [] if late else sorted(spec.days)
    if start >= stop:
        limit = "the horizon" if spec.stop is None else "stop or the horizon"
        faults.add(f"{path}.start", f"wanted a day before {limit}, {stop:g} day; got {start:g} day")
        return []
    step, shifts = spec.every or spec.cycle, [day - 1.0 for day in sorted(set(spec.on or [1]))]
    if step is None:
        return [start]
    if not _fits(faults, path, min(step, stop - start), stop - start):
        return []
    count = max(1, math.ceil((stop - start) / step - 1e-9))
    times = [start + step * k + shift for k in range(count) for shift in shifts]
    return [time for time in times if time < stop - TOLERANCE]


def _doses(context: Context, path: str, spec: Any, horizon: float) -> Iterator[DoseEvent]:
    """Events of one entry: boluses, or infusions until the next one, `stop` or the horizon."""
    drug = context.drug(f"{path}.drug", spec.drug)
    times = _times(context, path, spec, horizon)
    if drug is None or not times:
        return
    if spec.route is not None and spec.route not in _ways(drug):
        context.faults.add(f"{path}.route", f"{one_of(_ways(drug), spec.route)}, which {drug.name} is not given by")
        return
    route, unit = _by(drug, spec.route)
    amount = context.number(f"{path}.amount", spec.amount, _AMOUNT, unit)
    if route == "bolus" and spec.duration is not None:
        context.faults.add(f"{path}.duration", f"wanted it for an infusion only; got it for {drug.name}, a bolus")
    if not amount > 0.0:
        return
    if not math.isfinite(amount * horizon):
        context.faults.add(f"{path}.amount", f"wanted doses whose sum is a number; got {amount:g} {unit}")
        return
    for time, after in zip(times, [*times[1:], min(spec.stop or horizon, horizon)], strict=True):
        if route == "bolus":
            yield DoseEvent(time, drug.name, amount)
            continue
        length = after - time
        if spec.duration is not None:
            if spec.duration > length * (1.0 + 1e-9):
                wanted = f"at most {length:g} day, when the next one begins or dosing ends"
                context.faults.add(f"{path}.duration", f"wanted {wanted}; got {spec.duration:g} day")
                return
            length = min(spec.duration, length)
        yield DoseEvent(time, drug.name, amount * length, rate=amount)


def _ways(drug: Drug) -> list[str]:
    """Routes by which a regimen may give a drug: its own, and the one that a grid has besides."""
    routes: tuple[str, ...] = drug.pk.cls.routes  # type: ignore[attr-defined]
    more = [] if drug.duration is not None else [route for route in routes if route != drug.route]
    return [drug.said_route, *more]


def _by(drug: Drug, said: str | None) -> tuple[str, str]:
    """Route of an entry as the numeric core has it, and the unit of its amount."""
    if said is None or said == drug.said_route:
        return drug.route, drug.dose_unit
    return said, drug.total_unit if said == "bolus" else f"{drug.total_unit}/day"


def _dose_table(context: Context, spec: Any) -> dict[str, Any]:
    """One entry of doses, as resolved."""
    drug = context.drugs[context.drug_names.index(spec.drug)]
    unit = _by(drug, spec.route)[1]
    amount = read_quantity(spec.amount, _AMOUNT, unit, context.sizes)
    out: dict[str, Any] = {"drug": spec.drug, "amount": written(amount, unit)}
    out |= {name: getattr(spec, name) for name in ("route", "on") if getattr(spec, name) is not None}
    times = ("every", "cycle", "start", "stop", "duration")
    out |= {name: written(given, "day") for name in times if (given := getattr(spec, name)) is not None}
    return out if spec.days is None else out | {"days": [float(day) for day in spec.days]}


def _note_excess(context: Context, regimen: RegimenPlan, constraints: Sequence[Part]) -> None:
    """Note doses above the largest one that the search may give anywhere."""
    if regimen.doses is None:
        return
    for j, drug in enumerate(context.drugs):
        own = [part.values for part in constraints if part.kind == "dose_bounds" and part.values["drug"] == drug.name]
        largest = max([drug.maximum, *(bounds["maximum"] for bounds in own if "maximum" in bounds)])
        over = np.flatnonzero(regimen.doses[:, j] > largest * (1.0 + 1e-12))
        if over.size:
            k = int(over[0])
            given = f"{drug.name} {regimen.doses[k, j]:g} {drug.dose_unit} on day {regimen.edges[k]:g}"
            most = f"the largest dose of the search, {largest:g} {drug.dose_unit}"
            context.notes.append(f'regimen "{regimen.name}" gives {given}, more than {most}')
