"""Published numbers recomputed, and every shipped scenario simulated: a line each that passes or fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from optimizer.analysis import published
from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario
from optimizer.scenario.files import shipped


@dataclass(frozen=True)
class Line:
    """One comparison.

    Attributes:
        quantity: what is compared.
        source: DOI, and on what the published number rests; the DOIs of a scenario.
        published: the number; None for a scenario, which only has to give finite ones.
        ours: None where there is none.
        tolerance: largest difference that passes.
        passed: whether it does.
        reason: why there is no number.
    """

    quantity: str
    source: str
    published: float | None
    ours: float | None
    tolerance: float | None
    passed: bool
    reason: str = ""

    @property
    def difference(self) -> float | None:
        """Ours less the published number."""
        return None if self.published is None or self.ours is None else self.ours - self.published

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "difference": self.difference}


def verify(tell: Callable[[Line], None] = lambda _: None, table: Path | None = None) -> list[Line]:
    """Compute every number of the table and simulate every shipped scenario.

    Args:
        tell: hears each line when it is known.
        table: of published numbers; the package's when left out.
    """
    numbers, library = published.read_table(published.TABLE if table is None else table)
    lines = []
    for number in numbers:
        lines.append(_compared(number, library))
        tell(lines[-1])
    files = shipped()
    for path in files:
        lines.append(_simulated(path))
        tell(lines[-1])
    if not files:
        lines.append(Line("scenarios of the package", "", None, None, None, False, "there are none"))
        tell(lines[-1])
    return lines


def _compared(number: published.Number, library: published.Library) -> Line:
    head = (number.quantity, f"doi {number.source}, {number.basis}", number.published)
    try:
        ours = published.compute(number, library)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return Line(*head, None, number.tolerance, False, _first(error))
    if not math.isfinite(ours):
        return Line(*head, None, number.tolerance, False, "not reached")
    return Line(*head, ours, number.tolerance, abs(ours - number.published) <= number.tolerance)


def _simulated(path: Path) -> Line:
    """The scenario under its smallest and its largest doses; ours is the largest objective of the two."""
    quantity = f"scenario {path.stem}: objective under the smallest and the largest doses is finite"
    try:
        scenario = Scenario.load(path)
        problem = scenario.problem()
        doses = (np.asarray(problem.lower), np.asarray(problem.upper))
        reports = [problem.simulate(Schedule(jnp.asarray(d)))[1] for d in doses]
    except ValueError as error:
        return Line(quantity, "", None, None, None, False, _first(error))
    source = ", ".join(f"doi {doi}" for doi in scenario.doi)
    good = all(report.finite and math.isfinite(report.total) for report in reports)
    return Line(quantity, source, None, max(r.total for r in reports), None, good, "" if good else "not finite")


def _first(error: Exception) -> str:
    return (f"{type(error).__name__}: {error}".strip().splitlines())[0]
