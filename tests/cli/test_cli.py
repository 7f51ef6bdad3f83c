"""The commands as a user types them: documents, exit codes, sentences instead of tracebacks, nothing half-written."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import jax
import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.files import run_directory
from optimizer.report import terminal
from optimizer.scenario import words
from optimizer.search.multistart import Progress
from optimizer.simulate import adaptive

ROOT = Path(__file__).parents[2]

SMALL = """
title = "Six weeks"
[model]
kind = "stromal"
preset = "kraut2025_caf"
[[drug]]
name = "cetuximab"
role = "inhibitor"
route = "bolus"
pk = { kind = "first_order", elimination = "0.006 / hour" }
dose = { min = "0 ug/mL", max = "3 ug/mL" }
[decision]
every = "7 day"
horizon = "42 day"
[objective]
burden = 1.0
[[constraint]]
kind = "cumulative_dose"
drug = "cetuximab"
limit = "6 ug/mL"
[[regimen]]
name = "weekly 1 ug/mL"
[[regimen.dose]]
drug = "cetuximab"
amount = "1 ug/mL"
every = "7 day"
[search]
restarts = 2
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path


def adose(*arguments: str):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.stderr
    return result


def test_optimize_writes_a_run_and_prints_one_document(folder):
    result = adose("optimize", "small.toml", "--json", "--out", "here/run", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["status"] == "solved"
    assert document["device"]["platform"] == "cpu"
    assert result.stdout == (folder / "here/run/report.json").read_text()
    assert sorted(p.name for p in (folder / "here/run").iterdir()) == [
        "overview.png",
        "overview.svg",
        "report.html",
        "report.json",
        "resolved.json",
        "schedule.csv",
        "trajectory.nc",
    ]
    assert "Research use only" in result.stderr
    numbers = document["search"].pop("seconds")
    assert set(numbers) >= {"compile", "search", "audit"}
    # What was written can be simulated, and is what was optimized.
    again = adose("simulate", "small.toml", "--schedule", "here/run/schedule.csv", "--json")
    assert again.exit_code == 0
    simulated = json.loads(again.stdout)
    assert "search" not in simulated
    assert simulated["objective"]["total"] == pytest.approx(document["objective"]["total"], rel=1e-7)
    assert all(check["violation"] == 0.0 for check in simulated["constraints"])
    same = {"status", "objective", "constraints", "outcome", "audit", "regimens", "units", "versions", "seed", "device"}
    assert same | {"research_use_only"} <= set(simulated) & set(document)
    assert simulated["audit"]["passed"] is True
    assert simulated["audit"]["objective"] == document["audit"]["objective"]


def test_optimize_tells_a_person(folder):
    result = adose("optimize", "small.toml", "--no-plot", "--restarts", "2", "--seed", "3")
    assert result.exit_code == 0
    for text in ("Six weeks", "Schedule", "Regimens", "weekly 1 ug/mL", "best constant dose", "cetuximab [mg/L]"):
        assert text in result.stdout
    assert "Solved" in result.stderr
    lines = result.stderr.splitlines()
    # A stage may say how many programs are being compiled.
    assert [line.partition(":")[0] for line in lines[:4]] == ["starts", "compile", "search", "search"]
    assert lines[2].startswith("search: 0 of 2 restarts")
    assert lines[3].startswith("search: 1 of 2 restarts, best objective")
    assert (folder / "runs/small/schedule.csv").exists()
    assert not (folder / "runs/small/overview.png").exists()
    assert "<svg" not in (folder / "runs/small/report.html").read_text()


def test_simulate_a_regimen(folder):
    result = adose("simulate", "small.toml", "--regimen", "weekly 1 ug/mL", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert document["outcome"]["cumulative_dose"] == {"cetuximab": 6.0}
    unknown = adose("simulate", "small.toml", "--regimen", "weekly")
    assert unknown.exit_code == 2
    assert 'wanted one of "weekly 1 ug/mL"; got "weekly"' in unknown.stderr


def test_simulate_audits_doses_off_the_decision_grid(folder):
    (folder / "doses.csv").write_text("TIME,EVID,AMT\n0,1,2\n9.5,1,3\n")
    result = adose("simulate", "small.toml", "--schedule", "doses.csv", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["status"] == "simulated"
    assert document["outcome"]["cumulative_dose"] == {"cetuximab": 5.0}
    assert abs(document["audit"]["objective_difference"]) < 1e-7
    assert "The independent audit agrees" in result.stderr


def test_simulate_says_when_the_audit_disagrees(folder, monkeypatch):
    solve = adaptive.solve

    def wrong(system, doses, *more):
        return solve(system, 1.001 * doses, *more)

    monkeypatch.setattr(adaptive, "solve", wrong)
    result = adose("simulate", "small.toml", "--regimen", "weekly 1 ug/mL", "--json")
    assert result.exit_code == 5
    assert json.loads(result.stdout)["status"] == "audit_failed"
    assert "Audit failed" in result.stderr


def test_simulate_wants_one_of_two(folder):
    assert adose("simulate", "small.toml").exit_code == 2
    assert adose("simulate", "small.toml", "--schedule", "a.csv", "--regimen", "b").exit_code == 2


def test_stochastic_simulates_cells_beside_the_course(folder):
    few = SMALL.replace('preset = "kraut2025_caf"', 'preset = "kraut2025_caf"\ncells = 200')
    (folder / "few.toml").write_text(few)
    asked = ["stochastic", "few.toml", "--regimen", "weekly 1 ug/mL", "--runs", "50"]
    result = adose(*asked, "--out", "runs", "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == (folder / "runs/stochastic.json").read_text()
    assert (folder / "runs/stochastic.png").stat().st_size > 10_000
    document = json.loads(result.stdout)
    assert document["runs"] == 50
    extinct, progressed = document["extinction"], document["progression"]
    assert extinct["share"] == extinct["count"] / 50
    assert extinct["interval"][0] <= extinct["share"] <= extinct["interval"][1]
    # Without a death rate cells only die of the drug; the stroma's tumor here does not die out of 200 cells.
    assert 0.0 <= extinct["probability"] < 0.05
    assert progressed["share"] == progressed["count"] / 50
    days = document["burden"]["day"]
    assert days == [0.0, 7.0, 14.0, 21.0, 28.0, 35.0, 42.0]
    middle = document["burden"]["quantiles"]["0.5"]
    assert middle[0] == 200
    assert middle[-1] == pytest.approx(document["burden"]["deterministic"][-1], rel=0.3)
    assert adose(*asked, "--seed", "1", "--json").stdout != result.stdout
    table = adose(*asked).stdout
    assert "no cell left" in table
    assert "generating" in table


def test_stochastic_wants_cells_to_count(folder):
    text = SMALL.replace('preset = "kraut2025_caf"', 'preset = "kraut2025_caf"\ncells = 0.5')
    (folder / "share.toml").write_text(text)
    result = adose("stochastic", "share.toml", "--regimen", "weekly 1 ug/mL")
    assert result.exit_code == 3
    assert "share.toml: model: wanted numbers of cells, no shares of a capacity; got 0.5 at" in result.stderr


def test_compare_writes_its_figures(folder):
    refused = adose("compare", "small.toml", "--tornado", "weekly")
    assert '--tornado: wanted "weekly 1 ug/mL"; got "weekly"' in refused.stderr
    refused = adose("compare", "small.toml", "--no-plot", "--tornado", "weekly 1 ug/mL")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--tornado: wanted figures; got --no-plot" in refused.stderr
    result = adose("compare", "small.toml", "--json", "--tornado", "weekly 1 ug/mL")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["status"] == "compared"
    assert document["regimens"][0]["name"] == "weekly 1 ug/mL"
    wanted = {"name", "time_to_progression_day", "final_burden", "peak_burden", "resistant_fraction"}
    wanted |= {"cumulative_dose", "time_on_treatment_day", "switches"}
    assert all(wanted <= set(regimen) for regimen in document["regimens"])
    names = sorted(path.name for path in (folder / "runs/small-compare").iterdir())
    drawn = [f"{name}.{kind}" for name in ("comparison", "swimmer", "tornado") for kind in ("png", "svg")]
    assert names == sorted([*drawn, "report.html", "report.json", "trajectory.csv"])
    assert "Of 4 regimens 3 keep the limits" in (folder / "runs/small-compare/report.html").read_text()
    plain = adose("compare", "small.toml", "--no-plot", "--out", "nowhere")
    for text in ("best constant dose", "treated", "switches", "total cetuximab", "[mg/L]"):
        assert text in plain.stdout
    assert " * maximum dose breaks cumulative_dose of cetuximab (18, limit 6)" in plain.stdout
    assert not (folder / "nowhere").exists()


def test_check_says_what_the_file_means(folder):
    text = adose("check", "small.toml").stdout
    assert "elimination: 0.144 / day" in text
    assert json.loads(adose("check", "small.toml", "--json").stdout)["scenario"]["title"] == "Six weeks"


def test_schema_and_list(folder):
    assert json.loads(adose("schema").stdout)["$schema"]
    assert adose("schema", "--out", "schema.json").exit_code == 0
    assert json.loads((folder / "schema.json").read_text())["$schema"]
    assert adose("schema", "--out", "no/such/folder.json").exit_code == 2
    listed = json.loads(adose("list", "--json").stdout)
    assert "stromal" in listed["model"]
    assert "kraut2025_caf" in listed["preset"]
    assert "burden_ceiling" in listed["constraint"]
    assert "protection" in listed["term"]
    assert "hour" in listed["unit"]
    assert "cumulative_dose" in adose("list").stdout


def test_list_of_one_family_and_of_one_word(folder):
    listed = json.loads(adose("list", "policy", "--json").stdout)
    assert list(listed) == ["policy"]
    assert "threshold" in listed["policy"]
    found = json.loads(adose("list", "policy", "threshold", "--json").stdout)
    by_name = {key["name"]: key for key in found["keys"]}
    assert by_name["stop_below"]["required"]
    assert by_name["stop_below"]["allowed"] == "> 0"
    assert by_name["share"]["default"] == "1"
    assert by_name["every"]["unit"] == "day"
    assert "restart_above" in adose("list", "policy", "threshold").stdout
    decision = json.loads(adose("list", "table", "decision", "--json").stdout)
    assert [key["name"] for key in decision["keys"]] == ["every", "horizon", "edges"]
    preset = json.loads(adose("list", "preset", "kraut2025_caf", "--json").stdout)
    assert {"name": "ec50_max", "default": "7.34 ug/mL"}.items() <= {k["name"]: k for k in preset["keys"]}[
        "ec50_max"
    ].items()
    for wrong in (["list", "polcy"], ["list", "policy", "x"]):
        refused = adose(*wrong)
        assert refused.exit_code == 2
        assert refused.stderr.count("\n") == 1
        assert "wanted one of" in refused.stderr


def test_check_says_in_words_what_is_asked_and_where_numbers_come_from(folder):
    first, *lines = adose("check", "small.toml").stdout.splitlines()
    assert "kraut2025_caf" in first
    assert (
        "every 7 day for 42 day (6 decisions; the doses are free): cetuximab (inhibitor, bolus, 0 mg/L to 3 mg/L)"
        in first
    )
    assert first.endswith("within the limits cumulative_dose of cetuximab. Compared with: weekly 1 ug/mL.")
    shown = {line.strip().removeprefix("- ") for line in lines}
    assert {
        "limit: 6.0 mg/L",
        "hill: 0.93 (preset)",
        "cell_floor: 1.0 (default)",
        "restarts: 2",
        "seed: 0 (default)",
    } <= shown
    assert "(default)" not in adose("check", "small.toml", "--json").stdout


def test_several_files_in_one_call_are_all_checked_first(folder):
    (folder / "other.toml").write_text(SMALL.replace("Six weeks", "Others").replace('"42 day"', '"43 day"'))
    both = adose("check", "small.toml", "other.toml")
    assert both.exit_code == 0, both.stderr
    assert both.stdout.index("Six weeks") < both.stdout.index("Others")
    assert both.stdout.count("note: the last decision interval has 1 day of 7") == 1
    (folder / "wrong.toml").write_text(SMALL.replace('"7 day"', '"7 ug"'))
    refused = adose("compare", "small.toml", "wrong.toml")
    assert refused.exit_code == 3
    assert "wrong.toml:13" in refused.stderr
    assert adose("check", "small.toml", "other.toml", "--json").exit_code == 2
    assert adose("compare", "small.toml", "./small.toml").exit_code == 2
    done = adose("compare", "small.toml", "other.toml", "--out", "both")
    assert done.exit_code == 0, done.stderr
    assert (folder / "both/small/report.html").is_file()
    assert (folder / "both/other/report.html").is_file()


def test_every_word_has_keys_that_say_what_they_mean():
    for family, found in words.catalog().items():
        for name in found:
            for key in words.keys(family, name):
                assert key.meaning, (family, name, key.name)
                assert "{" not in key.meaning
                assert not (key.required and key.default)


def test_version_and_examples_are_shown(folder):
    assert adose("--version").stdout == adose("-V").stdout == f"adose {version('adose')}\n"
    assert "Example: adose optimize scenarios/" in " ".join(adose("optimize", "-h").stdout.split())
    shown = adose("-h").stdout
    assert [
        shown.index(group) for group in ("Start with", "Explore it", "Many patients", "From data", "About")
    ] == sorted(shown.index(group) for group in ("Start with", "Explore it", "Many patients", "From data", "About"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"7 day"', '"7 ug"'), "small.toml:13: decision.every: wanted"),
        (("burden = 1.0", "burdn = 1.0"), 'small.toml:15: objective: wanted a known key; got "burdn"'),
        (('limit = "6 ug/mL"', 'limit = "-6 ug/mL"'), "small.toml:20: constraint[0].limit: wanted"),
        (('min = "0 ug/mL"', 'min = "2 ug/mL"'), "no schedule satisfies the dose limits together"),
        (("[decision]", "[decision"), "small.toml:"),
    ],
)
def test_a_mistake_in_the_file_is_a_sentence(folder, change, message):
    (folder / "small.toml").write_text(SMALL.replace(*change))
    for command in ("optimize", "compare", "check"):
        result = adose(command, "small.toml")
        assert result.exit_code == 3
        assert message in result.stderr
    assert not (folder / "runs").exists()


def test_a_device_that_is_not_there(folder, monkeypatch):
    monkeypatch.setattr("jax.default_backend", lambda: "cpu")
    for command in ("optimize", "cohort"):
        result = adose(command, "small.toml", "--device", "gpu")
        assert result.exit_code == 2
        assert "--device: wanted a GPU; got a machine on which JAX finds cpu alone" in result.stderr
    assert adose("optimize", "small.toml", "--device", "tpu").exit_code == 2
    assert not (folder / "runs").exists()


def test_a_file_that_is_not_there(folder):
    result = adose("optimize", "missing.toml")
    assert result.exit_code == 3
    assert "missing.toml" in result.stderr


def test_a_bad_event_table(folder):
    (folder / "doses.csv").write_text("TIME,AMT,SS\n0,1,1\n")
    result = adose("simulate", "small.toml", "--schedule", "doses.csv")
    assert result.exit_code == 3
    assert "doses.csv:2: column II: wanted an interval above 0 with SS; got 0" in result.stderr


def test_a_place_that_is_taken_is_refused_before_the_search(folder):
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter.txt").write_text("precious")
    result = adose("optimize", "small.toml", "--out", "thesis")
    assert result.exit_code == 2
    assert "wanted a new directory or an earlier run with report.json" in result.stderr
    assert [path.name for path in (folder / "thesis").iterdir()] == ["chapter.txt"]


def test_infeasible_is_exit_code_4_and_writes_nothing(folder):
    # As the search's own test of a ceiling that is out of reach, whose programs serve here.
    weak = SMALL.split("[[constraint]]")[0].replace('"3 ug/mL"', '"0.5 ug/mL"')
    (folder / "small.toml").write_text(f'{weak}[[constraint]]\nkind = "burden_ceiling"\nfactor = 0.5\n')
    result = adose("optimize", "small.toml", "--restarts", "1", "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["status"] == "infeasible"
    assert "burden_ceiling: wanted at most 5e+07" in result.stderr
    assert not (folder / "runs").exists()


def test_code_of_ones_own_runs_only_when_allowed(folder):
    (folder / "mine.py").write_text("raise SystemExit(77)\n")
    (folder / "small.toml").write_text(
        SMALL.replace('kind = "stromal"\npreset = "kraut2025_caf"', 'kind = "mine.py:Model"')
    )
    result = adose("optimize", "small.toml")
    assert result.exit_code == 3
    assert "--allow-code" in result.stderr


@pytest.mark.parametrize(("option", "most"), [("--draws", "100000"), ("--chains", "64"), ("--seed", "4294967295")])
def test_counts_of_a_fit_have_ceilings(folder, option, most):
    """A thousand million draws were a traceback, so many chains a run without an end."""
    result = adose("calibrate", "nowhere.csv", "--kind", "ic50", "--out", "fit", option, "9" * 20)
    assert result.exit_code == 2
    assert f"less than or equal to {most}" in " ".join(result.stderr.replace("│", " ").split())


def test_calibrate(folder):
    table = ROOT / "data" / "lapatinib_ic50.csv"
    result = adose("calibrate", str(table), "--kind", "ic50", "--out", "fit", "--json", "--no-plot")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == json.loads((folder / "fit" / "fit.json").read_text())
    assert adose("calibrate", str(table), "--kind", "plate", "--out", "other").exit_code == 3
    assert adose("calibrate", str(table), "--kind", "rubbish", "--out", "other").exit_code == 2
    assert not (folder / "other").exists()


def test_a_full_stdout_is_a_sentence():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = [sys.executable, "-m", "optimizer", "schema"]
    with open("/dev/full", "w") as full:
        process = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=100, cwd=ROOT)
    assert process.returncode == 2
    assert process.stderr == "stdout: wanted a place that can be read and written; got: No space left on device\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m optimizer list | head -n 1"
    process = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert process.stdout.strip() == "model"
    assert process.stderr == ""


def test_ctrl_c_during_imports_ends_at_once(folder, ctrl_c):
    command = [sys.executable, "-m", "optimizer", "optimize", "small.toml"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONPROFILEIMPORTTIME": "1"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        # Within the import of jax, where an exception in the wrong place is swallowed.
        for line in process.stderr:
            if line.rstrip().endswith("jax._src.config"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.endswith("Interrupted: nothing was written.\n")
    assert "Traceback" not in rest
    assert not (folder / "runs").exists()


def test_ctrl_c_that_gets_lost_is_raised_again(capsys, ctrl_c):
    class Swallows:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.01)

    before = sys.unraisablehook
    with terminal.progress() as tell:
        tell(Progress("compile", 0, 2, None))
        Swallows()
        with pytest.raises(KeyboardInterrupt):
            tell(Progress("search", 0, 2, None))
        # What is found by then is audited and written.
        tell(Progress("audit", 2, 2, 1.0))
    assert capsys.readouterr().err.splitlines() == ["compile", "audit: best objective 1"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sys.unraisablehook is before


def test_a_wide_table_comes_in_parts_on_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setattr(terminal, "_WIDE", 27)
    terminal.table("Wide", ["regimen", "first\n[day]", "second", "3rd"], [["weekly", "1.25", "2222222", "3"]])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert all(len(line) <= 27 for line in lines)
    assert sum(line.split() == ["weekly", "1.25"] for line in lines) == 1
    assert sum(line.split() == ["weekly", "2222222", "3"] for line in lines) == 1


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from optimizer.cli import app\n"
        "heavy = [m for m in ('jax', 'matplotlib', 'pydantic', 'scipy', 'xarray', 'numpy') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    for arguments in (["-h"], ["optimize", "-h"], ["calibrate", "--help"]):
        assert "Usage" in adose(*arguments).stdout


def test_ctrl_c_keeps_the_best_schedule_so_far(folder, ctrl_c):
    more = ("--out", "run", "--restarts", "4096", "--no-plot")
    command = [sys.executable, "-m", "optimizer", "optimize", "small.toml", *more]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        for line in process.stderr:
            if line.startswith("search"):
                break
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "Interrupted: the best schedule found so far was kept" in rest
    assert "Traceback" not in rest
    assert json.loads((folder / "run" / "report.json").read_text())["status"] == "interrupted"
    assert (folder / "run" / "schedule.csv").exists()


def test_the_cache_is_the_users_own_or_none(own_cache, monkeypatch):
    other = own_cache.with_name("other")
    monkeypatch.setenv("ADOSE_CACHE", str(other))
    terminal.numerics()
    assert jax.config.jax_compilation_cache_dir == str(other)
    assert other.stat().st_mode & 0o777 == 0o700
    other.chmod(0o777)
    terminal.numerics()
    assert jax.config.jax_compilation_cache_dir is None


def test_a_full_disk_at_the_last_moment_loses_the_files_alone(folder, monkeypatch):
    def full(work):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_directory, "_to_disk", full)
    result = adose("optimize", "small.toml", "--json", "--no-plot", "--out", "run")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["status"] == "solved"
    assert "run: wanted a place that can be written; got: No space left on device" in result.stderr
    result = adose("optimize", "small.toml", "--no-plot", "--out", "run")
    assert "Schedule" in result.stdout
    assert not (folder / "run").exists()


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
@pytest.mark.parametrize("most", [100, 20_000])
def test_a_fit_that_cannot_be_written_is_printed_and_leaves_nothing(folder, most):
    """No file beyond so many bytes: the disk is full in the report, or in a figure."""
    table = ROOT / "data" / "lapatinib_ic50.csv"
    code = f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most})); "
    code += "runpy.run_module('optimizer', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code, "calibrate", str(table), "--kind", "ic50", "--out", "new/fit", "--json"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert done.returncode == 3
    assert json.loads(done.stdout)["parameters"]
    assert "new/fit: wanted a place that can be written; got: " in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["small.toml"]


@pytest.mark.parametrize("command", ["optimize", "cohort", "trial", "train", "replan"])
def test_a_place_below_a_file_is_found_before_the_work(folder, command):
    (folder / "file").write_text("mine")
    spread = '[cohort]\nvary = [{ key = "model.ec50_max", distribution = "lognormal", cv = 0.4 }]\n'
    (folder / "small.toml").write_text(SMALL + spread)
    began = time.process_time()
    result = adose(command, "small.toml", "--out", "file/run")
    assert result.exit_code == 2, result.output
    assert "file/run: wanted a place that can be written; got:" in result.stderr
    assert time.process_time() - began < 20.0


@pytest.mark.skipif(sys.platform != "linux", reason="a folder of the system in which nobody makes files")
@pytest.mark.parametrize("command", ["optimize", "compare", "cohort", "trial", "train"])
def test_a_folder_that_takes_no_files_is_found_before_the_work(folder, command):
    """Whoever may do anything is told by permissions that he may write there."""
    spread = '[cohort]\nvary = [{ key = "model.ec50_max", distribution = "lognormal", cv = 0.4 }]\n'
    (folder / "small.toml").write_text(SMALL + spread)
    began = time.process_time()
    result = adose(command, "small.toml", "--out", "/proc/run")
    assert result.exit_code == 2, result.output
    assert "/proc/run: wanted a place that can be written; got: " in result.stderr
    assert time.process_time() - began < 10.0


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes")
def test_names_that_are_not_utf_8(folder):
    odd = os.fsdecode(b"od\xffd.toml")
    (folder / odd).write_text(SMALL)
    for arguments in (["check"], ["check", "--json"], ["window", "--out", os.fsdecode(b"o\xfft")]):
        command = [sys.executable, "-m", "optimizer", arguments[0], odd, *arguments[1:]]
        done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=300)
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        assert done.stdout.decode("utf-8")
    document = (folder / os.fsdecode(b"o\xfft") / "window.json").read_bytes()
    assert json.loads(document)["scenario"] == "od\ufffdd"


def test_what_a_command_does_not_need_is_not_imported(folder):
    code = (
        "import sys; from typer.testing import CliRunner; from optimizer.cli import app\n"
        "assert CliRunner().invoke(app, sys.argv[1:]).exit_code == 0\n"
        "heavy = 'diffrax matplotlib xarray pandas scipy.optimize pyarrow optax optimistix h5py'.split()\n"
        "heavy = [m for m in heavy if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    for arguments in (["list"], ["schema"], ["check", "small.toml"]):
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, timeout=300, env=environment)


def test_a_search_begins_before_what_only_its_end_needs_is_imported():
    heavy = ("diffrax", "matplotlib", "xarray", "pandas", "scipy.optimize", "scipy.stats", "h5py")
    code = f"import sys, optimizer.cli.schedule; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_what_a_dynamic_program_cannot_answer_is_one_sentence(folder):
    result = adose("optimize", str(ROOT / "scenarios" / "prostate_abiraterone.toml"), "--out", "none", "--certify")
    assert result.exit_code == 2
    assert result.stderr.endswith("got the kinetics oral\n")
    assert not Path("none").exists()


def test_a_missing_extra_is_one_sentence_before_the_work(folder, monkeypatch):
    monkeypatch.setattr("optimizer.calibrate.run.find_spec", lambda name: None)
    result = adose("calibrate", "nowhere.csv", "--kind", "rates", "--out", "fit", "--bayes")
    assert result.exit_code == 3
    assert result.stderr == "bayes: wanted the package numpyro (pip install 'adose[bayes]'); got none\n"
