"""From the documents of a run to its page: one frame, with what a search or another command came to inside."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from optimizer.report.account import Account
from optimizer.report.html.words import leaves, quantity, sections
from optimizer.status import DISCLAIMER

_NUMBER = Markup('<data value="{}">{}</data>')
# Of a figure: what stands before the drawing, what a reader of the page never sees, and the size in points.
_BEFORE = re.compile(r"\A.*?(?=<svg\b)|<!--.*?-->|<metadata>.*?</metadata>", re.S)
_SIZE = re.compile(r'(<svg\b[^>]*?) height="[^"]*"([^>]*?) width="[^"]*"|(<svg\b[^>]*?) width="[^"]*"', re.S)


def page(
    resolved: Mapping[str, Any],
    report: Mapping[str, Any],
    edges: Sequence[float],
    doses: np.ndarray,
    figure: str | None = None,
) -> str:
    """The report of a run as HTML; the same documents give the same text.

    Args:
        resolved: what `resolved.json` holds.
        report: what `report.json` holds.
        edges: of the decision intervals [K + 1, day].
        doses: of the schedule [K, N].
        figure: an SVG drawing of the run; None for a page without one.

    Returns:
        A whole document. It loads nothing: styles and drawing are in it, and its policy forbids the rest.
    """
    return _rendered(
        "report",
        report,
        "Which schedule of these drugs is best for the goal below, within its limits, in this model?",
        sections=sections(resolved),
        numbers=[(path, quantity(value)) for path, value in leaves(resolved["scenario"])],
        calendar=_calendar(resolved, edges, doses),
        regimens=_regimens(report),
        figure=None if figure is None else _drawing(figure, _spoken(report, edges)),
        horizon=float(edges[-1]),
    )


def account_page(account: Account, document: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """What a command came to as HTML, with SVG drawings; the same account and drawings give the same text."""
    drawn = {
        name.replace("_", " "): f"data:image/svg+xml;base64,{b64encode(drawing.encode()).decode()}"
        for name, drawing in figures.items()
    }
    known = {"title": account.title, "doi": [], "notes": [], "status": "", "research_use_only": DISCLAIMER}
    return _rendered("account", {**known, **document}, account.question, account=account, figures=drawn)


def _rendered(name: str, report: Mapping[str, Any], question: str, **more: Any) -> str:
    device = report.get("device")
    record = {key: report[key] for key in ("scenario", "format", "seed") if report.get(key) is not None}
    record |= {"device": f"{device['platform']}, {device['kind']}"} if device else {}
    record |= report.get("versions", {})
    frame = {"record": [*record.items()], "credibility": _credibility(report, question)}
    return _template(name).render(report=report, **frame, **more)


def _credibility(report: Mapping[str, Any], question: str) -> list[tuple[str, str]]:
    """The questions of ICH M15 (2024), answered for one run."""
    audit = report.get("audit")
    tested = "The solvers are tested against closed forms, SciPy and published numbers; adose verify shows the last."
    own = "" if audit is None else f"An independent simulation {'agrees' if audit['passed'] else 'DIFFERS'} (below). "
    sources = ", ".join(f"doi {doi}" for doi in report["doi"]) or "the scenario names none"
    return [
        ("question of interest", question),
        ("context of use", "to form and compare hypotheses about dosing in models of tumors, by researchers"),
        ("not for", "a decision about the treatment of a patient, or about a dose in a trial"),
        (
            "influence of the model",
            "high on these numbers, which are its own; low on what follows: a further experiment",
        ),
        (
            "consequence of a wrong answer",
            "a wasted experiment; in any other use, harm that nothing here guards against",
        ),
        ("evidence: verification", own + tested),
        ("evidence: validation", f"none: no schedule has been tried in an animal or a patient; sources: {sources}"),
    ]


@cache
def _template(name: str) -> Template:
    loader = PackageLoader("optimizer.report.html", "")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader
    )
    environment.filters |= {
        "broken": lambda text: Markup("<br>").join(str(text).split("\n")),
        "n": _number,
        "small": _small,
        "spaced": lambda key: str(key).replace("_", " "),
        "doi": lambda doi: "https://doi.org/" + quote(doi, safe="/"),
    }
    return environment.get_template(f"{name}.html.j2")


def _number(value: float | None, missing: str = "none") -> Markup | str:
    """A number as it is read, with all its digits beside it for whoever copies them."""
    if value is None:
        return missing
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _NUMBER.format(json.dumps(value), str(value) if isinstance(value, int) else f"{value:.6g}")


def _small(value: float | None, missing: str = "none") -> Markup | str:
    """A difference or a violation, of which the size alone matters."""
    return missing if value is None else _NUMBER.format(json.dumps(value), "0" if value == 0 else f"{value:.1e}")


def _regimens(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The optimized schedule, then each regimen, with the one scaled to the same cumulative doses after it."""
    objective = {"total": report["objective"]["total"], "terms": report["objective"]["terms"]}
    worst = max([0.0, *(check["violation"] for check in report["constraints"] if check["violation"] is not None)])
    own = {
        "name": "optimized",
        **report["outcome"],
        "objective": objective,
        "violation": worst,
        "violated": [],
        "not_checked": [],
    }
    found = [own]
    for regimen in report["regimens"]:
        found += [regimen, *([] if regimen["scaled"] is None else [regimen["scaled"]])]
    return found


