"""`cohort`: the best schedule of each virtual patient, and the best one for all."""

from typing import Any

from optimizer.files.event_tables import write_schedule
from optimizer.files.run_directory import write_whole
from optimizer.report import plots
from optimizer.report.account import Account, Table, by_endpoint, severe_of, write_account
from optimizer.report.document import MARKER, cohort_document, to_text, versions
from optimizer.report.terminal import number, progress, say_kept, say_part, say_written, show, then_put, workers
from optimizer.scenario import Scenario
from optimizer.settings import CohortSettings, Command
from optimizer.status import Status


def run_cohort(run: Command, asked: CohortSettings) -> int:
    """Find the schedules of all patients, write and print."""
    from optimizer.ensemble.run import run_chunks
    from optimizer.ensemble.summary import summary
    from optimizer.files.run import table_bytes

    scenario, shared = Scenario.load(run.file, run.allow_code), workers(run)
    place = run.place(f"{scenario.name}-cohort")
    try:
        with progress() as tell:
            cohort = run_chunks(scenario, asked, place, versions(), tell, shared)
    except KeyboardInterrupt:
        say_kept(place)
        return Status.INTERRUPTED.exit_code
    if cohort is None:
        return say_part(run, place)
    body = cohort_document(scenario, summary(cohort), cohort.settings.seed)
    account = _account(body, scenario.title)
    with then_put(run.json, to_text(body), lambda: show(account)):
        write_whole(place / "patients.parquet", table_bytes(cohort.table))
        edges = cohort.ensemble.task.grid.edges
        for name, doses in zip(cohort.shared.names, cohort.shared.doses, strict=True):
            write_schedule(place / f"{name}.csv", scenario.target(), edges, doses)
        write_account(place, account, body, {} if run.no_plot else plots.cohort_figures(cohort))
        write_whole(place / MARKER, to_text(body).encode())
    say_written(place, body["faults"])
    return 0 if body["status"] == "solved" else Status(body["status"]).exit_code


def _account(body: dict[str, Any], title: str) -> Account:
    states = [[name, str(count)] for name, count in body["by_status"].items()]
    first = Table(f"{title}: {body['patients']} patients", ["status", "patients"], states)
    header = ["schedule", "mean", "sd", f"cvar {body['alpha']:g}", "worst", "progression,\nmedian [day]", "without"]
    graded = next(iter(body["schedules"].values())).get("neutropenia")
    header += ["neutropenia,\ngrade 3 or 4"] * bool(graded)
    rows = []
    for name, found in body["schedules"].items():
        risk, objective = found["risk"], found["objective"]
        numbers = [objective["mean"], objective["sd"], risk["cvar"], risk["worst"], found["median_progression_day"]]
        rows.append([name, *map(number, numbers), number(found["without_progression"]), *severe_of(found)])
    values = [
        [f"over the {name} schedule", number(found["mean"]), *map(number, found["quantiles"].values())]
        for name, found in body["value_of_personalising"].items()
    ]
    quantiles = [f"{float(q):.0%}" for q in next(iter(body["value_of_personalising"].values()))["quantiles"]]
    tables = [first, Table("Objective" + by_endpoint(body, ", progression"), header, rows)]
    tables.append(Table("Value of personalising", ["objective lowered", "mean", *quantiles], values))
    means = ", ".join(f"{name} {number(found['objective']['mean'])}" for name, found in body["schedules"].items())
    question = "What is the best schedule of each virtual patient, and what the best single schedule for all?"
    answer = [f"Mean objective of {body['patients']} patients: {means}."]
    if body.get("value_of_risk"):
        answer.append(body["value_of_risk"]["sentence"])
    return Account(title, question, answer, tables)
