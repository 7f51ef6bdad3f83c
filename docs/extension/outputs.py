"""What the example of each command prints: `python docs/extension/outputs.py [COMMAND ...]` writes reference/outputs/.

The examples run in a folder of their own beside links to what a clone has, so that they find what earlier ones left.
Where a number differs from run to run (seconds) it is the one of the run that was kept; the token of a page, rules of
tables, and lines that say only for how long something lasts are left out.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs" / "reference" / "outputs"
_PLACE = ROOT / "docs" / "_build" / "outputs"
_MOST_LINES, _WIDEST = 36, 160


def leaves(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Commands with their whole names, those of groups too."""
    for name, command in group.commands.items():
        yield from leaves(command, f"{above}{name} ") if hasattr(command, "commands") else [(above + name, command)]


def examples() -> dict[str, str]:
    """The example of each command as it is typed."""
    from typer.main import get_command

    from optimizer.cli import app

    found = {name: command.epilog.removeprefix("Example: ") for name, command in leaves(get_command(app))}
    return {name: line.replace(r"\[", "[") for name, line in found.items()}


def kept(name: str) -> Path:
    """Where the output of a command is kept: the line that was typed, then what it said."""
    return KEPT / f"{name.replace(' ', '_')}.txt"


def shortened(text: str) -> str:
    """The lines that a page shows."""
    lines = [line.rstrip() for line in text.replace(f"{_PLACE}/", "").splitlines()]
    lines = [line if len(line) <= _WIDEST else f"{line[:_WIDEST]} ..." for line in lines]
    lines = [re.sub(r"token=[\w-]+", "token=...", line) for line in lines if set(line.strip()) - set("─")]
    lines = [line for line in lines if not re.search(r"\(for \d+:\d\d\)$", line)]
    rest = len(lines) - _MOST_LINES
    return "\n".join([*lines[:_MOST_LINES], *([f"... ({rest} more lines)"] if rest > 1 else lines[_MOST_LINES:]), ""])


def ran(line: str) -> str:
    """What a command says on both streams, in the order of a terminal; a page that is served is ended."""
    words = [sys.executable, "-m", "optimizer", *shlex.split(line)[1:]]
    words += ["--no-browser"] if words[3] == "page" else []
    env = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=_PLACE, env=env
    ) as child:
        assert child.stdout is not None
        said = []
        for one in child.stdout:
            said.append(one)
            if words[3] == "page" and "Ctrl-C" in one:
                child.send_signal(signal.SIGINT)
    if child.returncode != 0 and words[3] != "page":
        raise RuntimeError(f"{line}: exit code {child.returncode}\n{''.join(said)}")
    return "".join(said)


def main() -> None:
    """Run them all, or those that are named."""
    _PLACE.mkdir(parents=True, exist_ok=True)
    KEPT.mkdir(exist_ok=True)
    for name in ("scenarios", "data", "examples", "tests"):
        (_PLACE / name).unlink(missing_ok=True)
        (_PLACE / name).symlink_to(ROOT / name)
    if not sys.argv[1:]:  # what other examples left may not be gone on with
        shutil.rmtree(_PLACE / "runs", ignore_errors=True)
    failed: list[str] = []
    for name, line in examples().items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        for new in re.findall(r"--(?:to|out) (\S+\.\w+)", line):
            (_PLACE / new).unlink(missing_ok=True)
        try:
            kept(name).write_text(f"$ {line}\n{shortened(ran(line))}", encoding="utf-8")
        except RuntimeError as error:
            failed.append(str(error))
        print(name, flush=True)
    sys.exit("\n".join(failed) or 0)


if __name__ == "__main__":
    main()
