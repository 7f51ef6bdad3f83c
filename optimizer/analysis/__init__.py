"""What is said of a model without a search: where held concentrations let clones grow, maps, published numbers again.

| to | call |
|---|---|
| find the held levels at which clones shrink | `windows(scenario)` |
| evaluate schedules of repeated doses over two numbers | `regimen_map(scenario, x, y)` |
| get the dose that gives a mean concentration | `dose_for_mean(pk, mean, every, horizon)` |
"""

from optimizer.analysis.levels import dose_for_mean as dose_for_mean
from optimizer.analysis.map_run import regimen_map as regimen_map
from optimizer.analysis.window import windows as windows
