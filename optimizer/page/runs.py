"""The tab Runs: the run directories below this folder, two of them side by side, and their reports."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from nicegui import ui

from optimizer.page.jobs import Queue
from optimizer.page.search import links
from optimizer.page.tables import run_rows, table

MARKERS = (
    "report.json",
    "trial.json",
    "replan.json",
    "train.json",
    "fit.json",
    "map.json",
    "pareto.json",
    "window.json",
)
_MOST_BYTES = 64 * 2**20


def found_runs(queue: Queue | None = None) -> dict[str, Path]:
    """Run directories in `runs` here and of this page's jobs, the newest first, with the document of each."""
    places = {path.parent for path in Path("runs").glob("*/*.json") if path.name in MARKERS}
    places |= {job.place for job in queue.jobs if job.place.is_dir()} if queue else set()
    documents = {place: next((place / name for name in MARKERS if (place / name).is_file()), None) for place in places}
    pairs = [(str(place), path) for place, path in documents.items() if path is not None]
    return dict(sorted(pairs, key=lambda pair: -pair[1].stat().st_mtime))


def read_report(path: Path) -> dict[str, Any]:
    """A document of a run; empty where it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size < _MOST_BYTES else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def runs_tab(queue: Queue) -> None:
    """Fill the tab."""
    ui.html("<h2>Runs</h2>", sanitize=False)
    body = ui.element("div").classes("full")

    def fill() -> None:
        body.clear()
        with body:
            _fill(found_runs(queue))

    ui.button("Look again", on_click=fill)
    fill()


def _fill(found: dict[str, Path]) -> None:
    if not found:
        ui.label("No run directory in runs/ yet: the tab Search makes one.")
        return
    rows = []
    for name, path in found.items():
        document, when = read_report(path), datetime.fromtimestamp(path.stat().st_mtime)
        said = (document.get("answer") or {}).get("sentence") or document.get("title", "")
        rows.append([name, path.stem, f"{when:%Y-%m-%d %H:%M}", str(document.get("status", "")), str(said)])
    ui.html(
        table(
            "Run directories, the newest first", ["directory", "document", "written", "status", "what it says"], rows
        ),
        sanitize=False,
    )
    ui.html("<h3>Files of a run</h3>", sanitize=False)
    one = ui.select(list(found), label="Run directory").classes("full")
    files = ui.element("div").classes("full")

    def show() -> None:
        files.clear()
        with files:
            links(Path(one.value))

    one.on_value_change(show)
    ui.html("<h3>Two runs side by side</h3>", sanitize=False)
    two = [ui.select(list(found), label=label).classes("full") for label in ("First run", "Second run")]
    beside = ui.html("", sanitize=False)

    def compare() -> None:
        names = [choice.value for choice in two]
        if all(names):
            a, b = (run_rows(read_report(found[name])) for name in names)
            beside.set_content(
                table("Two runs", ["number", *names], [[key, a.get(key, ""), b.get(key, "")] for key in a | b])
            )

    for choice in two:
        choice.on_value_change(compare)
