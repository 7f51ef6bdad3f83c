"""What figures show: units, names, heights and limits; how they look was judged by eye."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from optimizer.analysis.comparison import compare
from optimizer.ensemble.survival import compared
from optimizer.policies.schedule import Schedule
from optimizer.regimens import Regimen
from optimizer.report.plots import comparison, overview
from optimizer.report.plots.control import spider, waterfall
from optimizer.report.plots.explore import tornado_figure
from optimizer.report.plots.regimens import clone_areas, counts, swimmer
from optimizer.report.plots.replan import measured
from optimizer.report.plots.schedule import concentrations, doses as bars, window
from optimizer.report.plots.style import (
    capped,
    color,
    dose_bars,
    footnote,
    kaplan_meier,
    line,
    log_axis,
    new_figure,
    with_unit,
)
from optimizer.scenario import Scenario
from optimizer.simulate import Grid
from tests.small import tables


@pytest.fixture(scope="module")
def entries(small_problem, small_result):
    early = Schedule(jnp.asarray([[2.0], [1.0], [0.0], [0.0], [0.0], [1.0]]))
    return compare(small_problem, [Regimen("early", early, small_problem.task.grid)], small_result)


def names(ax) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def test_overview_names_everything_with_its_unit(small_result, entries):
    figure = overview(small_result, entries, title="Six weeks", dose_units={"cetuximab": "mg/L"}, factor=1.2)
    top, middle, bottom, twin = figure.axes
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "cancer cells [cell]",
        "drug level [mg/L]",
        "dose [mg/L]",
        "growth factor [pg/mL]",
    ]
    assert bottom.get_xlabel() == "time [day]"
    assert names(top) == [
        "early",
        "best constant dose",
        "no treatment",
        "maximum dose",
        "tumor",
        "1.2 x start (progression)",
    ]
    assert "net growth < 0" in names(middle)
    assert names(twin) == ["growth factor"]
    assert figure.get_suptitle().startswith("Six weeks\nobjective")
    assert figure.get_supxlabel() == "Research use only. Not for clinical decisions."
    assert top.get_xlim() == (0.0, 42.0)


def test_the_window_in_which_a_clone_grows_is_shaded():
    """The shielded clone shrinks below 0.75 and above 14 ug/mL; nothing is shaded of a tumor that more drug shrinks."""
    axis = Figure().subplots()
    axis.set_ylim(0.0, 30.0)
    window(axis, Scenario.load("scenarios/strike_then_hold.toml").system())
    (label,) = names(axis)
    low, high = map(float, label.removeprefix("shielded grows: ").split(" to "))
    assert (low, high) == pytest.approx((0.75, 14.0), rel=0.05)
    box = axis.patches[0].get_extents().transformed(axis.transData.inverted())
    assert (box.y0, box.y1) == pytest.approx((low, high), rel=1e-2)
    bare = Figure().subplots()
    window(bare, Scenario.load("scenarios/competing_clones.toml").system())
    assert not bare.patches


def test_drugs_in_different_units_are_drawn_as_shares():
    axis = Figure().subplots()
    given = SimpleNamespace(doses=np.array([[80.0, 0.5], [40.0, 1.0], [0.0, 0.0]]))
    bars(axis, given, Grid.regular(7.0, 21.0), ("tablet", "level"), {"tablet": "mg/day", "level": "1"})
    assert [patch.get_data().values[::2].tolist() for patch in axis.patches] == [[1.0, 0.5, 0.0], [0.5, 1.0, 0.0]]
    assert axis.get_ylabel() == "dose / largest given"
    assert names(axis) == ["tablet: 1 is 80 [mg/day]", "level: 1 is 1"]


def test_bars_have_the_heights_of_the_doses(small_result):
    figure = overview(small_result)
    values, edges, _ = figure.axes[2].patches[0].get_data()
    assert np.array_equal(values[::2], small_result.doses[:, 0])
    assert not values[1::2].any()
    assert edges[::2] == pytest.approx(np.arange(0.0, 42.0, 7.0))


def test_drugs_of_one_interval_stand_side_by_side_and_dense_ones_touch():
    ax = Figure().subplots()
    dose_bars(ax, np.array([0.0, 2.0, 6.0]), np.array([1.0, 3.0]), (1, 2), -1.0)
    values, edges, base = ax.patches[0].get_data()
    assert edges == pytest.approx([1.0, 1.94, 4.0, 5.88])
    assert values == pytest.approx([0.0, -1.0, 2.0])
    assert base == -1.0
    dose_bars(ax, np.arange(201.0), np.ones(200), (0, 1), 0.0)
    edges = ax.patches[1].get_data().edges
    assert np.array_equal(edges[1:-1:2], edges[2::2])


def test_swimmer_marks_doses_and_progression(entries):
    ax = Figure().subplots()
    shade = swimmer(ax, entries, np.array([2.0]))
    early = [entry.name for entry in entries].index("early")
    lanes = np.asarray(shade.get_array()).reshape(len(entries), -1)
    np.testing.assert_allclose(lanes[early], [1.0, 0.5, 0.0, 0.0, 0.0, 0.5])
    reached = [entry.outcome.time_to_progression_day for entry in entries]
    assert any(day is not None for day in reached)
    diamonds, arrows = ax.lines
    assert diamonds.get_xdata().tolist() == [day for day in reached if day is not None]
    assert diamonds.get_ydata().tolist() == [i for i, day in enumerate(reached) if day is not None]
    assert arrows.get_ydata().tolist() == [i for i, day in enumerate(reached) if day is None]


def test_a_comparison_has_a_phase_plane_only_with_resistant_cells(small_problem, entries):
    figures = comparison(small_problem, entries, Scenario.from_tables(tables(), "small"))
    assert sorted(figures) == ["comparison", "swimmer"]
    assert names(figures["comparison"].axes[1]) == ["cetuximab, full lane 3 [mg/L]"]
    assert "1.2 x start (progression)" in names(figures["comparison"].axes[0])


def test_levels_of_different_units_are_named_each(small_result):
    ax = concentrations(Figure().subplots(), small_result.trajectory, {"cetuximab": "mg/L"})
    assert (ax.get_ylabel(), names(ax)) == ("drug level [mg/L]", ["cetuximab"])
    ax = concentrations(Figure().subplots(), small_result.trajectory, {"cetuximab": "1"})
    assert (ax.get_ylabel(), names(ax)) == ("drug level", ["cetuximab"])


def test_no_two_of_the_first_forty_lines_look_alike():
    assert len({(color(i), str(line(i))) for i in range(40)}) == 40
    assert with_unit("dose", "mg") == "dose [mg]"
    assert with_unit("dose", "1") == with_unit("dose", None) == "dose"


def test_a_series_that_runs_off_leaves_room():
    ax = Figure().subplots()
    for top in (1e3, 2e3, 1e21):
        ax.plot([0.0, 1.0], [1e2, top])
    ax.set_yscale("log")
    capped(ax, [np.array([1e2, top]) for top in (1e3, 2e3, 1e21)])
    log_axis(ax)
    assert ax.get_ylim()[1] == pytest.approx(2e6)


def test_survival_has_numbers_at_risk_and_a_ratio():
    """Six patients an arm: at risk on a day is who has not progressed before it."""
    axis, nobody = Figure().subplots(), np.inf
    arms = {
        "adaptive": np.array([30.0, 60.0, 80.0, nobody, nobody, nobody]),
        "continuous": np.array([10.0, 20.0, 30.0, 40.0, 50.0, nobody]),
    }
    kaplan_meier(axis, arms, 100.0, bands=True)
    said = [text.get_text() for text in axis.texts]
    days = [day for day in axis.get_xticks() if 0.0 <= day <= 100.0]
    assert days == [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    assert said[:7] == ["adaptive (at risk)", "6", "6", "5", "5", "4", "3"]
    assert said[7:14] == ["continuous", "6", "5", "3", "1", "1", "1"]
    ratio = compared(arms["continuous"], arms["adaptive"], 100.0)
    assert said[14].startswith(f"continuous against adaptive: hazard ratio {ratio['hazard_ratio']['ratio']:.2g} (")
    assert said[14].endswith(f"log-rank p {ratio['log_rank']['p']:.2g}")
    assert len(axis.collections) == 2
    many = kaplan_meier(Figure().subplots(), {str(i): arms["adaptive"] for i in range(6)}, 100.0, bands=True)
    assert len(many.collections) == 4


def tried():
    """Two patients under one rule: one falls to 40 % and progresses on day 56, one rises to twice its first."""
    burdens = np.array([1e9, 4e8, 2e9, 3e9, 1e8, 1.5e8, 1.8e8, 2e8])
    log = {"patient": np.repeat([0, 1], 4), "policy": ["rule"] * 8, "day": np.tile(28.0 * np.arange(4), 2)}
    table = {"patient": np.array([0, 1]), "policy": ["rule"] * 2, "progression_day": np.array([56.0, np.inf])}
    horizon = SimpleNamespace(grid=SimpleNamespace(horizon=112.0))
    trial = SimpleNamespace(ensemble=SimpleNamespace(task=horizon))
    return SimpleNamespace(decisions=log | {"burden": burdens}, table=table, trial=trial)


def test_spider_and_waterfall_are_percent_of_the_first_cells():
    who = np.array([0, 1])
    lines = spider(Figure().subplots(), tried(), "rule", who).lines
    assert lines[0].get_ydata() == pytest.approx([0.0, -60.0, 100.0])
    assert lines[0].get_xdata().tolist() == [0.0, 28.0, 56.0]
    assert lines[1].get_ydata() == pytest.approx([0.0, 50.0, 80.0, 100.0])
    axis = waterfall(Figure().subplots(), tried(), "rule", who)
    assert axis.patches[0].get_data().values == pytest.approx([50.0, -60.0])
    assert axis.get_ylabel() == "best change [%]"


def test_clones_are_stacked_over_the_first_cells(entries):
    axis = clone_areas(Figure().subplots(), entries[0], ["tumor"])
    top = axis.collections[0].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(float(np.max(entries[0].trajectory.burden)) / float(entries[0].trajectory.burden[0]))
    assert names(axis) == ["tumor"]


def test_grades_are_bands_under_the_neutrophils():
    scenario = Scenario.load("scenarios/docetaxel_neutropenia.toml")
    found = compare(scenario.problem(), scenario.regimens())
    axis = counts(Figure().subplots(), found)
    bands = [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in axis.patches]
    assert bands == [(1.5, 2.0), (1.0, 1.5), (0.5, 1.0), (0.0, 0.5)]
    assert [text.get_text() for text in axis.texts] == ["grade 1", "grade 2", "grade 3", "grade 4"]
    least = [line.get_ydata().min() for line in axis.lines]
    assert least == pytest.approx([float(np.min(entry.trajectory.observables["neutrophils"])) / 1e9 for entry in found])
    assert "nadir" in comparison(scenario.problem(), found, scenario)


def test_a_tornado_has_the_strongest_number_on_top():
    came = lambda cells, day: SimpleNamespace(final_burden=cells, time_to_progression_day=day)  # noqa: E731
    moved = {"model.a": (came(1e8, 50.0), came(1e9, 40.0)), "model.b": (came(1e6, None), came(1e10, 20.0))}
    cells, days = tornado_figure(came(3e8, 45.0), moved, 100.0, "one").axes
    assert [label.get_text() for label in cells.get_yticklabels()] == ["model.a", "model.b"]
    own = np.log10(3e8)
    assert [bar.get_width() for bar in cells.patches] == pytest.approx([8.0 - own, 6.0 - own, 9.0 - own, 10.0 - own])
    assert [bar.get_width() for bar in days.patches] == pytest.approx([5.0, 55.0, -5.0, -25.0])
    assert days.get_xlabel() == "progression [day], 100 where there is none"


def test_measured_values_are_ringed_where_the_forecast_missed_them():
    band = np.array([[1.0, 5.0, 20.0]])
    visits = [
        SimpleNamespace(row=row, expected=np.array([p]), forecast=band * (row + 1)) for row, p in ((0, 0.5), (2, 0.001))
    ]
    seen = SimpleNamespace(
        days=np.array([0.0, 28.0, 56.0]), values=np.array([[10.0], [2.0], [30.0]]), seen=np.array([[1], [2], [1]])
    )
    axis = measured(Figure().subplots(), SimpleNamespace(asked=SimpleNamespace(seen=seen), visits=visits), 0)
    drawn = {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axis.lines}
    assert drawn["measured"] == ([0.0, 56.0], [10.0, 30.0])
    assert drawn["below the limit"] == ([28.0], [2.0])
    assert drawn["forecast missed (p < 0.01)"] == ([56.0], [30.0])
    bars = [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axis.lines if line.get_lw() == 5]
    assert bars == [([0.0, 0.0], [1.0, 20.0]), ([56.0, 56.0], [3.0, 60.0])]


def test_a_long_footnote_stays_inside_its_figure():
    figure = new_figure(5.0, 4.0)
    figure.subplots()
    footnote(figure, "A scenario with a title that is as long as a title may well be: 67 virtual patients.")
    figure.canvas.draw()
    note = figure._supxlabel.get_window_extent()
    assert figure.bbox.x0 <= note.x0 < note.x1 <= figure.bbox.x1
