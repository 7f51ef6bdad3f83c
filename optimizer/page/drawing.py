"""What a page draws of courses: options of the charting library."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from optimizer.analysis.held import shrinks_below
from optimizer.observations import MEASURED, MISSING, OVER, UNDER
from optimizer.outcome import level_units
from optimizer.page.explore import QUANTILES, Course, Explorer
from optimizer.report.plots.style import COLORS, SHRINKING, with_unit

# Points of a line, more of which no screen shows.
_POINTS = 200
_DASHES: tuple[Any, ...] = ("solid", "dashed", "dotted", [8, 3, 2, 3])
_POWERS = "(value) => Math.abs(Math.log10(value)) < 4 ? value : value.toExponential(0).replace('+', '')"
_HEIGHT, _GAP, _TOP = 190, 62, 90
# Cells below this are not drawn: less than a hundredth of a cell says nothing.
_LOWEST = 1e-2


def panels(course: Course) -> list[str]:
    """Titles of the panels: cells, levels, the growth factor where there is one, and doses."""
    has_factor = "growth_factor" in course.trajectory.observables
    return ["cells [cell]", "levels at the tumor", *["growth factor [pg/mL]"] * has_factor, "doses"]


def height(course: Course) -> int:
    """Of the chart [pixels]."""
    return _TOP + len(panels(course)) * (_HEIGHT + _GAP)


def options(explorer: Explorer, shown: Sequence[Course], beside: Sequence[Course], measured: Any, dark: bool) -> dict:
    """The chart.

    Args:
        explorer: the scenario.
        shown: B, and A behind it where it is kept.
        beside: further ways of dosing, their burdens alone.
        measured: `Measurements` of the scenario's observations, or None.
        dark: whether the page is.
    """
    ink, line = ("#e3e6ea", "#4d5761") if dark else ("#26303a", "#c5ced6")
    titles = panels(shown[0])
    text, horizon = {"color": ink}, float(explorer.scenario.plan.horizon)
    axis = {"axisLabel": text, "axisLine": {"lineStyle": text}, "splitLine": {"lineStyle": {"color": line}}}
    count, tops = len(titles), [_TOP + i * (_HEIGHT + _GAP) for i in range(len(titles))]
    y: list[dict] = [{**axis, "gridIndex": i, "type": "value", "min": 0, "scale": True} for i in range(count)]
    y[0] |= {"type": "log", "logBase": 10, "min": None, "axisLabel": {**text, ":formatter": _POWERS}}
    names = [
        {"text": title, "left": 4, "top": top - 26, "textStyle": {**text, "fontSize": 13}}
        for title, top in zip(titles, tops, strict=True)
    ]
    bottom = {"text": "day", "left": "center", "top": tops[-1] + _HEIGHT + 24, "textStyle": {**text, "fontSize": 13}}
    return {
        "animation": False,
        "backgroundColor": "transparent",
        "title": [*names, bottom],
        "legend": {"top": 0, "type": "scroll", "textStyle": text, "pageTextStyle": text},
        "tooltip": {"trigger": "axis"},
        "axisPointer": {"link": [{"xAxisIndex": "all"}]},
        "grid": [{"left": 62, "right": 14, "top": top, "height": _HEIGHT} for top in tops],
        "xAxis": [{**axis, "gridIndex": i, "type": "value", "min": 0, "max": horizon} for i in range(count)],
        "yAxis": y,
        "series": series(explorer, shown, beside, measured),
    }


def series(explorer: Explorer, shown: Sequence[Course], beside: Sequence[Course], measured: Any) -> list[dict]:
    """The lines of the chart; see `options`."""
    found: list[dict] = []
    for i, course in enumerate(shown):
        found += _lines(explorer, course, letter(shown, i), faded=i > 0)
    for i, course in enumerate(beside, 2):
        at = _points(course)
        pairs = _pairs(course.trajectory.times, course.trajectory.burden, at, _LOWEST)
        found.append(_line(f"{course.name}", pairs, 0, COLORS[i % len(COLORS)], _DASHES[i % len(_DASHES)]))
    found += [] if shown[0].fan is None else list(_fan(shown[0], shown[0].fan))
    return found + list(_measured(explorer, shown[0], measured))


def _fan(course: Course, fan: np.ndarray) -> Iterator[dict]:
    """Quantiles of the patients' burdens, the outer ones fainter."""
    at = _points(course)
    for share, burden in zip(QUANTILES, fan, strict=True):
        pairs, middle = _pairs(course.trajectory.times, burden, at, _LOWEST), 1.0 - 2.0 * abs(share - 0.5)
        yield _line(f"{100 * share:g} % of patients below", pairs, 0, COLORS[4], "solid", 0.35 + 0.65 * middle)


