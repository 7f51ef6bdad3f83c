"""What the commands for one patient do once their options are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import typer

from optimizer.analysis.comparison import Entry, audited_entry, compare
from optimizer.cli.from_table import from_table
from optimizer.files.run_directory import check_place, whole
from optimizer.problem import Report
from optimizer.regimens import Regimen
from optimizer.report.course import course_csv, write_course
from optimizer.report.document import (
    MARKER,
    compared_document,
    run_document,
    simulated_document,
    simulated_reason,
    simulated_status,
    to_text,
    total_units,
    write_run,
)
from optimizer.report.terminal import USAGE, number, progress, regimen_table, say, table
from optimizer.scenario import Scenario
from optimizer.search.audit import audit
from optimizer.search.multistart import Progress
from optimizer.search.optimize import optimize
from optimizer.search.result import Result
from optimizer.search.tune import tune
from optimizer.status import DISCLAIMER, Status

# Outcomes without a schedule that could be handed on.
_NOTHING_TO_WRITE = (Status.INFEASIBLE, Status.SIMULATION_FAILED)


def run_optimize(
    file: Path, out: Path | None, restarts: int | None, seed: int | None, json: bool, plot: bool, allow_code: bool
) -> int:
    """Search, audit, compare, write and print."""
    scenario = Scenario.load(file, allow_code)
    place = Path("runs") / scenario.name if out is None else out
    check_place(place, MARKER)
    problem = scenario.problem()
    rule = scenario.rule()
    how: dict[str, Any] = {
        "seed": scenario.seed if seed is None else seed,
        "restarts": scenario.restarts if restarts is None else restarts,
        "tolerance": scenario.tolerance,
    }
    with progress() as tell:
        if rule is None:
            result, written_rule = optimize(problem, **how, progress=tell), []
        else:
            result = tune(problem, rule, **how, progress=tell)
            named = f"{rule.policy.kind} as written"
            written_rule = [Regimen(named, problem.limited(rule.policy), problem.task.grid)]
        tell(Progress("compare and write", 0, 1, result.audit.report.total))
        entries = compare(problem, [*written_rule, *scenario.regimens()], result, scenario.progression_factor)
        if result.status in _NOTHING_TO_WRITE:
            document = run_document(scenario, result, entries)
        else:
            document = write_run(scenario, result, entries, place, plot)
    if json:
        typer.echo(to_text(document), nl=False)
    else:
        _print_result(scenario, result, entries, document["bound"])
    written = "" if result.status in _NOTHING_TO_WRITE else f" Written to {place}."
    say(f"{result.status.sentence}{written}\n{result.reason}\n{DISCLAIMER}")
    return result.status.exit_code


def _print_result(scenario: Scenario, result: Result, entries: tuple[Entry, ...], bound: dict[str, Any] | None) -> None:
    report, units = result.audit.report, scenario.dose_units
    _print_report(scenario.title, report)
    if result.tuned is not None:
        t = result.tuned
        ranges = [f"{number(low)} to {number(high)}" for low, high in zip(t.lower, t.upper, strict=True)]
        columns = zip(t.names, t.values, t.written, ranges, strict=True)
        rows = [[name, number(float(best)), number(float(before)), ends] for name, best, before, ends in columns]
        table(f"The rule: {t.kind}", ["number", "best", "as written", "range"], rows)
    if result.status not in _NOTHING_TO_WRITE:
        edges, drugs = np.asarray(result.problem.task.grid.edges), result.problem.task.system.drugs
        rows = [
            [f"{edge:g}", *[number(float(dose)) for dose in doses]]
            for edge, doses in zip(edges[:-1], np.asarray(result.trajectory.doses), strict=True)
        ]
        table("Schedule", ["day", *[f"{drug} [{units[drug]}]" for drug in drugs]], rows)
    regimen_table(entries, total_units(scenario))
    if bound is not None and bound["within_percent"] is not None:
        value = f"{bound['name']}, {number(bound['value'])} (doi {bound['doi']})"
        typer.echo(f"Within {bound['within_percent']:.3g} % of a bound that no schedule passes: {value}.")


def _print_report(title: str, report: Report) -> None:
    rows = [[name, number(value), number(report.weights[name])] for name, value in report.terms.items()]
    table(title, ["objective", "value", "weight"], [*rows, ["total", number(report.total), ""]])
    checks = [
        [c.name, number(c.value), number(c.limit), f"{c.violation:.1e}"]
        if c.is_checked
        else [c.name, "not checked", number(c.limit), ""]
        for c in report.constraints
    ]
    table("Constraints", ["name", "value", "limit", "violation"], checks)


def run_simulate(
    file: Path,
    schedule: Path | None,
    regimen: str | None,
    time_unit: str | None,
    out: Path | None,
    json: bool,
    plot: bool,
    allow_code: bool,
) -> int:
    """Simulate one way of dosing, print it, and write its time course where a place is given."""
    scenario = Scenario.load(file, allow_code)
    if out is not None:
        check_place(out, MARKER)
    problem = scenario.problem()
    if schedule is not None:
        problem, chosen = from_table(scenario, problem, schedule, time_unit)
    else:
        known = {r.name: r for r in scenario.regimens()}
        if regimen not in known:
            names = ", ".join(f'"{name}"' for name in known) or "none, as the scenario has no regimen"
            say(f'--regimen: wanted one of {names}; got "{regimen}"')
            return USAGE
        chosen = known[regimen]
    trajectory, report = problem.simulate(problem.delivered(chosen.policy), chosen.grid)
    checked = audit(problem, np.asarray(trajectory.doses), report, 0.0, directions=0, grid=chosen.grid)
    entry = audited_entry(problem, chosen.name, chosen.grid, checked, scenario.progression_factor, (trajectory, report))
    wrong = simulated_status(report, checked)
    text = to_text(simulated_document(scenario, entry, checked))
    if out is not None:
        write_course(scenario, problem, entry, text, out, plot)
    if json:
        typer.echo(text, nl=False)
    else:
        _print_report(scenario.title, checked.report)
        regimen_table([entry], total_units(scenario))
    agrees = "The independent audit agrees." if wrong is None else wrong.sentence
    reason, by = simulated_reason(checked), checked.objective_difference
    say(agrees if np.isnan(by) else f"{agrees} The objective differs by {by:.1e} (relative).")
    written = "" if out is None else f" Written to {out}."
    say(f"{reason[:1].upper()}{reason[1:]}.\n{DISCLAIMER}{written}" if reason else f"{DISCLAIMER}{written}")
    return 0 if wrong is None else wrong.exit_code


def run_compare(file: Path, out: Path | None, json: bool, plot: bool, allow_code: bool) -> int:
    """Compare regimens, print them, and write figures."""
    scenario = Scenario.load(file, allow_code)
    place = Path("runs") / f"{scenario.name}-compare" if out is None else out
    check_place(place, MARKER)
    problem = scenario.problem()
    entries = compare(problem, scenario.regimens(), None, scenario.progression_factor)
    text = to_text(compared_document(scenario, entries))
    if plot:
        from optimizer.report.plots import comparison, save

        with whole(place, MARKER) as work:
            (work / MARKER).write_text(text, encoding="utf-8")
            (work / "trajectory.csv").write_bytes(course_csv(scenario, problem, entries))
            for name, figure in comparison(problem, entries, scenario).items():
                save(figure, work / f"{name}.png")
    if json:
        typer.echo(text, nl=False)
    else:
        regimen_table(entries, total_units(scenario))
    say(DISCLAIMER + (f" Written to {place}." if plot else ""))
    return 0 if all(entry.report.finite for entry in entries) else Status.SIMULATION_FAILED.exit_code


def catalog() -> dict[str, dict[str, str]]:
    """All words of a scenario by family, with their meaning."""
    from optimizer.models.stromal import PRESETS
    from optimizer.scenario.model_schema import model_branches
    from optimizer.scenario.schema import FAMILIES, classes, first_line
    from optimizer.units import UNITS

    models = {kind: (spec.__doc__ or kind).strip().splitlines()[0] for kind, spec in model_branches().items()}
    found = {"model": models, "preset": {name: f"{p.meaning} (doi {p.doi})" for name, p in PRESETS.items()}}
    for family, entry in FAMILIES.items():
        if family != "model":
            found[entry.word] = {kind: first_line(cls) for kind, cls in classes(family).items()}
    found["unit"] = {unit.name: ", ".join((unit.meaning, *unit.aliases)) for unit in UNITS}
    return found
