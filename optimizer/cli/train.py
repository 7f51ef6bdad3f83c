"""`train`: a network that doses, judged on patients it has not seen."""

from pathlib import Path
from typing import Any

from optimizer.control.decisions import decide, to_csv
from optimizer.control.train_report import body, document_of, sentence, visit
from optimizer.control.train_run import Learned, learn
from optimizer.files.run_directory import check_place, whole
from optimizer.report import plots
from optimizer.report.account import Account, Table, write_account
from optimizer.report.document import cohort_document, to_text
from optimizer.report.terminal import MOST_FAULTS, number, progress, say, show, then_put
from optimizer.scenario import Scenario
from optimizer.settings import Command, TrainSettings
from optimizer.status import DISCLAIMER

MARKER = "train.json"


def run_train(run: Command, asked: TrainSettings) -> int:
    """Train, judge, write and print."""
    scenario = Scenario.load(run.file, run.allow_code)
    place = run.place(f"{scenario.name}-train")
    check_place(place, MARKER)
    with progress() as tell:
        learned = learn(scenario, asked, tell)
    document = cohort_document(scenario, body(learned), learned.settings.seed)
    text, account = to_text(document), _account(learned, document)
    written = learned.status.has_schedule
    with then_put(run.json, text, lambda: show(account)):
        if written:
            _write(learned, document, account, place, not run.no_plot)
    for fault in document["faults"][:MOST_FAULTS]:
        say(fault)
    kept = f" Written to {place}." if written else ""
    say(f"{sentence(learned.status)}{kept}\n{learned.reason}\n{DISCLAIMER}")
    return learned.status.exit_code


def _write(learned: Learned, document: dict[str, Any], account: Account, place: Path, plot: bool) -> None:
    """The run directory, whole or not at all."""
    scenario, drugs = learned.scenario, learned.split.ensemble.task.system.drugs
    decisions = decide(learned.network, visit(learned))
    with whole(place, MARKER) as work:
        (work / "resolved.json").write_text(to_text(scenario.resolved()), encoding="utf-8")
        (work / "network.json").write_text(to_text(document_of(learned)), encoding="utf-8")
        rows = to_csv(decisions, learned.network, drugs, scenario.dose_units)
        (work / "decisions.csv").write_text(rows, encoding="utf-8")
        write_account(work, account, document, {"training": plots.training_figure(learned)} if plot else {})
        (work / MARKER).write_text(to_text(document), encoding="utf-8")


def _account(learned: Learned, document: dict[str, Any]) -> Account:
    counts = document["patients"]
    others = "held out" if counts["held_out_are_others"] else "the one it was trained on"
    rows = []
    for name, found in document["held_out"].items():
        over, limits = found["over_network"], f"{100.0 * found['within_limits']:.4g} %"
        spread = "" if name == "network" else f"{number(over['mean'])} +- {number(over['standard_error'])}"
        cells = [number(found["objective"]["mean"]), spread, number(found["median_progression_day"])]
        rows.append([name, *cells, number(found["without_progression"]), limits])
    header = ["policy", "objective,\nmean", "above\nthe network", "progression,\nmedian [day]", "without", "in limits"]
    numbers = [[name, number(value)] for name, value in learned.rule.items()] if learned.rule else []
    title = learned.scenario.title
    tables = [Table(f"{title}: {learned.held_out} patients, {others}", header, rows)]
    tables.append(Table("The tuned rule", ["number", "best"], numbers))
    means = {name: found["objective"]["mean"] for name, found in document["held_out"].items()}
    answer = "Mean objective: " + ", ".join(f"{name} {number(mean)}" for name, mean in means.items()) + "."
    question = "Does a network that doses by what is measured do better than rules, on patients it has not seen?"
    return Account(title, question, [answer], tables)
