"""Trade-offs: the best of one term for each value that another one may have, and where regimens lie beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optimizer.analysis.comparison import compare
from optimizer.objectives.base import AbstractTerm
from optimizer.problem import Problem
from optimizer.registry import discover
from optimizer.scenario import Scenario
from optimizer.scenario.faults import one_of
from optimizer.search.epsilon import with_ceiling
from optimizer.search.optimize import optimize
from optimizer.search.result import Result
from optimizer.settings import OptionError
from optimizer.status import Status

# Terms of two points that are closer than this, relative to what the front spans, are one.
_SAME = 1e-6
# Starting points of an inner point besides its neighbor and the end of the first term.
_FRESH = 2


@dataclass(frozen=True)
class Point:
    """A schedule on a plane of two terms."""

    name: str  #: of the regimen; empty on the front
    terms: tuple[float, float]  #: values of the two terms
    dominated: bool = False  #: whether another schedule is at least as good in both and better in one
    result: Result | None = None  #: what the search says of a point of the front; None for a regimen
    limit: float | None = None  #: of the second term in that search; None at the ends
    broken: tuple[str, ...] = ()  #: limits that a regimen breaks

    def to_json(self, kinds: Sequence[str]) -> dict[str, Any]:
        """Ready for JSON."""
        values = {"terms": dict(zip(kinds, self.terms, strict=True)), "dominated": self.dominated}
        if self.result is None:
            return {"name": self.name, **values, "breaks": list(self.broken)}
        r = self.result
        search = {"kkt_residual": r.search.kkt_residual, "audit_passed": r.audit.passed, "doses": r.doses.tolist()}
        return {**values, "limit": self.limit, "status": r.status.value, "reason": r.reason, **search}


@dataclass(frozen=True)
class Front:
    """What `trace` found."""

    kinds: tuple[str, str]  #: names of the two terms; the second is the one that is limited
    points: tuple[Point, ...]  #: from the least of the second term to the least of the first
    regimens: tuple[Point, ...]  #: the scenario's, the best constant dose, no treatment and the largest doses
    problem: Problem  #: whose limits all points keep

    @property
    def status(self) -> Status:
        """The first outcome that is not a good one; solved where all points are."""
        found = [point.result.status for point in self.points if point.result is not None]
        return next((status for status in found if not status.ok), Status.SOLVED)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "status": self.status.value,
            "message": self.status.sentence,
            "terms": list(self.kinds),
            "points": [point.to_json(self.kinds) for point in self.points],
            "regimens": [point.to_json(self.kinds) for point in self.regimens],
        }


def two_terms(scenario: Scenario, text: str) -> tuple[AbstractTerm, AbstractTerm]:
    """The terms of "ONE,OTHER", as the scenario's objective has them, else with their defaults; the limited one last.

    A limit on a term that is not smooth would have no gradient, so that such a term comes first.

    Raises:
        OptionError: not two terms, one that the scenario does not say enough of, or two that are not smooth.
    """
    known = discover("optimizer.objectives", AbstractTerm)
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or names[0] == names[1]:
        raise OptionError(f'--terms: wanted two terms, as in "burden,drug_use"; got "{text}"')
    terms: list[AbstractTerm] = []
    for name in names:
        if name not in known:
            raise OptionError(f"--terms: {one_of(list(known), name)}")
        try:
            terms.append(scenario.term(name))
        except TypeError:
            wanted = "a term without keys of its own, or one of the scenario's objective"
            wanted = "[endpoint] read at visits" if known[name].at_visits else wanted
            raise OptionError(f'--terms: wanted {wanted}; got "{name}"') from None
    observables = scenario.system().model.observable_names
    for term in terms:
        absent = [name for name in term.needs if name not in observables]
        if absent:
            raise OptionError(f"--terms: {term.kind} wanted a model with {absent[0]}; got one without")
    first, second = terms if terms[1].is_smooth else reversed(terms)
    if not second.is_smooth:
        raise OptionError(f'--terms: wanted one term at least that is smooth, for the limit; got "{text}"')
    return first, second


def trace(
    scenario: Scenario,
    terms: tuple[AbstractTerm, AbstractTerm],
    points: int = 9,
    restarts: int | None = None,
    seed: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Front:
    """The front between two terms by the epsilon-constraint method.

    The ends are the minima of each term alone, from all restarts. Between them the second term is limited to values
    evenly apart, from the least to the largest, and the first is minimized from the neighbor's optimum, from the end
    and from two fresh starts. Every point keeps the scenario's limits, those on doses exactly, and is audited.

    Raises:
        KeyboardInterrupt: the user stopped a search.
    """
    problem = scenario.problem()
    options: dict[str, Any] = {"seed": scenario.seed if seed is None else seed, "tolerance": scenario.tolerance}
    many = scenario.restarts if restarts is None else restarts
    kinds = (terms[0].kind, terms[1].kind)

    def search(weights: tuple[float, float], restarts: int, **more: Any) -> Point:
        first = more.pop("first", None)
        result = optimize(with_ceiling(problem, terms, weights, **more), restarts=restarts, first=first, **options)
        if result.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
        if result.status is Status.INFEASIBLE and more:
            # Between the ends there is a schedule that keeps the limit: its neighbor, which the search began from.
            result = replace(result, status=Status.NOT_CONVERGED)
        values = result.audit.report.terms
        return Point("", (values[kinds[0]], values[kinds[1]]), result=result, limit=more.get("limit"))

    progress(0, points)
    found = [search((0.0, 1.0), many)]
    progress(1, points)
    last = search((1.0, 0.0), many)
    progress(2, points)
    low, high = found[0].terms[1], last.terms[1]
    size = high - low
    met = all(p.result is not None and p.result.status is not Status.INFEASIBLE for p in (*found, last))
    # Where one schedule is the best for both there is nothing to trade.
    limits = np.linspace(low, high, points)[1:-1] if met and size > _SAME * max(1.0, abs(high)) else []
    for i, limit in enumerate(limits):
        near = np.array([point.result.doses for point in (found[-1], last) if point.result is not None])
        found.append(search((1.0, 0.0), _FRESH, limit=float(limit), size=size, first=near))
        progress(i + 3, points)
    ends = [last] if met and not len(limits) else [*found, last]
    return _judged(scenario, problem, terms, tuple(ends))


def _judged(
    scenario: Scenario, problem: Problem, terms: tuple[AbstractTerm, AbstractTerm], points: tuple[Point, ...]
) -> Front:
    """The front with the regimens, and which of them all are dominated."""
    kinds = (terms[0].kind, terms[1].kind)
    entries = compare(with_ceiling(problem, terms, (1.0, 0.0)), scenario.regimens(), None, scenario.endpoint())
    regimens = tuple(
        Point(
            entry.name,
            (entry.report.terms[kinds[0]], entry.report.terms[kinds[1]]),
            broken=tuple(check.name for check in entry.broken),
        )
        for entry in entries
    )
    allowed = [point.terms for point in (*points, *regimens) if not point.broken]
    span = np.maximum(np.ptp([point.terms for point in points], axis=0), 1e-12)

    def marked(point: Point) -> Point:
        # Dominated by one that is better in one term by more than rounding, and no worse in the other.
        gain, same = np.array(point.terms) - np.array(allowed), _SAME * span
        return replace(point, dominated=bool(np.any(np.all(gain > -same, axis=1) & np.any(gain > same, axis=1))))

    return Front(kinds, tuple(map(marked, points)), tuple(map(marked, regimens)), problem)
