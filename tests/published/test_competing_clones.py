"""Competing clones: the deposited times to progression of Strobl et al. 2021 and of Gallagher et al.

S' = r (1 - N) (1 - 1.5 u) S - d S and R' = (1 - cost) r (1 - N) R - d R (doi 10.1158/0008-5472.CAN-20-0806); ten
synthetic patients of the same model (doi 10.1101/2023.04.28.538766).
"""

import csv
import math
from pathlib import Path

import jax.numpy as jnp
import pytest

from optimizer.analysis.bounds import ideal_containment
from optimizer.outcome import outcome
from optimizer.policies.continuous import Continuous
from optimizer.policies.threshold import Threshold
from optimizer.scenario import Scenario
from optimizer.search.optimize import optimize
from optimizer.simulate import Grid

DATA = Path(__file__).parent / "data"
RATE = 0.027


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def time_to_progression(
    cells: float, resistant: float, cost: float, turnover: float, strategy: str, every: float, horizon: float
) -> float | None:
    """Exact crossing [day] of 1.2 times the first burden; None when it is not reached."""
    death = f"{turnover * RATE} / day"
    kill = [{"drug": "drug", "law": "norton_simon", "strength": 1.5}]
    sensitive = {"name": "sensitive", "cells": cells - resistant, "growth_rate": f"{RATE} / day", "effect": kill}
    other = {"name": "resistant", "resistant": True, "cells": resistant, "growth_rate": f"{RATE * (1 - cost)} / day"}
    clones = [clone | {"death_rate": death} for clone in (sensitive, other)]
    model = {"kind": "tumor", "growth": {"law": "logistic", "capacity": 1.0}, "cell_floor": 1e-9, "clone": clones}
    drug = {"name": "drug", "route": "infusion", "pk": {"kind": "direct"}, "dose": {"min": 0, "max": 1}}
    decision = {"every": f"{every} day", "horizon": f"{horizon} day"}
    tables = {"model": model, "drug": [drug], "decision": decision, "objective": {"progression": 1.0}}
    problem = Scenario.from_tables(tables, "clones").problem()
    most = jnp.ones(1)
    policy = Continuous(most) if strategy == "continuous" else Threshold(most, stop_below=0.5, restart_above=1.0)
    trajectory, _ = problem.simulate(policy, Grid.regular(every, horizon))
    return outcome(trajectory, problem.task.grid, ("drug",), ("infusion",), 1.2).time_to_progression_day


@pytest.mark.parametrize("row", rows("strobl2021_ttp_no_turnover.csv"), ids=lambda row: "-".join(row.values()))
def test_deposited_times_to_the_day(row: dict[str, str]):
    """The deposited time is the day after the exact crossing."""
    cells, share = float(row["initial_size"]), float(row["resistant_fraction"])
    cost = float(row["cost_of_resistance"])
    found = time_to_progression(cells, share * cells, cost, 0.0, row["strategy"], 1.0, 1300.0)
    if row["time_to_progression_day"] in ("never", ""):
        assert found is None
    else:
        assert found is not None
        assert math.floor(found) + 1 == float(row["time_to_progression_day"])


@pytest.mark.parametrize(("strategy", "day"), [("continuous", 572.864), ("AT50", 636.600)])
def test_exact_crossings(strategy: str, day: float):
    found = time_to_progression(0.25, 0.00025, 0.5, 0.0, strategy, 1.0, 1300.0)
    assert found == pytest.approx(day, abs=1e-3)


@pytest.mark.parametrize("row", rows("synthetic_patients_lv.csv"), ids=lambda row: f"patient {row['patient']}")
def test_synthetic_patients(row: dict[str, str]):
    """Continuous: the crossing rounded down; AT50 with weekly decisions: to the week in which it lies."""
    numbers = [float(row[key]) for key in ("initial_size", "resistant_cells", "cost_of_resistance", "turnover")]
    continuous = time_to_progression(*numbers, "continuous", 7.0, 5000.0)
    assert continuous is not None
    assert math.floor(continuous) == float(row["ttp_continuous_day"])
    weekly = time_to_progression(*numbers, "AT50", 7.0, 5000.0)
    assert weekly is not None
    assert abs(weekly - float(row["ttp_at50_weekly_day"])) < 7.0


@pytest.mark.slow
def test_the_optimized_schedule_beats_at50_threefold_and_stays_below_the_bound():
    scenario = Scenario.load("scenarios/competing_clones.toml")
    result = optimize(scenario.problem(), restarts=2)
    assert result.status.ok, result.reason
    bound = ideal_containment(result.problem.task.system, 1.2)
    reached = -result.audit.report.total * 2800.0
    at50 = time_to_progression(0.75, 0.00075, 0.0, 0.0, "AT50", 1.0, 1300.0)
    assert at50 is not None
    assert 3.0 * at50 < reached < bound.value
