"""Maps: best intervals and delays beside SciPy, points beside `simulate`, places of schedules, a user's mistakes."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import optimizer.analysis.map_run as map_run
from optimizer.analysis.annotations import annotate
from optimizer.analysis.map import Quantity, dataset, request
from optimizer.analysis.map_run import compute
from optimizer.cli import app
from optimizer.objectives.base import Scene
from optimizer.policies.schedule import Schedule
from optimizer.report.plots.explore import map_figure
from optimizer.scenario import Scenario
from optimizer.simulate import Grid
from optimizer.simulate.adaptive import solve
from tests.analysis.by_hand import CAF, GENERAL, last_days, mean_of_boluses

ROOT = Path(__file__).parents[2]
SMALL = {
    "model": {"kind": "stromal", "preset": "kraut2025_caf"},
    "drug": [
        {
            "name": name,
            "role": role,
            "route": route,
            "pk": {"kind": "first_order", "elimination": rate},
            "dose": {"min": "0 ug/mL" if route == "bolus" else "0 ug/mL/day", "max": most},
        }
        for name, role, route, rate, most in (
            ("cetuximab", "inhibitor", "bolus", "0.144 / day", "3 ug/mL"),
            ("anti-EGF", "ligand_blocker", "infusion", "0.096 / day", "1 ug/mL/day"),
        )
    ],
    "decision": {"every": "7 day", "horizon": "35 day"},
    "objective": {"burden": 1.0, "drug_use": 0.5, "roughness": 0.2, "progression": 0.1, "peak_burden": 0.1},
    "regimen": [
        {"name": "weekly", "dose": [{"drug": "cetuximab", "amount": "1 ug/mL", "every": "7 day"}]},
        {"name": "once", "dose": [{"drug": "anti-EGF", "amount": "0.2 ug/mL/day", "start": "3 day", "stop": "9 day"}]},
        {"name": "rule", "policy": {"kind": "threshold", "stop_below": 0.5, "restart_above": 1.0}},
    ],
}


def shipped(name: str) -> Scenario:
    return Scenario.load(ROOT / "scenarios" / f"{name}.toml")


@pytest.fixture(scope="module")
def small() -> Scenario:
    return Scenario.from_tables(SMALL, "small")


def agree(found, i: int, wanted: list[tuple[float, float]]) -> None:
    """Column i is SciPy's (mean, peak) of every y, and the best y is the same."""
    for name, theirs in zip(("mean_last", "peak_last"), np.array(wanted).T, strict=True):
        ours = found.quantities[name]
        assert ours.values[:, i] == pytest.approx(theirs, rel=1e-6)
        assert ours.best()[i] == int(np.argmin(theirs))


def test_best_intervals_of_the_general_set_are_those_of_scipy():
    scenario = shipped("bistable_general")
    keys = "drug[drug].mean_concentration=0.5:1.5:3", "decision.every=7:13 day:3"
    found = compute(scenario, request(scenario, keys[0].replace(":3", " mg/L:3"), keys[1]))
    for i, mean in enumerate(found.x.values):
        wanted = []
        for every in found.y.values:
            times = (every * np.arange(int(np.ceil(180.0 / every - 1e-9)))).tolist()
            dose = mean / mean_of_boluses(GENERAL["k"], times, 180.0)
            wanted.append(last_days(GENERAL, 180.0, 30.0, [(t, dose, 0.0) for t in times]))
        agree(found, i, wanted)
    # More drug asks for longer intervals here.
    assert found.quantities["mean_last"].best() == sorted(found.quantities["mean_last"].best())


def test_best_delays_of_the_blocker_are_those_of_scipy():
    scenario = shipped("crc_caf_combination")
    keys = "drug[anti-EGF].amount=0.2:0.8 ug/mL:3", 'drug["anti-EGF"].delay=0:21 day:4'
    found = compute(scenario, request(scenario, *keys, regimen="weekly 0.85 and 0.45 ug/mL", last=30.0))
    assert found.regimen == "weekly 0.85 and 0.45 ug/mL"
    weekly = [(7.0 * k, 0.85, 0.0) for k in range(13)]
    for i, amount in enumerate(found.x.values):
        wanted = []
        for delay in found.y.values:
            blocker = [(t, 0.0, amount) for t in np.arange(delay, 90.0 - 1e-9, 7.0).tolist()]
            wanted.append(last_days(CAF, 90.0, 30.0, weekly + blocker))
        agree(found, i, wanted)


