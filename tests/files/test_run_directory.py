"""Directories written whole, chunked runs that resume and believe nothing, and what killed runs leave behind."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from optimizer.files import run_directory
from optimizer.files.faults import DataError
from optimizer.files.run import MARKER, Run, columns_of, joined, table_bytes
from optimizer.files.run_directory import DirectoryError, clean, finite, read_regular, whole, write_whole

ASKED = {"seed": 3, "limits": [{"drug": "a", "most": 2.0}]}


def chunk(first: int, count: int = 3) -> bytes:
    rows = np.arange(first, first + count)
    return table_bytes({"patient": rows, "name": [f"p{i}" for i in rows], "dose": rows * 1.5})


@pytest.fixture
def finished(tmp_path):
    """A run of two chunks."""
    out = tmp_path / "run"
    run = Run(out, ASKED)
    for first in (0, 3):
        run.parts([f"chunks/{first}.parquet"], lambda first=first: [chunk(first)])
    return out


def never() -> list[bytes]:
    raise AssertionError("made again")


def test_a_run_goes_on_with_what_it_kept(finished):
    assert Run(finished, ASKED).parts(["chunks/0.parquet"], never) == [chunk(0)]
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    (finished / "chunks/3.parquet").unlink()
    Run(finished, ASKED).parts(["chunks/3.parquet"], lambda: [chunk(3)])
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def _other_byte(data: bytes) -> bytes:
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.write_bytes(_other_byte(path.read_bytes())), "changed or cut short"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "changed or cut short"),
        (lambda path: path.write_bytes(b""), "changed or cut short"),
        (lambda path: path.write_bytes(chunk(6)), "changed or cut short"),
        (lambda path: path.with_name("6.parquet").write_bytes(chunk(6)), "none is written down"),
        (lambda path: (path.unlink(), path.mkdir()), "got something else"),
        (lambda path: (path.unlink(), path.symlink_to("0.parquet")), "got something else"),
    ],
)
def test_a_chunk_of_another_hand_is_refused_by_name(finished, change, why):
    change(finished / "chunks/3.parquet")
    run = Run(finished, ASKED)
    names = [f"chunks/{first}.parquet" for first in (0, 3, 6)]
    with pytest.raises(DirectoryError, match=rf"chunks/[36]\.parquet: wanted .*{why}"):
        run.parts(names, lambda: [chunk(6)] * 3)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"files": [1]}', '{"files": 3}', "[" * 100_000])
def test_a_manifest_of_another_hand_is_refused(finished, text):
    (finished / MARKER).write_text(text)
    with pytest.raises(DirectoryError, match="manifest"):
        Run(finished, ASKED)


def test_other_questions_do_not_continue_a_run(finished):
    with pytest.raises(DirectoryError, match=r"wanted limits\[0\]\.most = 2\.0, as in the run that is there; got 3\.0"):
        Run(finished, {"seed": 3, "limits": [{"drug": "a", "most": 3.0}]})
    with pytest.raises(DirectoryError, match="wanted patients = nothing, as in the run that is there; got 5"):
        Run(finished, ASKED | {"patients": 5})


def test_rows_and_columns_are_those_of_the_patients():
    path = Path("chunks/0.parquet")
    with pytest.raises(DirectoryError, match=r"chunks/0\.parquet: patient: wanted 3 rows"):
        columns_of(chunk(1), path, {"patient": range(3)})
    with pytest.raises(DirectoryError, match="patient: wanted 3 rows"):
        columns_of(chunk(0, 2), path, {"patient": range(3)})
    with pytest.raises(DirectoryError, match="wanted a column cells; got none"):
        columns_of(chunk(0), path, {"cells": range(3)})
    with pytest.raises(DirectoryError, match="wanted a chunk of this run"):
        columns_of(b"nonsense", path, {})
    first, other = columns_of(chunk(0), path, {}), columns_of(chunk(3), path, {})
    assert joined({path: first, Path("b"): other})["dose"].tolist() == [i * 1.5 for i in range(6)]
    for odd in ({"dose": other["dose"].astype(np.float32)}, {"more": np.zeros(3)}):
        with pytest.raises(DirectoryError, match=f"b: wanted the columns of the other .* another: {next(iter(odd))}"):
            joined({path: first, Path("b"): other | odd})


KILLED = """
import sys, time
from pathlib import Path
from optimizer.files.run_directory import whole, write_whole
out = Path(sys.argv[1])
with whole(out, "report.json") as work:
    (work / "report.json").write_text("half")
    print("here", flush=True)
    time.sleep(60)
