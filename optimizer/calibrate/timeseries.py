"""Time series of patients under recorded doses: event tables to series, and series to fits of any model.

A model is a function `predict(parameters [P], times [t], events) -> observations [t]` in JAX, events being (times,
amounts) of boluses, or (times, levels) where the table says only when a patient was treated; `growth` holds the
simulator's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np

from optimizer.calibrate.fit import Fit, Settings, least_squares
from optimizer.calibrate.growth import CLOSED, EFFECTS, LAWS, PARAMETERS, closed_form, simulated
from optimizer.calibrate.problem import Deviation, FitProblem, make_problem, padded
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.tables import Table
from optimizer.files.dose_rows import dose_events
from optimizer.files.events import DoseEvent, expand
from optimizer.files.faults import DataError, Fault
from optimizer.files.headers import split_header

HALF_LIFE = 1.0
"""Days: assumed half-life of the drug where `elimination_rate` is not given."""
MOST_EVENTS = 100_000


@dataclass(frozen=True)
class Series:
    """One patient: times [t] in days from the first record, values [t], and events [e].

    Events are boluses (times, amounts in mg), or where `held` levels from each time on, 1 while treated. `censored` is
    -1 where a value is a limit that the patient was below, 1 where above, else 0; None where no value of the table is.
    """

    patient: str
    times: np.ndarray
    values: np.ndarray
    event_times: np.ndarray
    amounts: np.ndarray
    held: bool = False
    censored: np.ndarray | None = None


@dataclass(frozen=True)
class TimeSeriesModel:
    """A model to fit: its function, its parameters with bounds, and those held at a value."""

    name: str
    predict: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, float]


def patient_series(table: Table) -> tuple[Series, ...]:
    """The series of an event table, patients in order of first appearance.

    Doses are read as in a dosing table (`event_tables`), two at one time add up. Refuses by name what is not fitted:
    infusions and steady state.
    """
    days, names, values = table.internal("time"), table["patient"].tolist(), burden(table)[0]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    ids = np.array([number[name] for name in names])
    found = dose_events(table, lambda row: "drug", ids)
    _refuse_unsupported(table, found)
    events = expand([event for _, event in found])
    dose = np.zeros(len(table), bool)
    dose[[row for row, _ in found]] = True
    out = []
    for patient, i in number.items():
        mine = np.flatnonzero(ids == i)
        seen = mine[~dose[mine] & ~np.isnan(values[mine])]
        if len(seen) == 0:
            raise DataError([table.fault(int(mine[0]), "burden", f"an observation of patient {patient}", "none")])
        seen = seen[np.argsort(days[seen], kind="stable")]
        zero = float(days[mine].min())
        given, held = [event for event in events if event.id == i], "treatment" in table
        at, place = np.unique(np.array([event.time for event in given], float), return_inverse=True)
        amounts = np.bincount(place, [event.amount for event in given], len(at))
        if held:
            at, amounts = _treated(table, mine, days)
        signs = table.censored["burden"][seen] if table.censored["burden"].any() else None
        out.append(Series(str(patient), days[seen] - zero, values[seen], at - zero, amounts, held, signs))
    return tuple(out)


def _treated(table: Table, rows: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times and levels of one patient where each record says whether treatment is on from it to the next."""
    rows = rows[np.argsort(days[rows], kind="stable")]
    level = table["treatment"][rows]
    known = ~np.isnan(level)
    return days[rows][known], level[known]


def _refuse_unsupported(table: Table, found: Sequence[tuple[int, DoseEvent]]) -> None:
    faults: list[Fault] = []
    for row, event in found:
        if event.rate:
            role = "rate" if "rate" in table else "duration"
            faults.append(table.fault(row, role, "0 or nothing (boluses; infusions are not fitted)", f"{event.rate:g}"))
        if event.steady:
            faults.append(table.fault(row, "steady", "0 or nothing (no SS)", "1"))
        if event.amount <= 0.0:
            faults.append(table.fault(row, "amount", "an amount above 0 in a dose row", f"{event.amount:g}"))
        if event.additional > MOST_EVENTS:
            faults.append(table.fault(row, "additional", f"at most {MOST_EVENTS} doses a patient", event.additional))
    DataError.stop(faults)


