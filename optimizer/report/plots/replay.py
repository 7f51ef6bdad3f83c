"""Figure of a replay: real courses, and what was forecast of them."""

import numpy as np
from matplotlib.figure import Figure

from optimizer.control.courses import OFFSET
from optimizer.control.replay import CORRECTED, CYCLE, Replayed
from optimizer.report.plots.style import GREY, color, footnote, line, log_axis, new_figure

# Courses that a figure of a replay has room for.
_MOST_COURSES = 6


def replay_figure(found: Replayed) -> Figure:
    """Measured and forecast PSA + 0.1 of a few patients, by their error; treatment is shaded."""
    order = np.argsort(found.errors()[CORRECTED])
    chosen = order[np.unique(np.linspace(0, len(order) - 1, _MOST_COURSES).astype(int))]
    figure = new_figure(9.6, 6.4)
    for ax, i in zip(figure.subplots(2, 3).ravel(), chosen, strict=False):
        rests = found.rests[i]
        course, days = rests.course, rests.course.days[rests.ahead]
        middle, low, high = (values + OFFSET for values in found.band(int(i)))
        ends = np.append(course.changes[1:], course.days[-1])
        for begin, end, level in zip(course.changes, ends, course.levels, strict=True):
            if level > 0.0 and begin < course.days[-1]:
                ax.axvspan(begin, min(end, course.days[-1]), color=GREY, alpha=0.15, lw=0.0)
        ax.fill_between(days, low, high, color=color(0), alpha=0.2, lw=0.0, label="90 % band")
        ax.plot(days, middle, color=color(0), ls=line(0), label="forecast")
        ax.plot(days, np.exp(found.forecasts[CYCLE][i]), color=color(1), ls=line(1), label="previous cycle")
        ax.plot(course.days, course.psa + OFFSET, "k.", ms=4, label="measured")
        ax.set(title=f"patient {course.patient}", xlabel="time [day]", ylabel="PSA + 0.1 [ug/L]", yscale="log")
        log_axis(ax)
    figure.axes[0].legend(fontsize=7, frameon=False)
    footnote(figure)
    return figure
