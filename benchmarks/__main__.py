"""All benchmarks, or some of them, side by side; each part is a child process pinned to its cores.

python -m benchmarks                               everything: about 25 minutes on two cores
python -m benchmarks --only patient --problem colorectal --repeats 1
python -m benchmarks --table                       write docs/benchmarks.md: the last run of each part, the targets
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import rows
from benchmarks.parts import EACH_PROBLEM, ON_BOTH, ON_ONE, ONLY_NAMED, PARTS
from benchmarks.problems import BENCHMARKS
from benchmarks.targets import lines, table


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What was asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Side by side with what else there is.")
    parser.add_argument("--only", action="append", choices=[*PARTS, *ONLY_NAMED], metavar="NAME", help="a part; again")
    parser.add_argument("--problem", action="append", choices=list(BENCHMARKS), help="a problem; again for more")
    parser.add_argument("--cores", type=int, action="append", help="1 or 2; both when left out")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cap", type=float, default=10.0, help="seconds for a slow contender")
    parser.add_argument("--patients", type=int, default=0, help="most patients of a cohort")
    parser.add_argument("--subset", type=int, default=16, help="patients that the contenders are looped over")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--record", action="store_true", help="write better optima into benchmarks/best_known.json")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="gpu", help="of the part accelerator")
    parser.add_argument("--precision", choices=["float32", "float64"], default="float64", help="the same")
    parser.add_argument("--table", action="store_true", help="write what has been measured into docs/benchmarks.md")
    parser.add_argument("--history", type=Path, default=rows.HISTORY, help="file that every run is added to")
    return parser.parse_args(words)


def plan(asked: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Part, problem and cores of each child process."""
    cores = asked.cores or [1, 2]
    for part in asked.only or PARTS:
        problems = (asked.problem or list(BENCHMARKS)) if part in EACH_PROBLEM else [""]
        for problem in problems:
            for count in cores if part in ON_BOTH else [min(cores) if part in ON_ONE else max(cores)]:
                if part != "seeds" or BENCHMARKS[problem].starts:
                    yield part, problem, count


def measured(part: str, told: dict) -> Iterator[rows.Row]:
    """Rows of a child process; what goes wrong there is one line, and the run goes on."""
    command = [sys.executable, "-m", "benchmarks.child", part, json.dumps(told)]
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(command, cwd=rows.ROOT, stdout=subprocess.PIPE, stderr=said, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                yield rows.Row(*json.loads(line))
        said.seek(0)
        words = said.read().strip().splitlines() or [f"exit {child.returncode}"]
    if child.returncode:
        yield rows.nothing(told["problem"] or "-", "-", part, "-", words[-1])


def main() -> None:
    """Measure, print, keep; then the targets."""
    asked = arguments()
    if asked.table:
        rows.write_page(table(rows.read(asked.history)))
        return
    shared = {
        name: getattr(asked, name)
        for name in ("repeats", "cap", "patients", "subset", "seeds", "record", "device", "precision")
    }
    date, commit, machine, entries = rows.now(), rows.commit(), rows.machine(), []
    print(f"{date}, commit {commit}, {machine}", flush=True)
    for part, problem, cores in plan(asked):
        print(f"\n{part}{' ' + problem if problem else ''}, {cores} core{'s' if cores > 1 else ''}", flush=True)
        for row in measured(part, shared | {"problem": problem, "cores": cores}):
            entry = rows.Entry(date, commit, machine, cores, part, row)
            rows.append([entry], asked.history)
            entries.append(entry)
            print(lines(row), flush=True)
    print("\n" + table(entries))
    if asked.history == rows.HISTORY:
        rows.write_page(table(rows.read()))


if __name__ == "__main__":
    main()