def letter(shown: Sequence[Course], i: int) -> str:
    """What a course is called beside the one that was kept."""
    return "BA"[i] if len(shown) > 1 else ""


def _lines(explorer: Explorer, course: Course, named: str, faded: bool) -> Iterator[dict]:
    found, at, mark = course.trajectory, _points(course), f"{named} " if named else ""
    clones, drugs = explorer.problem.task.system.model.clone_names(), explorer.problem.task.system.drugs
    units, panel, times = explorer.scenario.dose_units, len(panels(course)) - 1, found.times
    levels, faint = level_units(explorer.problem.task.system, units), 0.45 if faded else 1.0
    burden = _line(f"{mark}burden", _pairs(times, found.burden, at, _LOWEST), 0, "#7d8791", "solid", faint) | {"z": 3}
    if not faded:
        burden["markArea"] = _falling(np.asarray(times)[at], np.asarray(found.burden)[at])
        burden["markLine"] = _progression(course)
    yield burden
    for m, clone in enumerate(clones if len(clones) > 1 else ()):
        pairs = _pairs(times, np.asarray(found.cells)[:, m], at, _LOWEST)
        yield _line(f"{mark}{clone}", pairs, 0, COLORS[m % len(COLORS)], _DASHES[(m + 1) % len(_DASHES)], faint)
    doses = np.asarray(found.doses)
    for n, drug in enumerate(drugs):
        color = COLORS[(n + 1) % len(COLORS)]
        level = f"{mark}{with_unit(f'{drug}, level', levels[drug])}"
        yield _line(level, _pairs(times, np.asarray(found.conc)[:, n], at), 1, color, "solid", faint)
        steps = [
            [_short(edge), _short(dose)]
            for edge, dose in zip(course.edges, np.r_[doses[:, n], doses[-1:, n]], strict=True)
        ]
        given = _line(f"{mark}{with_unit(f'{drug}, dose', units.get(drug))}", steps, panel, color, "solid", faint)
        yield given | {"step": "end", "areaStyle": {"opacity": 0.15 * faint}}
    if "growth_factor" in found.observables and panel > 2:
        pairs = _pairs(times, found.observables["growth_factor"], at)
        yield _line(f"{mark}growth factor", pairs, 2, COLORS[3], "solid", faint)
        yield from () if faded else _zones(course, clones, at)


def _zones(course: Course, clones: Sequence[str], at: np.ndarray) -> Iterator[dict]:
    """Growth factors at which a clone shrinks, up to a little more than the course has."""
    found = course.trajectory
    below = shrinks_below(course.system.model, jnp.asarray(np.asarray(found.conc)[at]))
    if below is None:
        return
    top = 1.1 * float(np.max(found.observables["growth_factor"]))
    for m, clone in enumerate(clones):
        color = COLORS[m % len(COLORS)] if len(clones) > 1 else SHRINKING
        pairs = _pairs(np.asarray(found.times)[at], np.minimum(below[:, m], top), np.arange(len(at)))
        zone = _line(f"{clone} shrinks below", pairs, 2, color, "dotted", 0.6)
        yield zone | {"areaStyle": {"opacity": 0.13}, "z": 1}


