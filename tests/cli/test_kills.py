"""Runs that are killed at any moment: nothing that was finished is lost, and what goes on ends in the same bytes."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KILLS = 40  # of each command: 200 in all
SCENARIO = """
title = "Three weeks"
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
horizon = "21 day"
[objective]
burden = 1.0
[[regimen]]
name = "AT50"
policy = { kind = "threshold", stop_below = 0.5, restart_above = 1.0 }
[[observation]]
kind = "burden"
noise = 0.1
every = "7 day"
[cohort]
vary = [{ key = "model.ec50_max", distribution = "lognormal", cv = 0.4 }]
[search]
restarts = 1
"""
CHUNKS = ("--patients", "6", "--chunk", "2")
COMMANDS = {
    "optimize": ("optimize", "small.toml"),
    "cohort": ("cohort", "small.toml", *CHUNKS, "--restarts", "1"),
    "trial": ("trial", "small.toml", "--policies", "AT50,none", *CHUNKS, "--restarts", "0"),
    "train": ("train", "small.toml", "--patients", "2", "--steps", "20"),
    "calibrate": ("calibrate", str(ROOT / "data" / "caf_egf_secretion.csv"), "--kind", "secretion"),
}


def started(folder: Path, command: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ADOSE_CACHE": str(folder.parent / "cache")}
    words = [sys.executable, "-m", "optimizer", *COMMANDS[command], "--no-plot", "--out", "run"]
    return subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished(folder: Path, command: str) -> float:
    """Run it to its end; how long that took [s]. A search that did not converge has ended, too."""
    began = time.perf_counter()
    process = started(folder, command)
    _, said = process.communicate(timeout=1800)
    assert process.returncode in (0, 5), said.decode()
    return time.perf_counter() - began


def kept(run: Path) -> dict[str, bytes]:
    """Files whose bytes depend on what was asked alone; reports hold how long it took."""
    kinds = (".csv", ".parquet", ".toml")
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.suffix in kinds}


def place_of(folder: Path) -> Path:
    folder.mkdir()
    (folder / "small.toml").write_text(SCENARIO)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(tmp_path, command):
    whole, chance = place_of(tmp_path / "whole"), random.Random(command)
    finished(whole, command)
    wanted = kept(whole / "run")
    assert wanted
    lasts = finished(place_of(tmp_path / "again"), command)  # with a filled cache
    assert kept(tmp_path / "again" / "run") == wanted
    early = 0
    for kill in range(KILLS):
        place = place_of(tmp_path / f"kill{kill}")
        process = started(place, command)
        time.sleep(chance.uniform(0.3, 1.0) * lasts)
        early += process.poll() is None
        process.kill()
        process.communicate()
        before = kept(place / "run")
        assert before.items() <= wanted.items(), "what is there is whole"
        finished(place, command)
        assert kept(place / "run") == wanted
        assert not [path for path in place.rglob(".*") if path.suffix in (".part", ".old")]
    assert early > 0
