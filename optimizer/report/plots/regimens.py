"""The figures of a comparison: burden and doses of all regimens, a phase plane, and a swimmer plot."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from optimizer.analysis.comparison import Entry
from optimizer.mechanisms.myelosuppression import GRADES
from optimizer.problem import Problem
from optimizer.report.plots.style import (
    GREY,
    capped,
    color,
    dose_bars,
    dose_scale,
    footnote,
    line,
    log_axis,
    new_figure,
    swim,
    with_unit,
)
from optimizer.scenario import Scenario

_GRADED = "#D55E00"
# Multiple of the first cells above which areas are cut off.
_MOST_CELLS = 5.0


def burdens(ax: Axes, entries: Sequence[Entry], factor: float | None) -> Axes:
    """All cancer cells under each regimen."""
    for i, entry in enumerate(entries):
        ax.plot(entry.trajectory.times, entry.trajectory.burden, label=entry.name, **_style(i, len(entries)))
    start = float(entries[0].trajectory.burden[0])
    if factor is not None:
        ax.axhline(factor * start, color=GREY, lw=0.8, ls=(0, (1, 2)), label=f"{factor:g} x start (progression)")
    ax.set_yscale("log")
    capped(ax, [np.asarray(entry.trajectory.burden) for entry in entries])
    log_axis(ax)
    ax.set_xlim(0.0, max(float(entry.grid.horizon) for entry in entries))
    ax.set_ylabel("cancer cells [cell]")
    return ax


def _style(i: int, count: int) -> dict[str, Any]:
    """Later lines are thinner, so that one that runs on an earlier one hides nothing."""
    return {"color": color(i), "ls": line(i), "lw": 1.0 + 1.4 * (count - 1 - i) / max(count - 1, 1)}


def dose_strips(
    ax: Axes, entries: Sequence[Entry], scale: np.ndarray, drugs: Sequence[str], units: Mapping[str, str]
) -> Axes:
    """Doses of each regimen as a strip, drugs of one interval side by side; a full lane is the largest dose."""
    for j, drug in enumerate(drugs):
        full = f"{drug}, full lane {with_unit(f'{scale[j]:g}', units.get(drug))}"
        for i, entry in enumerate(entries):
            heights = 0.8 * np.asarray(entry.trajectory.doses)[:, j] / scale[j]
            style = {"color": color(j), "label": full if i == 0 else None}
            dose_bars(ax, np.asarray(entry.grid.edges), heights, (j, len(drugs)), -i - 0.4, **style)
    for i in range(len(entries)):
        ax.axhline(-i - 0.4, color=GREY, lw=0.5)
    ax.set_yticks([-i for i in range(len(entries))], [entry.name for entry in entries], fontsize=7)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(-len(entries) + 0.4, 0.6)
    ax.set(xlabel="time [day]", ylabel="doses")
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, handlelength=3.2)
    return ax


def phase_plane(ax: Axes, entries: Sequence[Entry]) -> Axes:
    """Resistant against sensitive cells; a dot marks the start."""
    for i, entry in enumerate(entries):
        resistant = np.asarray(entry.trajectory.resistant)
        # Cells that are all resistant differ from all cells by rounding.
        sensitive = np.asarray(entry.trajectory.burden) - resistant
        shown = sensitive > 1e-12 * resistant
        ways = (np.where(shown, sensitive, np.nan), resistant)
        ax.plot(*ways, label=entry.name, **_style(i, len(entries)))
        ax.plot(*(series[shown][-1:] for series in ways), "s", color=color(i), ms=4)
    ax.plot(sensitive[:1], resistant[:1], "o", color="black", ms=5, label="start", zorder=3)
    ax.plot([], [], "s", color=GREY, ms=4, ls="", label="end")
    ax.set(xscale="log", yscale="log", xlabel="sensitive cells [cell]", ylabel="resistant cells [cell]")
    log_axis(ax, "x")
    log_axis(ax, "y")
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, handlelength=3.2)
    return ax


def swimmer(ax: Axes, entries: Sequence[Entry], scale: np.ndarray) -> QuadMesh:
    """One lane a regimen, with its doses over the largest ones [N]."""
    edges = np.unique(np.concatenate([np.asarray(entry.grid.edges) for entry in entries]))
    shares = np.full((len(entries), len(edges) - 1), np.nan)
    for own, entry in zip(shares, entries, strict=True):
        given = np.mean(np.asarray(entry.trajectory.doses) / scale, axis=1)
        at = np.searchsorted(np.asarray(entry.grid.edges), edges[:-1], side="right") - 1
        own[at < len(given)] = given[at[at < len(given)]]
    days = [entry.outcome.time_to_progression_day for entry in entries]
    shade = swim(ax, edges, shares, np.array([np.inf if day is None else day for day in days]), float(edges[-1]))
    ax.set_yticks(range(len(entries)), [entry.name for entry in entries])
    ax.set_xlabel("time [day]")
    ax.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False)
    return shade


def clone_areas(ax: Axes, entry: Entry, names: Sequence[str]) -> Axes:
    """Cells of each clone stacked on each other, over the first of all."""
    found = entry.trajectory
    shares = np.asarray(found.cells).T / float(found.burden[0])
    ax.stackplot(
        np.asarray(found.times), shares, labels=names, colors=[color(i) for i in range(len(names))], alpha=0.75
    )
    ax.axhline(1.0, color=GREY, lw=0.8, ls=(0, (1, 2)))
    ax.set_title(entry.name, loc="left", fontsize=8)
    ax.set(xlim=(0.0, float(entry.grid.horizon)), ylim=(0.0, min(1.05 * float(shares.sum(axis=0).max()), _MOST_CELLS)))
    return ax


def counts(ax: Axes, entries: Sequence[Entry]) -> Axes:
    """Neutrophils under each regimen over the grades of neutropenia."""
    ends = (*(grade / 1e9 for grade in GRADES), 0.0)
    for worst, (high, low) in enumerate(pairwise(ends), 1):
        ax.axhspan(low, high, color=_GRADED, alpha=0.1 * worst, lw=0.0)
        ax.text(1.01, 0.5 * (low + high), f"grade {worst}", transform=ax.get_yaxis_transform(), va="center", fontsize=7)
    for i, entry in enumerate(entries):
        shown = np.asarray(entry.trajectory.observables["neutrophils"]) / 1e9
        ax.plot(entry.trajectory.times, shown, label=entry.name, **_style(i, len(entries)))
    ax.set(xlabel="time [day]", ylabel="neutrophils [1e9 cells/L]", ylim=(0.0, None))
    ax.set_xlim(0.0, max(float(entry.grid.horizon) for entry in entries))
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.12, 0.5), frameon=False, handlelength=3.2)
    return ax


def comparison(problem: Problem, entries: Sequence[Entry], scenario: Scenario) -> dict[str, Figure]:
    """All figures of a comparison by name, those alone for which there is something to draw."""
    figures = {"comparison": new_figure(9.0, 6.5), "swimmer": new_figure(8.0, 1.6 + 0.35 * len(entries))}
    scale = np.asarray(problem.task.scale)
    top, bottom = figures["comparison"].subplots(2, 1, sharex=True, height_ratios=[2.0, 0.3 + 0.2 * len(entries)])
    burdens(top, entries, scenario.progression_level)
    top.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, handlelength=3.2)
    dose_strips(bottom, entries, scale, problem.task.system.drugs, scenario.dose_units)
    dose_scale(figures["swimmer"], swimmer(figures["swimmer"].subplots(), entries, scale))
    if any(float(entry.trajectory.resistant.max()) > 0.0 for entry in entries):
        figures["phase_plane"] = new_figure(7.0, 4.5)
        phase_plane(figures["phase_plane"].subplots(), entries)
    if len(names := problem.task.system.model.clone_names()) > 1:
        figures["clone_areas"] = new_figure(8.0, 0.8 + 1.3 * len(entries))
        axes = figures["clone_areas"].subplots(len(entries), 1, squeeze=False, sharex=True)[:, 0]
        for ax, entry in zip(axes, entries, strict=True):
            clone_areas(ax, entry, names)
        axes[0].legend(fontsize=7, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, frameon=False)
        axes[-1].set_xlabel("time [day]")
        figures["clone_areas"].supylabel("cells / first of all cells", fontsize=10)
    if entries[0].outcome.neutropenia_grade is not None:
        figures["nadir"] = new_figure(9.0, 4.5)
        counts(figures["nadir"].subplots(), entries)
    for figure in figures.values():
        figure.suptitle(scenario.title, fontsize=10)
        footnote(figure)
    return figures
