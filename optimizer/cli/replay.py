"""`replay`: forecasts of real courses, scored."""

from typing import Any

from optimizer.control.replay import CYCLE, Replayed, replay
from optimizer.files.event_tables import csv_of
from optimizer.files.run_directory import check_place, whole
from optimizer.report import plots
from optimizer.report.account import Account, Table, write_account
from optimizer.report.document import to_text
from optimizer.report.terminal import number, progress, say_written, show, then_put
from optimizer.settings import Command, OptionError, ReplaySettings
from optimizer.status import DISCLAIMER

MARKER = "replay.json"


def run_replay(run: Command, asked: ReplaySettings) -> int:
    """Fit, forecast, write and print."""
    if not asked.model:
        raise OptionError("--model: wanted at least one scenario with [cohort] and a PSA; got none")
    place = run.place(f"{run.file.stem}-replay")
    check_place(place, MARKER)
    with progress() as tell:
        found = replay(run.file, asked, tell)
    body = {"format": 1, "disclaimer": DISCLAIMER, "courses": run.file.name, "settings": vars(asked)}
    body |= found.summary() | {"model_weights": found.weights.mean(axis=0).tolist(), "table": found.table()}
    text, account = to_text(body), _account(body)
    with then_put(run.json, text, lambda: show(account)), whole(place, MARKER) as work:
        (work / MARKER).write_text(text, encoding="utf-8")
        _tables(found, work)
        write_account(work, account, body, {} if run.no_plot else {"replay": plots.replay_figure(found)})
    say_written(place)
    return 0


def _tables(found: Replayed, work: Any) -> None:
    for name, rows in (("patients", found.table()), ("forecasts", found.visits())):
        (work / f"{name}.csv").write_bytes(csv_of(list(rows[0]), [list(row.values()) for row in rows]))


def _account(body: dict[str, Any]) -> Account:
    count, band, left = body["patients"], body["band"], len(body["left_out"])
    rows = []
    for name, f in body["forecasts"].items():
        better = "" if name == CYCLE else f"{f['better_than_previous_cycle']} of {count}"
        rows.append([name, number(f["median_error"]), number(f["mean_error"]), better])
    heads = ["forecast", "error of ln(PSA + 0.1),\nmedian", "mean", "better than the\nprevious cycle"]
    title = f"Second rest from treatment of {count} patients"
    share = (
        f"{100 * band['covered']:.0f} % of {band['measurements']} measurements lie in the 90 % bands of {band['of']}."
    )
    notes = [f"{left} patients are left out: no second rest, or too little PSA in one."] * bool(left)
    question = "How well do models that saw a patient's first cycle foretell his second, beside the first repeated?"
    return Account(title, question, [share], [Table(title, heads, rows)], notes)
