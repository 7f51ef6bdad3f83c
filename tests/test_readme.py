"""The README says what is true: its test command is what CI runs, its files exist, its example loads."""

import json
import re
import shlex
import tomllib
from pathlib import Path

from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.scenario import Scenario

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_exactly_the_test_command():
    command = (ROOT / ".ci" / "run").read_text().strip().splitlines()[-1]
    assert f"\n    {command}\n" in README


def test_files_that_it_names_exist():
    for name in re.findall(r"(?:scenarios|data|docs)/[\w/.]+\.(?:toml|csv|png|json)", README):
        assert (ROOT / name).is_file(), name


def test_its_scenario_loads():
    text = re.search(r"```toml\n(.*?)```", README, re.S)[1]
    assert Scenario.from_tables(tomllib.loads(text), "readme").problem().task.grid.count == 26


def test_its_commands_are_commands():
    from typer.main import get_command

    commands = set(re.findall(r"bin/adose (\w+)", README))
    assert commands
    assert commands <= set(get_command(app).commands)


def test_its_plan_of_what_was_measured_is_solved(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    command = re.search(r"bin/adose (replan .+\\\n.+?)#", README)[1].replace("\\\n", " ")
    result = CliRunner().invoke(app, [*shlex.split(command), "--out", str(tmp_path / "plan"), "--json"])
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert plan["status"] == "solved"
    assert plan["staying_the_course"]["objective"] > 0.05
