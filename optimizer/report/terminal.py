"""What the commands share: numerics switched on, progress on stderr, a user's mistakes as sentences, tables as text."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from optimizer.interrupt import INTERRUPTED, NOTHING_WRITTEN, at_once, remembered
from optimizer.report.live import CURRENT, Live
from optimizer.status import DISCLAIMER

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.files.chunks import Workers
    from optimizer.report.account import Account
    from optimizer.search.multistart import Progress
    from optimizer.settings import Command

USAGE, REFUSED = 2, 3
_WIDE = 1000
# Patients who are named one by one on stderr.
MOST_FAULTS = 10
# What is counted in each phase that counts.
_COUNTED = {"search": "restarts", "plan": "restarts", "patients": "patients", "map": "points", "front": "points"}
_COUNTED |= {"train": "steps", "visits": "visits", "regimens": "regimens", "numbers": "numbers", "judge": "folds"}


def numerics(precision: str = "float64") -> None:
    """Choose "float64" or "float32", and the user's compilation cache (ADOSE_CACHE: another folder, or "off")."""
    # Diffrax checks its inputs by a callback to Python, which keeps a program out of the cache; a fault becomes NaN
    # instead, which every report of a simulation says.
    os.environ.setdefault("EQX_ON_ERROR", "nan")
    live = CURRENT.get()
    if live and not live.is_verbose:
        # XLA's own words on stderr, such as those on slow compilation.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import jax

    jax.config.update("jax_enable_x64", precision == "float64")
    if os.environ.get("ADOSE_CACHE") == "off":
        return
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    from optimizer.programs import keep_compiled

    keep_compiled(Path(os.environ.get("ADOSE_CACHE") or base / "adose"))


def _placed(device: str | None) -> None:
    """Compute where the user wants it, which has to be said before the first array is made."""
    import jax

    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if device == "gpu" and jax.default_backend() != "gpu":
        say(f"--device: wanted a GPU; got a machine on which JAX finds {jax.default_backend()} alone (adose[cuda]?)")
        raise typer.Exit(USAGE)


def say(text: str = "") -> None:
    """A line on stderr."""
    typer.echo(text, err=True)


def put(json: bool, text: str, show: Callable[[], None]) -> None:
    """The result on stdout: one JSON document and nothing else, or what a person reads."""
    if json:
        typer.echo(text, nl=False)
    else:
        show()


def say_kept(place: Path) -> None:
    """What to do after Ctrl-C in a run that keeps what is finished."""
    say(f"Interrupted: what is finished is kept in {place}; the same command goes on from there.")


def workers(run: "Command") -> "Workers":
    """Who makes the chunks of a command.

    Raises:
        OptionError: options that say nothing, or contradict each other.
    """
    from optimizer.files.chunks import workers_of

    return workers_of(run.part, run.engine, run.cluster, partial(numerics, run.precision))


def say_part(run: "Command", place: Path) -> int:
    """What to do when a part is made."""
    put(run.json, f'{{"part": "{run.part}"}}\n', lambda: None)
    say(f"Part {run.part} is kept in {place}; when all are, the same command without --part puts them together.")
    return 0


def say_written(place: Path, faults: Sequence[str] = ()) -> None:
    """Where a run was written, after the first of its patients' faults."""
    for fault in faults[:MOST_FAULTS]:
        say(fault)
    say(f"Written to {place}. {DISCLAIMER}")


@contextmanager
def then_put(json: bool, text: str, show: Callable[[], None]) -> Iterator[None]:
    """Write files, then put the result; where they cannot be written, it is put all the same."""
    try:
        yield
    except Exception:  # a disk that is full says so in many ways
        put(json, text, show)
        raise
    put(json, text, show)


@contextmanager
def session(
    device: str | None = None, precision: str = "float64", quiet: bool = False, computes: bool = True
) -> Iterator[None]:
    """Turn a user's mistake into sentences on stderr and an exit code; compute on "cpu", "gpu" or what there is."""
    from optimizer.files.faults import DataError
    from optimizer.files.run_directory import DirectoryError
    from optimizer.settings import OptionError

    refused: tuple[type[Exception], ...] = (DataError,)
    if computes:
        with at_once():
            numerics(precision)
            _placed(device)
            import optimizer.scenario
        from optimizer.constraints.base import ConstraintError

        refused = (DataError, ConstraintError, optimizer.scenario.ScenarioError)
    try:
        with _warnings_said(), _told_of_programs(quiet) if computes else nullcontext():
            yield
    except refused as error:
        say(str(error))
        raise typer.Exit(REFUSED) from None
    except (DirectoryError, OptionError) as error:
        say(str(error))
        raise typer.Exit(USAGE) from None
    except KeyboardInterrupt:
        say(NOTHING_WRITTEN)
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        raise  # whoever read stdout has seen enough: nothing to tell
    except OSError as error:
        # Python flushes stdout once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        say(f"{error.filename or 'stdout'}: wanted a place that can be read and written; got: {error.strerror}")
        raise typer.Exit(USAGE) from None


