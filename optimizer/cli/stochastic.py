"""`stochastic`: one way of dosing, cell by cell."""

from __future__ import annotations

from typing import Any

from optimizer.cli.schedule import chosen
from optimizer.ensemble.stochastic import prepared, stochastic
from optimizer.files.run_directory import check_place, whole
from optimizer.report.document import cohort_document, to_text
from optimizer.report.terminal import number, say, stage, table, then_put
from optimizer.scenario import Scenario
from optimizer.settings import Command, StochasticSettings
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
    text = to_text(cohort_document(scenario, body, asked.seed))
    with then_put(run.json, text, lambda: _print(scenario.title, body)):
        if run.out is not None:
            with whole(run.out, MARKER) as work:
                (work / MARKER).write_text(text, encoding="utf-8")
                if not run.no_plot:
                    from optimizer.report.plots.stochastic import stochastic_figure
                    from optimizer.report.plots.style import save

                    save(stochastic_figure(found, scenario.title), work / "stochastic.png")
    say(f"{f'Written to {run.out}. ' if run.out is not None else ''}{DISCLAIMER}")
    return 0 if found.report.finite else Status.SIMULATION_FAILED.exit_code


def _print(title: str, body: dict[str, Any]) -> None:
    rows = []
    for key, name in (("extinction", "no cell left"), ("resistance", "resistant cells left"), ("progression",) * 2):
        part = body[key]
        low, high = part["interval"]
        expected = part.get("probability")
        day = part.get("days", {}).get("0.5")
        shares = [f"{part['share']:.4g}", f"{low:.4g} to {high:.4g}", "" if expected is None else f"{expected:.6g}"]
        rows.append([name, *shares, number(day) if "days" in part else "", number(part.get("deterministic_day"))])
    header = ["outcome", "share", "95 % interval", "generating\nfunction", "median\n[day]", "deterministic\n[day]"]
    table(f"{title}: {body['regimen']}, {body['runs']} runs", header, rows)
