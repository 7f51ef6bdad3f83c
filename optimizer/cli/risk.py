"""`risk train` and `risk apply`: a patient's risk of resistance from features."""

from typing import Any

import typer

from optimizer.cli.options import RiskApplySettings
from optimizer.files.event_tables import csv_of
from optimizer.files.run_directory import check_place, write_whole
from optimizer.report.account import Account, Table, write_account
from optimizer.report.document import to_text
from optimizer.report.terminal import number, put, say, say_written, show, stage
from optimizer.risk.train import MARKER, apply, save, train
from optimizer.settings import Command, RiskTrainSettings
from optimizer.status import DISCLAIMER


def run_risk_train(run: Command, asked: RiskTrainSettings) -> int:
    """Train, judge, write and print."""
    place = run.place(f"{run.file.stem}-risk")
    check_place(place, MARKER)
    body = save(train(run.file, asked, stage("judge")), place)
    account = _account(body)
    write_account(place, account, body)
    put(run.json, to_text(body), lambda: show(account))
    say_written(place)
    return 0


def _account(body: dict[str, Any]) -> Account:
    rows = []
    for name, found in body["models"].items():
        span = [f"{number(found[k])} ({number(found[f'{k}_interval'][0])} to {number(found[f'{k}_interval'][1])})"
                for k in ("auc", "brier")]  # fmt: skip
        chosen = "chosen" if name == body["chosen"] else ""
        rows.append([name, *span, number(found["calibration_slope"]), chosen])
    title = f"{body['label']} = {body['classes']['1']}: {body['of_class_1']} of {body['patients']} patients"
    header = ["model", "AUC", "Brier", "calibration\nslope", ""]
    lost = [[group, number(value)] for group, value in list(body["importance"].items())[:10]]
    tables = [Table(f"{title}, {len(body['features'])} features", header, rows)]
    tables.append(Table("Importance", ["group", "AUC lost when shuffled"], lost))
    question = "How well do these features foretell the label, beside a clinical model, in patients not seen?"
    return Account(title, question, [body["sentence"]], tables)


def run_risk_apply(run: Command, asked: RiskApplySettings) -> int:
    """Foretell, write or print."""
    found = apply(run.file, asked.features, asked.clinical)
    columns = zip(found.patients, found.probability, found.low, found.high, strict=True)
    text = csv_of(["patient", "probability", "low", "high"], [[n, *map(float, numbers)] for n, *numbers in columns])
    if asked.out is None:
        typer.echo(text.decode(), nl=False)
    else:
        write_whole(asked.out, text)
    say(f"low to high holds the outcome (0 or 1) in {100 * found.level:g} % of patients like those. {DISCLAIMER}")
    return 0