def _line(name: str, data: list, panel: int, color: str, dashes: Any, opacity: float = 1.0) -> dict:
    style = {"color": color, "width": 2, "type": dashes, "opacity": opacity}
    place = {"xAxisIndex": panel, "yAxisIndex": panel}
    return {
        "name": name,
        "type": "line",
        "data": data,
        **place,
        "showSymbol": False,
        "color": color,
        "lineStyle": style,
    }


def _points(course: Course) -> np.ndarray:
    """Saved times that are drawn: evenly picked, and both ends of every interval, between which doses jump."""
    total, count = len(course.trajectory.times), len(course.edges) - 1
    nodes = total // count
    ends = np.arange(0, total, nodes) if count <= _POINTS else np.zeros(0, int)
    return np.unique(np.r_[np.linspace(0, total - 1, _POINTS).astype(int), ends, ends + nodes - 1])


def _pairs(times: Any, values: Any, at: np.ndarray, least: float = -np.inf) -> list[list[float | None]]:
    """Times and values; None for what cannot be drawn, as numbers below `least` on a logarithmic axis."""
    shown = np.asarray(values, dtype=float)[at]
    good = np.isfinite(shown) & (shown > least)
    digits = 4 - np.floor(np.log10(np.where(good & (shown != 0.0), np.abs(shown), 1.0))).astype(int)
    rounded = [
        round(v, d) if ok else None for v, d, ok in zip(shown.tolist(), digits.tolist(), good.tolist(), strict=True)
    ]
    return [list(pair) for pair in zip(np.round(np.asarray(times)[at], 3).tolist(), rounded, strict=True)]


def _short(value: Any) -> float:
    return float(f"{float(value):.5g}")


def _falling(times: np.ndarray, burden: np.ndarray) -> dict:
    """The spans of time in which the tumor shrinks."""
    falls = np.r_[False, np.diff(burden) < 0.0, False]
    turns = np.flatnonzero(falls[1:] != falls[:-1])
    spans = [
        [{"xAxis": _short(times[a])}, {"xAxis": _short(times[min(b, len(times) - 1)])}]
        for a, b in zip(turns[::2], turns[1::2], strict=True)
    ]
    return {"silent": True, "itemStyle": {"color": SHRINKING, "opacity": 0.13}, "data": spans}


def _progression(course: Course) -> dict:
    day = course.outcome.time_to_progression_day
    found = (
        []
        if day is None
        else [
            {
                "xAxis": _short(day),
                "label": {"formatter": f"progression, day {day:.4g}", "color": "inherit", "position": "insideEndTop"},
            }
        ]
    )
    return {"silent": True, "symbol": "none", "lineStyle": {"color": COLORS[1]}, "data": found}


def _measured(explorer: Explorer, course: Course, measured: Any) -> Iterator[dict]:
    """Values of a table beside the course: those of the burden as they are, others by the burden that shows them."""
    if measured is None:
        return
    found, system = course.trajectory, explorer.problem.task.system
    for i, channel in enumerate(explorer.scenario.channels()):
        seen = measured.seen[:, i] != MISSING
        if not seen.any():
            continue
        shows = np.asarray(channel.quantity.expected(system, found))
        curve, symbols = np.asarray(found.burden), {MEASURED: "circle", OVER: "arrow"}
        data = []
        for day, value, state in zip(
            measured.days[seen], measured.values[seen, i], measured.seen[seen, i], strict=True
        ):
            if channel.quantity.kind != "burden":
                now = float(np.interp(day, np.asarray(found.times), shows))
                value = value / now * float(np.interp(day, np.asarray(found.times), curve)) if now > 0.0 else value
            data.append(
                {
                    "value": [_short(day), _short(max(value, _LOWEST))],
                    "symbol": symbols.get(int(state), "triangle"),
                    "symbolRotate": 180 * (state >= UNDER),
                }
            )
        name = f"measured {channel.label()}"
        yield {
            "name": name,
            "type": "scatter",
            "data": data,
            "xAxisIndex": 0,
            "yAxisIndex": 0,
            "symbolSize": 9,
            "color": COLORS[(i + 4) % len(COLORS)],
        }
