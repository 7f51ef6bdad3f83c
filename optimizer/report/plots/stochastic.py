"""The figure of runs of single cells: burdens beside the deterministic course; progression, extinction over time."""

import numpy as np
from matplotlib.figure import Figure

from optimizer.ensemble.stochastic import Stochastic
from optimizer.report.plots.style import color, footnote, kaplan_meier, log_axis, new_figure


def stochastic_figure(found: Stochastic, title: str = "") -> Figure:
    """Bands of 50 and 90 % of the runs and their median, and the shares without progression and with cells."""
    figure = new_figure(8.0, 6.4)
    top, bottom = figure.subplots(2, 1)
    days, burden = found.runs.times, np.maximum(found.runs.cells.sum(2), 0.5)
    for ends, alpha in (((0.05, 0.95), 0.15), ((0.25, 0.75), 0.3)):
        low, high = np.quantile(burden, ends, axis=0)
        top.fill_between(days, low, high, color=color(0), alpha=alpha, lw=0.0, label=f"{ends[1] - ends[0]:.0%} of runs")
    top.plot(days, np.median(burden, axis=0), color=color(0), label="median of runs (none: 0.5)")
    top.plot(found.trajectory.times, found.trajectory.burden, color=color(6), ls="--", label="deterministic")
    top.set_yscale("log")
    top.set_ylim(bottom=0.4)
    log_axis(top)
    top.set(ylabel="cancer cells [cell]", xlim=(0.0, 1.01 * days[-1]))
    top.legend(fontsize=7, frameon=False)
    kaplan_meier(bottom, {"progression": found.runs.progression}, float(days[-1]), bands=True)
    alive = [float(np.mean(found.runs.extinction > day)) for day in days]
    bottom.plot(days, alive, color=color(1), ls="--", label="runs with cells alive")
    bottom.set(ylabel="share of runs")
    bottom.legend(fontsize=7, frameon=False)
    figure.suptitle(f"{title}: {found.name}, {len(burden)} runs", fontsize=10)
    footnote(figure)
    return figure
