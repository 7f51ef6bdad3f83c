"""What all figures share: colors that color-blind readers tell apart, the footnote, saving."""

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from optimizer.ensemble.survival import compared, survival
from optimizer.status import DISCLAIMER

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), the dark ones first.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (3, 1)))
GREY = "#8c8c8c"
_MOST_BARS = 100
# Arms of a survival plot that are filled.
_MOST_BANDS = 4
SHRINKING = "#009E73"
_INTENSITY = LinearSegmentedColormap.from_list("intensity", ("#dce9f2", COLORS[0]))


def color(i: int) -> str:
    """Color of the i-th clone, drug or regimen."""
    return COLORS[i % len(COLORS)]


def line(i: int) -> str | tuple:
    """Pattern of the i-th clone, drug or regimen; a color comes back with another pattern."""
    return LINES[(i + i // len(COLORS)) % len(LINES)]


def capped(ax: Axes, series: Sequence[np.ndarray], decades: float = 3.0) -> None:
    """Keep a series that runs off (an untreated tumor without a capacity) from leaving the others no room."""
    peaks = sorted(float(np.max(values)) for values in series)
    if len(peaks) > 1:
        ax.set_ylim(top=min(ax.get_ylim()[1], 10.0**decades * peaks[-2]))


def log_axis(ax: Axes, name: str = "y") -> None:
    """A logarithmic axis, after its limits are known; ticks between decades only where there are few of them."""
    axis, limits = (ax.yaxis, ax.get_ylim()) if name == "y" else (ax.xaxis, ax.get_xlim())
    if limits[1] > 1e3 * limits[0]:
        axis.set_minor_locator(LogLocator(subs=()))


def with_unit(name: str, unit: str | None) -> str:
    """A name with its unit in brackets, where it has one."""
    return name if unit in (None, "", "1") else f"{name} [{unit}]"


def dose_bars(ax: Axes, edges: np.ndarray, heights: np.ndarray, place: tuple[int, int], base: float, **style) -> None:
    """Bars [K] over intervals [K + 1] as one patch, however many, on a base; drug j of N takes the j-th part of each.

    `place` is j and N.
    """
    j, count = place
    part = np.diff(edges) / count
    left = edges[:-1] + j * part
    # A gap shows where one dose ends; bars of a dense schedule would be nothing but gaps.
    right = left + part * (0.94 if len(heights) <= _MOST_BARS else 1.0)
    levels = base + np.column_stack([heights, np.zeros_like(heights)]).ravel()[:-1]
    ax.stairs(levels, np.column_stack([left, right]).ravel(), baseline=base, fill=True, **style)


def swim(ax: Axes, edges: np.ndarray, shares: np.ndarray, progressed: np.ndarray, horizon: float) -> QuadMesh:
    """Swimmers: a lane each, dark where more was given; a diamond at progression, an arrow where there is none.

    Shares of the largest doses [R, K] that are NaN are not drawn; a day of progression [R] that never is is infinite.
    """
    places = np.arange(len(shares) + 1) - 0.5
    shade = ax.pcolormesh(edges, places, shares, cmap=_INTENSITY, vmin=0.0, vmax=1.0)
    ax.hlines(places[1:-1], 0.0, horizon, color="white", lw=1.0)
    gone, still = (np.flatnonzero(found) for found in (progressed <= horizon, progressed > horizon))
    ax.plot(progressed[gone], gone, "d", color=COLORS[1], ms=4, mec="white", mew=0.4, label="progression")
    ax.plot(np.full(len(still), horizon), still, ">", color=GREY, ms=4, label="not reached")
    ax.set(xlim=(0.0, 1.02 * horizon), ylim=(len(shares) - 0.4, -0.6))
    return shade


def dose_scale(figure: Figure, shade: QuadMesh) -> None:
    """The scale of swimmers' doses beside all axes of a figure."""
    figure.colorbar(shade, ax=figure.axes, aspect=40).set_label("dose / largest dose, mean of the drugs", fontsize=8)


def kaplan_meier(
    ax: Axes,
    progressed: Mapping[str, np.ndarray],
    horizon: float,
    bands: bool = False,
    after: Mapping[str, np.ndarray] | None = None,
    until: Mapping[str, np.ndarray] | None = None,
) -> Axes:
    """Share of patients without progression over time; a tick marks patients who have none when last seen.

    Below stand the patients at risk, and each arm's hazard ratio and log-rank p against the first one's. Days of
    progression are infinite where there is none; with bands the first arms have their 95 % band. `after` are the
    last visits known to be without progression of each arm; None where it is read at any time. `until` says when each
    patient is seen last, where that is not the horizon [day].
    """
    last_seen = until or {name: np.full(own.shape, horizon) for name, own in progressed.items()}
    for i, (name, own) in enumerate(progressed.items()):
        found = survival(own, last_seen[name], None if after is None else after[name])
        median = "median not reached" if found.median is None else f"median {found.median:.4g} day"
        days = np.r_[found.days, horizon]
        share, low, high = (np.r_[x, x[-1]] for x in (found.share, found.low, found.high))
        ax.step(days, share, where="post", color=color(i), ls=line(i), label=f"{name} ({median})")
        if bands and i < _MOST_BANDS:
            ax.fill_between(days, low, high, step="post", color=color(i), alpha=0.12, lw=0.0)
        last = np.unique(last_seen[name][np.isinf(own)])
        if last.size:
            ax.plot(last, share[np.searchsorted(days, last, side="right") - 1], "|", color=color(i), ms=9)
    label = "time [day]" if after is None else "time [day], progression at the visit that shows it"
    ax.set(xlabel=label, ylabel="share without progression", xlim=(0.0, 1.01 * horizon), ylim=(0.0, 1.03))
    ax.legend(fontsize=7, frameon=False)
    at_risk(ax, progressed, last_seen, horizon, after)
    return ax


def at_risk(
    ax: Axes,
    progressed: Mapping[str, np.ndarray],
    last_seen: Mapping[str, np.ndarray],
    horizon: float,
    after: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Numbers at risk under the ticks of time, then a line for each arm but the first, against that one."""
    days = [day for day in ax.get_xticks() if 0.0 <= day <= horizon]
    names = list(progressed)

    def put(day: float, line: int, text: str, **more: Any) -> None:
        place: Any = {"xycoords": ax.get_xaxis_transform(), "textcoords": "offset points", "annotation_clip": False}
        ax.annotate(text, (day, 0.0), (0.0, -38.0 - 10.0 * line), fontsize=7, va="top", **place, **more)

    for i, (name, own) in enumerate(progressed.items()):
        put(-0.04 * horizon, i, name if i else f"{name} (at risk)", ha="right", color=color(i))
        for day in days:
            put(day, i, str(int(np.sum(np.minimum(own, last_seen[name]) >= day))), ha="center")
    for i, name in enumerate(names[1:], len(names)):
        visits = [] if after is None else [after[name], after[names[0]]]
        told = compared(progressed[name], progressed[names[0]], last_seen[name], visits)
        ratio, test = told["hazard_ratio"], told["log_rank"]
        said = "none" if ratio is None else "{:.2g} ({:.2g} to {:.2g})".format(ratio["ratio"], *ratio["interval_95"])
        p = "none" if test is None else f"{test['p']:.2g}"
        put(0.0, i, f"{name} against {names[0]}: hazard ratio {said}, log-rank p {p}")


def change_axis(ax: Axes, label: str) -> None:
    """Percent changes: those beyond four times the first value are cut off."""
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -105.0), min(max(high, 30.0), 300.0))
    ax.axhline(0.0, color=GREY, lw=0.8)
    ax.set_ylabel(label)


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own, outside pyplot's state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def footnote(figure: Figure, text: str = "") -> None:
    """The disclaimer under every figure."""
    figure.supxlabel(f"{text}  {DISCLAIMER}".strip(), fontsize=7, color="0.35", wrap=True)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure; the same figure gives the same bytes."""
    kind = Path(path).suffix.lower()
    metadata = {"Software": None} if kind == ".png" else {"Date": None} if kind == ".svg" else None
    with rc_context({"svg.hashsalt": "adose"}):
        figure.savefig(path, dpi=150, metadata=metadata)


def save_all(figures: Mapping[str, Figure], folder: Path) -> dict[str, str]:
    """Write NAME.png and NAME.svg of each figure.

    Returns:
        The drawings as SVG text, by their names.
    """
    drawn = {}
    for name, figure in figures.items():
        save(figure, folder / f"{name}.png")
        drawn[name] = svg(figure)
        (folder / f"{name}.svg").write_text(drawn[name], encoding="utf-8")
    return drawn


def svg(figure: Figure) -> str:
    """A figure that is already laid out (by `save`) as SVG text; the same figure gives the same text."""
    figure.set_layout_engine("none")  # the layout takes most of the time of a drawing, and stands
    out = StringIO()
    with rc_context({"svg.hashsalt": "adose"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
