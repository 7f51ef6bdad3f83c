"""Trade-offs: a front that nothing dominates, every inner point beside SciPy's SLSQP, statuses and exit codes."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from typer.testing import CliRunner

from optimizer.analysis.pareto import trace, two_terms
from optimizer.cli import app
from optimizer.report.plots.explore import pareto_figure
from optimizer.scenario import Scenario
from optimizer.search import multistart
from optimizer.search.feasible import satisfies
from optimizer.settings import OptionError
from optimizer.status import Status
from tests.analysis.test_map import toml_of
from tests.small import tables

WEEKLY = {"name": "weekly", "dose": [{"drug": "cetuximab", "amount": "0.5 ug/mL", "every": "7 day"}]}


@pytest.fixture(scope="module")
def small() -> Scenario:
    return Scenario.from_tables(tables() | {"regimen": [WEEKLY]}, "small")


@pytest.fixture(scope="module")
def front(small):
    told = []
    found = trace(small, two_terms(small, "burden,drug_use"), 6, 4, 0, lambda *count: told.append(count))
    assert told == [(k, 6) for k in range(7)]
    return found


def test_the_front_is_monotone_solved_and_not_dominated(front):
    burden, use = np.array([point.terms for point in front.points]).T
    assert np.all(np.diff(burden) < 0.0)
    assert np.all(np.diff(use) > 0.0)
    assert use[1:-1] == pytest.approx([point.limit for point in front.points[1:-1]], rel=1e-5)
    assert use == pytest.approx(np.linspace(0.0, use[-1], 6), abs=1e-6)
    assert front.status is Status.SOLVED
    assert not any(point.dominated for point in front.points)
    # The curve is convex: each share of the drug buys less than the one before.
    assert np.all(np.diff(np.diff(burden) / np.diff(use)) > 0.0)


def test_points_keep_the_limits_on_doses_exactly(front):
    for point in front.points:
        assert satisfies(front.problem, point.result.doses)
        assert point.result.audit.passed


def test_inner_points_are_those_of_slsqp(front):
    """The same six doses by SciPy: shares of the largest dose, the budget and the limit as linear constraints."""
    task = front.problem.task
    loss = jax.jit(jax.value_and_grad(lambda x: task.loss(task.doses(x))))
    for point in front.points[1:-1]:
        most = min(6.0 / 3.0, 6.0 * point.limit)
        best = min(
            (
                minimize(
                    lambda x: [np.asarray(v, dtype=float) for v in loss(jnp.asarray(x))],
                    start * most / 6.0,
                    jac=True,
                    bounds=[(0.0, 1.0)] * 6,
                    constraints={"type": "ineq", "fun": lambda x, m=most: m - np.sum(x), "jac": lambda x: -np.ones(6)},
                    method="SLSQP",
                    options={"ftol": 1e-15, "maxiter": 500},
                )
                for start in (np.ones(6), np.linspace(1.8, 0.2, 6))
            ),
            key=lambda found: found.fun,
        )
        assert point.terms[0] == pytest.approx(best.fun, rel=1e-6)


def test_regimens_lie_on_the_plane_and_dominated_ones_are_marked(front):
    by_name = {point.name: point for point in front.regimens}
    assert by_name["weekly"].dominated
    assert by_name["weekly"].terms[1] == pytest.approx(0.5 / 3.0, rel=1e-12)
    assert not by_name["no treatment"].dominated
    assert by_name["maximum dose"].broken == ("cumulative_dose of cetuximab",)
    ax = pareto_figure(front, "small").axes[0]
    assert ax.get_xlabel().startswith("drug_use: Mean over")
    assert ax.get_ylabel().startswith("burden: Time average")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[:2] == ["front", "weekly (dominated)"]
    assert "maximum dose (breaks limits)" in labels


def test_a_term_that_is_not_smooth_is_minimized_not_limited(small):
    first, second = two_terms(small, "burden, peak_burden")
    assert (first.kind, second.kind) == ("peak_burden", "burden")
    for text, said in (
        ("burden", "--terms: wanted two terms"),
        ("burden,burden", "--terms: wanted two terms"),
        ("burden,drug_us", 'did you mean "drug_use"'),
        ("peak_burden,progression", "wanted one term at least that is smooth"),
        ("burden,mean_observable", "wanted a term without keys of its own"),
    ):
        with pytest.raises(OptionError, match=said):
            two_terms(small, text)


@pytest.mark.slow
def test_one_schedule_that_is_best_for_both_is_the_whole_front(small):
    found = trace(small, two_terms(small, "drug_use,roughness"), 5, 2)
    assert [point.terms for point in found.points] == [(0.0, 0.0)]


def test_the_command_writes_what_it_prints_and_says_what_did_not_converge(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(toml_of(tables() | {"regimen": [WEEKLY]}))
    options = ["pareto", "small.toml", "--terms", "burden,drug_use", "--points", "3", "--restarts", "2", "--json"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0, result.stderr
    folder = Path("runs/small-pareto")
    names = [
        "pareto.json",
        "pareto.png",
        "pareto.svg",
        "report.html",
        "schedule_1.csv",
        "schedule_2.csv",
        "schedule_3.csv",
    ]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert (folder / "pareto.json").read_text() == result.stdout
    document = json.loads(result.stdout)
    assert [point["status"] for point in document["points"]] == ["solved"] * 3
    assert "Research use only" in document["research_use_only"]
    monkeypatch.setattr(multistart, "MOST_ITERATIONS", 1)
    monkeypatch.setattr(multistart, "_SLICE", 1)
    result = CliRunner().invoke(app, [*options[:-1], "--out", "few", "--no-plot"])
    assert result.exit_code == 5
    assert "Not converged" in result.stderr
    # Steps that are cut short leave the ends behind the best of the starts.
    assert "none of 6 descents ended at a better one" in result.stderr
    assert "not_converged" in result.stdout
    assert CliRunner().invoke(app, ["pareto", "small.toml", "--terms", "burden"]).exit_code == 2
    assert CliRunner().invoke(app, ["pareto", "none.toml", "--terms", "burden,drug_use"]).exit_code == 3
