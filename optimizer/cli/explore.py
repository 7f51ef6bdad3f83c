"""`window`, `map`, `pareto` and `verify`: a scenario seen from further away."""

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
from optimizer.cli.options import MapSettings, ParetoSettings, VerifySettings, WindowSettings
from optimizer.fields import FieldInfo
from optimizer.files.event_tables import write_schedule
from optimizer.files.run import MARKER as RUN_MARKER
from optimizer.files.run_directory import check_place, whole, write_whole
from optimizer.report import plots
from optimizer.report.account import Account, Table, write_account
from optimizer.report.document import to_text, verified_document, versions, window_document
from optimizer.report.terminal import (
    number,
    progress,
    say,
    say_kept,
    say_part,
    say_written,
    show,
    stage,
    then_put,
    workers,
)
from optimizer.scenario import Scenario
from optimizer.scenario.faults import one_of
from optimizer.scenario.files import shipped
from optimizer.search.multistart import Progress
from optimizer.settings import Command, OptionError
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
    document = window_document(scenario, found.to_json())
    text, account = to_text(document), _windows_account(scenario.title, found)
    with then_put(run.json, text, lambda: show(account)):
        if run.out is not None:
            with whole(run.out, MARKER) as work:
                (work / MARKER).write_text(text, encoding="utf-8")
                write_account(work, account, document, {"window": plots.window_figure(found, scenario.title)})
    say(f"{f'Written to {run.out}. ' if run.out is not None else ''}{DISCLAIMER}")
    return 0


def _windows_account(title: str, found: Windows) -> Account:
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
    tables = [Table(f"{title}: held levels of {found.drug}{beside}", header, rows)]
    critical = [
        [c.clone, number(c.growth_factor), "none" if c.conc is None else number(c.conc)] for c in found.critical
    ]
    tables.append(Table("Critical levels", ["clone", "growth factor\n[pg/mL]", f"shrinks above{level}"], critical))
    for varied in found.varied:
        moved = [
            [number(value), response.clone, _spans(response)]
            for value, clones in zip(varied.values, varied.clones, strict=True)
            for response in clones
        ]
        unit = "" if varied.unit in ("", "1") else f" [{varied.unit}]"
        tables.append(Table(f"Varied: {varied.key}{unit}", ["value", "clone", f"shrinks at [{found.unit}]"], moved))
    answer = "; ".join(f"{response.clone} shrinks at {_spans(response)}" for response in found.clones)
    question = f"At which held levels of {found.drug} does each clone shrink, and at which does it grow?"
    notes = [*(f"warning: {warning}" for warning in found.warnings()), f"Settled: {SETTLED}."]
    return Account(title, question, [f"Of {found.drug} in {found.unit}: {answer}."], tables, notes)


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
    place, shown = run.place(f"{scenario.name}-map"), asked.show
    # With chunks of parts or of a cluster the directory is gone on with, else it is replaced whole.
    in_chunks = shared.is_shared or shared.dask or (place / RUN_MARKER).is_file()
    if not in_chunks:
        check_place(place, MAP_MARKER)
    (last,) = numbers_of("--last", [asked.last], FieldInfo("day", "", positive=True), "day")
    wanted = request(scenario, asked.x, asked.y, asked.at, asked.regimen, last)
    known = wanted.quantities(scenario)
    if shown not in known:
        raise OptionError(f"--show: {one_of(known, shown)}")
    try:
        with progress() as tell:

            def said(done: int, total: int) -> None:
                tell(Progress("map", done, total, None))

            found = compute(scenario, wanted, said, *((place, versions()) if in_chunks else (None, {})), shared)
    except KeyboardInterrupt:
        if not in_chunks:
            raise
        say_kept(place)
        return Status.INTERRUPTED.exit_code
    if found is None:
        return say_part(run, place)
    placed = annotate(scenario, found, wanted.numbers, asked.schedule, asked.time_unit)
    body = found.to_json() | {"marks": [asdict(annotation) for annotation in placed]}
    document = window_document(scenario, body)
    text, account = to_text(document), _map_account(scenario.title, found, placed, shown)
    put = then_put(run.json, text, lambda: show(account))
    with put, nullcontext(place) if in_chunks else whole(place, MAP_MARKER) as work:
        # By way of memory: the HDF5 library crashes when it runs into a full disk itself.
        write_whole(work / "map.nc", bytes(dataset(found).to_netcdf(engine="h5netcdf")))
        figures = {} if run.no_plot else {"map": plots.map_figure(found, placed, shown, scenario.title)}
        write_account(work, account, document, figures)
        write_whole(work / MAP_MARKER, text.encode())
    if found.failed:
        say(f"{found.failed} points: {Status.SIMULATION_FAILED.sentence}")
    say_written(place)
    return Status.SIMULATION_FAILED.exit_code if found.failed else 0


