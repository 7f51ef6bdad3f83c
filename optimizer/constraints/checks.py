"""Dose limits judged on what is given: as the search has them on the decision grid, in continuous time off it."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from optimizer.constraints.base import AbstractDoseLimit, Check, DoseFrame
from optimizer.constraints.dose_bounds import DoseBounds
from optimizer.constraints.dose_levels import DoseLevels
from optimizer.constraints.given import SAME, Given, given_on, on_grid


def dose_checks(
    frame: DoseFrame,
    limits: Sequence[AbstractDoseLimit],
    doses: Float[np.ndarray, "K N"],
    edges: Float[np.ndarray, "edges"],
    other: Float[np.ndarray, "K N"] | None = None,
) -> list[Check]:
    """Every limit on doses [K, N] that are decided at any edges [K + 1, day].

    `other` are doses by the route that is not a drug's own: limits on sums and rests count them, others on that drug
    are not checked.
    """
    if other is not None and np.any(other):
        return _mixed_checks(frame, limits, doses, edges, other)
    given = [given_on(edges, doses[:, j], route) for j, route in enumerate(frame.routes)]
    same = doses.shape == frame.lower.shape and np.array_equal(edges, frame.edges)
    moved = list(doses.T) if same else [on_grid(own, frame.edges) for own in given]
    on_decisions = [column for column in moved if column is not None]
    if len(on_decisions) == len(moved):
        decided = np.stack(on_decisions, -1) if moved else doses
        found = [*_bounds(frame, decided), *_sums(frame, decided)]
        leveled = [limit.judge(frame, given) for limit in limits if isinstance(limit, DoseLevels)]
    else:
        found = [check for j in range(len(moved)) for check in _bounds_in_time(frame, limits, j, given[j])]
        leveled = [limit.judge(frame, given) for limit in limits]
    return [*found, *(check for check in leveled if check is not None)]


def _mixed_checks(
    frame: DoseFrame, limits: Sequence[AbstractDoseLimit], doses: np.ndarray, edges: np.ndarray, other: np.ndarray
) -> list[Check]:
    """Every limit on drugs of which some are given by both routes."""
    swapped = {"bolus": "infusion", "infusion": "bolus"}
    own = [given_on(edges, doses[:, j], route) for j, route in enumerate(frame.routes)]
    more = [given_on(edges, other[:, j], swapped[route]) for j, route in enumerate(frame.routes)]
    both = [one.joined(two) for one, two in zip(own, more, strict=True)]
    mixed = {drug for drug, part in zip(frame.drugs, more, strict=True) if part.doses.size}
    found = []
    for j, drug in enumerate(frame.drugs):
        bounds = list(_bounds_in_time(frame, limits, j, own[j]))
        found += [Check.unsaid(c.name, c.limit) for c in bounds] if drug in mixed else bounds
    for limit in limits:
        check = limit.judge(frame, both)
        if check is not None:
            is_summed = limit.kind in ("cumulative_dose", "rest_period") or getattr(limit, "drug", None) not in mixed
            found.append(check if is_summed else Check.unsaid(check.name, check.limit))
    return found


def _names(drug: str) -> tuple[str, str]:
    return f"largest dose of {drug}", f"smallest dose of {drug}"


def _worst(name: str, values: np.ndarray, limits: np.ndarray, size: float) -> Check:
    """The value that passes its limit by most."""
    at = int(np.argmax(values - limits))
    return Check.at_most(name, float(values[at]), float(limits[at]), size)


def _least(name: str, values: np.ndarray, limits: np.ndarray) -> Check:
    """The value that stays below its limit by most; a limit from below."""
    at = int(np.argmax(limits - values))
    value, limit = float(values[at]), float(limits[at])
    return Check(name, value, limit, max(limit - value, 0.0) / (limit or 1.0))


def _bounds(frame: DoseFrame, doses: np.ndarray) -> Iterator[Check]:
    for j, drug in enumerate(frame.drugs):
        largest, smallest = _names(drug)
        yield _worst(largest, doses[:, j], frame.upper[:, j], float(frame.upper[:, j].max()) or 1.0)
        if (frame.lower[:, j] > 0.0).any():
            yield _least(smallest, doses[:, j], frame.lower[:, j])


def _sums(frame: DoseFrame, doses: np.ndarray) -> list[Check]:
    """The worst linear limit of each key."""
    by_key: dict[str, Check] = {}
    for row in frame.rows:
        check = Check.at_most(row.key, float(np.sum(row.coefficients * doses)), row.limit, float(np.sum(doses)))
        known = by_key.get(row.key)
        if known is None or check.value - check.limit > known.value - known.limit:
            by_key[row.key] = check
    return list(by_key.values())


def _bounds_in_time(frame: DoseFrame, limits: Sequence[AbstractDoseLimit], j: int, given: Given) -> Iterator[Check]:
    """Bounds on boluses when they are given, on a rate at all times.

    A smallest dose of boluses is one of those that are given: how often they must be has no meaning here.
    """
    drug = frame.drugs[j]
    bounds = [limit for limit in limits if isinstance(limit, DoseBounds) and limit.drug == drug]
    is_rate = frame.routes[j] == "infusion"
    times, doses = given.starts, given.doses
    if is_rate:
        ends = [end for limit in bounds for end in (limit.start, limit.stop) if end is not None]
        times = np.unique(np.r_[frame.edges[:-1], ends, given.starts, given.stops])
        times = times[times < frame.edges[-1] - SAME]
        doses = given.rate(times)
    at = np.clip(np.searchsorted(frame.edges, times + SAME, side="right") - 1, 0, len(frame.lower) - 1)
    lower, upper = (own[at, j].copy() for own in frame.own)
    for limit in bounds:
        limit.tighten(times, lower, upper)
    largest, smallest = _names(drug)
    if times.size:
        yield _worst(largest, doses, upper, float(upper.max()) or 1.0)
    else:
        yield Check(largest, 0.0, float(frame.upper[:, j].max()), 0.0)
    if (frame.lower[:, j] > 0.0).any():
        met = times.size == 0 or not (doses < lower).any()
        said = is_rate or not met
        yield _least(smallest, doses, lower) if said else Check.unsaid(smallest, float(frame.lower[:, j].max()))
