"""`replan`: model predictive control of one patient, visit by visit."""

import re
from pathlib import Path
from typing import Any

from optimizer.control.replan import Replanned, replan
from optimizer.control.replan_report import account
from optimizer.files.event_tables import write_schedule
from optimizer.files.run_directory import check_place, whole
from optimizer.report import plots
from optimizer.report.account import Account, Table, write_account
from optimizer.report.document import to_text, window_document
from optimizer.report.terminal import number, progress, say, show, then_put
from optimizer.scenario import Scenario
from optimizer.settings import Command, ReplanSettings
from optimizer.status import DISCLAIMER

MARKER = "replan.json"


def run_replan(run: Command, asked: ReplanSettings) -> int:
    """Update the belief, plan, write and print."""
    scenario = Scenario.load(run.file, run.allow_code)
    place = run.place(f"{scenario.name}-replan")
    check_place(place, MARKER)
    with progress() as tell:
        found = replan(scenario, asked, tell)
    document = window_document(scenario, {**account(found), "seed": found.asked.settings.seed})
    text, told = to_text(document), _account(found, document)
    writes = found.status.has_schedule
    with then_put(run.json, text, lambda: show(told)):
        if writes:
            _write(found, place, document, told, not run.no_plot)
    say(f"{found.status.sentence}{f' Written to {place}.' if writes else ''}\n{found.reason}\n{DISCLAIMER}")
    return found.status.exit_code


def _write(found: Replanned, place: Path, document: dict[str, Any], account: Account, plot: bool) -> None:
    task = found.asked.inference.problem.task
    with whole(place, MARKER) as work:
        write_schedule(work / "schedule.csv", found.asked.scenario.target(), task.grid.edges, found.doses)
        write_account(work, account, document, {"replan": plots.replan_figure(found)} if plot else {})
        (work / MARKER).write_text(to_text(document), encoding="utf-8")


def _account(found: Replanned, document: dict[str, Any]) -> Account:
    units, tables = found.asked.scenario.dose_units, [_believed(found, document["belief"]["numbers"])]
    rows = [[b["name"], number(b["limit"]), number(b["given"]), number(b["left"])] for b in document["budgets"]]
    tables.append(Table("Limits on sums of doses", ["name", "limit", "given", "left"], rows))
    rows = []
    for v in document["visits"]:
        change = "" if v["plan_changed_by"] is None else f"{100 * v['plan_changed_by']:.1f} %"
        said = _measured(v["measured"]), _measured(v["expected_p"])
        rows.append([f"{v['day']:g}", *said, number(v["effective_particles"]), change])
    header = ["day", "measured", "expected\n(p)", "effective\nparticles", "plan\nchanged by"]
    tables.append(Table("Visits", header, rows))
    by = "probability_of_progression"
    ahead = [
        [name, *map(number, (p["objective"]["risk"], p["median_progression_day"])), f"{100 * p[by][-1]:.0f} %"]
        for name, p in (("plan", document["prediction"]["plan"]), (found.course[0], document["prediction"]["course"]))
    ]
    header = ["doses", "objective", "progression,\nmedian [day]", "progressed\nby the end"]
    tables.append(Table("What to expect", header, ahead))
    units = {drug: "" if unit == "1" else f" {unit}" for drug, unit in units.items()}
    doses = [f"{drug} {number(dose)}{units[drug]}" for drug, dose in document["next"]["doses"].items()]
    most, notes = document["changed_most"], [document["fit"]["sentence"]]
    if most is not None:
        what = f"{most['measurement']} on day {most['day']:g} (p {most['expected_p']:.2g})"
        notes.insert(
            0, f"Changed the plan most: {what}, by {100 * most['plan_changed_by']:.1f} % of the largest doses."
        )
    if document["identifiability"] is not None:
        notes.append(document["identifiability"]["sentence"])
    answer = f"Next, on day {document['next']['day']:g}: {', '.join(doses)}."
    question = "What is believed of this patient after what was measured, and which doses are best from now on?"
    return Account(found.asked.scenario.title, question, [answer], tables, notes)


def _believed(found: Replanned, numbers: dict[str, Any]) -> Table:
    names, rows = found.asked.inference.problem.task.system.model.clone_names(), []
    for path, now in numbers.items():
        # A risk's key has the clone's number, as a name may hold brackets.
        key = re.sub(r"clone\[(\d+)\]", lambda at: f"clone[{names[int(at[1])]}]", path)
        before, span = now["before"], " to ".join(map(number, now["interval_90"]))
        rows.append([key, now["unit"], number(before["median"]), number(now["median"]), span])
        if "present" in now:
            rows.append([f"{key} above 0", "1", number(before["present"]), number(now["present"]), ""])
    return Table("What is believed", ["number", "unit", "before", "now", "90 % of it"], rows)


def _measured(values: dict[str, Any]) -> str:
    return "\n".join(f"{name} {value if isinstance(value, str) else f'{value:.3g}'}" for name, value in values.items())
