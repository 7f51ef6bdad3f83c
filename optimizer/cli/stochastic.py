"""`stochastic`: one way of dosing, cell by cell."""

from typing import Any

from optimizer.cli.options import StochasticSettings
from optimizer.cli.schedule import chosen
from optimizer.ensemble.stochastic import prepared, stochastic
from optimizer.files.run_directory import check_place, whole
from optimizer.report import plots
from optimizer.report.account import Account, Table, write_account
from optimizer.report.document import cohort_document, to_text
from optimizer.report.terminal import number, say, show, stage, then_put
from optimizer.scenario import Scenario
from optimizer.settings import Command
from optimizer.status import DISCLAIMER, Status

MARKER = "stochastic.json"


def run_stochastic(run: Command, asked: StochasticSettings) -> int:
    """Simulate, print, and write a document and a figure where a place is given."""
    scenario = prepared(Scenario.load(run.file, run.allow_code))
    if run.out is not None:
        check_place(run.out, MARKER)
    asked = scenario.fill(asked)
    problem, regimen = chosen(scenario, asked)
    stage(f"{asked.runs} runs")
    found = stochastic(scenario, problem, regimen, asked.runs, asked.seed)
    body = found.to_json()
    document = cohort_document(scenario, body, asked.seed)
    text, account = to_text(document), _account(scenario.title, body)
    with then_put(run.json, text, lambda: show(account)):
        if run.out is not None:
            with whole(run.out, MARKER) as work:
                (work / MARKER).write_text(text, encoding="utf-8")
                figures = {} if run.no_plot else {"stochastic": plots.stochastic_figure(found, scenario.title)}
                write_account(work, account, document, figures)
    say(f"{f'Written to {run.out}. ' if run.out is not None else ''}{DISCLAIMER}")
    return 0 if found.report.finite else Status.SIMULATION_FAILED.exit_code


def _account(title: str, body: dict[str, Any]) -> Account:
    rows = []
    for key, name in (("extinction", "no cell left"), ("resistance", "resistant cells left"), ("progression",) * 2):
        part = body[key]
        low, high = part["interval"]
        expected = part.get("probability")
        day = part.get("days", {}).get("0.5")
        shares = [f"{part['share']:.4g}", f"{low:.4g} to {high:.4g}", "" if expected is None else f"{expected:.6g}"]
        rows.append([name, *shares, number(day) if "days" in part else "", number(part.get("deterministic_day"))])
    header = ["outcome", "share", "95 % interval", "generating\nfunction", "median\n[day]", "deterministic\n[day]"]
    gone, named = body["extinction"], f"{body['regimen']}, {body['runs']} runs"
    low, high = gone["interval"]
    answer = (
        f"No cell is left in {100 * gone['share']:.4g} % of the runs (95 %: {100 * low:.4g} to {100 * high:.4g} %)."
    )
    question = (
        "What are the chances of extinction, resistance and progression when single cells divide and die by chance?"
    )
    return Account(title, question, [answer], [Table(f"{title}: {named}", header, rows)])
