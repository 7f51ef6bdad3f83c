"""The figure of a map: one quantity as colors over the two numbers, the best y for each x, schedules as points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optimizer.analysis.annotations import Annotation
from optimizer.analysis.map import Map
from optimizer.report.plots.style import color, footnote, log_axis, new_figure, with_unit

_SHAPES = ("s", "^", "D", "v", "P", "<", ">", "X")


def map_figure(found: Map, annotations: Sequence[Annotation] = (), show: str = "mean_last", title: str = "") -> Figure:
    """A heat map of one quantity.

    Args:
        found: by `compute`.
        annotations: schedules that have a place on it.
        show: name of the quantity.
        title: above the figure.
    """
    figure = new_figure(7.6, 5.6)
    heat(figure.subplots(), found, annotations, show)
    figure.suptitle(title, fontsize=10)
    held = [f"{key} {value:g} {unit}".removesuffix(" 1") for key, (value, unit) in found.fixed.items()]
    beside = [f"other drugs: {found.regimen}"] if found.regimen else []
    footnote(figure, f"{', '.join([*held, *beside])}." if held or beside else "")
    return figure


def heat(ax: Axes, found: Map, annotations: Sequence[Annotation], show: str) -> Axes:
    """The quantity as colors, the best y for each x as a line of dots, schedules as points of their own."""
    quantity = found.quantities[show]
    x, y = found.x.values, found.y.values
    shade = ax.pcolormesh(
        x, y, np.ma.masked_invalid(quantity.values), shading="nearest", cmap="viridis", rasterized=True
    )
    bar = ax.figure.colorbar(shade, ax=ax)
    bar.set_label(with_unit(quantity.meaning, quantity.unit), fontsize=8)
    best = [(x[i], y[j]) for i, j in enumerate(quantity.best()) if j is not None]
    if best:
        ax.plot(*zip(*best, strict=True), "o", ms=3.5, mfc="white", mec="black", mew=0.6, label="best for each x")
    for i, annotation in enumerate(annotations):
        shape, size = ("*", 13) if annotation.schedule else (_SHAPES[i % len(_SHAPES)], 7)
        style = {"ms": size, "mec": "white", "mew": 0.8, "clip_on": False, "zorder": 3}
        ax.plot(
            [annotation.x],
            [annotation.y],
            shape,
            color=color(1 if annotation.schedule else i + 2),
            label=annotation.name,
            **style,
        )
    for axis, name in ((found.x, "x"), (found.y, "y")):
        if axis.log:
            getattr(ax, f"set_{name}scale")("log")
            log_axis(ax, name)
        getattr(ax, f"set_{name}label")(with_unit(axis.number.key, axis.number.unit))
    if best or annotations:
        ax.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False)
    return ax
