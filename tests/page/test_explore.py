"""What a slider moves, and the program that follows it, without a browser."""

import jax
import numpy as np
import pytest

from optimizer.files.faults import DataError
from optimizer.page import drawing, tables
from optimizer.page.explore import EVEN, QUANTILES, RULE, STEPS, Explorer
from optimizer.report.plots.style import SHRINKING
from optimizer.scenario import Scenario
from tests import small
from tests.page.conftest import COHORT, ROOT, SCENARIO


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    """Of the small scenario."""
    file = tmp_path_factory.mktemp("explore") / "small.toml"
    file.write_text(SCENARIO)
    return Explorer(Scenario.load(file))


def test_a_course_is_what_simulate_says(explorer):
    course = explorer.course("weekly")
    regimen = explorer.regimens["weekly"]
    _, report = explorer.problem.simulate(regimen.policy, regimen.grid)
    assert course.report.total == pytest.approx(report.total, rel=1e-6)
    assert course.outcome.cumulative_dose == {"drug": pytest.approx(8.0)}


def test_even_doses_follow_their_sliders(explorer):
    values = {"dose.drug": 1.5, "every": 2.0, "first": 2.0, "last": 6.0}
    doses = np.asarray(explorer.regimen(EVEN, values).policy.doses)[:, 0]
    assert doses.tolist() == [0.0, 1.5, 0.0, 1.5, 0.0, 1.5, 0.0, 0.0]
    assert explorer.course(EVEN, values).outcome.cumulative_dose["drug"] == pytest.approx(4.5)


def test_a_parameter_moves_the_tumor_as_the_file_would(explorer, tmp_path):
    key = "model.clone[0].growth_rate"
    moved = explorer.course("none", {}, {key: 0.2})
    file = tmp_path / "other.toml"
    file.write_text(SCENARIO.replace("0.1 / day", "0.2 / day"))
    other = Explorer(Scenario.load(file)).course("none")
    assert moved.report.total == pytest.approx(other.report.total, rel=1e-7)
    assert moved.report.total != pytest.approx(explorer.course("none").report.total, rel=1e-3)


def test_sliders_stay_in_the_checked_ranges(explorer):
    for knob, place in zip(explorer.parameters, explorer.places, strict=True):
        assert knob.low <= place.value <= knob.high, place.key
        assert place.info.minimum is None or knob.low >= place.info.minimum
        assert not place.info.positive or knob.low > 0.0
        assert knob.at(knob.step(place.value)) == pytest.approx(place.value, rel=0.01, abs=1e-9)
        assert (knob.at(0), knob.at(STEPS)) == (pytest.approx(knob.low, rel=1e-3), pytest.approx(knob.high, rel=1e-3))


def test_the_moved_scenario_is_a_scenario(explorer):
    tables = explorer.tables({"model.clone[0].growth_rate": 0.2})
    found = Scenario.from_tables(tables, "moved").plan.model.clones[0].numbers
    assert found["growth_rate"] == pytest.approx(0.2)


def test_moving_a_slider_compiles_nothing(explorer):
    explorer.course(EVEN)
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: compiled.append(event))
    for i in range(20):
        explorer.course(EVEN, {"dose.drug": 0.05 * i})
    assert not [event for event in compiled if "compile" in event]


def test_numbers_of_a_rule_have_the_ranges_of_the_search():
    explorer = Explorer(Scenario.load(ROOT / "scenarios" / "competing_clones_rule.toml"))
    knobs = {knob.key: knob for knob in explorer.knobs(RULE)}
    assert (knobs["stop_below"].low, knobs["stop_below"].high) == (0.05, 1.15)
    always = explorer.course(RULE, {"stop_below": 0.05, "restart_above": 0.3})
    assert always.report.total != pytest.approx(explorer.course(RULE).report.total, rel=1e-3)


def test_zones_of_the_growth_factor_are_where_the_course_shrinks():
    explorer = Explorer(Scenario.from_tables(small.tables(), "small"))
    course = explorer.course(EVEN)
    lines = {line["name"]: line for line in drawing.series(explorer, [course], [], None)}
    zone, factor, burden = (
        np.array(lines[name]["data"], dtype=float) for name in ("tumor shrinks below", "growth factor", "burden")
    )
    assert lines["tumor shrinks below"]["areaStyle"]
    assert lines["tumor shrinks below"]["color"] == SHRINKING
    top = zone[:, 1].max()
    assert top == pytest.approx(1.1 * factor[:, 1].max(), rel=1e-3)
    sure = (np.abs(zone[:-1, 1] - factor[:-1, 1]) > 0.1 * top) & (np.diff(burden[:, 0]) > 0.0)
    falls = np.diff(burden[:, 1]) < 0.0
    assert 0 < falls[sure].sum() < sure.sum()
    assert ((factor[:-1, 1] < zone[:-1, 1]) == falls)[sure].mean() > 0.95
    said = tables.course_table(explorer, course)
    assert "tumor shrinks below [pg/mL]" in said
    assert "<td>any</td>" in said or "<td>none</td>" in said


def test_a_fan_has_the_quantiles_of_the_patients_one_by_one(tmp_path):
    file = tmp_path / "cohort.toml"
    file.write_text(SCENARIO + COHORT)
    explorer, moved = Explorer(Scenario.load(file)), {"model.clone[0].death_rate": 0.02}
    (place,), values = explorer.patients
    assert values.shape == (200, 1)
    one_by_one = [explorer.course("weekly", {}, {place.key: v, **moved}).trajectory.burden for v in values[:, 0]]
    course = explorer.course("weekly", {}, moved, fan=True)
    assert course.fan is not None
    assert course.fan == pytest.approx(np.quantile(one_by_one, QUANTILES, axis=0), rel=1e-6)
    names = [line["name"] for line in drawing.series(explorer, [course], [], None)]
    assert [name for name in names if "of patients" in name] == [f"{100 * q:g} % of patients below" for q in QUANTILES]
    assert f"50 % of patients end below [cell]</th><td>{course.fan[2, -1]:.5g}<" in tables.outcomes(
        explorer, [course], []
    )


def test_a_cohort_that_cannot_be_read_is_told(tmp_path):
    file = tmp_path / "cohort.toml"
    file.write_text(SCENARIO + '[cohort]\ntable = "none.csv"\n')
    with pytest.raises(DataError, match=r"none\.csv"):
        Explorer(Scenario.load(file)).course("weekly", fan=True)
