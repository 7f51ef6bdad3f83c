"""What the commands share: numerics switched on, progress on stderr, a user's mistakes as sentences, tables as text."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.comparison import Entry
    from optimizer.search.multistart import Progress

USAGE, REFUSED, INTERRUPTED = 2, 3, 130
_CACHE_BYTES = 512 * 2**20


def numerics() -> None:
    """Switch on 64-bit numbers and the compilation cache in the user's directory (ADOSE_CACHE: another, or "off")."""
    # Diffrax checks its inputs by a callback to Python, which keeps a program out of the cache; a fault becomes NaN
    # instead, which every report of a simulation says.
    os.environ.setdefault("EQX_ON_ERROR", "nan")
    import jax

    jax.config.update("jax_enable_x64", True)
    if os.environ.get("ADOSE_CACHE") == "off":
        return
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("ADOSE_CACHE") or base / "adose")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a cache is a convenience
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_compilation_cache_max_size", _CACHE_BYTES)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def say(text: str = "") -> None:
    """A line on stderr."""
    typer.echo(text, err=True)


@contextmanager
def session() -> Iterator[None]:
    """Turn a user's mistake into sentences on stderr and an exit code."""
    numerics()
    from optimizer._directory import DirectoryError
    from optimizer.calibrate.faults import DataError
    from optimizer.constraints.base import ConstraintError
    from optimizer.events import EventError
    from optimizer.scenario import ScenarioError

    try:
        yield
    except (ScenarioError, DataError, EventError, ConstraintError) as error:
        say(str(error))
        raise typer.Exit(REFUSED) from None
    except DirectoryError as error:
        say(str(error))
        raise typer.Exit(USAGE) from None
    except KeyboardInterrupt:
        say("Interrupted: nothing was written.")
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def progress() -> Iterator[Callable[[Progress], None]]:
    """What `optimize` tells about itself: a bar on a terminal, a line a phase elsewhere; on stderr."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[best]}"),
        rich.TimeElapsedColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("compile", total=None, best="")

        def show(event: Progress) -> None:
            best = "" if event.best is None else f"best {event.best:.6g}"
            bar.update(task, description=event.phase, completed=event.done, total=event.total, best=best)

        yield show


def _lines() -> Callable[[Progress], None]:
    seen: set[str] = set()

    def show(event: Progress) -> None:
        if event.phase not in seen:
            seen.add(event.phase)
            best = "" if event.best is None else f", best objective {event.best:.6g}"
            say(f"{event.phase}: {event.total} restarts{best}")

    return show


def console() -> Console:
    """Where tables go; colors only on a terminal that wants them (NO_COLOR)."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 120
    return Console(width=width, highlight=False)


def number(value: float | None) -> str:
    """A number as a table shows it."""
    return "not reached" if value is None else f"{value:.6g}"


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: text to the left, numbers to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    # Text objects: a unit in brackets is no markup.
    grid = Table(title=Text(title, style="bold"), title_justify="left", box=SIMPLE_HEAD)
    for i, name in enumerate(header):
        left = i == 0 or name in ("meaning", "violates", "unit")
        grid.add_column(Text(name), justify="left" if left else "right", no_wrap=i == 0, overflow="fold")
    for row in rows:
        grid.add_row(*map(Text, row))
    console().print(grid)


def regimen_table(entries: Sequence[Entry], units: Mapping[str, str]) -> None:
    """Every way of dosing: objective at its own cumulative dose and scaled to the optimized one's, and its outcome."""
    drugs = list(entries[0].outcome.cumulative_dose) if entries else []
    sums = [f"sum of {drug} [{units.get(drug, '')}]" for drug in drugs]
    header = ["regimen", "objective", "scaled", "progression [day]", "final", "peak", "resistant", *sums, "violates"]
    rows = []
    for entry in entries:
        came = entry.outcome
        broken = [c.name for c in entry.report.constraints if c.violation > 1e-6]
        rows.append(
            [
                entry.name,
                number(entry.report.total),
                "" if entry.scaled is None else number(entry.scaled.report.total),
                number(came.time_to_progression_day),
                f"{came.final_burden:.3g}",
                f"{came.peak_burden:.3g}",
                f"{came.resistant_fraction:.3g}",
                *[number(came.cumulative_dose[drug]) for drug in drugs],
                ", ".join(broken),
            ]
        )
    table("Regimens (scaled: to the cumulative dose of the optimized schedule)", header, rows)


def tree(value: Any, depth: int = 0) -> Iterator[str]:
    """Nested tables and lists as indented lines."""
    pad = "  " * depth
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value, 1):
        label = f"{pad}{key}:" if isinstance(value, Mapping) else f"{pad}- "
        nested = isinstance(item, list) and any(isinstance(entry, Mapping | list) for entry in item)
        if nested or (isinstance(item, Mapping) and item):
            yield label
            yield from tree(item, depth + 1)
        else:
            yield f"{label} {', '.join(map(str, item)) if isinstance(item, list) else item}"
