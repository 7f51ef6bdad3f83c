"""The templates of `adose new`: each loads as it is written, means what its comments say, and simulates."""

import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.scenario import Scenario
from optimizer.scenario.files import shipped

TEMPLATES = shipped("templates")


def adose(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_is_written_and_simulates(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert adose("new", path.stem).exit_code == 0
    written = tmp_path / f"{path.stem}.toml"
    scenario = Scenario.load(written)
    # Nothing beside the file is needed, not even the schema that the template names.
    assert "scenario.schema.json" not in written.read_text()
    problem = scenario.problem()
    assert scenario.regimens()
    for regimen in scenario.regimens():
        assert problem.simulate(regimen.policy, regimen.grid)[1].finite, regimen.name


def test_there_is_one_for_each_question():
    assert {path.stem for path in TEMPLATES} == {"one_drug", "two_drugs", "cycles", "plate", "psa"}


def test_new_names_its_questions_and_loses_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = adose("new")
    assert shown.exit_code == 0
    assert "Hold a tumor down with one drug" in shown.stdout
    wrong = adose("new", "one_drg")
    assert wrong.exit_code == 2
    assert 'did you mean "one_drug"' in wrong.stderr
    mine = tmp_path / "mine.toml"
    assert adose("new", "psa", "--to", str(mine)).exit_code == 0
    mine.write_text("my own numbers")
    again = adose("new", "psa", "--to", str(mine))
    assert again.exit_code == 2
    assert "wanted a new file" in again.stderr
    assert mine.read_text() == "my own numbers"
