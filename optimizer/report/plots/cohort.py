"""The figures of a cohort: Kaplan-Meier curves, a waterfall plot, the objective's spread and the schedules."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optimizer.ensemble.run import Cohort
from optimizer.ensemble.summary import counted
from optimizer.report.plots import style


def waterfall(ax: Axes, cohort: Cohort, name: str = "personalised") -> Axes:
    """Change of the cells from start to end in each patient, the worst first."""
    used = counted(cohort)
    change = np.sort(cohort.table[f"{name}.log10_change"][used])[::-1]
    level = np.log10(cohort.scenario.progression_factor)
    edges = np.arange(len(change) + 1.0)
    for grows in (True, False):
        heights = np.where((change > 0.0) == grows, change, 0.0)
        shade = style.color(1) if grows else style.SHRINKING
        ax.stairs(heights, edges, fill=True, color=shade, label="grown" if grows else "shrunk")
    ax.axhline(0.0, color=style.GREY, lw=0.8)
    ax.axhline(level, color=style.GREY, lw=0.8, ls=(0, (1, 2)), label="progression")
    ax.set(xlabel="patients, sorted", ylabel="log10 (cells at the end / at the start)", title=name)
    ax.set_xlim(0.0, max(len(change), 1))
    ax.legend(fontsize=7, frameon=False)
    return ax


def spreads(ax: Axes, cohort: Cohort) -> Axes:
    """How the objective is spread over the patients under each schedule."""
    used = counted(cohort)
    for i, name in enumerate(cohort.schedules):
        own = np.sort(cohort.table[f"{name}.objective"][used])
        share = np.arange(1, len(own) + 1) / max(len(own), 1)
        ax.step(own, share, where="post", color=style.color(i), ls=style.line(i), lw=1.4, label=name)
        ax.axvline(float(np.mean(own)), color=style.color(i), ls=style.line(i), lw=0.7)
    ax.set(xlabel="objective (vertical lines: means)", ylabel="share of patients at most", ylim=(0.0, 1.03))
    ax.legend(fontsize=7, frameon=False)
    return ax


def schedules(ax: Axes, cohort: Cohort) -> Axes:
    """The schedule for all, and the middle half of the patients' own, drugs of one interval side by side."""
    task, used = cohort.ensemble.task, counted(cohort)
    edges, drugs = np.asarray(task.grid.edges), task.system.drugs
    for j, drug in enumerate(drugs):
        unit = cohort.scenario.dose_units[drug]
        style.dose_bars(
            ax,
            edges,
            cohort.shared.doses[0, :, j],
            (j, len(drugs)),
            0.0,
            color=style.color(j),
            label=style.with_unit(f"{drug}, for all", unit),
        )
        own = cohort.table[f"doses.{drug} [{unit}]"][used]
        part = np.diff(edges) / len(drugs)
        at = edges[:-1] + (j + 0.5) * part
        low, middle, high = np.quantile(own, (0.25, 0.5, 0.75), axis=0)
        ax.errorbar(at, middle, (middle - low, high - middle), fmt="_", color="black", lw=0.8, ms=3)
    ax.plot([], [], "_", color="black", label="personalised: median, middle half")
    ax.set(xlabel="time [day]", ylabel="dose", xlim=(edges[0], edges[-1]))
    ax.legend(fontsize=7, frameon=False)
    return ax


def cohort_figures(cohort: Cohort) -> dict[str, Figure]:
    """The figures of a run by the name of their file."""
    survived, fell, whole = style.new_figure(7.0, 4.5), style.new_figure(9.0, 4.5), style.new_figure(9.0, 7.0)
    used, horizon = counted(cohort), float(cohort.ensemble.task.grid.horizon)
    days, visits = (
        {name: own[used] for name in cohort.schedules if (own := cohort.table.get(f"{name}.{key}")) is not None}
        for key in ("progression_day", "progression_after_day")
    )
    style.kaplan_meier(survived.subplots(), days, horizon, after=visits or None)
    pair = fell.subplots(1, 2, sharey=True)
    for ax, name in zip(pair, cohort.schedules[:2], strict=True):
        waterfall(ax, cohort, name)
    rows = whole.subplots(2, 1)
    spreads(rows[0], cohort)
    schedules(rows[1], cohort)
    count = int(used.sum())
    for figure in (survived, fell, whole):
        style.footnote(figure, f"{cohort.scenario.title}: {count} patients.")
    return {"kaplan_meier": survived, "waterfall": fell, "schedules": whole}
