"""Runs that are killed at any moment: nothing that was finished is lost, and what goes on ends in the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from optimizer.files.toml import toml_text
from tests.small import tables

ROOT = Path(__file__).parents[2]
# Of each command, 200 in all: some runs, each killed so many times before it may end, and once more when it is whole.
RUNS, KILLS = 5, 7
AT50 = {"name": "AT50", "policy": {"kind": "threshold", "stop_below": 0.5, "restart_above": 1.0}}
CLONE = {
    "name": "s",
    "cells": 1e9,
    "growth_rate": "0.03 / day",
    "effect": [{"drug": "cetuximab", "law": "linear", "strength": "0.02 L/mg/day"}],
}
MORE = {
    "model": {"kind": "tumor", "growth": {"law": "exponential"}, "clone": [CLONE]},
    "decision": {"every": "7 day", "horizon": "21 day"},
    "regimen": [AT50],
    "observation": [{"kind": "burden", "noise": 0.1, "every": "7 day"}],
    "cohort": {"vary": [{"key": "model.clone[s].growth_rate", "distribution": "lognormal", "cv": 0.4}]},
    "search": {"restarts": 1},
}
CHUNKS = ("--patients", "6", "--chunk", "2")
COMMANDS = {
    "optimize": ("optimize", "small.toml"),
    "cohort": ("cohort", "small.toml", *CHUNKS, "--restarts", "1"),
    "trial": ("trial", "small.toml", "--policies", "AT50,none", *CHUNKS, "--restarts", "0"),
    "train": ("train", "small.toml", "--patients", "2", "--steps", "20"),
    "calibrate": ("calibrate", str(ROOT / "data" / "caf_egf_secretion.csv"), "--kind", "secretion"),
}
# Imports everything once and forks for each run, before anything is computed: a kill meets the work, not the imports.
SERVER = """
import json, os, sys
import optimizer.analysis.comparison, optimizer.calibrate.run, optimizer.control.trial, optimizer.control.train
import optimizer.ensemble.run, optimizer.report.document, optimizer.scenario
from optimizer.cli import app
for line in sys.stdin:
    folder, words = json.loads(line)
    pid = os.fork()
    if not pid:
        os.chdir(folder)
        os.dup2(os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(2, 1)
        try:
            app(words, prog_name="adose")
        except SystemExit as end:
            os._exit(end.code or 0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Runs:
    """Runs of one command in children of a warm process."""

    def __init__(self, command: str):
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.words = [*COMMANDS[command], "--no-plot", "--out", "run"]
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def one(self, folder: Path, after: float | None = None) -> int:
        """Its exit code; killed after so many seconds, or left to its end."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps([str(folder), self.words]) + "\n")
        self.server.stdin.flush()
        pid = int(self.server.stdout.readline())
        if after is not None:
            time.sleep(after)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(self.server.stdout.readline())

    def finished(self, folder: Path) -> float:
        """Run it to its end; how long that took [s]. A search that did not converge has ended, too."""
        began = time.perf_counter()
        code = self.one(folder)
        assert code in (0, 5), (folder / "said.txt").read_text()
        return time.perf_counter() - began


def kept(run: Path) -> dict[str, bytes]:
    """Files whose bytes depend on what was asked alone; reports hold how long it took."""
    kinds = (".csv", ".parquet", ".toml")
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.suffix in kinds}


def hidden(place: Path) -> list[Path]:
    return [path for path in place.rglob(".*") if path.suffix in (".part", ".old")]


def place_of(folder: Path) -> Path:
    folder.mkdir()
    (folder / "small.toml").write_text(toml_text(tables() | MORE))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(tmp_path, command):
    runs, chance = Runs(command), random.Random(command)
    runs.finished(place_of(tmp_path / "whole"))
    wanted = kept(tmp_path / "whole" / "run")
    assert wanted
    lasts = runs.finished(place_of(tmp_path / "again"))  # with a filled cache
    assert kept(tmp_path / "again" / "run") == wanted
    early, killed = 0, 0
    for number in range(RUNS):
        place, before = place_of(tmp_path / f"run{number}"), dict[str, bytes]()
        for _ in range(KILLS):
            early += runs.one(place, chance.uniform(0.0, 0.9) * lasts) == -signal.SIGKILL
            after = kept(place / "run")
            assert before.items() <= after.items() <= wanted.items(), "what is there is whole and stays"
            before, killed = after, killed + 1
        runs.finished(place)
        assert kept(place / "run") == wanted
        assert not hidden(place)
        # A run that is replaced is there at any moment, the old one or the new one.
        early += runs.one(place, chance.uniform(0.0, 1.0) * lasts) == -signal.SIGKILL
        assert kept(place / "run") == wanted
        killed += 1
        print(f"{command}: {early} of {killed} kills met a run, which lasts {lasts:.1f} s", flush=True)
    runs.server.communicate(timeout=60)
    assert early > killed // 2