def _map_account(title: str, found: Map, placed: Sequence[Annotation], show: str) -> Account:
    quantity, best = found.quantities[show], found.best(show)
    rows = [[number(b["x"]), *("none" if v is None else number(v) for v in (b["y"], b["value"]))] for b in best]
    step = -(-len(rows) // _MOST_ROWS)
    header = [f"{axis.number.key}\n[{axis.number.unit}]" for axis in (found.x, found.y)]
    x, y = found.x.number, found.y.number
    title_of = f"{title}: best {y.key} for each {x.key}"
    marks = [f"{mark.name}: {number(mark.x)}, {number(mark.y)}" for mark in placed]
    known = [(b["value"], b["x"], b["y"]) for b in best if b["value"] is not None]
    answer = f"No {y.key} is better than the others by {show}."
    if known:
        least, *ends = min(known) if quantity.small_is_good else max(known)
        placed_at = [f"{n.key} = {number(at)} {n.unit}".removesuffix(" 1") for at, n in zip(ends, (x, y), strict=True)]
        answer = f"Best of the map by {show}: {number(least)}, at {' and '.join(placed_at)}."
    question = f"What do repeated doses come to over {x.key} and {y.key}, and which {y.key} is best?"
    notes = [f"{show}: {quantity.meaning}.", *marks]
    return Account(title, question, [answer], [Table(title_of, [*header, show], rows[::step])], notes)


def run_pareto(run: Command, asked: ParetoSettings) -> int:
    """Trace the front, write and print."""
    scenario = Scenario.load(run.file, run.allow_code)
    place = run.place(f"{scenario.name}-pareto")
    check_place(place, PARETO_MARKER)
    how = dict(vars(asked))
    terms = two_terms(scenario, how.pop("terms"))
    with progress() as tell:
        front = trace(scenario, terms, **how, progress=lambda d, n: tell(Progress("front", d, n, None)))
    document = window_document(scenario, front.to_json())
    text, account = to_text(document), _front_account(scenario.title, front)
    with then_put(run.json, text, lambda: show(account)), whole(place, PARETO_MARKER) as work:
        target, edges = scenario.target(), front.problem.task.grid.edges
        for i, point in enumerate(front.points, 1):
            if point.result is not None:
                write_schedule(work / f"schedule_{i}.csv", target, edges, point.result.doses)
        write_account(
            work, account, document, {} if run.no_plot else {"pareto": plots.pareto_figure(front, scenario.title)}
        )
        (work / PARETO_MARKER).write_text(text, encoding="utf-8")
    reasons = {p.result.reason for p in front.points if p.result is not None and not p.result.status.ok}
    said = "" if front.status.ok else "\n".join([front.status.sentence, *sorted(reasons), ""])
    say(f"{said}Written to {place}. {DISCLAIMER}")
    return front.status.exit_code


def _front_account(title: str, front: Front) -> Account:
    rows = [
        [str(i), *map(number, p.terms), "end" if p.limit is None else number(p.limit), "", p.result.status.value]
        for i, p in enumerate(front.points, 1)
        if p.result is not None
    ]
    for p in front.regimens:
        notes = ["dominated"] * p.dominated + [f"breaks {name}" for name in p.broken]
        rows.append([p.name, *map(number, p.terms), "", ", ".join(notes), ""])
    one, other = front.kinds
    spans = [
        f"{kind} from {number(min(values))} to {number(max(values))}"
        for kind, values in zip(front.kinds, zip(*(p.terms for p in front.points), strict=True), strict=True)
    ]
    worse = sum(p.dominated for p in front.regimens)
    answer = (
        f"{len(front.points)} schedules trade {' against '.join(spans)}; of {len(front.regimens)} regimens {worse} "
    )
    header = ["schedule", *front.kinds, f"limit of\n{other}", "note", "status"]
    question = f"How much {one} does less {other} cost, and do the regimens lie on the front?"
    return Account(title, question, [f"{answer}are worse in both."], [Table(f"{title}: trade-off", header, rows)])


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
