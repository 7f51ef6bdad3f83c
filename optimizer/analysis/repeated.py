"""Schedules of a map: equal doses of some drugs every so many days, the other drugs as a regimen has it.

Points whose schedules have up to twice as many intervals share arrays and with them a compiled program: the shorter
ones are padded with intervals after the horizon, which nothing reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.analysis.axes import AMOUNT, DELAY, EVERY, MEAN, Number
from optimizer.analysis.levels import dose_times
from optimizer.files.events import DoseEvent, from_grid, to_grid
from optimizer.scenario.plan import Plan, RegimenPlan
from optimizer.settings import OptionError

# Longest and shortest schedule of a batch, in intervals.
_SPREAD = 2


@dataclass(frozen=True)
class Batch:
    """Schedules of B points that are simulated by one program."""

    points: np.ndarray  #: their numbers among all points [B]
    edges: np.ndarray  #: of the intervals; padding goes on after the horizon [B, K + 1, day]
    counts: np.ndarray  #: intervals that are real [B]
    given: np.ndarray  #: 1 where the drug gets its own amount [B, K, N]
    others: np.ndarray  #: doses of drugs that the regimen gives [B, K, N]

    def part(self, rows: slice) -> "Batch":
        """Some of the points."""
        return Batch(*(leaf[rows] for leaf in vars(self).values()))

    @property
    def longest(self) -> float:
        """Longest interval [day]."""
        real = np.arange(self.edges.shape[1] - 1) < self.counts[:, None]
        return float(np.max(np.diff(self.edges) * real))


def repeated_drugs(numbers: Sequence[Number]) -> list[int]:
    """Indices of the drugs that are given every so many days, not as the regimen has it."""
    return sorted({number.drug for number in numbers if number.kind in (MEAN, AMOUNT)})


def batches(
    plan: Plan, numbers: Sequence[Number], values: np.ndarray, every: float, regimen: RegimenPlan | None
) -> list[Batch]:
    """The schedules of all points [P, A], the longest first.

    Doses are `every` so many days where no number says so; other drugs follow the regimen, or are not given.

    Raises:
        OptionError: doses that come within the lag of others.
    """
    own = repeated_drugs(numbers)
    rest = _rest(plan, own, regimen)
    # Many points share their times: those that differ in an amount or a number of the model alone.
    timing = [a for a, number in enumerate(numbers) if number.kind in (EVERY, DELAY)]
    rows, of = np.unique(values[:, timing], axis=0, return_inverse=True)
    keys = [(numbers[a].kind, numbers[a].drug) for a in timing]
    built = [_one(plan, own, dict(zip(keys, row.tolist(), strict=True)), every, rest) for row in rows]
    moved = {n.place.steps[1]: a for a, n in enumerate(numbers) if n.place is not None and n.place.steps[-1] == "lag"}
    lags = {int(drug): float(values[:, a].max()) for drug, a in moved.items()}
    for edges, given, others in built:
        overtaken = plan.overtaken(edges, given + others, lags)
        if overtaken:
            raise OptionError(f"--x and --y: wanted {overtaken}")
    counts = np.array([len(edges) - 1 for edges, _, _ in built])[of.ravel()]
    found, left = [], np.argsort(-counts, kind="stable")
    while left.size:
        most = int(counts[left[0]])
        short = counts[left] * _SPREAD <= most
        points, left = np.sort(left[~short]), left[short]
        found.append(_batch(points, [built[i] for i in of.ravel()[points]], most))
    return found


_Schedule = tuple[np.ndarray, np.ndarray, np.ndarray]
_Others = tuple[list[float], list[DoseEvent]]


def _rest(plan: Plan, own: Sequence[int], regimen: RegimenPlan | None) -> _Others:
    """Edges and doses of the drugs that are not repeated."""
    if regimen is None or regimen.doses is None:
        return [], []
    doses = regimen.doses.copy()
    doses[:, own] = 0.0
    if not doses.any() and own:
        return [], []
    return regimen.edges.tolist(), from_grid(regimen.edges, doses, *_named(plan))


def _named(plan: Plan) -> tuple[list[str], dict[str, str]]:
    """The drugs and their routes."""
    return [drug.name for drug in plan.drugs], {drug.name: drug.route for drug in plan.drugs}


def _one(
    plan: Plan, own: Sequence[int], times: Mapping[tuple[str, int], float], every: float, rest: _Others
) -> _Schedule:
    """Edges [K + 1], where drugs get their amounts [K, N], and what the others get [K, N]."""
    apart = times.get((EVERY, -1), every)
    (drugs, routes), events = _named(plan), list(rest[1])
    for j in own:
        delay = times.get((DELAY, j), 0.0)
        given, left = dose_times(apart, plan.horizon, delay), plan.horizon - delay
        if given.size and routes[drugs[j]] == "infusion":
            events.append(DoseEvent(delay, drugs[j], left, rate=1.0))
        elif given.size:
            more = len(given) - 1
            events.append(DoseEvent(delay, drugs[j], 1.0, interval=apart if more else 0.0, additional=more))
    # Tablets are those of decisions.
    is_divided = any(drug.every is not None for drug in plan.drugs)
    within = sorted({*plan.edges.tolist(), *rest[0]}) if is_divided else rest[0]
    edges, doses = to_grid(events, drugs, plan.horizon, routes, within)
    mine = np.isin(np.arange(len(drugs)), own)
    return edges, np.where(mine, doses, 0.0), np.where(mine, 0.0, doses)


def _batch(points: np.ndarray, schedules: Sequence[_Schedule], most: int) -> Batch:
    counts = np.array([len(edges) - 1 for edges, _, _ in schedules])
    edges = [np.concatenate([e, e[-1] + np.arange(1, most - len(e) + 2)]) for e, _, _ in schedules]
    given, others = (
        np.array([np.pad(s[part], ((0, most - len(s[part])), (0, 0))) for s in schedules]) for part in (1, 2)
    )
    return Batch(points, np.array(edges), counts, given, others)
