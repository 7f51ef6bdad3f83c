"""`window`, `map`, `pareto` and `verify`: a scenario seen from further away."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict

import typer

from optimizer.analysis.annotations import Annotation, annotate
from optimizer.analysis.axes import numbers_of
from optimizer.analysis.intervals import Response
from optimizer.analysis.map import Map, dataset, request
from optimizer.analysis.map_run import compute
from optimizer.analysis.pareto import Front, trace, two_terms
from optimizer.analysis.verify import TABLE, Line, read_table, verify
from optimizer.analysis.window import SETTLED, Windows, windows
from optimizer.fields import FieldInfo
from optimizer.files.event_tables import write_schedule
from optimizer.files.run import MARKER as RUN_MARKER
from optimizer.files.run_directory import check_place, whole, write_whole
from optimizer.report import plots
from optimizer.report.document import to_text, verified_document, versions, window_document
from optimizer.report.terminal import (
    number,
    progress,
    say,
    say_kept,
    say_part,
    say_written,
    stage,
    table,
    then_put,
    workers,
)
from optimizer.scenario import Scenario
from optimizer.scenario.faults import one_of
from optimizer.scenario.files import shipped
from optimizer.search.multistart import Progress
from optimizer.settings import Command, MapSettings, OptionError, ParetoSettings, VerifySettings, WindowSettings
from optimizer.status import DISCLAIMER, Status

MARKER = "window.json"
MAP_MARKER = "map.json"
PARETO_MARKER = "pareto.json"
DIFFERS = 1
_MOST_ROWS = 50


def run_window(run: Command, asked: WindowSettings) -> int:
    """Find the windows, write and print."""
    scenario = Scenario.load(run.file, run.allow_code)
    if run.out is not None:
        check_place(run.out, MARKER)
    stage("levels")
    found = windows(scenario, **vars(asked))
    text = to_text(window_document(scenario, found.to_json()))
    with then_put(run.json, text, lambda: _print_windows(scenario.title, found)):
        if run.out is not None:
            with whole(run.out, MARKER) as work:
                (work / MARKER).write_text(text, encoding="utf-8")
                plots.save(plots.window_figure(found, scenario.title), work / "window.png")
    say(f"{f'Written to {run.out}. ' if run.out is not None else ''}{DISCLAIMER}")
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


def run_map(run: Command, asked: MapSettings) -> int:
    """Evaluate the map, write and print."""
    scenario, shared = Scenario.load(run.file, run.allow_code), workers(run)
    place, show = run.place(f"{scenario.name}-map"), asked.show
    # With chunks of parts or of a cluster the directory is gone on with, else it is replaced whole.
    in_chunks = shared.is_shared or shared.dask or (place / RUN_MARKER).is_file()
    if not in_chunks:
        check_place(place, MAP_MARKER)
    (last,) = numbers_of("--last", [asked.last], FieldInfo("day", "", positive=True), "day")
    wanted = request(scenario, asked.x, asked.y, asked.at, asked.regimen, last)
    known = wanted.quantities(scenario)
    if show not in known:
        raise OptionError(f"--show: {one_of(known, show)}")
    out = place if in_chunks else None
    try:
        with progress() as tell:

            def said(done: int, total: int) -> None:
                tell(Progress("map", done, total, None))

            found = compute(scenario, wanted, said, out, versions() if in_chunks else {}, shared)
    except KeyboardInterrupt:
        if not in_chunks:
            raise
        say_kept(place)
        return Status.INTERRUPTED.exit_code
    if found is None:
        return say_part(run, place)
    placed = annotate(scenario, found, wanted.numbers, asked.schedule, asked.time_unit)
    body = found.to_json() | {"marks": [asdict(annotation) for annotation in placed]}
    text = to_text(window_document(scenario, body))
    shown = then_put(run.json, text, lambda: _print_map(scenario.title, found, placed, show))
    with shown, nullcontext(place) if in_chunks else whole(place, MAP_MARKER) as work:
        # By way of memory: the HDF5 library crashes when it runs into a full disk itself.
        write_whole(work / "map.nc", bytes(dataset(found).to_netcdf(engine="h5netcdf")))
        if not run.no_plot:
            plots.save(plots.map_figure(found, placed, show, scenario.title), work / "map.png")
        write_whole(work / MAP_MARKER, text.encode())
    if found.failed:
        say(f"{found.failed} points: {Status.SIMULATION_FAILED.sentence}")
    say_written(place)
    return Status.SIMULATION_FAILED.exit_code if found.failed else 0


def _print_map(title: str, found: Map, placed: Sequence[Annotation], show: str) -> None:
    quantity, best = found.quantities[show], found.best(show)
    rows = [[number(b["x"]), *("none" if v is None else number(v) for v in (b["y"], b["value"]))] for b in best]
    step = -(-len(rows) // _MOST_ROWS)
    header = [f"{axis.number.key}\n[{axis.number.unit}]" for axis in (found.x, found.y)]
    table(f"{title}: best {found.y.number.key} for each {found.x.number.key}", [*header, show], rows[::step])
    typer.echo(f"{show}: {quantity.meaning}.")
    for annotation in placed:
        typer.echo(f"{annotation.name}: {number(annotation.x)}, {number(annotation.y)}")


def run_pareto(run: Command, asked: ParetoSettings) -> int:
    """Trace the front, write and print."""
    scenario = Scenario.load(run.file, run.allow_code)
    place = run.place(f"{scenario.name}-pareto")
    check_place(place, PARETO_MARKER)
    how = dict(vars(asked))
    terms = two_terms(scenario, how.pop("terms"))
    with progress() as tell:
        front = trace(scenario, terms, **how, progress=lambda d, n: tell(Progress("front", d, n, None)))
    text = to_text(window_document(scenario, front.to_json()))
    shown = then_put(run.json, text, lambda: _print_front(scenario.title, front))
    with shown, whole(place, PARETO_MARKER) as work:
        target, edges = scenario.target(), front.problem.task.grid.edges
        for i, point in enumerate(front.points, 1):
            if point.result is not None:
                write_schedule(work / f"schedule_{i}.csv", target, edges, point.result.doses)
        if not run.no_plot:
            plots.save(plots.pareto_figure(front, scenario.title), work / "pareto.png")
        (work / PARETO_MARKER).write_text(text, encoding="utf-8")
    reasons = {p.result.reason for p in front.points if p.result is not None and not p.result.status.ok}
    said = "" if front.status.ok else "\n".join([front.status.sentence, *sorted(reasons), ""])
    say(f"{said}Written to {place}. {DISCLAIMER}")
    return front.status.exit_code


def _print_front(title: str, front: Front) -> None:
    rows = [
        [str(i), *map(number, p.terms), "end" if p.limit is None else number(p.limit), "", p.result.status.value]
        for i, p in enumerate(front.points, 1)
        if p.result is not None
    ]
    for p in front.regimens:
        notes = ["dominated"] * p.dominated + [f"breaks {name}" for name in p.broken]
        rows.append([p.name, *map(number, p.terms), "", ", ".join(notes), ""])
    table(f"{title}: trade-off", ["schedule", *front.kinds, f"limit of\n{front.kinds[1]}", "note", "status"], rows)


def run_verify(run: Command, _: VerifySettings) -> int:
    """Recompute the published numbers and print a line each."""
    count, total = itertools.count(1), len(read_table(TABLE)[0]) + len(shipped())
    tell = stage("numbers")

    def told(line: Line) -> None:
        if not run.json:
            typer.echo(_sentence(line))
        tell(next(count), total)

    lines = verify(told)
    if run.json:
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
