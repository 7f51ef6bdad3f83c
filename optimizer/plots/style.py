"""What all figures share: colors that color-blind readers tell apart, the footnote, saving."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from optimizer.status import DISCLAIMER

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), the dark ones first.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")
GREY = "#8c8c8c"
SHRINKING = "#009E73"


def color(i: int) -> str:
    """Color of the i-th clone, drug or regimen."""
    return COLORS[i % len(COLORS)]


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own, outside pyplot's state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def footnote(figure: Figure, text: str = "") -> None:
    """The disclaimer under every figure."""
    figure.supxlabel(f"{text}  {DISCLAIMER}".strip(), fontsize=7, color="0.35")


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure; the same figure gives the same bytes."""
    kind = Path(path).suffix.lower()
    metadata = {"Software": None} if kind == ".png" else {"Date": None} if kind == ".svg" else None
    figure.savefig(path, dpi=150, metadata=metadata)
