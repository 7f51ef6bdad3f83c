"""Figures; the only room that imports matplotlib. Every function takes an axis and returns it, or returns a figure."""

from optimizer.plots.cohort import cohort_figures as cohort_figures
from optimizer.plots.comparison import comparison as comparison
from optimizer.plots.map import map_figure as map_figure
from optimizer.plots.overview import overview as overview
from optimizer.plots.overview import patient as patient
from optimizer.plots.pareto import pareto_figure as pareto_figure
from optimizer.plots.replan import replan_figure as replan_figure
from optimizer.plots.style import save as save
from optimizer.plots.window import window_figure as window_figure
