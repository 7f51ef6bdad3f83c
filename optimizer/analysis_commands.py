"""What the commands `window` and `verify` do once their options are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import typer

from optimizer._directory import check_place, whole
from optimizer.analysis.intervals import Response
from optimizer.analysis.options import OptionError
from optimizer.analysis.verify import Line, verify
from optimizer.analysis.window import SETTLED, Windows, windows
from optimizer.console import USAGE, number, say, table
from optimizer.report import to_text, verified_document, window_document
from optimizer.scenario import Scenario
from optimizer.status import DISCLAIMER

MARKER = "window.json"
DIFFERS = 1


def run_window(
    file: Path,
    drug: str | None,
    at: Sequence[str],
    vary: Sequence[str],
    schedule: Path | None,
    out: Path | None,
    json: bool,
    allow_code: bool,
) -> int:
    """Find the windows, write and print."""
    scenario = Scenario.load(file, allow_code)
    if out is not None:
        check_place(out, MARKER)
    try:
        found = windows(scenario, drug, at, vary, schedule)
    except OptionError as error:
        say(str(error))
        return USAGE
    text = to_text(window_document(scenario, found.to_json()))
    if out is not None:
        from optimizer.plots import save, window_figure

        with whole(out, MARKER) as work:
            (work / MARKER).write_text(text, encoding="utf-8")
            save(window_figure(found, scenario.title), work / "window.png")
    if json:
        typer.echo(text, nl=False)
    else:
        _print_windows(scenario.title, found)
    say(f"{f'Written to {out}. ' if out is not None else ''}{DISCLAIMER}")
    return 0


def _print_windows(title: str, found: Windows) -> None:
    timed, level = bool(found.shares()), f"\n[{found.unit}]"
    others = ", ".join(f"{name} {value}" for name, value in found.held.items())
    beside = f", beside {others}" if others else ""
    rows = []
    for m, response in enumerate(found.clones):
        for i, interval in enumerate(response.intervals):
            end = "no bound" if math.isinf(interval.end) else number(interval.end)
            share = [f"{found.shares()[m][i]:.4f}"] if timed else []
            rows.append([response.clone, number(interval.start), end, interval.word, *share])
    header = ["clone", f"from{level}", f"to{level}", "response", *["share of\nthe time"] * timed]
    table(f"{title}: held levels of {found.drug}{beside}", header, rows)
    if found.critical:
        critical = [
            [c.clone, number(c.growth_factor), "none" if c.conc is None else number(c.conc)] for c in found.critical
        ]
        table("Critical levels", ["clone", "growth factor\n[pg/mL]", f"shrinks above{level}"], critical)
    for varied in found.varied:
        moved = [
            [number(value), response.clone, _spans(response)]
            for value, clones in zip(varied.values, varied.clones, strict=True)
            for response in clones
        ]
        unit = "" if varied.unit in ("", "1") else f" [{varied.unit}]"
        table(f"Varied: {varied.key}{unit}", ["value", "clone", f"shrinks at [{found.unit}]"], moved)
    for warning in found.warnings():
        typer.echo(f"warning: {warning}")
    typer.echo(f"Settled: {SETTLED}.")


def _spans(response: Response) -> str:
    """Intervals in which the clone shrinks, in words."""
    spans = [
        f"{number(i.start)} to {number(i.end)}" if math.isfinite(i.end) else f"above {number(i.start)}"
        for i in response.intervals
        if i.sign < 0
    ]
    return ", ".join(spans) or "no level"


def run_verify(json: bool) -> int:
    """Recompute the published numbers and print a line each."""
    lines = verify((lambda _: None) if json else (lambda line: typer.echo(_sentence(line))))
    if json:
        typer.echo(to_text(verified_document([line.to_json() for line in lines])), nl=False)
    good = sum(line.passed for line in lines)
    say(f"{good} of {len(lines)} pass.\n{DISCLAIMER}")
    return 0 if good == len(lines) else DIFFERS


def _sentence(line: Line) -> str:
    """pass or FAIL, quantity, published number, ours, their difference, source."""
    parts = [f"{'pass' if line.passed else 'FAIL'}  {line.quantity}"]
    if line.published is not None:
        parts.append(f"published {line.published:.10g}")
    parts.append(f"ours {line.reason or 'none'}" if line.ours is None else f"ours {line.ours:.10g}")
    if line.difference is not None:
        parts.append(f"difference {line.difference:+.1e} (at most {line.tolerance:.0e})")
    return "; ".join([*parts, *([line.source] if line.source else [])])
