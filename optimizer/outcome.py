"""What a way of dosing came to: the numbers that a clinic compares."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from optimizer.constraints.toxicity_grade import grade
from optimizer.endpoints.base import Verdict
from optimizer.endpoints.burden_factor import exceeds
from optimizer.simulate import Grid, System, Trajectory
from optimizer.simulate.arrivals import by_route
from optimizer.simulate.crossings import peak

# Burdens beyond which the next number may be infinite, and from which on "less than one cell" is meant literally:
# models in shares of a capacity begin far below.
_HUGE, _MANY, _ROUNDING = 1e200, 100.0, 1e-6


@dataclass(frozen=True)
class Outcome:
    """The outcome of one way of dosing."""

    time_to_progression_day: float | None  #: by the endpoint; None when never
    final_burden: float  #: all cancer cells at the end [cell]
    peak_burden: float  #: most cancer cells at any time [cell]
    resistant_fraction: float  #: share of resistant cells at the end
    cumulative_dose: dict[str, float]  #: by drug, the sum of its doses (rate times length for an infusion)
    time_on_treatment_day: float  #: days in intervals with any drug given
    switches: int  #: how often treatment is stopped or begun again after the start
    #: the last visit before progression; that day itself where it is read at any time
    progression_after_day: float | None = None
    #: worst grade (CTCAE) of the counts that the model tells; None where it tells none
    neutropenia_grade: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The contract's keys."""
        return asdict(self)


def remark(trajectory: Trajectory) -> str:
    """What the numbers of a trajectory do not say: growth out of the range of numbers, less than a cell, or than none.

    Empty when that is nothing.
    """
    times, burden = np.asarray(trajectory.times), np.asarray(trajectory.burden)
    out = ~np.isfinite(burden)
    if out.any() and burden[: np.argmax(out)].max(initial=0.0) > _HUGE:
        return (
            f"growth without limit left the range of numbers (1e308 cells) about day {times[np.argmax(out)]:.6g}: "
            "a carrying_capacity keeps it within"
        )
    if out.any() or bool(trajectory.ok) is False:
        return "the states became non-finite or the solver ran out of steps"
    if is_below_zero(trajectory):
        day = times[np.argmax(burden < 0.0)]
        return f"the burden falls below zero about day {day:.6g} ({burden.min():.3g} at least), which no tumor does"
    few = burden < 1.0
    if few.any() and burden[0] >= _MANY:
        return (
            f"fewer than one cell from day {times[np.argmax(few)]:.6g} on ({burden.min():.3g} at least): a model "
            "without chance says nothing there, the tumor is likely extinct, and regrowth from it is not to be believed"
        )
    return ""


def is_below_zero(trajectory: Trajectory) -> bool:
    """Whether the burden is negative by more than rounding, as equations of one's own may have it."""
    burden = np.asarray(trajectory.burden)
    return bool(burden.min() < -_ROUNDING * burden[0])


def cumulative_dose(doses: np.ndarray, edges: np.ndarray, routes: Sequence[str]) -> np.ndarray:
    """Sum of the doses [K, N] of each drug [N]; a rate counts times the length of its interval."""
    lengths = np.diff(edges)[:, None]
    return np.sum(np.where(np.array(routes) == "infusion", doses * lengths, doses), axis=0)


def level_units(system: System, dose_units: Mapping[str, str]) -> dict[str, str]:
    """Unit of each drug's level at the tumor: mg/L, or that of its doses where a dose is the level."""
    pairs = zip(system.drugs, system.pharmacokinetics, strict=True)
    return {drug: dose_units.get(drug, "1") if pk.dose_unit == "1" else "mg/L" for drug, pk in pairs}


def outcome(
    trajectory: Trajectory,
    grid: Grid,
    drugs: Sequence[str],
    routes: Sequence[str],
    progression: float | Verdict = 1.2,
    decisions: Grid | None = None,
) -> Outcome:
    """Outcome of a simulated patient; crossings and peaks are read between the saved times.

    Args:
        trajectory: the patient.
        grid: the intervals of its doses.
        drugs: names [N].
        routes: "bolus" or "infusion" [N].
        progression: the verdict of an endpoint, or the multiple of the first cells that are more at progression.
        decisions: intervals that a bolus treats, where they are not those of the grid.
    """
    doses, edges = np.asarray(trajectory.doses), np.asarray(grid.edges)
    burden = np.asarray(trajectory.burden)
    times = np.asarray(trajectory.times)
    found = progression if isinstance(progression, Verdict) else exceeds(trajectory, progression)
    counts = trajectory.observables.get("neutrophils")
    parts = by_route(routes, doses, grid)
    both, ways = np.hstack([part for part, _ in parts]), [route for _, own in parts for route in own]
    on = _treated(both, edges, ways, edges if decisions is None else np.asarray(decisions.edges))
    total = sum(cumulative_dose(part, edges, own) for part, own in parts)
    final = float(burden[-1])
    return Outcome(
        time_to_progression_day=found.day,
        final_burden=final,
        peak_burden=_peak(times, burden),
        resistant_fraction=float(np.asarray(trajectory.resistant)[-1]) / final if final > 0.0 else 0.0,
        cumulative_dose=dict(zip(drugs, np.asarray(total).tolist(), strict=True)),
        time_on_treatment_day=float(np.sum(np.diff(edges)[on])),
        switches=int(np.sum(on[1:] != on[:-1])),
        progression_after_day=found.after if found.day is not None else None,
        neutropenia_grade=None if counts is None else grade(1.0 / _peak(times, 1.0 / np.asarray(counts))),
    )


def _peak(times: np.ndarray, values: np.ndarray) -> float:
    """The largest of some values at any time, by the logarithm; infinite where they left the range of numbers."""
    if not np.isfinite(values).all():
        return float("inf")
    return float(np.exp(peak(times, np.log(np.maximum(values, 1e-300)))))


def _treated(doses: np.ndarray, edges: np.ndarray, routes: Sequence[str], decisions: np.ndarray) -> np.ndarray:
    """Intervals [K] with a drug in them; a bolus treats its whole decision interval, where the grid refines those."""
    rates = np.array([route == "infusion" for route in routes], dtype=bool)
    infused = (doses[:, rates] > 0.0).any(axis=1)
    given = (doses[:, ~rates] > 0.0).any(axis=1)
    first = np.searchsorted(edges, decisions - 1e-9)
    if (np.abs(edges[np.minimum(first, len(edges) - 1)] - decisions) > 1e-9).any():
        return np.asarray(infused | given)
    owner = np.searchsorted(decisions, edges[:-1] + 1e-9, side="right") - 1
    return np.asarray(infused | np.isin(owner, owner[given]))
