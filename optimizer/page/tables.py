"""What a page says of courses and runs in words and numbers, for whoever cannot see the chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import jax.numpy as jnp
import numpy as np

from optimizer.analysis.held import shrinks_below
from optimizer.outcome import level_units
from optimizer.page.drawing import letter
from optimizer.page.explore import QUANTILES, Course, Explorer
from optimizer.report.document import UNITS
from optimizer.report.plots.style import with_unit
from optimizer.search.screening import LIMIT_TOLERANCE

# Cells of more letters than this are sentences.
_SENTENCE = 40
# Rows of the table under the chart.
_ROWS = 13


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in HTML, of plain text; the first column names the rows."""
    words = [any(len(row[i]) > _SENTENCE for row in rows) for i in range(len(header))]
    kinds = [' class="words"' if is_words else "" for is_words in words]
    head = "".join(f'<th scope="col"{kind}>{escape(cell)}</th>' for kind, cell in zip(kinds, header, strict=True))
    body = ""
    for row in rows:
        cells = "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds[1:], row[1:], strict=True))
        body += f'<tr><th scope="row">{escape(row[0])}</th>{cells}</tr>'
    said = escape(caption)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{said}"><table><caption>{said}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def outcomes(explorer: Explorer, shown: Sequence[Course], beside: Sequence[Course]) -> str:
    """What each way of dosing came to, one column each."""
    courses = [*shown, *beside]
    letters = [f"{letter(shown, i)} {course.name}".strip() for i, course in enumerate(shown)]
    units = {drug.name: drug.total_unit for drug in explorer.scenario.plan.drugs}
    rows = [["objective", *(_number(c.report.total) for c in courses)]]
    rows.append(["progression [day]", *(_number(c.outcome.time_to_progression_day) for c in courses)])
    for label, key in (("final burden [cell]", "final_burden"), ("peak burden [cell]", "peak_burden")):
        rows.append([label, *(_number(getattr(c.outcome, key)) for c in courses)])
    rows.append(["resistant share", *(_number(c.outcome.resistant_fraction) for c in courses)])
    rows += [
        [with_unit(f"total {drug}", unit), *(_number(c.outcome.cumulative_dose[drug]) for c in courses)]
        for drug, unit in units.items()
    ]
    if shown[0].fan is not None:
        for i, share in enumerate(QUANTILES):
            ends = ("" if c.fan is None else _number(c.fan[i, -1]) for c in courses)
            rows.append([f"{100 * share:g} % of patients end below [cell]", *ends])
    rows.append(["limits broken", *(_broken(course) for course in courses)])
    return table("What each way of dosing comes to", ["number", *letters, *(c.name for c in beside)], rows)


def _broken(course: Course) -> str:
    if not course.report.finite:
        return "the simulation failed"
    broken = [check.name for check in course.report.constraints if check.violation > LIMIT_TOLERANCE]
    return ", ".join(broken) or "none"


def course_table(explorer: Explorer, course: Course) -> str:
    """The lines of the chart at some days."""
    found, system = course.trajectory, explorer.problem.task.system
    times = np.asarray(found.times)
    days = np.linspace(0.0, times[-1], _ROWS)
    columns: dict[str, Any] = {"burden [cell]": found.burden}
    columns |= {f"{name} [cell]": np.asarray(found.cells)[:, m] for m, name in enumerate(system.model.clone_names())}
    levels = level_units(system, explorer.scenario.dose_units)
    named = [with_unit(f"level of {drug}", levels[drug]) for drug in system.drugs]
    columns |= {name: np.asarray(found.conc)[:, n] for n, name in enumerate(named)}
    columns |= {with_unit(name, UNITS.get(name)): values for name, values in found.observables.items()}
    drawn = [np.interp(days, times, np.asarray(values)) for values in columns.values()]
    rows = [[f"{day:.4g}", *(_number(values[i]) for values in drawn)] for i, day in enumerate(days)]
    conc = np.stack([np.interp(days, times, own) for own in np.asarray(found.conc).T], axis=1)
    below = shrinks_below(course.system.model, jnp.asarray(conc))
    heads = [f"{name} shrinks below [pg/mL]" for name in system.model.clone_names()]
    for row, limits in zip(rows, () if below is None else np.asarray(below), strict=below is not None):
        row += ["none" if limit == 0.0 else "any" if np.isinf(limit) else _number(limit) for limit in limits]
    return table("The course at some days", ["day", *columns, *(heads if below is not None else ())], rows)


def _number(value: Any) -> str:
    return "not reached" if value is None else f"{float(value):.5g}"


def run_rows(report: Mapping[str, Any]) -> dict[str, str]:
    """The main numbers of a run's report, by name."""
    came = report.get("outcome") or {}
    found = {
        "status": str(report.get("status", "")),
        "objective": _number((report.get("objective") or {}).get("total")),
    }
    for key in ("time_to_progression_day", "final_burden", "peak_burden", "resistant_fraction"):
        found[key.replace("_", " ")] = _number(came.get(key)) if key in came else ""
    totals = (came.get("cumulative_dose") or {}).items()
    return found | {f"total {drug}": _number(total) for drug, total in totals}
