"""When a command first shows something, and how long nothing moves: `python -m benchmarks.visible [COMMAND ...]`.

Each command runs in a terminal of its own (a pseudo-terminal); what it writes there is what a person sees.
"""

import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import time
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
_CAF, _STRIKES = "scenarios/crc_caf_cetuximab.toml", "scenarios/two_strikes.toml"
_TRIAL, _BISTABLE = "scenarios/competing_clones_trial.toml", "scenarios/bistable_general.toml"
_SBML = "tests/equations/sbml/BIOMD0000000825.xml"
COMMANDS: dict[str, list[str]] = {
    "check": [_CAF],
    "simulate": [_CAF, "--regimen", "weekly 1 ug/mL"],
    "optimize": [_CAF],
    "compare": ["scenarios/crc_caf_combination.toml"],
    "window": [_BISTABLE],
    "map": [_BISTABLE, "--x", "drug[drug].mean_concentration=0.2:2 mg/L:9", "--y", "decision.every=1:30 day:9"],
    "stochastic": [_STRIKES, "--regimen", "second strike on day 2"],
    "pareto": [_CAF, "--terms", "burden,drug_use", "--points", "3"],
    "cohort": ["scenarios/crc_caf_patients.toml", "--patients", "8"],
    "trial": [_TRIAL, "--patients", "2"],
    "replan": [_TRIAL, "--given", "data/visits/given.csv", "--observations", "data/visits/observations.csv"],
    "train": [_TRIAL, "--steps", "50"],
    "calibrate": ["data/crc_birth_death_rates.csv", "--kind", "rates", "--out", "OUT"],
    "verify": [],
    "replay": ["data/courses.csv", "--model", "examples/courses/washout.toml"],
    "risk train": ["data/risk/training.csv", "--label", "resistant", "--out", "OUT"],
    "import": f"{_SBML} --to OUT.toml --control u --burden Tumor_Volume_V".split(),
    "list": [],
    "schema": ["--out", "OUT.json"],
    "new": [],
}


class Seen(NamedTuple):
    """What a person saw.

    Attributes:
        code: exit code.
        first: seconds to the first visible change.
        gap: seconds of the longest time in which nothing moved, the beginning and the end included.
        seconds: of the whole.
        text: all that was written.
    """

    code: int
    first: float
    gap: float
    seconds: float
    text: str


def watch(words: list[str], folder: Path = ROOT, environment: dict[str, str] | None = None) -> Seen:
    """Run `python WORDS` in a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    env = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"} | (environment or {})
    began = last = time.monotonic()
    first, gap, parts = float("nan"), 0.0, []
    with subprocess.Popen(
        [sys.executable, *words], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=env
    ) as process:
        os.close(theirs)
        while True:
            if select.select([ours], [], [], 0.05)[0]:
                try:
                    data = os.read(ours, 65536)
                except OSError:
                    data = b""  # the other side is closed
                if not data:
                    break
                now = time.monotonic()
                first = now - began if not parts else first
                gap, last = max(gap, now - last), now
                parts.append(data)
    os.close(ours)
    ended = time.monotonic()
    return Seen(process.returncode, first, max(gap, ended - last), ended - began, b"".join(parts).decode())


def main() -> None:
    """Print a row a command."""
    print("| command | exit code | first line [s] | longest stillness [s] | whole [s] |\n|---|---|---|---|---|")
    for name in sys.argv[1:] or COMMANDS:
        with tempfile.TemporaryDirectory() as folder:
            words = [word.replace("OUT", f"{folder}/fit") for word in COMMANDS[name]]
            places = {"optimize", "compare", "map", "pareto", "cohort", "trial", "replan", "train", "replay"}
            out = ["--out", f"{folder}/run"] if name in places else []
            seen = watch(["-m", "optimizer", *name.split(), *words, *out])
        print(f"| {name} | {seen.code} | {seen.first:.2f} | {seen.gap:.2f} | {seen.seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
