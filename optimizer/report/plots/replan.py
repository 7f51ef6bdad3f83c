"""The figure of a replan: what was measured and is expected, and the doses."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optimizer.control.prediction import OUTSIDE
from optimizer.control.replan import Replanned
from optimizer.observations import BELOW, MEASURED, UNDER
from optimizer.report.plots.style import GREY, color, dose_bars, footnote, line, new_figure, with_unit


def expected_burden(ax: Axes, found: Replanned) -> Axes:
    """Quantiles of the burden under the plan, its median on the other course, and what was measured of it."""
    plan, course = found.predictions
    start = float(found.asked.inference.problem.task.grid.edges[found.asked.index])
    for low, high, shade in ((0, 4, 0.15), (1, 3, 0.3)):
        label = "plan: 90 % and 50 % of what is believed" if low else None
        ax.fill_between(
            plan.days, plan.burden[:, low], plan.burden[:, high], color=color(0), alpha=shade, lw=0, label=label
        )
    ax.plot(plan.days, plan.burden[:, 2], color=color(0), label="plan: median")
    later = course.days >= start
    ax.plot(course.days[later], course.burden[later, 2], color=color(1), ls=line(1), label=f"{found.course[0]}: median")
    for i, channel in enumerate(found.asked.inference.channels):
        if channel.quantity.kind == "burden":
            measured(ax, found, i)
    ax.axvline(start, color=GREY, lw=0.8, ls=(0, (1, 2)))
    ax.set(yscale="log", ylabel="cancer cells [cell]", xlim=(plan.days[0], plan.days[-1]))
    ax.legend(fontsize=7, frameon=False)
    return ax


def measured(ax: Axes, found: Replanned, channel: int) -> Axes:
    """What was measured of a channel on the 90 % that the belief before each visit forecast, with a dash at the median.

    A ring is where it did not forecast it (p < 0.01).
    A triangle is a value below the assay's limit, or below one that is shown.
    """
    seen = found.asked.seen
    for i, visit in enumerate(found.visits):
        low, middle, high = visit.forecast[channel]
        day, label = seen.days[visit.row], None if i else "forecast before each visit: 90 %, median"
        ax.plot([day, day], [low, high], color=color(4), lw=5, alpha=0.5, solid_capstyle="butt", label=label)
        ax.plot(day, middle, "_", color=color(4), ms=8)
    far = [visit.row for visit in found.visits if visit.expected[channel] < OUTSIDE]
    if far:
        style = {"ms": 8, "mfc": "none", "mec": color(1), "label": f"forecast missed (p < {OUTSIDE:g})"}
        ax.plot(seen.days[far], seen.values[far, channel], "o", **style)
    for state, shape, label in ((MEASURED, "o", "measured"), (BELOW, "v", "below the limit"), (UNDER, "v", None)):
        rows = seen.seen[:, channel] == state
        if rows.any():
            ax.plot(seen.days[rows], seen.values[rows, channel], shape, color="black", ms=3, label=label)
    return ax


def chance(ax: Axes, found: Replanned) -> Axes:
    """Probability of progression by each day."""
    names = ("plan", found.course[0])
    for i, (name, ahead) in enumerate(zip(names, found.predictions, strict=True)):
        ax.plot(ahead.days, ahead.probability(), color=color(i), ls=line(i), label=name)
    ax.set(ylabel="probability of\nprogression by then", ylim=(-0.02, 1.03))
    ax.legend(fontsize=7, frameon=False)
    return ax


def doses(ax: Axes, found: Replanned) -> Axes:
    """Doses that were given, those that are planned, and the other course."""
    task = found.asked.inference.problem.task
    edges, drugs = np.asarray(task.grid.edges), task.system.drugs
    before = np.arange(len(found.doses))[:, None] < found.asked.index
    for j, drug in enumerate(drugs):
        unit = found.asked.scenario.dose_units[drug]
        place = (j, len(drugs))
        past, planned = np.where(before, found.doses, 0.0)[:, j], np.where(before, 0.0, found.doses)[:, j]
        dose_bars(ax, edges, past, place, 0.0, color=GREY, label=with_unit(f"{drug}, given", unit))
        dose_bars(ax, edges, planned, place, 0.0, color=color(j), label=with_unit(f"{drug}, planned", unit))
        ax.stairs(np.where(before, np.nan, found.course[1])[:, j], edges, color="black", lw=0.8, baseline=None)
    ax.plot([], [], color="black", lw=0.8, label=found.course[0])
    units = {*found.asked.scenario.dose_units.values()}
    ax.set(
        xlabel="time [day]", ylabel=with_unit("dose", units.pop()) if len(units) == 1 else "dose, unit in the legend"
    )
    ax.legend(fontsize=7, framealpha=0.85, edgecolor="none")
    return ax


def replan_figure(found: Replanned) -> Figure:
    """What was measured and is expected, the chance of progression, and the doses, on one time axis."""
    channels = [(i, c) for i, c in enumerate(found.asked.inference.channels) if c.quantity.kind != "burden"]
    figure = new_figure(8.0, 8.0 + 1.4 * len(channels))
    first, *more, other, last = figure.subplots(
        3 + len(channels), 1, sharex=True, height_ratios=(3, *[1.4] * len(channels), 1.5, 2)
    )
    expected_burden(first, found)
    for ax, (i, channel) in zip(more, channels, strict=True):
        said = channel.label().replace("_", " ").replace(".", ",\n")
        measured(ax, found, i).set_ylabel(with_unit(said, channel.quantity.unit), fontsize=8)
    chance(other, found)
    doses(last, found)
    count = len(found.asked.seen.days)
    day = float(found.asked.inference.problem.task.grid.edges[found.asked.index])
    footnote(figure, f"{found.asked.scenario.title}: {count} visits, planned on day {day:g}.")
    return figure