"""


def _at_work(out: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    return process


def _fill(out: Path, text: str) -> None:
    with whole(out, "report.json") as work:
        (work / "report.json").write_text(text)


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_what_a_killed_run_left_goes_and_what_is_at_work_stays(tmp_path):
    out = tmp_path / "run"
    with _at_work(out) as process:
        _fill(out, "whole")
        hidden = [path.name for path in tmp_path.iterdir() if path.name.startswith(".run.")]
        assert len(hidden) == 1
        process.send_signal(signal.SIGKILL)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*hidden, "run"])
    _fill(out, "again")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (out / "report.json").read_text() == "again"


def test_half_files_in_a_run_go_with_the_next(finished):
    (finished / "chunks" / ".6.parquet.abc.part").write_bytes(b"half")
    (finished / ".manifest.json.abc.part").write_bytes(b"half")
    (finished / "chunks" / ".mine").write_bytes(b"no leftover")
    Run(finished, ASKED)
    assert [path.name for path in sorted(finished.rglob(".*"))] == [".mine"]


def test_a_run_that_was_moved_aside_comes_back(tmp_path):
    (tmp_path / ".run.17.old").mkdir()
    (tmp_path / ".run.17.old" / "report.json").write_text("earlier")
    clean(tmp_path, "run")
    assert (tmp_path / "run" / "report.json").read_text() == "earlier"


@pytest.mark.parametrize("exchange", [True, False])
def test_replacing_a_run_never_loses_it(tmp_path, monkeypatch, exchange):
    out, missing, stop = tmp_path / "run", [], threading.Event()
    if not exchange:
        monkeypatch.setattr(run_directory, "_exchanged", lambda one, other: False)
    _fill(out, "0")

    def watch() -> None:
        while not stop.is_set():
            try:
                os.stat(out)
            except FileNotFoundError:
                missing.append(1)

    thread = threading.Thread(target=watch)
    thread.start()
    for i in range(60):
        _fill(out, str(i))
    stop.set()
    thread.join()
    assert (out / "report.json").read_text() == "59"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    if exchange and sys.platform == "linux":
        assert not missing


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    out = tmp_path / "run"
    _fill(out, "whole")
    write_whole(tmp_path / "file", b"whole")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DirectoryError, match="No space left"):
        _fill(out, "half")
    with pytest.raises(DirectoryError, match="No space left"):
        write_whole(tmp_path / "file", b"half")
    assert (out / "report.json").read_text() == "whole"
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "run"]


def test_the_manifest_names_every_finished_file(finished):
    assert list(json.loads((finished / MARKER).read_text())["files"]) == ["chunks/0.parquet", "chunks/3.parquet"]


def test_a_file_is_read_whole_or_refused_by_what_it_is(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"12345")
    assert read_regular(tmp_path / "a.bin", 5) == b"12345"
    os.mkfifo(tmp_path / "pipe")
    for name, said in (
        ("a.bin", "mine: wanted at most 4 bytes; got more"),
        ("pipe", "mine: wanted a sheet; got a device, pipe or socket"),
        (".", "mine: wanted a sheet; got a folder"),
        ("absent", "mine: wanted a sheet; got nothing of that name"),
        ("n" * 300, "mine: wanted a readable file; got File name too long"),
    ):
        with pytest.raises(DataError) as found:
            read_regular(tmp_path / name, 4, "a sheet", "mine", "nothing of that name")
        assert str(found.value) == said


def test_json_of_arrays_and_of_what_says_its_own():
    class Told:
        def to_json(self):
            return {"mean": np.float64(2.0), "ends": np.array([1.0, np.nan])}

    assert finite({"a": Told(), 1: (np.int64(3), np.bool_(True), np.inf)}) == {
        "a": {"mean": 2.0, "ends": [1.0, None]},
        "1": [3, True, None],
    }


WRITER = """
import os, sys
from itertools import count
from pathlib import Path
from optimizer.files.run import Run
from optimizer.files.run_directory import whole
place = Path(sys.argv[1])
for number in map(int, sys.stdin):
    pid = os.fork()
    if not pid:
        run = Run(place / "chunks", {"seed": 3})
        for i in count():
            run.parts([f"{i}.parquet"], lambda: [b"%d " % i * 5000])
            with whole(place / "report", "report.json") as work:
                for name in ("report.json", "schedule.csv"):
                    (work / name).write_text(f"{number} {i} " * 2000)
    print(pid, flush=True)
    os.waitpid(pid, 0)
    print("gone", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_two_hundred_kills_of_a_writer_lose_nothing_that_was_whole(tmp_path):
    """A report is replaced, and a chunk added, every few milliseconds by a child that is killed at any of them."""
    chance, kept, is_there = random.Random(0), dict[str, bytes](), False
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for kill in range(200):
            server.stdin.write(f"{kill}\n")
            server.stdin.flush()
            pid = int(server.stdout.readline())
            time.sleep(chance.uniform(0.0, 0.08))
            os.kill(pid, signal.SIGKILL)
            assert server.stdout.readline() == "gone\n"
            assert (tmp_path / "report").exists() or not is_there
            is_there = (tmp_path / "report").exists()
            if is_there:
                files = [(tmp_path / "report" / name).read_text() for name in ("report.json", "schedule.csv")]
                assert files[0] == files[1]
                assert len(files[0]) > 2000
            now = {path.name: path.read_bytes() for path in (tmp_path / "chunks").glob("*.parquet")}
            assert kept.items() <= now.items()
            kept = now
        server.stdin.close()
    assert kept
    assert is_there
    names = [f"{i}.parquet" for i in range(len(kept))]
    assert Run(tmp_path / "chunks", {"seed": 3}).parts(names, never) == [kept[name] for name in names]
    with whole(tmp_path / "report", "report.json") as work:
        (work / "report.json").write_text("last")
    assert not [path for path in tmp_path.rglob(".*") if path.suffix in (".part", ".old")]
