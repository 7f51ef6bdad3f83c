"""`optimize`, `simulate` and `compare`: the schedules of one patient."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import typer

from optimizer.analysis.comparison import Entry, compare, entry_of
from optimizer.cli.options import SimulateSettings
from optimizer.files.event_tables import read_schedule
from optimizer.files.events import DoseEvent
from optimizer.files.faults import DataError
from optimizer.files.run_directory import check_place, whole
from optimizer.models.stromal import PRESETS
from optimizer.page.explore import Explorer
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem, Report
from optimizer.regimens import Regimen
from optimizer.report import document, plots
from optimizer.report.account import Account, Table, write_account
from optimizer.report.course import course_csv, write_course
from optimizer.report.terminal import number, progress, say, show, stage, then_put
from optimizer.scenario import Scenario
from optimizer.scenario.faults import one_of
from optimizer.search.audit import audit
from optimizer.search.multistart import Progress
from optimizer.search.optimize import optimize
from optimizer.search.result import Result
from optimizer.search.starts import on_decisions
from optimizer.search.tune import tune
from optimizer.settings import Command, CompareSettings, OptimizeSettings, OptionError
from optimizer.simulate import Grid, System
from optimizer.simulate.steady import steady_state
from optimizer.status import DISCLAIMER, Status


def run_optimize(run: Command, asked: OptimizeSettings) -> int:
    """Search, audit, compare, write and print."""
    scenario = Scenario.load(run.file, run.allow_code)
    place = run.place(scenario.name)
    check_place(place, document.MARKER)
    problem = scenario.problem()
    rule = scenario.rule()
    how: dict[str, Any] = {**vars(scenario.fill(asked)), "tolerance": scenario.tolerance}
    Thread(target=document.import_writers, args=(not run.no_plot,)).start()
    with progress() as tell:
        if rule is None:
            # Simulated once the search asks for them, beside its programs being built.
            known = (on_decisions(problem, regimen) for regimen in scenario.regimens())
            result, written_rule = optimize(problem, **how, known=known, progress=tell), []
        else:
            result = tune(problem, rule, **how, progress=tell)
            named = f"{rule.policy.kind} as written"
            written_rule = [Regimen(named, problem.limited(rule.policy), problem.task.grid)]
        tell(Progress("compare and write", 0, 1, result.audit.report.total))
        regimens = [*written_rule, *scenario.regimens()]
        entries = compare(problem, regimens, result, scenario.endpoint(), stage("regimens"))
    body = document.run_document(scenario, result, entries)
    writes = result.status.has_schedule
    with then_put(run.json, document.to_text(body), lambda: _print_result(scenario, result, entries, body)):
        if writes:
            document.write_run(scenario, result, entries, place, not run.no_plot, body)
    written = f" Written to {place}." if writes else ""
    say(f"{result.status.sentence}{written}\n{body['reason']}\n{DISCLAIMER}")
    return result.status.exit_code


def _print_result(scenario: Scenario, result: Result, entries: tuple[Entry, ...], body: dict[str, Any]) -> None:
    report, units, bound, said = result.audit.report, scenario.dose_units, body["bound"], body["answer"]
    tables = _report_tables(scenario.title, report, body["objective"].get("searched", {}))
    if result.tuned is not None:
        t = result.tuned
        ranges = [f"{number(low)} to {number(high)}" for low, high in zip(t.lower, t.upper, strict=True)]
        columns = zip(t.names, t.values, t.written, ranges, strict=True)
        rows = [[name, number(float(best)), number(float(before)), ends] for name, best, before, ends in columns]
        tables.append(Table(f"The rule: {t.kind}", ["number", "best", "as written", "range"], rows))
    if result.status.has_schedule:
        edges, drugs = np.asarray(result.problem.task.grid.edges), result.problem.task.system.drugs
        digits = [6 if drug in result.problem.levels else 3 for drug in drugs]
        rows = [
            [f"{edge:g}", *[f"{dose:.{most}g}" for most, dose in zip(digits, doses, strict=True)]]
            for edge, doses in zip(edges[:-1], np.asarray(result.trajectory.doses), strict=True)
        ]
        tables.append(Table("Schedule", ["day", *[f"{drug} [{units[drug]}]" for drug in drugs]], rows))
    regimens, notes = _regimens(entries, document.total_units(scenario))
    if bound is not None and bound["within_percent"] is not None:
        value = f"{bound['name']}, {number(bound['value'])} (doi {bound['doi']})"
        notes.append(f"Within {bound['within_percent']:.3g} % of a bound that no schedule passes: {value}.")
    doubt = getattr(PRESETS.get(scenario.tables["model"].get("preset")), "doubt", "")
    notes.append(f"The parameters are one set. {doubt or 'adose cohort --posterior asks what comes of others.'}")
    answer = [] if said is None else [said["sentence"], *said["warnings"]]
    show(Account(scenario.title, "", answer, [*tables, regimens], notes))


def _report_tables(title: str, report: Report, searched: Mapping[str, float] = {}) -> list[Table]:
    rows = [[name, number(value), number(report.weights[name])] for name, value in report.terms.items()]
    rows += [[f"{name}, as searched", number(value), ""] for name, value in searched.items()]
    terms = Table(title, ["objective", "value", "weight"], [*rows, ["total", number(report.total), ""]])
    checks = [
        [c.name, number(c.value), number(c.limit), f"{c.violation:.1e}"]
        if c.is_checked
        else [c.name, "not checked", number(c.limit), ""]
        for c in report.constraints
    ]
    return [terms, Table("Constraints", ["name", "value", "limit", "violation"], checks)]


def run_simulate(run: Command, asked: SimulateSettings) -> int:
    """Simulate one way of dosing, print it, and write its time course where a place is given."""
    scenario = Scenario.load(run.file, run.allow_code)
    if run.out is not None:
        check_place(run.out, document.MARKER)
    problem, regimen = chosen(scenario, asked)
    stage("simulate")
    trajectory, report = problem.simulate(problem.delivered(regimen.policy), regimen.grid)
    stage("audit")
    checked = audit(problem, np.asarray(trajectory.doses), report, 0.0, directions=0, grid=regimen.grid)
    found = checked.trajectory, checked.report
    entry = entry_of(problem, regimen.name, regimen.grid, scenario.endpoint(), found, (trajectory, report))
    wrong = document.simulated_status(report, checked)
    body = document.simulated_document(scenario, entry, checked)
    regimens, notes = _regimens([entry], document.total_units(scenario))
    tables = [*_report_tables(scenario.title, checked.report), regimens]
    account = Account(scenario.title, f"What does {entry.name} come to in this model?", [_said(entry)], tables, notes)
    with then_put(run.json, document.to_text(body), lambda: show(account)):
        if run.out is not None:
            write_course(scenario, problem, entry, body, account, run.out, not run.no_plot)
    agrees = "The independent audit agrees." if wrong is None else wrong.sentence
    reason, by = document.simulated_reason(checked), checked.objective_difference
    say(agrees if np.isnan(by) else f"{agrees} The objective differs by {by:.1e} (relative).")
    written = "" if run.out is None else f" Written to {run.out}."
    say(f"{reason[:1].upper()}{reason[1:]}.\n{DISCLAIMER}{written}" if reason else f"{DISCLAIMER}{written}")
    return 0 if wrong is None else wrong.exit_code


def chosen(scenario: Scenario, asked: SimulateSettings) -> tuple[Problem, Regimen]:
    """The problem, and the way of dosing that is asked for: a table of doses, or a regimen of the scenario."""
    if (asked.schedule is None) == (asked.regimen is None):
        raise typer.BadParameter("wanted either --schedule or --regimen", param_hint="--schedule")
    problem = scenario.problem()
    if asked.schedule is not None:
        return from_table(scenario, problem, asked.schedule, asked.time_unit)
    known = {r.name: r for r in scenario.regimens()}
    if asked.regimen not in known:
        names = ", ".join(f'"{name}"' for name in known) or "none, as the scenario has no regimen"
        raise OptionError(f'--regimen: wanted one of {names}; got "{asked.regimen}"')
    return problem, known[asked.regimen]


def run_compare(run: Command, asked: CompareSettings) -> int:
    """Compare regimens, print them, and write figures."""
    if run.no_plot and asked.tornado is not None:
        raise typer.BadParameter("wanted figures; got --no-plot", param_hint="--tornado")
    scenario = Scenario.load(run.file, run.allow_code)
    named = [regimen.name for regimen in scenario.regimens()]
    if asked.tornado not in (None, *named):
        none = f'wanted a scenario with a regimen; got "{asked.tornado}"'
        raise OptionError(f"--tornado: {one_of(named, asked.tornado) if named else none}")
    place = run.place(f"{scenario.name}-compare")
    check_place(place, document.MARKER)
    problem = scenario.problem()
    stage("best constant dose")
    entries = compare(problem, scenario.regimens(), None, scenario.endpoint(), stage("regimens"))
    body = document.compared_document(scenario, entries)
    text, account = document.to_text(body), _compared(scenario, entries)
    with then_put(run.json, text, lambda: show(account)):
        if not run.no_plot:
            with whole(place, document.MARKER) as work:
                (work / document.MARKER).write_text(text, encoding="utf-8")
                (work / "trajectory.csv").write_bytes(course_csv(scenario, problem, entries))
                figures = plots.comparison(problem, entries, scenario)
                if asked.tornado is not None:
                    figures["tornado"] = _tornado(scenario, entries, asked.tornado)
                write_account(work, account, body, figures)
    say(DISCLAIMER + ("" if run.no_plot else f" Written to {place}."))
    return 0 if all(entry.report.finite for entry in entries) else Status.SIMULATION_FAILED.exit_code


def _tornado(scenario: Scenario, entries: Sequence[Entry], name: str) -> Any:
    """The figure of a regimen with each number of the scenario less and more by a tenth."""
    own = next(entry for entry in entries if entry.name == name)
    moved = Explorer(scenario).sensitivities(name, 0.1)
    return plots.tornado_figure(own.outcome, moved, float(own.grid.horizon), f"{scenario.title}: {name}")


def _compared(scenario: Scenario, entries: Sequence[Entry]) -> Account:
    """The best of the regimens that keep the limits, and all of them."""
    known = [entry for entry in entries if not entry.broken and np.isfinite(entry.report.total)]
    answer = "No regimen keeps all limits."
    if known:
        best = min(known, key=lambda entry: entry.report.total)
        answer = f"Of {len(entries)} regimens {len(known)} keep the limits, and of these the best is {_said(best)}"
    regimens, notes = _regimens(entries, document.total_units(scenario))
    question = "Which of these regimens does best in this model, and which keep the limits?"
    return Account(scenario.title, question, [answer], [regimens], notes)


def _said(entry: Entry) -> str:
    """One way of dosing in a sentence."""
    day = entry.outcome.time_to_progression_day
    reached = "no progression" if day is None else f"progression on day {day:.4g}"
    final = "" if entry.outcome.final_burden is None else f", {entry.outcome.final_burden:.3g} cells at the end"
    return f"{entry.name}: objective {number(entry.report.total)}, {reached}{final}."


def _regimens(entries: Sequence[Entry], units: Mapping[str, str]) -> tuple[Table, list[str]]:
    """Every way of dosing: its objective, also scaled to the optimized one's cumulative dose, and what it came to.

    A number with a star breaks a constraint, which a note names.
    """
    if not entries:
        return Table("Regimens", [], []), []
    scaled = any(entry.scaled is not None for entry in entries)
    drugs = list(entries[0].outcome.cumulative_dose)
    header = ["regimen", "objective", *["objective,\nscaled"] * scaled, "progression\n[day]", "final\n[cell]"]
    graded = entries[0].outcome.neutropenia_grade is not None
    header += ["peak\n[cell]", "resistant\nshare", "treated\n[day]", "switches", *["neutropenia\n[grade]"] * graded]
    header += [f"total {drug}\n[{units.get(drug, '')}]" for drug in drugs]
    rows, notes = [], []
    for entry in entries:
        came = entry.outcome
        objectives = [_objective(entry), *["" if entry.scaled is None else _objective(entry.scaled)] * scaled]
        numbers = [f"{x:.3g}" for x in (came.final_burden, came.peak_burden, came.resistant_fraction)]
        ways = [number(came.time_on_treatment_day), str(came.switches), *[str(came.neutropenia_grade)] * graded]
        sums = [number(came.cumulative_dose[drug]) for drug in drugs]
        rows.append([entry.name, *objectives, number(came.time_to_progression_day), *numbers, *ways, *sums])
        notes += [*_breaks(entry), *([] if entry.scaled is None else _breaks(entry.scaled))]
    title = "Regimens" + " (scaled: to the cumulative dose of the optimized schedule)" * scaled
    by = "Numbers by the adaptive solver of the audit" + (
        "." if all(e.is_audited for e in entries) else ", unless noted."
    )
    return Table(title, header, rows), [*(f" * {note}" for note in notes), by]


def _objective(entry: Entry) -> str:
    return number(entry.report.total) + (" *" if entry.broken else "  ")


def _breaks(entry: Entry) -> list[str]:
    """Notes on a way of dosing: what it breaks, which limits are not checked, what its numbers do not say."""
    worst = [f"{c.name} ({number(c.value)}, limit {number(c.limit)})" for c in entry.broken]
    notes = [f"breaks {', '.join(worst)}"] if worst else []
    if entry.unchecked:
        notes.append(f"is off the decision grid, so that some limits are not checked: {', '.join(entry.unchecked)}")
    if not entry.is_audited:
        notes.append("is simulated on fixed nodes alone, as the audit's solver did not succeed")
    return [f"{entry.name} {note}" for note in notes] + [f"{entry.name}: {entry.remark}"] * bool(entry.remark)


# --- a table of doses as a way of dosing that is simulated ------------------------------------------------------------


def from_table(scenario: Scenario, problem: Problem, path: Path, time_unit: str | None) -> tuple[Problem, Regimen]:
    """An event table as doses on the decision grid, with further edges where its events need them.

    The problem is that of a patient who has had doses before where the table says so (SS).
    """
    target, system = scenario.target(), problem.task.system
    edges, doses, other, events = read_schedule(path, target, time_unit)
    for j, (drug, pk) in enumerate(zip(system.drugs, system.pharmacokinetics, strict=True)):
        route = "bolus" if system.routes[j] == "infusion" else "infusion"
        if np.any(other[:, j]) and route not in pk.routes:
            raise DataError(
                f"{path}: wanted doses of {drug} by its route, {system.routes[j]} ({pk.kind}); got a {route}"
            )
    primed = _primed(path, system, events)
    if primed is not None:
        changed = eqx.tree_at(lambda t: t.system.primed, problem.task, primed, is_leaf=lambda leaf: leaf is None)
        problem = replace(problem, task=changed)
    grid = Grid(jnp.asarray(edges), jnp.asarray(other) if np.any(other) else None)
    return problem, Regimen(path.name, Schedule(jnp.asarray(doses)), grid)


def _primed(path: Path, system: System, events: Sequence[DoseEvent]) -> tuple[Any, ...] | None:
    """States of the kinetics at the start where first doses find a steady state; None where none does."""
    found = {event.drug: event for event in events if event.steady}
    if not found:
        return None
    states = []
    for drug, pk, first in zip(system.drugs, system.pharmacokinetics, system.start()[0], strict=True):
        event, own = found.get(drug), [event for event in events if event.drug == drug]
        if event is None:
            states.append(first)
            continue
        lag = pk.delay()
        if event.time > 0.0 or sum(e.steady for e in own) > 1 or (lag is not None and float(lag) > 0.0):
            wanted = f"SS 1 at the first dose of {drug}, on day 0, without a lag"
            raise DataError(f"{path}: column SS: wanted {wanted}; got one on day {event.time:g}")
        try:
            states.append(steady_state(pk, event.amount, event.rate, event.interval))
        except ValueError as error:
            raise DataError(f"{path}: column SS: wanted {error}") from None
    return tuple(states)
