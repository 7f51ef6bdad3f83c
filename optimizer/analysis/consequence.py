"""What a parameter set of the stromal tumor leads to: its best weekly schedule, and what a fixed one does."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from optimizer.calibrate.fragment import STROMAL_PROBLEM
from optimizer.scenario import Scenario
from optimizer.search.optimize import optimize


def best_schedule(quantities: Mapping[str, str | float]) -> dict[str, Any]:
    """Best weekly cetuximab within 26 ug/mL over 180 days, other numbers in place of those of the preset kraut2025_caf.

    Returns:
        The status of the search, the doses [ug/mL], the mean log10 burden under them and under weekly 1 ug/mL.
    """
    model = {"kind": "stromal", "preset": "kraut2025_caf", **quantities}
    problem = Scenario.from_tables({"model": model, **STROMAL_PROBLEM}, "consequence").problem()
    result = optimize(problem, restarts=8)
    weekly = float(problem.loss(jnp.ones_like(jnp.asarray(result.doses))))
    return {
        "status": result.status.value,
        "doses_ug_per_ml": [float(f"{d:.4g}") for d in result.doses[:, 0]],
        "mean_log10_burden": result.audit.report.total,
        "mean_log10_burden_weekly_1_ug_per_ml": weekly,
    }