def test_a_point_is_what_simulate_says_of_its_schedule(small):
    asked = request(
        small, "drug[cetuximab].amount=0.5:2 ug/mL:2", "decision.every=5:11 day:2", ["drug[anti-EGF].delay=4 day",
        "drug[anti-EGF].mean_concentration=0.3 mg/L", "model.ec50_max=6 ug/mL"], last=10.0)  # fmt: skip
    found, problem = compute(small, asked), small_problem("6 ug/mL")
    rate = float(found.quantities["amount anti-EGF"].values[0, 0])
    assert rate * (31.0 - (1.0 - np.exp(-0.096 * 31.0)) / 0.096) / 0.096 / 35.0 == pytest.approx(0.3, rel=1e-12)
    for j, every in enumerate(found.y.values):
        for i, amount in enumerate(found.x.values):
            times = every * np.arange(int(np.ceil(35.0 / every - 1e-9)))
            edges = np.unique([*times, 4.0, 35.0])
            doses = np.column_stack([amount * np.isin(edges[:-1], times), rate * (edges[:-1] >= 4.0)])
            trajectory, report = problem.simulate(Schedule(jnp.asarray(doses)), Grid(jnp.asarray(edges)))
            ours = {name: q.values[j, i] for name, q in found.quantities.items()}
            total, terms = on_its_own_intervals(problem, trajectory, edges)
            assert ours["objective"] == pytest.approx(total, rel=1e-6)
            assert {n: ours[n] for n in terms} == pytest.approx(terms, rel=1e-6)
            assert [ours[n] for n in ("drug_use", "roughness")] == pytest.approx(
                [terms[n] for n in ("drug_use", "roughness")], rel=1e-14
            )
            # The search's nodes are too far apart to be joined by lines.
            dense = solve(problem.task.system, trajectory.doses, Grid(jnp.asarray(edges)))
            late, cells = np.asarray(dense.times), np.log10(np.asarray(dense.burden))
            peak = max(cells[late >= 25.0].max(), np.interp(25.0, late, cells))
            assert ours["peak_last"] == pytest.approx(peak, rel=1e-4)
            assert np.isnan(ours["progression_day"]) == (report.terms["progression"] == -1.0)


def on_its_own_intervals(problem, trajectory, edges):
    """Objective and terms: a point of a map counts doses by its own intervals, not by those of the scenario."""
    task = problem.task
    scene = Scene(trajectory, Grid(jnp.asarray(edges)), task.scale, task.system.model.floor())
    return float(task.objective.evaluate(scene)), {n: float(v) for n, v in task.objective.values(scene).items()}


def small_problem(ec50: str):
    return Scenario.from_tables(SMALL | {"model": SMALL["model"] | {"ec50_max": ec50}}, "small").problem()


def test_an_amount_follows_the_kinetics_of_its_own_point(small):
    asked = request(small, "drug[cetuximab].pk.elimination=0.1:0.3 / day:3", "decision.every=5:9 day:5",
        ["drug[cetuximab].mean_concentration=0.5 mg/L"])  # fmt: skip
    told = []
    one = compute(small, asked, lambda done, total: told.append((done, total)))
    assert told[0] == (0, 15)
    assert told[-1] == (15, 15)
    assert all(bool(np.isfinite(q.values).all()) for n, q in one.quantities.items() if n != "progression_day")
    weekly = one.quantities["amount cetuximab"].values[3]
    times = np.arange(0.0, 35.0, one.y.values[3]).tolist()
    wanted = [0.5 / mean_of_boluses(k, times, 35.0) for k in one.x.values]
    assert weekly == pytest.approx(wanted, rel=1e-12)


def test_numbers_of_the_model_alone_are_the_regimen_in_other_patients(small):
    found = compute(
        small, request(small, "model.stromal_cells=500:2000:2:log", "model.ec50_max=5:9 ug/mL:2", [], "once")
    )
    assert found.x.values == pytest.approx([500.0, 2000.0])
    regimen = next(r for r in small.regimens() if r.name == "once")
    changed = SMALL["model"] | {"stromal_cells": 2000, "ec50_max": "5 ug/mL"}
    problem = Scenario.from_tables(SMALL | {"model": changed}, "o").problem()
    trajectory, _ = problem.simulate(regimen.policy, regimen.grid)
    _, terms = on_its_own_intervals(problem, trajectory, regimen.grid.edges)
    ours = {n: float(found.quantities[n].values[0, 1]) for n in terms}
    assert ours == pytest.approx(terms, rel=1e-6)
    (annotation,) = annotate(small, found, [found.x.number, found.y.number])
    assert (annotation.name, annotation.x, annotation.y) == ("this scenario", 1000.0, 7.34)


