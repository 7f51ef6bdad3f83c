"""Time series of patients under recorded doses: event tables to series, and series to fits of any model.

A model is a function `predict(parameters [P], times [t], events) -> observations [t]` in JAX, events being (times,
amounts) of boluses; `growth.GROWTH` holds the built-in ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import jax.numpy as jnp
import numpy as np

from optimizer.calibrate.columns import written
from optimizer.calibrate.growth import GROWTH, PARAMETERS
from optimizer.calibrate.multistart import Fit, multistart, robust
from optimizer.calibrate.problem import Deviation, FitProblem, make_problem
from optimizer.calibrate.report import Options
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.tables import Table
from optimizer.files.cells import ABOVE, BELOW
from optimizer.files.dose_rows import dose_events
from optimizer.files.events import DoseEvent, expand
from optimizer.files.faults import DataError, Fault

HALF_LIFE = 1.0
"""Days: assumed half-life of the drug where `elimination_rate` is not given."""
MOST_EVENTS = 100_000


@dataclass(frozen=True)
class Series:
    """One patient: times [t] in days from the first record, values [t], boluses (times, amounts in mg), censoring [t].

    A value is a limit where `censored` is not 0: -1 below it, 1 above it.
    """

    patient: str
    times: np.ndarray
    values: np.ndarray
    event_times: np.ndarray
    amounts: np.ndarray
    censored: np.ndarray


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
    days, names = table.internal("time"), table["patient"].tolist()
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
        seen = mine[~dose[mine] & ~np.isnan(table["burden"][mine])]
        if len(seen) == 0:
            raise DataError([table.fault(int(mine[0]), "burden", f"an observation of patient {patient}", "none")])
        seen = seen[np.argsort(days[seen], kind="stable")]
        zero = float(days[mine].min())
        at, amounts = _boluses([event for event in events if event.id == i])
        signs = table.censored["burden"][seen]
        out.append(Series(str(patient), days[seen] - zero, table["burden"][seen], at - zero, amounts, signs))
    return tuple(out)


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
    if faults:
        raise DataError(faults)


def _boluses(events: Sequence[DoseEvent]) -> tuple[np.ndarray, np.ndarray]:
    """Times and amounts of a patient's doses, those at one time added up."""
    at, place = np.unique([event.time for event in events], return_inverse=True)
    amounts = np.zeros(len(at))
    np.add.at(amounts, place, [event.amount for event in events])
    return np.asarray(at, dtype=float), amounts


def builtin(series: tuple[Series, ...], unit: str, settings: Mapping[str, Any]) -> TimeSeriesModel:
    """One of the built-in models with bounds from the data.

    `settings`: `growth` (`exponential`, `logistic`), `effect` (`log_kill`, `norton_simon`), `elimination_rate` [1/d],
    `hill`, and `free` (names among elimination_rate and hill that are to be fitted).
    """
    growth, effect = settings.get("growth", "exponential"), settings.get("effect", "log_kill")
    if (growth, effect) not in GROWTH:
        raise DataError(
            "model: wanted growth exponential or logistic and effect log_kill or norton_simon, "
            f"got {growth} and {effect}"
        )
    values = np.concatenate([s.values for s in series])
    span = max(float(s.times.max() - s.times.min()) for s in series)
    doses = np.concatenate([s.amounts for s in series])
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
    fixed = {
        "elimination_rate": float(settings.get("elimination_rate", np.log(2.0) / HALF_LIFE)),
        "hill": float(settings.get("hill", 1.0)),
        **({"capacity": high * 10.0} if growth == "exponential" else {}),
    }
    if not (doses > 0).any():
        fixed |= {"drug_effect": 1e-3, "ec50": dose}
    for name in settings.get("free", ()):
        if name not in ("elimination_rate", "hill"):
            raise DataError(f"free: wanted elimination_rate or hill, got {name!r}")
        fixed.pop(name)
    assert tuple(p.name for p in box) == PARAMETERS
    return TimeSeriesModel(f"{growth} growth, {effect}", GROWTH[growth, effect], box, fixed)


@lru_cache(maxsize=64)
def adapted(predict: Callable[..., Any]) -> Callable[..., Any]:
    """`predict(parameters, times, events)` as a curve of least squares; one object a model, so one compilation."""

    def curve(theta: Any, design: Any) -> Any:
        times, event_times, amounts, floor, ceiling = design
        # Within what a censored value says there is no residual.
        return jnp.clip(predict(theta, times, (event_times, amounts)), floor, ceiling)

    return curve


def series_problem(
    series: Series, model: TimeSeriesModel, deviation: Deviation, shape: tuple[int, int] | None = None
) -> FitProblem:
    """The least squares of one patient, padded to `shape` (observations, events): patients share a compilation."""
    rows, events = shape or (len(series.times), max(len(series.event_times), 1))
    extra, more = rows - len(series.times), events - len(series.event_times)
    last = float(series.event_times[-1]) if len(series.event_times) else 0.0
    design = (
        np.concatenate([series.times, np.full(extra, series.times[0])]),
        np.concatenate([series.event_times, np.full(more, last)]),
        np.concatenate([series.amounts, np.zeros(more)]),
        np.concatenate([np.where(series.censored == BELOW, series.values, -np.inf), np.full(extra, -np.inf)]),
        np.concatenate([np.where(series.censored == ABOVE, series.values, np.inf), np.full(extra, np.inf)]),
    )
    observed = np.concatenate([series.values, np.full(extra, series.values[0])])
    weights = np.concatenate([np.ones(len(series.times)), np.zeros(extra)])
    return make_problem(
        adapted(model.predict), design, observed, model.parameters, weights=weights, deviation=deviation
    )


def fit_series(series: tuple[Series, ...], model: TimeSeriesModel, options: Options) -> tuple[Fit, ...]:
    """Each patient on its own, log residuals unless `options.deviation` says otherwise."""
    deviation = cast(Deviation, options.deviation or "log")
    shape = (max(len(s.times) for s in series), max(max(len(s.event_times), 1) for s in series))
    out = []
    for one in series:
        problem = series_problem(one, model, deviation, shape)
        fit = multistart(problem, model.parameters, starts=options.starts, seed=options.seed, fixed=model.fixed)
        if options.loss != "linear":
            fit = robust(fit, options.loss, starts=options.starts, seed=options.seed)
        out.append(fit)
    return tuple(out)


def burden_unit(table: Table) -> str:
    """Unit of the observed burden as a scenario writes it."""
    return written(table.units["burden"])
