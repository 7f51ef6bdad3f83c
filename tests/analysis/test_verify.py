"""`adose verify`: every published number of the table passes, a wrong one is found, and the wheel has what it needs."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from optimizer.analysis import verify
from optimizer.cli import app
from optimizer.scenario import files

ROOT = Path(__file__).parents[2]
SMALL = ("caf: critical concentration without growth factor [ug/mL]", "ideal containment: progression [day]")


def adose(*arguments: str):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def few(monkeypatch):
    """Two quick numbers, no scenarios beside one that is quick, and a way to change the numbers."""
    numbers, library = verify.read_table(verify.TABLE)
    chosen = [number for number in numbers if number.quantity in SMALL]
    assert len(chosen) == 2
    monkeypatch.setattr(verify, "read_table", lambda path: (chosen, library))
    files = [path for path in verify.shipped() if path.stem == "competing_clones"]
    monkeypatch.setattr(verify, "shipped", lambda: files)
    return chosen, files


def changed(number, **values):
    return verify.Number(**{**vars(number), **values})


def test_every_published_number_passes(monkeypatch):
    monkeypatch.setattr(verify, "shipped", list)
    *lines, none = verify.verify()
    assert [line.quantity for line in lines if not line.passed] == []
    assert {line.source.split(", ")[0][4:] for line in lines} == {
        "10.1038/s41540-025-00495-0",
        "10.1158/0008-5472.CAN-20-0806",
        "10.1038/s41559-021-01428-w",
    }
    assert {line.source.split(", ")[1] for line in lines} == {"printed", "deposited", "equations"}
    # A package without scenarios is not verified.
    assert (none.passed, none.reason) == (False, "there are none")


def test_every_number_says_what_it_is_and_every_function_is_used():
    numbers, _ = verify.read_table(verify.TABLE)
    names = [number.quantity for number in numbers]
    assert len(set(names)) == len(names)
    assert {number.compute for number in numbers} == set(verify.COMPUTE)
    for number in numbers:
        # No tolerance that would let a wrong number pass.
        assert 0.0 <= number.tolerance <= 0.01 * number.published, number.quantity


@pytest.mark.slow
def test_the_whole_command_passes():
    result = adose("verify", "--json")
    assert result.exit_code == 0, result.stdout
    document = json.loads(result.stdout)
    assert document["status"] == "verified"
    simulated = [n["quantity"].split()[1][:-1] for n in document["numbers"] if n["quantity"].startswith("scenario ")]
    assert simulated == [path.stem for path in sorted((ROOT / "scenarios").glob("*.toml"))]


def test_lines_and_document_say_the_same(few):
    result = adose("verify")
    assert result.exit_code == 0
    first, second, third = result.stdout.splitlines()
    assert first.startswith(f"pass  {SMALL[0]}; published 0.7055271; ours 0.70552708")
    assert "; difference -1.4e-08 (at most 5e-08); doi 10.1038/s41540-025-00495-0, equations" in first
    assert second.startswith(f"pass  {SMALL[1]}; published 340.0367; ours 340.0366")
    assert third.startswith("pass  scenario competing_clones: ")
    assert result.stderr.endswith("3 of 3 pass.\nResearch use only. Not for clinical decisions.\n")
    document = json.loads(adose("verify", "--json").stdout)
    assert document["status"] == "verified"
    assert [line["passed"] for line in document["numbers"]] == [True, True, True]
    assert document["numbers"][0]["difference"] == pytest.approx(-1.404e-8, abs=1e-11)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"published": 0.7055272}, "published 0.7055272; ours 0.705527086; difference -1.1e-07"),
        ({"given": {"scenario": "caf", "growth_factor": "most"}}, "published 0.7055271; ours 0.8615974403"),
        ({"given": {"scenario": "unknown", "growth_factor": "most"}}, "ours KeyError: 'unknown'"),
        ({"compute": "resistant_share", "given": {}}, "ours TypeError: resistant_share() missing"),
    ],
)
def test_a_wrong_row_is_exit_code_1(few, values, said):
    chosen, _ = few
    chosen[0] = changed(chosen[0], **values)
    result = adose("verify")
    assert result.exit_code == 1
    first, second, _ = result.stdout.splitlines()
    assert first.startswith("FAIL  ")
    assert said in first
    assert second.startswith("pass  ")
    assert "\n2 of 3 pass." in result.stderr
    assert json.loads(adose("verify", "--json").stdout)["status"] == "differs"


def test_a_scenario_that_is_refused_is_exit_code_1(few, tmp_path):
    _, files = few
    (tmp_path / "broken.toml").write_text("[model]\nkind = 'tumour'\n")
    files[:] = [tmp_path / "broken.toml"]
    result = adose("verify")
    assert result.exit_code == 1
    assert "FAIL  scenario broken: objective under" in result.stdout
    assert "wanted" in result.stdout


def test_the_wheel_holds_the_table_and_the_scenarios():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["only-include"] == ["optimizer", "scenarios"]
    assert wheel["sources"] == {"scenarios": "optimizer/_scenarios"}
    assert verify.TABLE.parent == ROOT / "optimizer" / "analysis"
    # In a source checkout those of the repository, in an installed package its own.
    assert verify.shipped() == sorted((ROOT / "scenarios").glob("*.toml"))
    assert not (ROOT / "optimizer" / "_scenarios").exists()


def test_an_installed_package_reads_its_own_scenarios(monkeypatch, tmp_path):
    (tmp_path / "optimizer" / "_scenarios").mkdir(parents=True)
    (tmp_path / "optimizer" / "_scenarios" / "one.toml").write_text("")
    monkeypatch.setattr(files, "_PACKAGE", tmp_path / "optimizer")
    assert [path.name for path in verify.shipped()] == ["one.toml"]
    monkeypatch.setattr(files, "_PACKAGE", tmp_path / "elsewhere" / "optimizer")
    assert verify.shipped() == []
