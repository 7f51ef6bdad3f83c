"""The dynamic program against all schedules, one by one."""

from itertools import product
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario
from optimizer.search import dynamic_program as room
from optimizer.settings import OptionError

SCENARIOS = Path(__file__).parents[2] / "scenarios"
# Three decisions of four doses each, of whose sum the budget allows 1200 mg/day; drug use has its price.
SHORT = (
    ('horizon = "112 day"', 'horizon = "21 day"'),
    ('limit = "25 g"', 'limit = "8.4 g"'),
    ('quantum = "10 mg/day"', 'quantum = "300 mg/day"'),
    ("resistance = 0.2", "resistance = 0.2\ndrug_use = 0.4"),
)


def changed(folder, name, changes):
    text = (SCENARIOS / f"{name}.toml").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "changed.toml").write_text(text, encoding="utf-8")
    return Scenario.load(folder / "changed.toml").problem()


def least(problem, doses):
    """The least objective of all schedules of some doses, by trying them, and its schedule."""
    best = np.inf, np.zeros(0)
    for schedule in product(doses, repeat=problem.task.grid.count):
        _, report = problem.simulate(Schedule(jnp.array(schedule)[:, None]))
        if report.violation == 0.0 and report.total < best[0]:
            best = report.total, np.array(schedule)
    return best


def test_it_finds_what_trying_all_schedules_finds(monkeypatch, tmp_path):
    monkeypatch.setattr(room, "_STATES", 31 * 31 * 9)
    problem = changed(tmp_path, "strike_then_hold", SHORT)
    found = room.dynamic_program(problem)
    value, schedule = least(problem, (0.0, 300.0, 600.0, 900.0))
    assert found.doses.ravel().tolist() == schedule.tolist()
    assert found.value == pytest.approx(value, abs=2e-2)
    assert abs(found.value - value) < 3.0 * found.margin
    assert found.to_json(value)["gap_percent"] == pytest.approx(100.0 * (value / found.value - 1.0), rel=1e-9)


def test_one_clone_without_crowding_is_exact(monkeypatch, tmp_path):
    # The value is linear in the logarithm of the cells, which a multilinear grid holds without an error.
    monkeypatch.setattr(room, "_MOST", 9)
    problem = changed(tmp_path, "bistable_general", (('horizon = "180 day"', 'horizon = "21 day"'),))
    assert len(problem.task.system.model.names) == 1
    found = room.dynamic_program(problem)
    _, report = problem.simulate(Schedule(jnp.asarray(found.doses)))
    assert report.violation == 0.0
    assert found.value == pytest.approx(report.total, abs=5e-3)


def test_a_tumor_is_held_as_long_as_the_search_holds_it(monkeypatch):
    monkeypatch.setattr(room, "_STATES", 41 * 41)
    problem = Scenario.load(SCENARIOS / "competing_clones.toml").problem()
    found = room.dynamic_program(problem)
    _, report = problem.simulate(Schedule(jnp.asarray(found.doses)))
    # The search has -0.79533; every regimen and the best constant dose are above -0.34.
    assert report.total == pytest.approx(-0.795, abs=0.02)
    assert found.value == pytest.approx(report.total, abs=0.01)


@pytest.mark.parametrize(
    ("name", "got"),
    [
        ("crc_caf_combination", "got 2 drugs"),
        ("prostate_abiraterone", "got the kinetics oral"),
        ("docetaxel_neutropenia", "got "),
        ("persister_holiday", "got "),
    ],
)
def test_what_it_cannot_answer_is_said(name, got):
    problem = Scenario.load(SCENARIOS / f"{name}.toml").problem()
    with pytest.raises(OptionError, match=r"^--certify: wanted one drug of one compartment, .*" + got):
        room.dynamic_program(problem)
