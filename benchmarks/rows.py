"""Rows of figures: what a part measures, and benchmarks/history.csv, to which every run is added."""

import csv
import math
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
HISTORY = Path(__file__).with_name("history.csv")
PAGE = ROOT / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- written by `python -m benchmarks --table` -->", "<!-- end of the table -->"
FIELDS = ["date", "commit", "machine", "cores", "part", "problem", "contender", "figure", "value", "unit", "note"]


class Row(NamedTuple):
    """One figure.

    Attributes:
        problem: name of a benchmark; "-" where it is of none.
        contender: who.
        figure: what was measured.
        value: of it; NaN where there is none, and the note says why.
        unit: of the value.
        note: what a reader has to know of it.
    """

    problem: str
    contender: str
    figure: str
    value: float
    unit: str
    note: str = ""


class Entry(NamedTuple):
    """A row of the history.

    Attributes:
        date: start of the run, UTC; the same for all its rows.
        commit: of the working tree, with "+" where files were changed.
        machine: processor and its number of cores.
        cores: that the part was pinned to.
        part: of the benchmarks.
        row: the figure.
    """

    date: str
    commit: str
    machine: str
    cores: int
    part: str
    row: Row

    def cells(self) -> list[str]:
        """In the order of `FIELDS`."""
        row = self.row
        where = [self.date, self.commit, self.machine, str(self.cores), self.part]
        return [*where, row.problem, row.contender, row.figure, f"{row.value:.6g}", row.unit, row.note]

    @classmethod
    def read(cls, cells: dict[str, str]) -> "Entry":
        """The other way round."""
        row = Row(
            cells["problem"], cells["contender"], cells["figure"], float(cells["value"]), cells["unit"], cells["note"]
        )
        return cls(cells["date"], cells["commit"], cells["machine"], int(cells["cores"]), cells["part"], row)


def now() -> str:
    """UTC to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def commit() -> str:
    """Short hash of the checkout, "+" where package or benchmarks differ from it; "unknown" outside a repository."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--", "optimizer", "benchmarks", ":!benchmarks/history.csv")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def machine() -> str:
    """Model of the processor and number of cores."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores"


def append(entries: Iterable[Entry], path: Path = HISTORY) -> None:
    """Add rows at the end of the history."""
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(FIELDS)
        writer.writerows(entry.cells() for entry in entries)


def read(path: Path = HISTORY) -> list[Entry]:
    """The whole history."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [Entry.read(cells) for cells in csv.DictReader(file)]


def nothing(problem: str, contender: str, figure: str, unit: str, why: str) -> Row:
    """A dash, with the reason."""
    return Row(problem, contender, figure, math.nan, unit, why)


def write_page(table: str, page: Path = PAGE) -> None:
    """Put a table in the place of the one in a page, between the two comments."""
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n\n{table}\n\n{_END}{after}", encoding="utf-8")