def _calendar(resolved: Mapping[str, Any], edges: Sequence[float], doses: np.ndarray) -> dict[str, Any]:
    """What the template needs of the schedule."""
    given, units = resolved["scenario"]["drug"], resolved["drugs"]
    routes, largest = [drug["route"] for drug in given], np.max(doses, axis=0, initial=0.0)
    drugs = [
        {
            "name": drug["name"],
            "unit": units[drug["name"]]["dose_unit"],
            "total_unit": units[drug["name"]]["total_unit"],
            "infusion": route == "infusion",
            "largest": float(most),
            "weeks": weeks(edges, doses[:, j].tolist(), route) if by_day(edges) else (),
        }
        for j, (drug, route, most) in enumerate(zip(given, routes, largest, strict=True))
    ]
    return {"drugs": drugs, "by_day": by_day(edges), "rows": rows(edges, doses, routes)}


def _spoken(report: Mapping[str, Any], edges: Sequence[float]) -> str:
    """What the drawing shows, for whoever cannot see it."""
    came, drugs = report["outcome"], ", ".join(report["units"]["dose"])
    reached = came["time_to_progression_day"]
    end = "Progression is not reached" if reached is None else f"Progression is reached on day {reached:.4g}"
    return (
        f"Three panels over {edges[-1]:g} days: cancer cells under the optimized schedule and the compared regimens, "
        f"drug levels, and doses of {drugs}. {end}. At the end there are {came['final_burden'] or 0.0:.3g} cells, at "
        f"most {came['peak_burden'] or 0.0:.3g}. The tables below give the numbers."
    )


def _drawing(svg: str, spoken: str) -> Markup:
    """A drawing that scales with the page and says what it shows."""
    bare = _SIZE.sub(lambda found: "".join(part or "" for part in found.groups()), _BEFORE.sub("", svg), count=1)
    named = Markup('<svg role="img" aria-label="{}"').format(spoken)
    return Markup(bare.replace("<svg", str(named), 1).strip())


# --- the schedule as a calendar ---------------------------------------------------------------------------------------


WEEK = 7
# More rows than this are shortened: equal neighbors become one.
_MOST_ROWS = 60


@dataclass(frozen=True)
class Row:
    """Decisions with the same doses, one after the other."""

    start: float  #: day of the first
    end: float  #: day on which the last interval ends
    decisions: int  #: how many they are
    doses: tuple[float, ...]  #: of each drug [N]
    amounts: tuple[float, ...]  #: of each drug over one interval [N]: the dose, or the rate times the length

    @property
    def weeks(self) -> tuple[int, int]:
        """First and last week, counted from 1."""
        return int(self.start // WEEK) + 1, max(int(np.ceil(self.end / WEEK)), int(self.start // WEEK) + 1)


@dataclass(frozen=True)
class Week:
    """Weeks with the same doses, one after the other."""

    first: int  #: counted from 1
    last: int  #: of the same doses
    #: dose on each of the seven days; None where nothing is decided or the horizon is over
    days: tuple[float | None, ...]


def rows(edges: Sequence[float], doses: np.ndarray, routes: Sequence[str]) -> tuple[Row, ...]:
    """A row a decision, doses [K, N] on edges [K + 1, day]; equal neighbors are one where there are many."""
    lengths = np.diff(np.asarray(edges))
    amounts = np.where(np.array(routes) == "infusion", np.asarray(doses) * lengths[:, None], doses)
    columns = zip(edges[:-1], edges[1:], np.asarray(doses).tolist(), amounts.tolist(), strict=True)
    listed = [Row(float(a), float(b), 1, tuple(dose), tuple(amount)) for a, b, dose, amount in columns]
    if len(listed) <= _MOST_ROWS:
        return tuple(listed)
    merged = listed[:1]
    for row in listed[1:]:
        last = merged[-1]
        if row.doses == last.doses and np.allclose(row.amounts, last.amounts):
            merged[-1] = Row(last.start, row.end, last.decisions + 1, last.doses, last.amounts)
        else:
            merged.append(row)
    return tuple(merged)


def by_day(edges: Sequence[float]) -> bool:
    """Whether the schedule is shown day by day: whole days, and decisions less than a week apart."""
    days = np.asarray(edges)
    # The last interval is often shorter than the others, where the horizon cuts it.
    apart = np.diff(days)[:-1] if len(days) > 2 else np.diff(days)
    return bool(np.all(days == np.round(days)) and np.min(apart) < WEEK)


def weeks(edges: Sequence[float], doses: Sequence[float], route: str) -> tuple[Week, ...]:
    """The weeks of one drug; equal neighbors are one where there are many.

    Args:
        edges: of the decision intervals, whole days [K + 1].
        doses: of the drug [K]; a rate is shown on each day of its interval, a single dose on the first.
        route: "bolus" or "infusion".
    """
    horizon = int(edges[-1])
    days: list[float | None] = [None] * (-(-horizon // WEEK) * WEEK)
    for a, b, dose in zip(edges[:-1], edges[1:], doses, strict=True):
        for day in range(int(a), int(b) if route == "infusion" else int(a) + 1):
            days[day] = float(dose)
    listed = [Week(i // WEEK + 1, i // WEEK + 1, tuple(days[i : i + WEEK])) for i in range(0, len(days), WEEK)]
    if len(listed) <= _MOST_ROWS:
        return tuple(listed)
    merged = listed[:1]
    for week in listed[1:]:
        if week.days == merged[-1].days:
            merged[-1] = Week(merged[-1].first, week.last, week.days)
        else:
            merged.append(week)
    return tuple(merged)
