"""`calibrate`: parameters from measurements."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.report import plots
from optimizer.report.account import Account, Table, write_account
from optimizer.report.document import to_text
from optimizer.report.terminal import number, progress, say_written, show, then_put
from optimizer.search.multistart import Progress
from optimizer.settings import CalibrateSettings, Command

if TYPE_CHECKING:
    from optimizer.calibrate.report import FitReport


def run_calibrate(run: Command, asked: CalibrateSettings) -> int:
    """Fit, write and print."""
    from optimizer.analysis.consequence import best_schedule
    from optimizer.calibrate.run import fit_table, write_report

    with progress() as tell:
        how: dict[str, Any] = vars(asked) | {"progress": lambda what: tell(Progress(what, 0, 0, None))}
        report = fit_table(run.file, **how, schedule_consequence=best_schedule)
    document = report.to_json()
    account = _account(f"{run.file.name}: {asked.kind}", document)

    def draw(fitted: "FitReport", work: Path) -> None:
        write_account(work, account, document, {} if run.no_plot else plots.calibration_figures(fitted))

    with then_put(run.json, to_text(document), lambda: show(account)):
        write_report(report, asked.out, draw)
    say_written(asked.out)
    return 0


def _account(title: str, document: dict[str, Any]) -> Account:
    rows, loose = [], []
    for name, entry in document["parameters"].items():
        low, high = entry["interval"]
        loose += [name] * (low is None or high is None)
        rows.append([name, number(entry["value"]), _end(low), _end(high), entry["unit"]])
    bounded = f"these have no bound on one side: {', '.join(loose)}" if loose else "each has bounds on both sides"
    answer = (
        f"{len(rows)} parameters from {document['rows']} rows, with {100 * document['interval_level']:g} % intervals"
    )
    question = "Which parameters do the measurements support, and how well are they known?"
    tables = [Table(title, ["parameter", "value", "from", "to", "unit"], rows)]
    warnings = [f"warning: {warning}" for warning in document["warnings"]]
    return Account(title, question, [f"{answer}; {bounded}."], tables, warnings)


def _end(value: float | None) -> str:
    return "no bound" if value is None else number(value)
