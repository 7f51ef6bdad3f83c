"""The figures of a comparison: burden and doses of all regimens, a phase plane, and a swimmer plot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from optimizer.comparison import Entry
from optimizer.plots.style import GREY, LINES, color, footnote, new_figure
from optimizer.problem import Problem
from optimizer.scenario import Scenario


def burdens(ax: Axes, entries: Sequence[Entry], factor: float) -> Axes:
    """All cancer cells under each regimen."""
    for i, entry in enumerate(entries):
        style = {"color": color(i), "ls": LINES[(i // 7 + i) % 4], "lw": 1.3}
        ax.plot(entry.trajectory.times, entry.trajectory.burden, label=entry.name, **style)
    start = float(entries[0].trajectory.burden[0])
    ax.axhline(factor * start, color=GREY, lw=0.8, ls=(0, (1, 2)), label=f"{factor:g} x start (progression)")
    ax.set_yscale("log")
    ax.yaxis.set_minor_locator(LogLocator(subs=()))
    ax.set_ylabel("cancer cells [cell]")
    return ax


def dose_strips(ax: Axes, entries: Sequence[Entry], scale: np.ndarray) -> Axes:
    """Doses of each regimen as a strip: the height of a bar is the dose's share of the largest one."""
    for i, entry in enumerate(entries):
        edges = np.asarray(entry.grid.edges)
        shares = np.asarray(entry.trajectory.doses) / scale
        width = np.diff(edges)
        for j in range(shares.shape[1]):
            part = width / shares.shape[1]
            bars = {"height": 0.85 * shares[:, j], "width": part, "bottom": float(-i), "align": "edge"}
            ax.bar(edges[:-1] + j * part, color=color(i), alpha=1.0 - 0.35 * j, **bars)
    ax.set_yticks([-i for i in range(len(entries))], [entry.name for entry in entries], fontsize=7)
    ax.set_ylim(-len(entries) + 0.9, 1.05)
    ax.set_xlabel("time [day]")
    ax.set_title("doses (share of the largest dose; several drugs side by side)", fontsize=8)
    return ax


def phase_plane(ax: Axes, entries: Sequence[Entry]) -> Axes:
    """Resistant against sensitive cells; a dot marks the start."""
    for i, entry in enumerate(entries):
        resistant = np.asarray(entry.trajectory.resistant)
        sensitive = np.asarray(entry.trajectory.burden) - resistant
        ax.plot(sensitive, resistant, color=color(i), ls=LINES[(i // 7 + i) % 4], lw=1.2, label=entry.name)
    ax.plot(sensitive[:1], resistant[:1], "o", color="black", ms=5, label="start")
    ax.set(xscale="log", yscale="log", xlabel="sensitive cells [cell]", ylabel="resistant cells [cell]")
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    return ax


def swimmer(ax: Axes, entries: Sequence[Entry]) -> Axes:
    """One lane a regimen: dark where a drug is given, a diamond at progression, an arrow where it is not reached."""
    for i, entry in enumerate(entries):
        edges = np.asarray(entry.grid.edges)
        on = (np.asarray(entry.trajectory.doses) > 0.0).any(axis=1)
        reached = entry.outcome.time_to_progression_day
        end = float(edges[-1])
        ax.barh(-i, end, height=0.7, color="#e6e6e6")
        ax.barh(np.full(int(on.sum()), -i), np.diff(edges)[on], left=edges[:-1][on], height=0.7, color=color(i))
        if reached is None:
            ax.annotate("", (end * 1.05, -i), (end, -i), arrowprops={"arrowstyle": "->", "color": "black"})
        else:
            ax.plot([reached], [-i], "D", color="black", ms=6, mec="white")
    ax.set_yticks([-i for i in range(len(entries))], [entry.name for entry in entries])
    ax.set(xlabel="time [day]", xlim=(0.0, None))
    ax.set_title("on treatment (colored), progression (diamond), not reached (arrow)", fontsize=9)
    return ax


def comparison(problem: Problem, entries: Sequence[Entry], scenario: Scenario) -> dict[str, Figure]:
    """All figures of a comparison by name; the phase plane only where there are resistant cells."""
    figures = {"comparison": new_figure(9.0, 6.5), "swimmer": new_figure(8.0, 1.6 + 0.35 * len(entries))}
    top, bottom = figures["comparison"].subplots(2, 1, sharex=True, height_ratios=[2.0, 0.3 + 0.2 * len(entries)])
    burdens(top, entries, scenario.progression_factor)
    top.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    dose_strips(bottom, entries, np.asarray(problem.task.scale))
    swimmer(figures["swimmer"].subplots(), entries)
    if any(float(entry.trajectory.resistant.max()) > 0.0 for entry in entries):
        figures["phase_plane"] = new_figure(7.0, 4.5)
        phase_plane(figures["phase_plane"].subplots(), entries)
    for figure in figures.values():
        figure.suptitle(scenario.title, fontsize=10)
        footnote(figure)
    return figures
