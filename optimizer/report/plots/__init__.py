"""Figures; the only room that imports matplotlib. Every function takes an axis and returns it, or returns a figure."""

from importlib import import_module
from typing import Any

# A figure is imported when it is asked for: what others draw (patients, maps, beliefs) takes long to import.
_NAMES = {
    "calibration": ("calibration_figures", "save_figures"),
    "cohort": ("cohort_figures",),
    "control": ("sweep_figure", "training_figure", "trial_figures"),
    "explore": ("map_figure", "pareto_figure", "tornado_figure", "window_figure"),
    "regimens": ("comparison",),
    "replan": ("replan_figure",),
    "replay": ("replay_figure",),
    "schedule": ("overview", "patient"),
    "stochastic": ("stochastic_figure",),
    "style": ("footnote", "save", "save_all", "svg"),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'optimizer.report.plots' has no attribute {name!r}")
    return getattr(import_module(f"optimizer.report.plots.{_HOMES[name]}"), name)
