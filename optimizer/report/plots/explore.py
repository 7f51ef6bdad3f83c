"""The figures of windows, maps and trade-offs."""

import math
from collections.abc import Callable, Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optimizer.analysis.annotations import Annotation
from optimizer.analysis.intervals import Interval, Response
from optimizer.analysis.map import Map
from optimizer.analysis.pareto import Front
from optimizer.analysis.window import Varied, Windows
from optimizer.objectives.base import AbstractTerm
from optimizer.outcome import Outcome
from optimizer.registry import discover
from optimizer.report.plots.style import COLORS, GREY, SHRINKING, color, footnote, line, log_axis, new_figure, with_unit

_GROWING = "#D55E00"
_MOST_NAMED = 12


def window_figure(found: Windows, title: str = "") -> Figure:
    """Net growth over the level, below it the intervals of each clone, and a panel for each number that was varied."""
    panels = len(found.varied)
    figure = new_figure(8.0, 4.4 + 2.8 * panels)
    heights = [3.0, 0.35 * len(found.clones) + 0.25, *[2.6] * panels]
    top, strips, *rest = figure.subplots(2 + panels, 1, height_ratios=heights)
    growth(top, found)
    intervals(strips, found)
    for ax, varied in zip(rest, found.varied, strict=True):
        moved(ax, varied, found)
    figure.suptitle(title, fontsize=10)
    footnote(figure)
    return figure


def growth(ax: Axes, found: Windows) -> Axes:
    """Net growth rate of each clone over the held level, zeros marked with their level."""
    conc, rates = found.curve
    for m, response in enumerate(found.clones):
        ax.plot(conc, rates[:, m], color=color(m), ls=line(m), lw=1.4, label=response.clone)
        for zero in response.crossings:
            if conc[0] <= zero <= conc[-1]:
                ax.plot([zero], [0.0], "o", ms=4, color=color(m))
                style = {"textcoords": "offset points", "fontsize": 7, "color": color(m)}
                ax.annotate(f"{zero:.4g}", (zero, 0.0), xytext=(3, 5 + 9 * m), **style)
    ax.axhline(0.0, color=GREY, lw=0.8)
    if found.profile is not None:
        low, high = float(found.profile.conc.min()), float(found.profile.conc.max())
        ax.axvspan(max(low, conc[0]), max(high, conc[0]), color=GREY, alpha=0.15, lw=0, label="levels of the schedule")
    # Rates that fall without end would leave the zeros no room.
    most, least = max(float(rates.max()), 0.0), min(float(rates.min()), 0.0)
    least = max(least, -3.0 * max(float(np.abs(rates[0]).max()), 1e-9))
    room = 0.06 * max(most - least, 1e-9)
    ax.set_ylim(least - room, most + room)
    ax.set_xscale("log")
    ax.set_xlim(conc[0], conc[-1])
    log_axis(ax, "x")
    ax.set_ylabel("net growth [1/day]")
    ax.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5), borderaxespad=0.0)
    return ax


def _spans(response: Response, low: float, high: float) -> list[tuple[float, float, Interval]]:
    """Ends of each interval inside the axis."""
    ends = [(max(i.start, low), min(i.end, high), i) for i in response.intervals]
    return [(start, end, i) for start, end, i in ends if end > start]


def _shade(interval: Interval) -> str:
    return {-1: SHRINKING, 0: GREY, 1: _GROWING}[interval.sign]


def intervals(ax: Axes, found: Windows) -> Axes:
    """A strip for each clone: where it shrinks and where it grows."""
    low, high = float(found.curve[0][0]), float(found.curve[0][-1])
    for m, response in enumerate(found.clones):
        for start, end, interval in _spans(response, low, high):
            ax.barh(m, end - start, left=start, height=0.8, color=_shade(interval), alpha=0.75, lw=0)
            middle = math.sqrt(start * end)
            if math.log(end / start) > 0.12 * math.log(high / low):
                ax.text(middle, m, interval.word, ha="center", va="center", fontsize=7, color="white")
    ax.set_yticks(range(len(found.clones)), [r.clone for r in found.clones], fontsize=7)
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    log_axis(ax, "x")
    ax.invert_yaxis()
    ax.set_xlabel(with_unit(f"held level of {found.drug}", found.unit))
    return ax


