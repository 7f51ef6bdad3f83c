"""Which restarts found the same optimum."""

from collections.abc import Callable, Sequence

import numpy as np

from optimizer.search.result import Optimum

# Objectives closer than this (relative to one or the value) may belong to one optimum.
_SAME = 1e-5


def distinct(
    points: Sequence[np.ndarray],
    values: Sequence[float],
    evaluate: Callable[[np.ndarray], float],
    doses: Callable[[np.ndarray], np.ndarray],
) -> tuple[Optimum, ...]:
    """Group stationary points, best first: two are one optimum when the objective does not rise between them.

    Args:
        points: stationary points, flattened shares [n].
        values: their objectives.
        evaluate: the objective of a point; asked for the middle of two points of nearly equal value.
        doses: schedule [K, N] of a point.
    """
    groups: list[list[int]] = []
    for i in np.argsort(np.asarray(values), kind="stable"):
        for group in groups:
            first = group[0]
            near = _SAME * max(1.0, abs(values[first]))
            if values[i] - values[first] > near:
                continue
            if evaluate(0.5 * (points[i] + points[first])) <= values[i] + near:
                group.append(int(i))
                break
        else:
            groups.append([int(i)])
    return tuple(Optimum(float(values[g[0]]), len(g), doses(points[g[0]])) for g in groups)
