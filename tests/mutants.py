"""Small wrong changes of the package, each with the tests that must catch it: `python -m tests.mutants`.

Every change is made in a copy of the tree, in which the named tests then run: a mutant is caught when they fail.
Outside the fast suite; an hour or two for all of them on two cores.

    python -m tests.mutants                 all of them
    python -m tests.mutants audit limits    the rooms that are named
    python -m tests.mutants --list          what there is, and what no longer stands in the code
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutant_list import MUTANTS, Mutant

ROOT = Path(__file__).parents[1]
CAUGHT, SURVIVED, STALE = "caught", "survived", "stale"
# The share that has to be caught, and the time that the tests of one mutant may take [s].
WANTED, LONGEST = 0.95, 1800.0


class Found(NamedTuple):
    """What became of a mutant: caught, survived, or stale (its text stands nowhere, or in several places)."""

    mutant: Mutant
    verdict: str
    seconds: float


def home(mutant: Mutant, tree: Path) -> Path | None:
    """The one file of the package in which the text of a mutant stands, once; None where there is none such."""
    texts = {path: path.read_text(encoding="utf-8") for path in (tree / "optimizer").rglob("*.py")}
    places = [path for path, text in texts.items() for _ in range(text.count(mutant.old))]
    return places[0] if len(places) == 1 else None


def try_out(mutant: Mutant, tree: Path) -> Found:
    """Run the tests of a mutant in a copy of the tree that has it, and mend the copy again."""
    began, path = time.perf_counter(), home(mutant, tree)
    if path is None:
        return Found(mutant, STALE, 0.0)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        # A program is found by the sources that it depends on; what survives is tried again without those kept.
        caught = any(_fails(mutant, tree, cache) for cache in (str(tree.with_name("programs")), "off"))
    finally:
        path.write_text(text, encoding="utf-8")
    return Found(mutant, CAUGHT if caught else SURVIVED, time.perf_counter() - began)


def _fails(mutant: Mutant, tree: Path, cache: str) -> bool:
    """Whether its tests fail, or take too long."""
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "ADOSE_CACHE": cache}
    command = [sys.executable, "-m", "pytest", "-x", "-q", *mutant.tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    # 1 is a failed test, 2 an error while tests are collected; others are no run of tests at all, which says nothing.
    if done.returncode not in (0, 1, 2):
        raise SystemExit(f"{mutant.what}: pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.returncode != 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Try mutants and say what survived; 0 where at least 95 % are caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("rooms", nargs="*", help="rooms whose mutants are tried; all when left out")
    parser.add_argument("--list", action="store_true", help="say what there is and try nothing")
    chosen = parser.parse_args(arguments)
    mutants = [m for m in MUTANTS if not chosen.rooms or m.room in chosen.rooms]
    if not mutants:
        print(f"rooms: wanted some of {', '.join(sorted({m.room for m in MUTANTS}))}; got {' '.join(chosen.rooms)}")
        return 2
    if chosen.list:
        for m in mutants:
            print(f"{m.room:10} {'' if home(m, ROOT) else STALE:6} {m.what}")
        return int(any(home(m, ROOT) is None for m in mutants))
    with tempfile.TemporaryDirectory(prefix="adose-mutants-") as folder:
        tree = Path(folder) / "tree"
        left = shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".pytest_cache", ".hypothesis", "_build")
        shutil.copytree(ROOT, tree, ignore=left)
        found = []
        for m in mutants:
            found.append(try_out(m, tree))
            print(f"{found[-1].verdict:8} {found[-1].seconds:6.0f} s  {m.room:10} {m.what}", flush=True)
    caught = sum(each.verdict == CAUGHT for each in found)
    print(f"{caught} of {len(found)} caught ({100.0 * caught / len(found):.1f} %)")
    return 0 if caught >= WANTED * len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
