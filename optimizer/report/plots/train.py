"""The figure of a training: loss against step, the decisions, and how long the patients held out were held."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optimizer.control.decisions import LAST, TIMES, decide
from optimizer.control.train_report import curve, visit
from optimizer.control.train_run import Learned
from optimizer.report.plots.style import GREY, color, footnote, line, new_figure

_SHOWN = np.linspace(0.05, 1.5, 30)


def training_figure(learned: Learned) -> Figure:
    """Loss, survival, and a map of the decisions for each drug."""
    drugs = learned.split.ensemble.task.system.drugs
    columns = max(2, len(drugs))
    figure = new_figure(4.6 * columns, 7.4)
    axes = figure.subplots(2, columns, squeeze=False)
    losses(axes[0, 0], learned)
    held_out(axes[0, 1], learned)
    for ax in axes[0, 2:]:
        ax.set_axis_off()
    for j, ax in enumerate(axes[1]):
        if j < len(drugs):
            decisions(ax, learned, j)
        else:
            by_time(ax, learned)
    figure.suptitle(learned.scenario.title, fontsize=10)
    who = "patients it has not seen" if learned.split.are_others else "the patient it was trained on"
    footnote(figure, f"Judged on {who}: {learned.held_out}.")
    return figure


def losses(ax: Axes, learned: Learned) -> Axes:
    """What the gradient makes small, and what the network itself came to, against the steps."""
    history, best = learned.training.history, learned.training.best
    steps = [entry.step for entry in history]
    ax.plot(steps, [entry.loss for entry in history], color=color(0), ls=line(0), label="loss (smoothed)")
    ax.plot(steps, [entry.objective for entry in history], color=color(1), ls=line(1), label="objective")
    ax.plot([best.step], [best.objective], "o", color=color(1), label="kept")
    ax.set(xlabel="step", ylabel="over the patients trained on")
    ax.legend(fontsize=7, frameon=False)
    return ax


def held_out(ax: Axes, learned: Learned) -> Axes:
    """Share of the patients held out without progression over time, under each policy."""
    horizon = float(learned.split.ensemble.task.grid.horizon)
    for i, name in enumerate(learned.outcomes):
        own = curve(learned, name)
        said = "median not reached" if own.median is None else f"median {own.median:.4g} day"
        days, share = np.r_[own.days, horizon], np.r_[own.share, own.share[-1]]
        ax.step(days, share, where="post", color=color(i), ls=line(i), label=f"{name} ({said})")
    ax.set(xlabel="time [day]", ylabel="without progression", xlim=(0.0, 1.01 * horizon), ylim=(0.0, 1.03))
    ax.legend(fontsize=7, frameon=False)
    return ax


def decisions(ax: Axes, learned: Learned, drug: int) -> Axes:
    """Share of a drug over burden and its recent change, halfway in time, after half of the largest dose."""
    table = decide(learned.network, visit(learned), _SHOWN.tolist())
    span = float(learned.network.span)
    chosen = np.isclose(table.day, TIMES[1] * span) & np.isclose(table.last, LAST[1])
    burden, change = np.unique(table.burden), np.unique(table.change)
    shares = table.shares[chosen, drug].reshape(burden.size, change.size)
    shade = ax.pcolormesh(burden, 100.0 * change, shares.T, vmin=0.0, vmax=1.0, cmap="viridis", shading="nearest")
    name = learned.split.ensemble.task.system.drugs[drug]
    ax.figure.colorbar(shade, ax=ax).set_label(f"share of the largest dose of {name}", fontsize=8)
    ax.axvline(1.0, color=GREY, lw=0.8)
    ax.set(xlabel="measured burden / first", ylabel="its change in a week [%]", title=f"day {TIMES[1] * span:g}")
    return ax


def by_time(ax: Axes, learned: Learned) -> Axes:
    """Share of the first drug against a burden that does not change, early, halfway and late."""
    table = decide(learned.network, visit(learned), _SHOWN.tolist())
    span = float(learned.network.span)
    for i, time in enumerate(TIMES):
        rows = np.isclose(table.day, time * span) & np.isclose(table.last, LAST[1]) & (table.change == 0.0)
        ax.plot(table.burden[rows], table.shares[rows, 0], color=color(i), ls=line(i), label=f"day {time * span:g}")
    ax.axvline(1.0, color=GREY, lw=0.8)
    ax.set(xlabel="measured burden / first, steady", ylabel="share of the largest dose", ylim=(-0.03, 1.03))
    ax.legend(fontsize=7, frameon=False)
    return ax
