"""What the commands for one patient do once their options are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import typer

from optimizer.analysis.comparison import Entry, compare
from optimizer.files.event_tables import read_events
from optimizer.files.events import to_grid
from optimizer.files.run_directory import check_place, whole
from optimizer.outcome import outcome
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Report
from optimizer.regimens import Regimen
from optimizer.report.document import (
    MARKER,
    compared_document,
    run_document,
    simulated_document,
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
from optimizer.search.starts import on_decisions
from optimizer.search.tune import tune
from optimizer.simulate import Grid
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
            known = [on_decisions(problem, regimen) for regimen in scenario.regimens()]
            result, written_rule = optimize(problem, **how, known=known, progress=tell), []
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
    say(f"{result.status.sentence}{written}\n{document['reason']}\n{DISCLAIMER}")
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
    checks = [[c.name, number(c.value), number(c.limit), f"{c.violation:.1e}"] for c in report.constraints]
    table("Constraints", ["name", "value", "limit", "violation"], checks)


def run_simulate(file: Path, schedule: Path | None, regimen: str | None, json: bool, allow_code: bool) -> int:
    """Simulate one way of dosing and print it."""
    scenario = Scenario.load(file, allow_code)
    problem = scenario.problem()
    if schedule is not None:
        chosen = _from_table(problem, schedule)
    else:
        known = {r.name: r for r in scenario.regimens()}
        if regimen not in known:
            names = ", ".join(f'"{name}"' for name in known) or "none, as the scenario has no regimen"
            say(f'--regimen: wanted one of {names}; got "{regimen}"')
            return USAGE
        chosen = known[regimen]
    trajectory, report = problem.simulate(problem.delivered(chosen.policy), chosen.grid)
    system = problem.task.system
    came_to = outcome(trajectory, chosen.grid, system.drugs, system.routes, scenario.progression_factor)
    entry = Entry(chosen.name, chosen.grid, trajectory, report, came_to)
    checked = audit(problem, np.asarray(trajectory.doses), report, 0.0, directions=0, grid=chosen.grid)
    wrong = simulated_status(report, checked)
    if json:
        typer.echo(to_text(simulated_document(scenario, entry, checked)), nl=False)
    else:
        _print_report(scenario.title, checked.report)
        regimen_table([entry], total_units(scenario))
    agrees = "The independent audit agrees." if wrong is None else wrong.sentence
    say(f"{agrees} The objective differs by {checked.objective_difference:.1e} (relative).\n{DISCLAIMER}")
    return 0 if wrong is None else wrong.exit_code


def _from_table(problem: Problem, path: Path) -> Regimen:
    """An event table as doses on the decision grid, with further edges where its events need them."""
    system, grid = problem.task.system, problem.task.grid
    routes = dict(zip(system.drugs, system.routes, strict=True))
    events = read_events(path, system.drugs)
    edges, doses = to_grid(events, system.drugs, float(grid.horizon), routes, np.asarray(grid.edges))
    return Regimen(path.name, Schedule(jnp.asarray(doses)), Grid(jnp.asarray(edges)))


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
