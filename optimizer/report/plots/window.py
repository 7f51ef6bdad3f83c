"""The figure of windows: net growth over held levels, and how the intervals move with other numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optimizer.analysis.intervals import Interval, Response
from optimizer.analysis.window import Varied, Windows
from optimizer.report.plots.style import GREY, SHRINKING, color, footnote, line, log_axis, new_figure, with_unit

_GROWING = "#D55E00"
_MOST_NAMED = 12


def window_figure(found: Windows, title: str = "") -> Figure:
    """Net growth over the level, below it the intervals of each clone, and a panel for each number that was varied.

    Args:
        found: by `windows`.
        title: above the figure.
    """
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