def builtin(series: tuple[Series, ...], unit: str, settings: Settings) -> TimeSeriesModel:
    """One of the simulator's tumors with bounds from the data, as `growth`, `effect`, `elimination_rate`, `hill` and
    `free` of the settings say."""
    growth, effect = settings.growth, settings.effect
    if growth not in LAWS or effect not in EFFECTS:
        raise DataError(
            f"model: wanted growth {' or '.join(LAWS)} and effect {' or '.join(EFFECTS)}; got {growth} and {effect}"
        )
    values = np.concatenate([s.values for s in series])
    values = values[values > 0]
    span = max(float(s.times.max() - s.times.min()) for s in series)
    doses = np.concatenate([s.amounts for s in series])
    held = series[0].held
    dose = float(np.median(doses[doses > 0])) if (doses > 0).any() else 1.0
    low, high = float(values.min()), float(values.max())
    strongest = 20.0 if effect == "norton_simon" else 5.0
    box = (
        Parameter("initial_burden", unit, low / 30, high * 30, log=True),
        Parameter("growth_rate", "1/d", 0.01 / max(span, 1.0), 2.0, log=True),
        Parameter("capacity", unit, high, high * 1e3, log=True),
        Parameter("drug_effect", "1" if effect == "norton_simon" else "1/d", 1e-4, strongest, log=True),
        Parameter("ec50", "mg", dose * 1e-3, dose * 1e2, log=True),
        Parameter("elimination_rate", "1/d", 1e-3, 50.0, log=True),
        Parameter("hill", "1", 0.3, 6.0, log=True),
    )
    assert tuple(p.name for p in box) == PARAMETERS
    curve = closed_form if (growth, effect) in CLOSED else simulated
    fixed = {
        "elimination_rate": settings.elimination_rate or float(np.log(2.0) / HALF_LIFE),
        "hill": settings.hill or 1.0,
        **({"capacity": high * 10.0} if growth == "exponential" else {}),
        **({"ec50": dose} if held or not (doses > 0).any() else {}),
        **({} if (doses > 0).any() else {"drug_effect": 1e-3}),
    }
    for name in () if held else settings.free:
        if name not in ("elimination_rate", "hill"):
            raise DataError(f"free: wanted elimination_rate or hill; got {name!r}")
        fixed.pop(name, None)
    return TimeSeriesModel(f"{growth} growth, {effect}", curve(growth, effect, held), box, fixed)


@lru_cache(maxsize=64)
def adapted(predict: Callable[..., Any]) -> Callable[..., Any]:
    """`predict(parameters, times, events)` as a curve of least squares; one object a model, so one compilation."""

    def curve(theta: Any, design: Any) -> Any:
        times, event_times, amounts = design
        return predict(theta, times, (event_times, amounts))

    return curve


def series_problem(
    series: Series, model: TimeSeriesModel, deviation: Deviation, shape: tuple[int, int] | None = None
) -> FitProblem:
    """The least squares of one patient, padded to `shape` (observations, events): patients share a compilation."""
    rows, events = shape or (len(series.times), max(len(series.event_times), 1))
    more = events - len(series.event_times)
    last = float(series.event_times[-1]) if len(series.event_times) else 0.0
    level = float(series.amounts[-1]) if series.held and len(series.amounts) else 0.0
    design = (
        padded(series.times, rows),
        np.concatenate([series.event_times, np.full(more, last)]),
        np.concatenate([series.amounts, np.full(more, level)]),
    )
    own = {"censored": series.censored, "deviation": deviation, "rows": rows}
    return make_problem(adapted(model.predict), design, series.values, model.parameters, **own)


def fit_series(series: tuple[Series, ...], model: TimeSeriesModel, settings: Settings) -> tuple[Fit, ...]:
    """Each patient on its own, log residuals unless `settings.deviation` says otherwise."""
    deviation = cast(Deviation, settings.deviation or "log")
    shape = (max(len(s.times) for s in series), max(max(len(s.event_times), 1) for s in series))
    problems = [series_problem(one, model, deviation, shape) for one in series]
    told = [f"{model.name}, patient {i + 1} of {len(series)}" for i in range(len(series))]
    return tuple(
        least_squares(problem, model.parameters, settings, what, model.fixed)
        for problem, what in zip(problems, told, strict=True)
    )


def burden(table: Table) -> tuple[np.ndarray, str]:
    """The observed burden [rows] and its unit; of a diameter the volume of a sphere, which grows as the cells do.

    Raises:
        DataError: the table holds shares of the DNA, which say nothing of the burden.
    """
    unit = table.units["burden"]
    if split_header(table.names["burden"], "burden")[0] in ("variant_fraction", "vaf"):
        wanted = "a burden (volume, diameter, psa, ctdna, burden)"
        raise DataError([table.fault(0, "burden", wanted, "a share of the DNA, which says how cells differ")])
    if unit in ("mm", "cm"):
        return np.pi / 6.0 * table["burden"] ** 3, f"{unit}3"
    return table["burden"], unit
