"""What a command says of itself while it runs."""

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.visible import watch
from optimizer.report import live as home
from optimizer.report.live import Live, _Above

ROOT = Path(__file__).parents[2]


class Screen(io.StringIO):
    """A terminal that remembers."""

    def isatty(self):
        return True


def wait_for(condition):
    until = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def quick(monkeypatch):
    for name, value in {"_TICK": 0.01, "_FIRST": 0.0, "_LONG": 0.0, "_SILENCES": (0.05, 0.05)}.items():
        monkeypatch.setattr(home, name, value)


def begun(monkeypatch, stream, words):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "stdout", stream)
    return Live.begun(words)


def test_a_pipe_has_a_line_a_stage_a_quarter_and_now_and_then_one_that_time_goes_on(quick, monkeypatch):
    out = io.StringIO()
    live = begun(monkeypatch, out, ["compare", "file.toml"])
    wait_for(lambda: "adose compare: start\n" in out.getvalue())
    for done in range(1, 101):
        live.tell("search", f"{done} of 100 restarts", done / 100)
    wait_for(lambda: "search: 100 of 100 restarts (for 0:00)\n" in out.getvalue())
    live.end()
    lines = out.getvalue().splitlines()
    counted = [line for line in lines if line.startswith("search") and "(for" not in line]
    assert counted == [f"search: {done} of 100 restarts" for done in (1, 25, 50, 75, 100)]
    assert not any("\r" in line for line in lines)


def test_a_terminal_has_one_line_that_moves_and_makes_room(quick, monkeypatch):
    screen = Screen()
    live = begun(monkeypatch, screen, ["optimize", "file.toml"])
    assert isinstance(sys.stderr, _Above)
    live.tell("search", "1 of 4 restarts, best objective 6.33", 0.25)
    wait_for(lambda: screen.getvalue().count("1 of 4 restarts") > 3)
    drawn = screen.getvalue().split(home._CLEAR)[-2:]
    assert drawn[0][1:] == drawn[1][1:]  # all but what turns
    text = "0:00 of 0:00  adose optimize [#####---------------] search: 1 of 4 restarts, best objective"
    assert drawn[0][2:] == text[:77]  # of a terminal of 80 columns
    print("UserWarning: something", file=sys.stderr)
    live.end()
    assert sys.stderr is screen
    # What somebody else writes begins in an empty line.
    assert f"{home._CLEAR}UserWarning: something\n" in screen.getvalue()
    rest = screen.getvalue().rpartition("something\n")[2]
    assert rest == "" or rest.endswith(home._CLEAR)


def test_programs_that_are_compiled_are_counted_and_said_to_be_kept(quick, monkeypatch):
    out = io.StringIO()
    live = begun(monkeypatch, out, ["map"])
    live.tell("map")
    for event in ("compile_requests_use_cache", "compile_requests_use_cache", "cache_hits", "something_else"):
        live.note_compiling(f"/jax/compilation_cache/{event}")
    wait_for(lambda: "map: compiling 1 program (for" in out.getvalue() and home._KEPT in out.getvalue())
    live.note_compiling("/jax/compilation_cache/cache_misses")
    assert live.compiling == 0
    live.end()
    assert out.getvalue().count(home._KEPT) == 1


def test_quiet_and_verbose(quick, monkeypatch):
    out = io.StringIO()
    live = begun(monkeypatch, out, ["optimize", "a.toml", "--quiet"])
    live.tell("search", "1 of 4 restarts", 0.25)
    live.end()
    assert out.getvalue() == ""
    live = begun(monkeypatch, Screen(), ["optimize", "a.toml", "--verbose"])
    for done in (1, 2, 3):
        live.tell("search", f"{done} of 100 restarts", done / 100)
    live.end()
    assert sys.stderr.getvalue().splitlines()[-1].startswith("[0:00] search: 3 of 100 restarts")
    assert "\r" not in sys.stderr.getvalue()


def test_commands_that_answer_at_once_say_nothing_on_a_pipe(quick, monkeypatch):
    for words in (["list"], ["schema"], ["page", "a.toml"], [], ["optimize", "-h"], ["--version"]):
        out = io.StringIO()
        live = begun(monkeypatch, out, words)
        time.sleep(0.05)
        live.end()
        assert out.getvalue() == "", words


@pytest.mark.skipif(sys.platform != "linux", reason="pseudo-terminals")
def test_a_person_sees_something_at_once_and_no_line_is_broken():
    seen = watch(["-m", "optimizer", "check", "scenarios/crc_caf_cetuximab.toml"])
    assert seen.code == 0
    assert seen.first < 2.0  # 0.1 on an idle machine
    drawn, _, answer = seen.text.rpartition(home._CLEAR)
    assert "adose check start" in drawn
    assert "The model stromal" not in drawn
    assert "The model stromal" in answer
    assert answer.rstrip().endswith("factor: 1.2 (default)")


LOCKED = """
import ctypes, sys
from optimizer.report.live import Live
live = Live.begun(["optimize", "file.toml"])
live.tell("search", "1 of 4 restarts", 0.25)
ctypes.PyDLL(None).usleep(2_000_000)  # holds Python's lock
print("the answer", file=sys.stderr)
live.end()
print("the end")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="pseudo-terminals")
def test_the_line_moves_while_python_stands_still():
    seen = watch(["-c", LOCKED])
    assert seen.code == 0, seen.text
    drawn, _, rest = seen.text.partition("the answer")
    turns = [line[0] for line in drawn.split(home._CLEAR) if "search: 1 of 4 restarts" in line]
    assert len(turns) > 4
    assert set(turns) == set(home._TURNS)
    assert drawn.endswith(home._CLEAR)
    assert rest.endswith("the end\r\n")
    assert "search" not in rest.rpartition(home._CLEAR)[2]


def test_a_mistake_is_one_line_with_quiet():
    command = [sys.executable, "-m", "optimizer", "compare", "nowhere.toml", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
