"""Figures; the only room that imports matplotlib. Every function takes an axis and returns it, or returns a figure."""

from importlib import import_module
from typing import Any

# A figure is imported when it is asked for: what others draw (patients, maps, beliefs) takes long to import.
_HOMES = {
    "cohort_figures": "cohort",
    "comparison": "regimens",
    "map_figure": "explore",
    "overview": "schedule",
    "patient": "schedule",
    "pareto_figure": "explore",
    "replan_figure": "replan",
    "save": "style",
    "window_figure": "explore",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'optimizer.report.plots' has no attribute {name!r}")
    return getattr(import_module(f"optimizer.report.plots.{_HOMES[name]}"), name)
