"""`optimize`, `simulate` and `compare`: the schedules of one patient."""

from __future__ import annotations

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
from optimizer.report.terminal import USAGE, number, progress, regimen_table, say, table, then_put
from optimizer.scenario import Scenario
from optimizer.search.audit import Audit, audit
from optimizer.search.multistart import Progress
from optimizer.search.optimize import optimize
from optimizer.search.result import Result
from optimizer.search.tune import tune
from optimizer.settings import Command, OptimizeSettings, SimulateSettings, of_file
from optimizer.status import DISCLAIMER, Status

# Outcomes without a schedule that could be handed on.
_NOTHING_TO_WRITE = (Status.INFEASIBLE, Status.SIMULATION_FAILED)


def run_optimize(run: Command, asked: OptimizeSettings) -> int:
    """Search, audit, compare, write and print."""
    scenario = Scenario.load(run.file, run.allow_code)
    place = run.place(scenario.name)
    check_place(place, MARKER)
    problem = scenario.problem()
    rule = scenario.rule()
    how: dict[str, Any] = {**vars(of_file(asked, scenario)), "tolerance": scenario.tolerance}
    with progress() as tell:
        if rule is None:
            result, written_rule = optimize(problem, **how, progress=tell), []
        else:
            result = tune(problem, rule, **how, progress=tell)
            named = f"{rule.policy.kind} as written"
            written_rule = [Regimen(named, problem.limited(rule.policy), problem.task.grid)]
        tell(Progress("compare and write", 0, 1, result.audit.report.total))
        entries = compare(problem, [*written_rule, *scenario.regimens()], result, scenario.progression_factor)
    document = run_document(scenario, result, entries)
    writes = result.status not in _NOTHING_TO_WRITE
    with then_put(run.json, to_text(document), lambda: _print_result(scenario, result, entries, document["bound"])):
        if writes:
            write_run(scenario, result, entries, place, not run.no_plot, document)
    written = f" Written to {place}." if writes else ""
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


def run_simulate(run: Command, asked: SimulateSettings) -> int:
    """Simulate one way of dosing, print it, and write its time course where a place is given."""
    if (asked.schedule is None) == (asked.regimen is None):
        raise typer.BadParameter("wanted either --schedule or --regimen", param_hint="--schedule")
    scenario = Scenario.load(run.file, run.allow_code)
    if run.out is not None:
        check_place(run.out, MARKER)
    problem = scenario.problem()
    if asked.schedule is not None:
        problem, chosen = from_table(scenario, problem, asked.schedule, asked.time_unit)
    else:
        known = {r.name: r for r in scenario.regimens()}
        if asked.regimen not in known:
            names = ", ".join(f'"{name}"' for name in known) or "none, as the scenario has no regimen"
            say(f'--regimen: wanted one of {names}; got "{asked.regimen}"')
            return USAGE
        chosen = known[asked.regimen]
    trajectory, report = problem.simulate(problem.delivered(chosen.policy), chosen.grid)
    checked = audit(problem, np.asarray(trajectory.doses), report, 0.0, directions=0, grid=chosen.grid)
    entry = audited_entry(problem, chosen.name, chosen.grid, checked, scenario.progression_factor, (trajectory, report))
    wrong = simulated_status(report, checked)
    text = to_text(simulated_document(scenario, entry, checked))
    with then_put(run.json, text, lambda: _print_simulated(scenario, entry, checked)):
        if run.out is not None:
            write_course(scenario, problem, entry, text, run.out, not run.no_plot)
    agrees = "The independent audit agrees." if wrong is None else wrong.sentence
    reason, by = simulated_reason(checked), checked.objective_difference
    say(agrees if np.isnan(by) else f"{agrees} The objective differs by {by:.1e} (relative).")
    written = "" if run.out is None else f" Written to {run.out}."
    say(f"{reason[:1].upper()}{reason[1:]}.\n{DISCLAIMER}{written}" if reason else f"{DISCLAIMER}{written}")
    return 0 if wrong is None else wrong.exit_code


def _print_simulated(scenario: Scenario, entry: Entry, checked: Audit) -> None:
    _print_report(scenario.title, checked.report)
    regimen_table([entry], total_units(scenario))


def run_compare(run: Command) -> int:
    """Compare regimens, print them, and write figures."""
    scenario = Scenario.load(run.file, run.allow_code)
    place = run.place(f"{scenario.name}-compare")
    check_place(place, MARKER)
    problem = scenario.problem()
    entries = compare(problem, scenario.regimens(), None, scenario.progression_factor)
    text = to_text(compared_document(scenario, entries))
    with then_put(run.json, text, lambda: regimen_table(entries, total_units(scenario))):
        if not run.no_plot:
            from optimizer.report.plots import comparison, save

            with whole(place, MARKER) as work:
                (work / MARKER).write_text(text, encoding="utf-8")
                (work / "trajectory.csv").write_bytes(course_csv(scenario, problem, entries))
                for name, figure in comparison(problem, entries, scenario).items():
                    save(figure, work / f"{name}.png")
    say(DISCLAIMER + ("" if run.no_plot else f" Written to {place}."))
    return 0 if all(entry.report.finite for entry in entries) else Status.SIMULATION_FAILED.exit_code