def _range(found: Windows, varied: Varied) -> tuple[float, float]:
    """Levels that hold all zeros, with room."""
    zeros = [c for clones in varied.clones for r in clones for c in r.crossings if c > 0.0]
    low, high = float(found.curve[0][0]), float(found.curve[0][-1])
    return (min(zeros) / 5.0, max(zeros) * 5.0) if zeros else (low, high)


def moved(ax: Axes, varied: Varied, found: Windows) -> Axes:
    """A bar for each value and clone: the intervals over the level, side by side."""
    low, high = _range(found, varied)
    names: Sequence[str] = [r.clone for r in found.clones]
    width = 0.8 / len(names)
    for v, clones in enumerate(varied.clones):
        for m, response in enumerate(clones):
            for start, end, interval in _spans(response, low, high):
                x = v - 0.4 + (m + 0.5) * width
                style = {"color": _shade(interval), "alpha": 0.75, "lw": 0}
                ax.bar(x, end - start, width=0.94 * width, bottom=start, **style)
            if len(names) > 1 and v == 0:
                ax.text(v - 0.4 + (m + 0.5) * width, low * 1.1, response.clone, rotation=90, fontsize=6, ha="center")
    step = max(1, math.ceil(len(varied.values) / _MOST_NAMED))
    ax.set_xticks(range(0, len(varied.values), step), [f"{value:.4g}" for value in varied.values[::step]])
    ax.set_yscale("log")
    ax.set_ylim(low, high)
    ax.set_xlabel(with_unit(varied.key, varied.unit), fontsize=8)
    ax.set_ylabel(with_unit(found.drug, found.unit), fontsize=8)
    for sign, word in ((-1, "shrinks"), (1, "grows")):
        ax.bar(0, 0, color=_shade(Interval(0.0, 0.0, sign)), alpha=0.75, label=word)
    ax.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5), borderaxespad=0.0)
    return ax


# --- maps -------------------------------------------------------------------------------------------------------------


_SHAPES = ("s", "^", "D", "v", "P", "<", ">", "X")


def map_figure(found: Map, annotations: Sequence[Annotation] = (), show: str = "mean_last", title: str = "") -> Figure:
    """A heat map of the quantity that is shown; annotations are schedules that have a place on it."""
    figure = new_figure(7.6, 5.6)
    heat(figure.subplots(), found, annotations, show)
    figure.suptitle(title, fontsize=10)
    held = [f"{key} {value:g} {unit}".removesuffix(" 1") for key, (value, unit) in found.fixed.items()]
    beside = [f"other drugs: {found.regimen}"] if found.regimen else []
    footnote(figure, f"{', '.join([*held, *beside])}." if held or beside else "")
    return figure


def heat(ax: Axes, found: Map, annotations: Sequence[Annotation], show: str) -> Axes:
    """The quantity as colors, the best y for each x as a line of dots, schedules as points of their own."""
    quantity = found.quantities[show]
    x, y = found.x.values, found.y.values
    shade = ax.pcolormesh(
        x, y, np.ma.masked_invalid(quantity.values), shading="nearest", cmap="viridis", rasterized=True
    )
    bar = ax.figure.colorbar(shade, ax=ax)
    bar.set_label(with_unit(quantity.meaning, quantity.unit), fontsize=8)
    best = [(x[i], y[j]) for i, j in enumerate(quantity.best()) if j is not None]
    if best:
        ax.plot(*zip(*best, strict=True), "o", ms=3.5, mfc="white", mec="black", mew=0.6, label="best for each x")
    for i, annotation in enumerate(annotations):
        shape, size = ("*", 13) if annotation.schedule else (_SHAPES[i % len(_SHAPES)], 7)
        style = {"ms": size, "mec": "white", "mew": 0.8, "clip_on": False, "zorder": 3}
        ax.plot(
            [annotation.x],
            [annotation.y],
            shape,
            color=color(1 if annotation.schedule else i + 2),
            label=annotation.name,
            **style,
        )
    for axis, name in ((found.x, "x"), (found.y, "y")):
        if axis.log:
            getattr(ax, f"set_{name}scale")("log")
            log_axis(ax, name)
        getattr(ax, f"set_{name}label")(with_unit(axis.number.key, axis.number.unit))
    if best or annotations:
        ax.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False)
    return ax


