"""Figures; the only room that imports matplotlib. Every function takes an axis and returns it, or returns a figure."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimizer.report.plots.cohort import cohort_figures as cohort_figures
    from optimizer.report.plots.map import map_figure as map_figure
    from optimizer.report.plots.pareto import pareto_figure as pareto_figure
    from optimizer.report.plots.regimens import comparison as comparison
    from optimizer.report.plots.replan import replan_figure as replan_figure
    from optimizer.report.plots.schedule import overview as overview
    from optimizer.report.plots.schedule import patient as patient
    from optimizer.report.plots.style import save as save
    from optimizer.report.plots.window import window_figure as window_figure

# A figure is imported when it is asked for: what others draw (patients, maps, beliefs) takes long to import.
_HOMES = {
    "cohort_figures": "cohort",
    "comparison": "regimens",
    "map_figure": "map",
    "overview": "schedule",
    "patient": "schedule",
    "pareto_figure": "pareto",
    "replan_figure": "replan",
    "save": "style",
    "window_figure": "window",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'optimizer.report.plots' has no attribute {name!r}")
    return getattr(importlib.import_module(f"optimizer.report.plots.{_HOMES[name]}"), name)
