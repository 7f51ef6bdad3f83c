"""The figure of a trade-off: the front between two terms, and the regimens beside it."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optimizer.analysis.pareto import Front
from optimizer.report.plots.style import COLORS, GREY, footnote, new_figure

_SHAPES = ("s", "^", "D", "v", "P", "<", ">", "X")


def pareto_figure(front: Front, title: str = "") -> Figure:
    """The front with its points, and the regimens as points of their own.

    Args:
        front: by `trace`.
        title: above the figure.
    """
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
        label = f"{point.name}{f' ({chr(44).join(notes)})' if notes else ''}".replace(",", ", ")
        ax.plot([point.terms[1]], [point.terms[0]], _SHAPES[i % len(_SHAPES)], ls="", label=label, **style)
    ax.set_ylabel(front.kinds[0])
    ax.set_xlabel(front.kinds[1])
    ax.grid(color=GREY, alpha=0.25, lw=0.5)
    ax.legend(fontsize=7, frameon=False)
    return ax