# --- sensitivities ----------------------------------------------------------------------------------------------------


def tornado_figure(
    own: Outcome, moved: Mapping[str, tuple[Outcome, Outcome]], horizon: float, title: str = ""
) -> Figure:
    """What final cells and the day of progression become where each number is less or more, the strongest above.

    The horizon [day] stands for no progression.
    """
    figure = new_figure(10.0, 1.6 + 0.22 * min(len(moved), _MOST_NAMED))
    for ax, (read, label) in zip(figure.subplots(1, 2), _told(horizon), strict=True):
        bars = {key: [read(end) for end in ends] for key, ends in moved.items()}
        middle = read(own)
        ranked = sorted(bars, key=lambda key: max(abs(end - middle) for end in bars[key]))[-_MOST_NAMED:]
        for side, (shade, word) in enumerate(((color(0), "10 % less"), (color(1), "10 % more"))):
            ways = [bars[key][side] - middle for key in ranked]
            ax.barh(range(len(ranked)), ways, left=middle, height=0.7, color=shade, alpha=0.8, label=word)
        ax.axvline(middle, color=GREY, lw=0.8)
        ax.set_yticks(range(len(ranked)), ranked, fontsize=7)
        ax.set_xlabel(label)
        ax.legend(fontsize=7, frameon=False, loc="lower right")
    figure.suptitle(title, fontsize=10)
    footnote(figure)
    return figure


def _told(horizon: float) -> tuple[tuple[Callable[[Outcome], float], str], ...]:
    def day(came: Outcome) -> float:
        return horizon if came.time_to_progression_day is None else came.time_to_progression_day

    def cells(came: Outcome) -> float:
        return math.log10(max(came.final_burden, 1e-300))

    return (cells, "log10 of the cells at the end"), (day, f"progression [day], {horizon:g} where there is none")


# --- trade-offs -------------------------------------------------------------------------------------------------------


def pareto_figure(front: Front, title: str = "") -> Figure:
    """The front with its points, and the regimens as points of their own."""
    figure = new_figure(7.0, 5.2)
    plane(figure.subplots(), front)
    figure.suptitle(title, fontsize=10)
    footnote(figure, "Dominated: another schedule within the limits is as good in both terms and better in one.")
    return figure


def plane(ax: Axes, front: Front) -> Axes:
    """First term upwards, second to the right; hollow where dominated, a cross where the search did not end well."""
    xs, ys = [p.terms[1] for p in front.points], [p.terms[0] for p in front.points]
    ax.plot(xs, ys, "-", lw=1.2, color=COLORS[0], zorder=1)
    for good, shape, label in ((True, "o", "front"), (False, "x", "front, not solved")):
        chosen = [p for p in front.points if p.result is not None and p.result.status.ok is good]
        if chosen:
            ax.plot([p.terms[1] for p in chosen], [p.terms[0] for p in chosen], shape, color=COLORS[0], label=label)
    for i, point in enumerate(front.regimens):
        shade = COLORS[1 + i % (len(COLORS) - 1)]
        notes = [word for word, said in (("dominated", point.dominated), ("breaks limits", bool(point.broken))) if said]
        style = {"mec": shade, "mfc": "none" if point.dominated else shade, "ms": 7, "zorder": 3}
        label = f"{point.name} ({', '.join(notes)})" if notes else point.name
        ax.plot([point.terms[1]], [point.terms[0]], _SHAPES[i % len(_SHAPES)], ls="", label=label, **style)
    known = discover("optimizer.objectives", AbstractTerm)
    said = [f"{kind}: {(known[kind].__doc__ or '').splitlines()[0]}" for kind in front.kinds]
    ax.set_ylabel(fill(said[0], 60), fontsize=8)
    ax.set_xlabel(fill(said[1], 90), fontsize=8)
    ax.grid(color=GREY, alpha=0.25, lw=0.5)
    ax.legend(fontsize=7, frameon=False)
    return ax
