"""The tab Search: the ordinary commands as jobs, with what they say, and what they leave behind."""

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui

from optimizer import settings
from optimizer.page.jobs import RUNNING, Job, Queue
from optimizer.scenario.files import read_toml

COMMANDS: dict[str, type] = {
    "optimize": settings.OptimizeSettings,
    "cohort": settings.CohortSettings,
    "trial": settings.TrialSettings,
    "replan": settings.ReplanSettings,
    "compare": settings.CompareSettings,
}
_PYTHON = {
    "optimize": ("", "opt.optimize(scenario.problem(), **vars(scenario.fill(OptimizeSettings({}))))"),
    "tune": ("", "opt.tune(scenario.problem(), scenario.rule(), **vars(scenario.fill(OptimizeSettings({}))))"),
    "cohort": ("", "opt.ensemble.run_chunks(scenario, CohortSettings({}), Path({place!r}))"),
    "trial": (
        "from optimizer.control.trial import prepare\nfrom optimizer.control.trial_run import run_trial\n",
        "run_trial(prepare(scenario, TrialSettings({})), Path({place!r}))",
    ),
    "replan": (
        "from optimizer.control.replan import replan\n",
        "replan(scenario, ReplanSettings({}), lambda _: None)",
    ),
    "compare": ("", "opt.compare(scenario.problem(), scenario.regimens(), None, scenario.endpoint())"),
}
_EXPORTS = {"nonmem": "csv", "mrgsolve": "R", "rxode2": "R", "calendar": "ics"}
_OFTEN = 0.25
_SHOWN = 12


def words(command: str, file: Path, place: Path, given: Mapping[str, str]) -> tuple[str, ...]:
    """The command line behind `adose`: options that are left empty are left out."""
    flags = {f.name: f.metadata["flag"] or f"--{f.name.replace('_', '-')}" for f in _options(command)}
    asked = [word for name, value in given.items() if value for word in (flags[name], value)]
    return (command, str(file), "--out", str(place), *asked)


def python(command: str, file: Path, place: Path, given: Mapping[str, str]) -> str:
    """The same in Python."""
    ruled = command == "optimize" and "policy" in read_toml(file)[0].get("search", {})
    more, call = _PYTHON["tune" if ruled else command]
    kinds = {f.name: str(f.type) for f in _options(command)}
    said = {name: _literal(kinds[name], value) for name, value in given.items() if value}
    how = ", ".join(f"{name}={value}" for name, value in said.items())
    name = f"{command.capitalize()}Settings"
    used = f"from optimizer.settings import {name}\n" if name in call else ""
    return (
        f"from pathlib import Path\n\nimport optimizer as opt\n{more}{used}\n"
        f"scenario = opt.Scenario.load({str(file)!r})\nresult = {call.format(how, place=str(place))}\n"
    )


def _literal(kind: str, value: str) -> str:
    if "tuple" in kind:
        return repr(tuple(part.strip() for part in value.split(",")))
    return f"Path({value!r})" if "Path" in kind else value if "int" in kind or "float" in kind else repr(value)


def _options(command: str) -> list[Any]:
    return [f for f in fields(COMMANDS[command]) if "doc" in f.metadata]


def search_tab(file: Path | None, queue: Queue) -> None:
    """Fill the tab."""
    ui.html("<h2>Search</h2>", sanitize=False)
    if file is None:
        ui.label("No scenario yet: the tab Build writes one.")
        return
    given: dict[str, str] = {}
    with ui.element("div").classes("split"):
        with ui.element("div").classes("side"):
            chosen = ui.select(list(COMMANDS), value="optimize", label="Command").classes("full")
            place = ui.input("Run directory", value=f"runs/{file.stem}").classes("full")
            form = ui.element("div").classes("full")

            def fill() -> None:
                given.clear()
                form.clear()
                place.set_value(f"runs/{file.stem}" + ("" if chosen.value == "optimize" else f"-{chosen.value}"))
                with form:
                    for option in _options(chosen.value):
                        _field(option, given)

            def asked() -> tuple[str, Path, Path, dict[str, str]]:
                return chosen.value, file, Path(place.value or ""), given

            chosen.on_value_change(fill)
            fill()
            ui.button("Start", on_click=lambda: queue.add(Job(words(*asked()), Path(place.value or ""))))
            ui.button("Copy the command", on_click=lambda: _copy(Job(words(*asked()), Path(place.value or "")).command))
            ui.button("Copy the Python", on_click=lambda: _copy(python(*asked())))
        with ui.element("div").classes("wide"):
            _jobs(queue)


