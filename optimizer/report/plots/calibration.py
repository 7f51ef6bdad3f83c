"""Figures of a calibration: curves with predictive bands, profile likelihoods, correlations, starts.

Every function takes an axis and returns it; `save_figures` writes the files of a run directory.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optimizer.calibrate.report import CHECKED, FitReport, Panel
from optimizer.calibrate.uncertainty import Profile
from optimizer.report.plots.style import new_figure, save_all, with_unit

DATA, FITTED, BAND, SEEN = "#222222", "#0072B2", "#56B4E9", "#D55E00"
# Replicates at a time whose quantiles are shown, and the range above which an axis is logarithmic.
REPLICATES, DECADES = 3, 30.0
ZERO_MARK = 0.5
MOST_PANELS = 24
MOST_POINTS = 2000


def curve(ax: Axes, panel: Panel) -> Axes:
    """Data, fitted curve and predictive band; on a log axis zero doses stand left of a dotted line, marked 0."""
    x = np.asarray(panel.x, dtype=float)
    if panel.log_x:
        positive = panel.grid[panel.grid > 0]
        zero = float(positive.min()) * ZERO_MARK
        ax.set_xscale("log")
        x = np.where(x > 0, x, zero)
        if np.any(np.asarray(panel.x) <= 0):
            ax.axvline(zero * 1.4, color="0.8", lw=0.8, ls=":")
            ax.annotate("0", (zero, 0.02), xycoords=("data", "axes fraction"), ha="center", fontsize=8)
    if panel.band is not None:
        ax.fill_between(panel.grid, *panel.band, color=BAND, alpha=0.3, lw=0, label="predictive interval")
    ax.plot(panel.grid, panel.curve, color=FITTED, lw=1.6, label="fit")
    step = max(1, len(x) // MOST_POINTS)
    ax.plot(x[::step], panel.y[::step], "o", color=DATA, ms=4, label="data")
    ax.set(xlabel=panel.x_label, ylabel=panel.y_label, title=panel.title)
    return ax


def predictive_check(ax: Axes, panel: Panel) -> Axes:
    """Visual predictive check of a course: simulated and measured values, and quantiles of replicates at a time."""
    assert panel.simulated is not None
    low, middle, high = panel.simulated
    ax.fill_between(panel.grid, low, high, color=BAND, alpha=0.3, lw=0, label="simulated, 5 to 95 %")
    ax.plot(panel.grid, middle, color=FITTED, lw=1.6, label="simulated, 50 %")
    within, step = panel.covered(), max(1, len(panel.x) // MOST_POINTS)
    for chosen, fill, label in ((within, DATA, "measured"), (~within, "none", "measured, outside")):
        if chosen.any():
            ax.plot(panel.x[chosen][::step], panel.y[chosen][::step], "o", mec=DATA, mfc=fill, ms=4, label=label)
    times, counts = np.unique(panel.x, return_counts=True)
    if len(times := times[counts >= REPLICATES]):
        values = [np.quantile(panel.y[panel.x == time], CHECKED) for time in times]
        ax.plot(times, values, "_", color=SEEN, ms=9, mew=1.6, label=["measured, 5, 50 and 95 %", None, None])
    ax.set(xlabel=panel.x_label, ylabel=panel.y_label)
    ax.set_title(f"{panel.title}: {within.sum()} of {len(within)} within", fontsize=10)
    if low.min() > 0.0 and high.max() > DECADES * low.min():
        ax.set_yscale("log")
    ax.legend(fontsize=6, frameon=False)
    return ax


def profile(ax: Axes, result: Profile, unit: str = "", level_tau: float | None = None) -> Axes:
    """Profile likelihood as |tau| against the parameter: straight lines mean a quadratic likelihood."""
    ax.plot(result.values, np.abs(result.tau), ".-", color=FITTED, lw=1.2, ms=4)
    if level_tau is not None:
        ax.axhline(level_tau, color="0.5", lw=0.8, ls="--")
    for end in result.interval:
        if end is not None:
            ax.axvline(end, color=BAND, lw=1.0)
    ax.set(xlabel=with_unit(result.name, unit), ylabel="|tau|, sd from the fit", ylim=(0, 5))
    if np.all(result.values > 0):
        ax.set_xscale("log")
    return ax


def correlation(ax: Axes, report: FitReport) -> Axes:
    """Correlation matrix of the parameters."""
    matrix = np.asarray(report.correlation)
    names = [p.name for p in report.profiles]
    ax.imshow(matrix, vmin=-1, vmax=1, cmap="PuOr")
    if len(names) == len(matrix):
        ax.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
        ax.set_yticks(range(len(names)), names, fontsize=7)
    for i, j in np.ndindex(*matrix.shape):
        dark = abs(matrix[i, j]) > 0.7
        ax.text(j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", fontsize=6, color="white" if dark else "black")
    ax.set(title="correlation")
    return ax


def residuals(ax: Axes, report: FitReport) -> Axes:
    """Residuals against fitted values."""
    step = max(1, len(report.fitted) // MOST_POINTS)
    ax.axhline(0.0, color="0.5", lw=0.8)
    ax.plot(report.fitted[::step], (report.observed - report.fitted)[::step], "o", color=DATA, ms=4)
    ax.set(xlabel=f"fitted, {report.sse_unit}", ylabel=f"observed - fitted, {report.sse_unit}", title="residuals")
    return ax


def save_figures(report: FitReport, directory: Path) -> None:
    """Write the figures of a fit, as PNG and SVG."""
    save_all(calibration_figures(report), directory)


def calibration_figures(report: FitReport) -> dict[str, Figure]:
    """Fit, profiles, residuals, correlation, and a predictive check (vpc), where there is something to show."""
    found = {}
    if report.panels:
        found["fit"] = _grid([lambda ax, p=p: curve(ax, p) for p in report.panels[:MOST_PANELS]])
        found["residuals"] = _grid([lambda ax: residuals(ax, report)])
    if courses := [panel for panel in report.panels if panel.simulated is not None][:MOST_PANELS]:
        found["vpc"] = _grid([lambda ax, p=p: predictive_check(ax, p) for p in courses])
    if report.profiles:
        shown = report.profiles[:MOST_PANELS]
        units = {entry.name: entry.unit for entry in report.parameters}
        found["profiles"] = _grid([lambda ax, p=p: profile(ax, p, units.get(p.name, "")) for p in shown])
    if report.correlation is not None:
        found["correlation"] = _grid([lambda ax: correlation(ax, report)], size=4.5)
    return found


def _grid(drawers: list, size: float = 3.0) -> Figure:
    """A grid of axes."""
    columns = min(4, len(drawers))
    rows = -(-len(drawers) // columns)
    figure = new_figure(size * 1.25 * columns, size * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, draw in zip(axes, drawers, strict=False):
        draw(ax)
    for ax in axes[len(drawers) :]:
        ax.set_axis_off()
    return figure
