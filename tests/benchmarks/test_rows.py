"""The history keeps what was measured, and the table says of every target whether it was reached."""

import csv
import math

import pytest

from benchmarks.parts import PARTS
from benchmarks.rows import FIELDS, HISTORY, PAGE, Entry, Row, append, nothing, read, write_page
from benchmarks.targets import number, table


def entry(part, cores, *row):
    return Entry("2026-01-01T00:00:00Z", "abc", "some machine, 2 cores", cores, part, Row(*row))


def test_history_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "history.csv"
    first = entry("patient", 1, "colorectal", "ours", "warm", 0.0123456, "s", "median of 5, comma")
    append([first], path)
    append([entry("cold", 2, *nothing("colorectal", "gekko", "cold", "s", "not installed"))], path)
    back = read(path)
    assert back[0] == first
    assert math.isnan(back[1].row.value)
    with path.open(newline="") as file:
        assert next(csv.reader(file)) == FIELDS


def test_the_recorded_history_can_be_read():
    for e in read(HISTORY):
        assert e.part
        assert e.cores in (1, 2)


@pytest.mark.parametrize(("seconds", "verdict"), [(0.01, "reached"), (0.5, "missed")])
def test_marks_are_reached_or_missed(seconds, verdict):
    entries = [
        entry("patient", 1, "colorectal", "expert", "warm", 0.1, "s"),
        entry("patient", 1, "colorectal", "ours", "warm", seconds, "s"),
    ]
    line = next(line for line in table(entries).splitlines() if line.startswith("| 1 patient warm"))
    assert line.endswith(f"| >= 8 | {verdict} |")
    assert "| unmeasured |" in table(entries)


def test_the_page_takes_the_table_and_keeps_its_words(tmp_path):
    page = tmp_path / "page.md"
    words, rest = PAGE.read_text(encoding="utf-8").split("| colorectal", 1)
    assert "reached" in rest
    page.write_text(words + "| colorectal" + rest + "behind\n")
    for table_ in ("| old |", "| new |"):
        write_page(table_, page)
    text = page.read_text()
    assert text.startswith(words.split("<!--")[0])
    assert text.endswith("-->\n\n| new |\n\n<!-- end of the table -->\nbehind\n")
    assert text.count("<!--") == 2


def test_nothing_measured_is_said():
    assert table([]) == "nothing has been measured"
    assert number(math.nan) == "-"


def test_every_part_is_a_file():
    from importlib.util import find_spec

    for part in PARTS:
        assert find_spec(f"benchmarks.parts.{part}"), part