def test_the_command_writes_what_it_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.csv").write_text("TIME,AMT,DRUG\n0,2,cetuximab\n6,1,cetuximab\n18,1,cetuximab\n")
    (tmp_path / "small.toml").write_text(toml_of(SMALL))
    options = ["--x", "drug[cetuximab].mean_concentration=0.2:1.2 mg/L:3", "--y", "decision.every=5:9 day:3"]
    options += ["--schedule", "best.csv", "--last", "2 week", "--out", "m"]
    result = adose("map", "small.toml", *options, "--json")
    assert result.exit_code == 0, result.stderr
    names = ["map.json", "map.nc", "map.png", "map.svg", "report.html"]
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == names
    assert "Best of the map by mean_last: " in (tmp_path / "m" / "report.html").read_text()
    document = json.loads(result.stdout)
    assert (tmp_path / "m" / "map.json").read_text() == result.stdout
    assert document["last_days"] == 14.0
    assert "Research use only" in document["research_use_only"]
    assert "Research use only" in result.stderr
    placed = {mark["name"]: (mark["x"], mark["y"]) for mark in document["marks"]}
    means = {"weekly": (mean_of_boluses(0.144, [0.0, 7.0, 14.0, 21.0, 28.0], 35.0), 7.0)}
    one, two = (mean_of_boluses(0.144, times, 35.0) for times in ([0.0], [0.0, 6.0, 18.0]))
    means["best.csv"] = (one + two, 9.0)
    assert placed == {name: pytest.approx(place, rel=1e-12) for name, place in means.items()}
    table = xr.load_dataset(tmp_path / "m" / "map.nc", engine="h5netcdf")
    assert table["mean_last"].values.tolist() == document["quantities"]["mean_last"]["values"]
    assert table.attrs["comment"].startswith("Research use only")
    best = document["best"]["mean_last"][1]
    assert best["value"] == pytest.approx(float(table["mean_last"][:, 1].min()), rel=1e-15)
    plain = adose("map", "small.toml", *options, "--no-plot", "--show", "objective")
    assert plain.exit_code == 0
    assert "best.csv: " in plain.stdout
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["map.json", "map.nc", "report.html"]