@contextmanager
def _told_of_programs(quiet: bool) -> Iterator[None]:
    """What speaks for the command, from now on if nobody does yet, hears of programs that are compiled."""
    from jax import monitoring

    live = CURRENT.get() or Live(["--quiet"] * quiet, sys.stderr)
    known = CURRENT.set(live)
    monitoring.register_event_listener(live.note_compiling)
    try:
        yield
    finally:
        monitoring.unregister_event_listener(live.note_compiling)
        CURRENT.reset(known)


@contextmanager
def _warnings_said() -> Iterator[None]:
    """What readers of tables left out or assumed, one line each on stderr."""
    from optimizer.files.faults import TableWarning

    def shown(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, TableWarning):
            say(f"warning: {message}")
        else:
            before(message, category, *place, **more)

    with warnings.catch_warnings():
        before = warnings.showwarning
        warnings.simplefilter("always", TableWarning)
        warnings.showwarning = shown
        yield


@contextmanager
def progress() -> "Iterator[Callable[[Progress], None]]":
    """What a command tells about itself, on stderr.

    Raises:
        KeyboardInterrupt: where one got lost before the end of the search.
    """
    live = _live()
    with remembered() as pressed:

        def tell(event: "Progress") -> None:
            if event.phase in ("starts", "compile", *_COUNTED) and pressed():
                raise KeyboardInterrupt
            _tell(live, *event)

        yield tell


def stage(phase: str) -> Callable[[int, int], None]:
    """Say what is done from now on.

    Returns:
        What is told how many of how many are done, from any thread.
    """
    live = _live()

    def tell(done: int, total: int) -> None:
        _tell(live, phase, done, total, None)

    tell(0, 0)
    return tell


def _tell(live: Live, phase: str, done: int, total: int, best: float | None) -> None:
    is_counted = phase in _COUNTED and total > 0
    parts = [f"{done} of {total} {_COUNTED[phase]}"] if is_counted else []
    count = ", ".join(parts + ([] if best is None else [f"best objective {best:.6g}"]))
    live.tell(phase, count, done / total if is_counted else None)


def _live() -> Live:
    """What speaks for the command that is run; where none is, plain lines."""
    return CURRENT.get() or Live([], sys.stderr)


def console() -> "Console":
    """Where tables go; colors only on a terminal that wants them (NO_COLOR)."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)


def number(value: float | None) -> str:
    """A number as a table shows it."""
    return "not reached" if value is None else f"{value:.6g}"


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: text to the left, numbers to the right; one too wide for the terminal comes in parts."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    out = console()
    out.print(Text(title, style="bold"))
    for part in _parts(header, rows, out.width):
        grid = Table(box=SIMPLE_HEAD, width=min(out.width, 120) if "meaning" in header else None)
        for i in part:
            words = header[i] == "meaning"
            side = "left" if i == 0 or words or header[i] == "unit" else "right"
            # Text objects: a unit in brackets is no markup.
            grid.add_column(Text(header[i]), justify=side, no_wrap=not words, overflow="fold")
        for row in rows:
            grid.add_row(*(Text(row[i]) for i in part))
        out.print(grid)


def show(account: "Account") -> None:
    """What a command came to: the answer first."""
    for line in [*account.answer, ""] if account.answer else []:
        typer.echo(line)
    for part in account.tables:
        if part.rows:
            table(part.title, part.header, part.rows)
    for line in account.notes:
        typer.echo(line)


def _parts(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Columns of each part of a table; every part begins with the first column."""
    if "meaning" in header:
        return [list(range(len(header)))]  # words are wrapped
    needs = [
        3 + max(len(line) for cell in (name, *(row[i] for row in rows)) for line in cell.split("\n"))
        for i, name in enumerate(header)
    ]
    parts, free = [[0]], width - needs[0]
    for i in range(1, len(header)):
        if needs[i] > free and len(parts[-1]) > 1:
            parts.append([0])
            free = width - needs[0]
        parts[-1].append(i)
        free -= needs[i]
    return parts