def _field(option: Any, given: dict[str, str]) -> None:
    default = "" if option.default in (MISSING, None, (), False) else option.default
    said = ",".join(default) if isinstance(default, tuple) else str(default)
    field = ui.input(
        option.name.replace("_", " "),
        placeholder=said,
        on_change=lambda event: given.update({option.name: (event.value or "").strip()}),
    )
    field.classes("full").props["hint"] = option.metadata["doc"]


def _copy(text: str) -> None:
    ui.clipboard.write(text)
    ui.notify("Copied", type="positive", color="#0b5c8f")


def _jobs(queue: Queue) -> None:
    """Every job in a box of its own, told anew while it moves."""
    told: dict[Job, Any] = {}
    none = ui.label("Nothing was started yet. Jobs run one after the other, each with every core.")
    boxes = ui.element("div").classes("full").props('role="log" aria-label="Jobs"')

    def tell() -> None:
        none.set_visibility(not queue.jobs)
        for job in queue.jobs:
            if job not in told:
                with boxes:
                    told[job] = _Box(job, len(told) + 1)
            told[job].tell()

    ui.timer(_OFTEN, tell)


class _Box:
    """One job on the page."""

    def __init__(self, job: Job, number: int):
        self.job, self._seen = job, ""
        name = f"{number}. {job.words[0]} to {job.place}"
        with ui.element("section").classes("job").props(f'aria-label="{name}"'):
            ui.label(job.command).classes("said")
            self._state = ui.label("").classes("title")
            self._lines = ui.label("").classes("said").props(f'tabindex="0" role="group" aria-label="What {name} says"')
            self._cancel = ui.button("Cancel", on_click=self._stop)
            self._links = ui.element("div")

    def _stop(self) -> None:
        self.job.cancel()
        self.tell()

    def tell(self) -> None:
        """Show what is new."""
        job = self.job
        now = f"{job.state} {len(job.lines)} {job.lines[-1:]}"
        if now == self._seen:
            return
        self._seen = now
        code = "" if job.code in (None, 0) or job.code < 0 else f" (exit code {job.code})"
        self._state.set_text(f"{job.state}{code}")
        self._lines.set_text("\n".join(job.lines[-_SHOWN:]) if job.state == RUNNING else "\n".join(job.lines))
        self._cancel.set_visibility(not job.ended)
        if job.ended and job.place.is_dir() and not self._links.default_slot.children:
            with self._links:
                links(job.place)


def links(place: Path) -> None:
    """What a run directory holds, to open or to keep."""
    for path in sorted(place.iterdir()):
        if path.suffix in (".html", ".png", ".svg", ".csv", ".json", ".toml"):
            ui.link(path.name, f"/run/{quote(str(path))}", new_tab=path.suffix == ".html").classes("q-mr-md")
    if (place / "schedule.csv").is_file():
        for form in _EXPORTS:
            ui.button(f"Export {form}", on_click=partial(_export, place, form))


async def _export(place: Path, form: str) -> None:
    """The file that `adose export` writes; day 0 of a calendar is today."""
    from datetime import date

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"schedule_{form}.{_EXPORTS[form]}"
        more = ("--start", date.today().isoformat()) if form == "calendar" else ()
        command = (sys.executable, "-m", "optimizer", "export", str(place), "--to", form, "--out", str(out), *more)
        child = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, said = await child.communicate()
        if child.returncode == 0:
            ui.download.content(out.read_bytes(), out.name)
        else:
            ui.notify(said.decode("utf-8", "replace").strip(), type="negative")