def test_parts_make_the_map_of_one_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(map_run, "_CHUNK", 4)
    (tmp_path / "small.toml").write_text(toml_of(SMALL))
    options = ["--x", "drug[cetuximab].mean_concentration=0.2:1.2 mg/L:3", "--y", "decision.every=4:9 day:3"]
    asked = ["map", "small.toml", *options, "--no-plot", "--out"]
    assert adose(*asked, "alone").exit_code == 0
    said = adose(*asked, "parts", "--part", "3/2")
    assert (said.exit_code, said.stdout) == (2, "")
    assert '--part: wanted I/N with I from 1 to N, such as 3/8; got "3/2"' in said.stderr
    for i in (2, 1, 2):
        part = adose(*asked, "parts", "--part", f"{i}/2", "--json")
        assert (part.exit_code, json.loads(part.stdout)) == (0, {"part": f"{i}/2"})
    assert sorted(path.name for path in (tmp_path / "parts" / "chunks").iterdir()) == [
        f"00000000{i}.parquet" for i in (0, 4, 6)
    ]
    assert not (tmp_path / "parts" / "map.json").exists()
    assert adose(*asked, "parts").exit_code == 0
    for name in ("map.json", "map.nc", "report.html"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    assert not (tmp_path / "parts" / "digests").exists()
    other = adose("map", "small.toml", *options, "--out", "parts", "--last", "2 week", "--part", "1/2")
    assert other.exit_code == 2
    assert "wanted last = 30.0, as in the run that is there; got 14.0" in other.stderr


def test_numbers_of_32_bits_differ_in_the_fifth_digit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(toml_of(SMALL))
    options = ["--x", "drug[cetuximab].mean_concentration=0.2:1.2 mg/L:3", "--y", "decision.every=5:9 day:3"]
    options += ["--json", "--no-plot", "--precision"]
    full = adose("map", "small.toml", *options, "float64")
    try:
        half = adose("map", "small.toml", *options, "float32")
    finally:
        jax.config.update("jax_enable_x64", True)
    assert (full.exit_code, half.exit_code) == (0, 0), half.stderr
    documents = [json.loads(result.stdout) for result in (full, half)]
    assert [document["precision"] for document in documents] == ["float64", "float32"]
    one, other = (np.array(document["quantities"]["mean_last"]["values"]) for document in documents)
    assert 0.0 < np.max(np.abs(one - other)) < 1e-4


def test_the_figure_names_both_axes_and_every_schedule(small):
    asked = request(small, "drug[cetuximab].amount=0.5:2 ug/mL:3:log", "decision.every=5:9 day:3")
    found = compute(small, asked)
    figure = map_figure(found, annotate(small, found, asked.numbers), "peak_last", "small")
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("drug[cetuximab].amount [mg/L]", "decision.every [day]")
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["best for each x", "weekly"]
    assert figure.axes[1].get_ylabel() == "peak of log10 of all cells in the last 30 of 35 days"
    assert "Research use only" in figure.get_supxlabel()
    assert dataset(found)["peak_last"].dims == ("y", "x")


X, Y = "drug[cetuximab].amount=0.5:2 ug/mL:3", "decision.every=5:9 day:3"
MISTAKES = [
    (X, "decision.evry=5:9 day:3", [], "--y: wanted a number of the tumor or", 'did you mean "decision.every"'),
    (X, "decision.every=5:9 day", [], "--y: wanted KEY=from:to:count", '"decision.every=5:9 day"'),
    (X, "decision.every=9:5 day:3", [], "wanted a first value below the last one", ""),
    (X, "decision.every=0:9 day:3", [], "--y decision.every: wanted more than 0", ""),
    (X, "decision.every=5:99 day:3", [], "--y decision.every: wanted at most 35 day", ""),
    (X, "decision.every=5:9:3", [], "--y decision.every: wanted a quantity", ""),
    (X, "decision.every=5:9 day:1", [], "wanted a count of 2 to 1000", ""),
    (X, "decision.every=0.001:9 day:3", [], "wanted at most 20000 doses in 35 day", ""),
    (X, X, [], "drug[cetuximab].amount: wanted each number once", ""),
    ("drug[aspirin].amount=1:2 mg/L:2", Y, [], '--x drug[aspirin].amount: wanted one of "cetuximab", "anti-EGF"', ""),
    ("drug[cetuximab].amount=0:2 mg/L:2:log", Y, [], "wanted values above 0 on a logarithmic axis", ""),
    ("model.ec50_max=1:2 ug/mL:2", Y, [], "decision.every: wanted the amount or mean concentration of a drug", "--at"),
    ("drug[anti-EGF].delay=1:2 day:2", X, [], "drug[anti-EGF].delay: wanted an amount or a mean concentration", ""),
    (X, "drug[0].mean_concentration=1:2 mg/L:2", [], "wanted either an amount or a mean concentration", ""),
    (X, Y, ["--at", "model.ec50_max=1,2 ug/mL"], "--at model.ec50_max: wanted one value", ""),
    (X, Y, ["--regimen", "daily"], '--regimen: wanted one of "weekly", "once"', ""),
    (X, Y, ["--regimen", "rule"], '--regimen: wanted one of "weekly", "once"; got "rule"', ""),
    (X, Y, ["--last", "40 day"], "--last: wanted more than 0 and at most the horizon, 35 day; got 40 day", ""),
    (X, Y, ["--last", "3"], "--last: wanted a quantity", ""),
    (X, Y, ["--show", "burdn"], "--show: wanted one of", 'did you mean "burden"'),
]  # fmt: skip


@pytest.mark.parametrize(("x", "y", "more", "said", "also"), MISTAKES)
def test_a_mistake_in_an_option_is_a_sentence(tmp_path, monkeypatch, x, y, more, said, also):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(toml_of(SMALL))
    result = adose("map", "small.toml", "--x", x, "--y", y, *more)
    assert result.exit_code == 2
    assert said in result.stderr
    assert also in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_a_bad_scenario_or_event_table_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(toml_of(SMALL))
    (tmp_path / "doses.csv").write_text("TIME,AMT,DRUG\n0,1,aspirin\n")
    assert adose("map", "missing.toml", "--x", X, "--y", Y).exit_code == 3
    result = adose("map", "small.toml", "--x", X, "--y", Y, "--schedule", "doses.csv")
    assert result.exit_code == 3
    assert "doses.csv:2: column DRUG: wanted one of cetuximab, anti-EGF" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_the_best_is_none_where_no_value_is_better():
    values = np.array([[2.0, 1.0, np.nan, np.nan], [1.0, 1.0 + 1e-12, 3.0, np.nan]])
    for small, wanted in ((True, [1, None, 1, None]), (False, [0, None, None, None]), (None, [None] * 4)):
        assert Quantity("q", "", "1", values, small).best() == wanted


def adose(*options: str):
    return CliRunner().invoke(app, list(options))


def toml_of(tables: dict) -> str:
    """A scenario as text: JSON's values are TOML's, tables inside them being inline ones."""

    def value(item: object) -> str:
        if isinstance(item, dict):
            return "{ " + ", ".join(f'"{k}" = {value(v)}' for k, v in item.items()) + " }"
        return f"[{', '.join(map(value, item))}]" if isinstance(item, list) else json.dumps(item)

    return "\n".join(f"{key} = {value(item)}" for key, item in tables.items())
