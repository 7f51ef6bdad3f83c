"""The run directory: complete, reproducible, whole or not at all."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from optimizer.analysis.comparison import compare
from optimizer.files.event_tables import read_events
from optimizer.files.events import to_grid
from optimizer.files.run_directory import DirectoryError, check_place, whole
from optimizer.report.document import write_run
from optimizer.scenario import Scenario
from tests.small import tables

KEYS = {"status", "objective", "constraints", "audit", "search", "regimens", "outcome"}
KEYS |= {"versions", "seed", "device", "research_use_only"}


@pytest.fixture(scope="module")
def run(small_problem, small_result):
    scenario = Scenario.from_tables(tables(), "small")
    return scenario, small_result, compare(small_problem, scenario.regimens(), small_result)


def test_holds_what_a_reader_needs(run, tmp_path):
    scenario, result, entries = run
    document = write_run(scenario, result, entries, tmp_path / "run")
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == [
        "overview.png",
        "overview.svg",
        "report.html",
        "report.json",
        "resolved.json",
        "schedule.csv",
        "trajectory.nc",
    ]
    written = json.loads((tmp_path / "run" / "report.json").read_text())
    assert written == json.loads(json.dumps(document))
    assert set(written) >= KEYS
    assert written["objective"]["total"] == result.audit.report.total
    assert written["objective"]["terms"]["burden"] == written["objective"]["total"]
    assert written["units"] == {
        "burden": "cell",
        "dose": {"cetuximab": "mg/L"},
        "cumulative_dose": {"cetuximab": "mg/L"},
    }
    assert {"restarts", "converged", "distinct_optima", "iterations", "kkt_residual", "seconds"} <= set(
        written["search"]
    )
    events = read_events(tmp_path / "run" / "schedule.csv", ["cetuximab"])
    edges = np.asarray(result.problem.task.grid.edges)
    _, doses = to_grid(events, ["cetuximab"], 42.0, {"cetuximab": "bolus"}, edges)
    assert np.array_equal(doses, result.doses)
    with xr.open_dataset(tmp_path / "run" / "trajectory.nc", engine="h5netcdf") as data:
        assert data["burden"].attrs["units"] == "cell"
        assert data["time"].attrs["units"] == "day"
        assert np.array_equal(data["burden"].values, np.asarray(result.trajectory.burden))
        assert "Research use only" in data.attrs["comment"]
    assert Scenario.from_tables(json.loads((tmp_path / "run" / "resolved.json").read_text())["scenario"], "again")


def test_same_bytes_every_time(run, tmp_path):
    for name in ("a", "b"):
        write_run(*run, tmp_path / name)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_later_run_replaces_an_earlier_one_and_nothing_else(run, tmp_path):
    place = tmp_path / "run"
    write_run(*run, place)
    (place / "report.json").write_text("old")
    write_run(*run, place, plot=False)
    assert (place / "report.json").read_text() != "old"
    assert not (place / "overview.png").exists()
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("precious")
    with pytest.raises(DirectoryError, match="wanted a new directory or an earlier run"):
        write_run(*run, other)
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("run", "thesis")] == []


def test_a_fault_on_the_way_leaves_what_was_there(tmp_path):
    place = tmp_path / "run"
    with whole(place, "report.json") as work:
        (work / "report.json").write_text("first")

    def broken(error: BaseException) -> None:
        with whole(place, "report.json") as work:
            (work / "report.json").write_text("second")
            raise error

    with pytest.raises(DirectoryError, match="No space left on device"):
        broken(OSError(28, "No space left on device"))
    with pytest.raises(KeyboardInterrupt):
        broken(KeyboardInterrupt())
    assert (place / "report.json").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_folders_made_on_the_way_go_again_when_nothing_is_written(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole(tmp_path / "a" / "b" / "run", "report.json"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(tmp_path):
    with whole(tmp_path / "real", "report.json") as work:
        (work / "report.json").write_text("first")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with whole(tmp_path / "link", "report.json") as work:
        (work / "report.json").write_text("second")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "report.json").read_text() == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(DirectoryError, match="wanted a directory; got a file"), whole(tmp_path / "run", "report.json"):
        pass
    with pytest.raises(DirectoryError, match="run is a file"):
        check_place(tmp_path / "run" / "deeper" / "down", "report.json")
    with pytest.raises(DirectoryError, match=r"wanted a new directory .* got other files"):
        check_place(tmp_path, "report.json")
    with pytest.raises(DirectoryError, match="mount point"):
        check_place(Path("/proc"), "uptime")
    check_place(tmp_path / "new" / "run", "report.json")


IMPORTED = """
import gc, sys
from optimizer.report.document import import_writers
seen = []
gc.callbacks.append(lambda *_: seen.append(1))
gc.set_threshold(20)
seen.clear()
import_writers()
print(gc.isenabled(), len(seen) < 20, "matplotlib.ft2font" in sys.modules)
"""


def test_nothing_is_collected_while_writers_are_imported():
    """A collection inside of matplotlib's loading and a library that is asked for elsewhere waited for each other."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=100
    )
    assert done.stdout.split() == ["True"] * 3, done.stderr
