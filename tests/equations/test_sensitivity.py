"""Courses with derivatives: closed forms, finite differences, steady states, and what has no number."""

import numpy as np
import pytest

from optimizer.equations.expression import parse
from optimizer.equations.imported import Imported
from optimizer.equations.sensitivity import Courses, Dual, Experiment


def model(states, rates, constants, outputs=None, starting=None, doses=()):
    return Imported(
        "",
        states=states,
        rates=rates,
        constants=constants,
        outputs=outputs or {},
        starting={name: parse(text) for name, text in (starting or {}).items()},
        doses=list(doses),
    )


def test_growth_has_the_closed_form_and_its_derivatives():
    found = model({"N": 1.0}, {"N": "r*N"}, {"r": 0.1, "n0": 1.0}, {"twice": "2*N"}, {"N": "n0^2"})
    at = Courses(found, {}, ["r", "n0"]).run(np.array([0.3, 2.0]), Experiment(0.0, {}), [0.0, 2.0])[1]
    assert at.values["N"] == pytest.approx(4.0 * np.exp(0.6), rel=1e-6)
    assert at.slopes["N"] == pytest.approx(np.exp(0.6) * np.array([8.0, 4.0]), rel=1e-6)
    value, slope = at.of("twice", {"twice": parse("2*N")}, 2)
    assert (value, *slope) == pytest.approx((2.0 * at.values["N"], *(2.0 * at.slopes["N"])))


def test_doses_and_changes_on_the_way():
    found = model({"A": 0.0}, {"A": "-k*A"}, {"k": 0.5, "dose": 1.0}, doses=[("A", 1.0, 3.0)])
    how = Experiment(0.0, {"A": parse("dose")}, [(2.0, {"k": parse("2*k"), "A": parse("A + dose*k")})])
    at = Courses(found, {}, ["k", "dose"]).run(np.array([0.5, 4.0]), how, [1.0, 2.0, 3.0])
    first = 4.0 * np.exp(-0.5) + 3.0
    second = first * np.exp(-0.5) + 2.0
    assert [one.values["A"] for one in at] == pytest.approx([first, second, second * np.exp(-1.0)], rel=1e-6)
    # By k, which is doubled at day 2.
    rises = -4.0 * np.exp(-0.5)
    rises = (rises - first) * np.exp(-0.5) + 4.0
    assert at[2].slopes["A"][0] == pytest.approx((rises - 2.0 * second) * np.exp(-1.0), rel=1e-6)


def test_a_steady_state_before_the_start():
    found = model({"A": 0.0}, {"A": "feed - k*A"}, {"k": 0.5, "feed": 1.0})
    how = Experiment(-np.inf, {"feed": 3.0}, [(2.0, {"feed": 0.0})])
    at = Courses(found, {}, ["k"]).run(np.array([0.25]), how, [2.0, 4.0])
    assert at[0].values["A"] == pytest.approx(12.0, rel=1e-6)
    assert at[0].slopes["A"] == pytest.approx([-48.0], rel=1e-5)
    assert at[1].values["A"] == pytest.approx(12.0 * np.exp(-0.5), rel=1e-6)


def test_no_steady_state_is_no_number():
    found = model({"A": 1.0}, {"A": "k"}, {"k": 0.5})
    how = Experiment(-np.inf, {}, [(0.0, {"k": 0.0})])
    assert np.isnan(Courses(found, {}, ["k"]).run(np.array([0.5]), how, [1.0])[0].values["A"])


def test_what_blows_up_is_no_number():
    found = model({"A": 1.0}, {"A": "k*A^2"}, {"k": 1.0})
    at = Courses(found, {}, ["k"]).run(np.array([1.0]), Experiment(0.0, {}), [0.5, 2.0])
    assert np.isnan(at[1].values["A"])


@pytest.mark.parametrize(
    ("text", "value", "slope"),
    [
        ("abs(x)", 2.0, -1.0),
        ("max(x, 1)", 1.0, 0.0),
        ("min(x, 1)", -2.0, 1.0),
        ("piecewise(x^2, x < 0, x)", 4.0, -4.0),
        ("piecewise(1, x == -2, 0) * x", -2.0, 1.0),
        ("hill(-x, 2, 2)", 0.5, -0.25),
        ("(-x)^1.5", 2.0**1.5, -1.5 * 2.0**0.5),
        ("x^3 / 2", -4.0, 6.0),
        ("log(x)", np.nan, None),
        ("sqrt(x)", np.nan, None),
        ("1 / (x + 2)", np.inf, None),
    ],
)
def test_trees_have_values_of_real_numbers_and_exact_slopes(text, value, slope):
    with np.errstate(all="ignore"):
        found = Dual({"x": np.float64(-2.0)}, {"x": np.ones(1)}).of(parse(text), {}, 1)
    assert found[0] == pytest.approx(value, nan_ok=True)
    if slope is not None:
        assert found[1] == pytest.approx([slope])
