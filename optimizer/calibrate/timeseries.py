"""Time series of patients under recorded doses: event tables to series, and series to fits of any model.

A model is a function `predict(parameters [P], times [t], events) -> observations [t]` in JAX, events being (times,
amounts) of boluses; `growth.GROWTH` holds the built-in ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np

from optimizer.calibrate.columns import written
from optimizer.calibrate.growth import GROWTH, PARAMETERS
from optimizer.calibrate.multistart import Fit, multistart, robust
from optimizer.calibrate.problem import Deviation, FitProblem, make_problem
from optimizer.calibrate.report import Options
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.tables import Table
from optimizer.files.faults import DataError, Fault

HALF_LIFE = 1.0
"""Days: assumed half-life of the drug where `elimination_rate` is not given."""
MOST_EVENTS = 100_000


@dataclass(frozen=True)
class Series:
    """One patient: times [t] in days from the first record, values [t], and boluses (times, amounts in mg)."""

    patient: str
    times: np.ndarray
    values: np.ndarray
    event_times: np.ndarray
    amounts: np.ndarray


@dataclass(frozen=True)
class TimeSeriesModel:
    """A model to fit: its function, its parameters with bounds, and those held at a value."""

    name: str
    predict: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, float]


def patient_series(table: Table) -> tuple[Series, ...]:
    """The series of an event table, patients in order of first appearance.

    EVID 0 is an observation, 1 a dose; without that column a row with an amount is a dose. II and ADDL repeat it.
    Refuses by name what it does not do: EVID 2 to 4, infusions (RATE), steady state (SS), a dose twice at one time.
    """
    dose = _dose_rows(table)
    _refuse_unsupported(table, dose)
    days = table["time"] * table.factor("time", "time")
    patients = table["patient"]
    out = []
    for patient in dict.fromkeys(patients.tolist()):
        mine = np.flatnonzero(patients == patient)
        seen = mine[~dose[mine] & ~np.isnan(table["burden"][mine])]
        if len(seen) == 0:
            raise DataError([table.fault(int(mine[0]), "burden", f"an observation of patient {patient}", "none")])
        seen = seen[np.argsort(days[seen], kind="stable")]
        zero = float(days[mine].min())
        at, amounts = _expand(table, mine[dose[mine]], days)
        out.append(Series(str(patient), days[seen] - zero, table["burden"][seen], at - zero, amounts))
    return tuple(out)


def _dose_rows(table: Table) -> np.ndarray:
    amount = np.nan_to_num(table["amount"]) if "amount" in table else np.zeros(len(table))
    if "evid" not in table:
        both = (amount > 0) & ~np.isnan(table["burden"])
        if both.any():
            row = int(np.flatnonzero(both)[0])
            raise DataError(
                [table.fault(row, "burden", "a dose or an observation in one row (or an evid column)", "both")]
            )
        return amount > 0
    faults = [
        table.fault(i, "evid", "0 (observation) or 1 (dose)", f"{table['evid'][i]:g}")
        for i in np.flatnonzero((table["evid"] != 0) & (table["evid"] != 1))
    ]
    faults += [
        table.fault(i, "amount", "an amount above 0 in a dose row", f"{amount[i]:g}")
        for i in np.flatnonzero((table["evid"] == 1) & (amount <= 0))
    ]
    faults += [
        table.fault(i, "burden", "a value in an observation row", "an empty cell")
        for i in np.flatnonzero((table["evid"] == 0) & np.isnan(table["burden"]))
    ]
    if faults:
        raise DataError(faults)
    return table["evid"] == 1


def _refuse_unsupported(table: Table, dose: np.ndarray) -> None:
    faults: list[Fault] = []
    for role, wanted in (("rate", "0 or empty (boluses; infusions are not fitted)"), ("steady", "0 or empty (no SS)")):
        if role in table:
            values = np.nan_to_num(table[role])
            faults += [table.fault(i, role, wanted, f"{values[i]:g}") for i in np.flatnonzero(dose & (values != 0))]
    if "additional" in table:
        extra = np.nan_to_num(table["additional"])
        gap = np.nan_to_num(table["interval"]) if "interval" in table else np.zeros(len(table))
        faults += [
            table.fault(
                i,
                "additional",
                "an interval II above 0 with additional doses, and a whole number of them",
                f"{extra[i]:g}",
            )
            for i in np.flatnonzero(dose & ((extra != np.floor(extra)) | ((extra > 0) & (gap <= 0))))
        ]
    if faults:
        raise DataError(faults)


def _expand(table: Table, rows: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All boluses of some dose rows in order; a time that occurs twice within 1e-10 d is refused."""
    at: list[float] = []
    amounts: list[float] = []
    source: list[int] = []
    milligrams = table.factor("amount", "amount") if "amount" in table else 1.0
    for i in rows:
        extra = int(np.nan_to_num(table["additional"][i])) if "additional" in table else 0
        gap = float(table["interval"][i]) * table.factor("interval", "time") if extra else 0.0
        if len(at) + extra > MOST_EVENTS:
            raise DataError([table.fault(int(i), "additional", f"at most {MOST_EVENTS} doses a patient", str(extra))])
        at += [float(days[i]) + k * gap for k in range(extra + 1)]
        amounts += [float(table["amount"][i]) * milligrams] * (extra + 1)
        source += [int(i)] * (extra + 1)
    order = np.argsort(at, kind="stable")
    times = np.asarray(at, dtype=float)[order]
    twice = np.flatnonzero(np.diff(times) < 1e-10)
    if len(twice):
        row = source[int(order[twice[0] + 1])]
        raise DataError([table.fault(row, "time", "each dose time once for a patient", f"{times[twice[0]]:g} d twice")])
    return times, np.asarray(amounts, dtype=float)[order]


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
        times, event_times, amounts = design
        return predict(theta, times, (event_times, amounts))

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
