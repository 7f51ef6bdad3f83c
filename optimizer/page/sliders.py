"""The tab Explore: sliders, and what the tumor does while they move."""

import asyncio
import json
import math
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from nicegui import events, run, ui

from optimizer.control.measurements import Measurements, read_measurements
from optimizer.files.faults import DataError
from optimizer.files.toml import toml_text
from optimizer.page import drawing, tables
from optimizer.page.explore import STEPS, Course, Explorer, Knob
from optimizer.scenario import Scenario, ScenarioError
from optimizer.status import DISCLAIMER

# Least time between two events of a slider that is dragged [s].
_THROTTLE = 0.02
# A simulation that is shorter runs between two events of the page [s].
_QUICK = 0.05
# Sliders that have not moved for so long rest [s].
_REST = 0.3
_MOVED = ("data", "markArea", "markLine")
_READ = "async (event) => { const f = event.target.files[0]; if (f) emit(f.name, await f.text()); }"
_MOVE = """function adoseMoved(chart, outcomes, series, told, said) {
  getElement(chart).chart.setOption({series});
  document.getElementById(outcomes).innerHTML = told;
  for (const [label, [bar, text]] of Object.entries(said)) {
    document.getElementById(label).textContent = text;
    document.getElementById(bar).setAttribute("aria-valuetext", text);
  }
}"""


class Sliders:
    """One scenario explored in one browser tab.

    Attributes:
        explorer: the scenario and its program.
        way: the way of dosing.
        doses: values of its knobs.
        parameters: values of the scenario's numbers that were moved.
    """

    def __init__(self, scenario: Scenario):
        self.explorer = Explorer(scenario)
        self.way = self.explorer.ways()[0] if self.explorer.ways() else ""
        self.doses: dict[str, float] = {}
        self.parameters: dict[str, float] = {}
        self._kept: Course | None = None
        self._beside: dict[str, Course] = {}
        self._measured: Measurements | None = None
        self._chart: ui.echart | None = None
        self._said: dict[tuple[ui.label, ui.element], str] = {}
        self._unsettled: float | None = None
        self._wanted, self._busy, self._dark, self._fan = False, False, False, False
        self._seconds = math.inf

    def show(self) -> None:
        """Fill the tab."""
        ui.label(self.explorer.scenario.title).classes("title")
        if not self.way:
            ui.label("Wanted a scenario with a drug or a regimen; got one without.").classes("fault")
            return
        with ui.element("div").classes("split"):
            with ui.element("div").classes("side"):
                ways = self.explorer.ways()
                ui.select(ways, value=self.way, label="Way of dosing", on_change=self._choose).classes("full")
                self._dosing()
                with ui.expansion("Numbers of the tumor and the drugs").classes("full"):
                    self._numbers()
                self._buttons()
            with ui.element("div").classes("wide"):
                self._state = ui.label("Compiling the simulation: the first time takes some seconds, and it is kept.")
                self._state.props('role="status"')
                self._drawn = ui.element("div").classes("full")
        ui.add_head_html(f"<script>{_MOVE}</script>")
        ui.timer(0.05, self._begin, once=True)
        ui.timer(_REST, self._settle)

    def _buttons(self) -> None:
        ui.button("Keep as A", on_click=self._keep)
        ui.button("Begin again", on_click=self._reset)
        names = list(self.explorer.regimens)
        if self.explorer.scenario.plan.cohort is not None:
            ui.switch("Patients of the cohort, at most 200", on_change=self._spread).classes("full")
        ui.select(names, multiple=True, label="Regimens beside", on_change=self._overlay).classes("full")
        labels = ", ".join(f"{c.label()} [{c.quantity.unit}]" for c in self.explorer.scenario.channels())
        if labels:
            ui.label(f"Measured values to draw: a CSV with the columns day, {labels}")
            file = ui.element("input").props('type="file" accept=".csv" aria-label="Measured values (CSV)"')
            file.on("change", self._read, js_handler=_READ)
        else:
            ui.label("Measured values can be drawn where the scenario has an [[observation]].")
        self._fault = ui.label("").classes("fault").props('role="alert"')
        ui.button("Download scenario", on_click=self._download)

    @ui.refreshable_method
    def _dosing(self) -> None:
        for knob in self.explorer.knobs(self.way):
            self._slider(knob, self.doses)

    @ui.refreshable_method
    def _numbers(self) -> None:
        for knob in self.explorer.parameters:
            self._slider(knob, self.parameters)

    async def _begin(self) -> None:
        query = "matchMedia('(prefers-color-scheme: dark)').matches"
        self._dark = bool(await ui.run_javascript(query, timeout=20.0))
        await self._draw()

    async def _draw(self) -> None:
        """Simulate and show the newest values; those that come while it works are shown next."""
        self._wanted = True
        if self._busy:
            return
        self._busy = True
        try:
            while self._wanted:
                self._wanted = False
                given = self.way, dict(self.doses), dict(self.parameters), self._fan
                began = time.perf_counter()
                # A thread costs more than a short simulation takes; a long one would keep the others waiting.
                quick = self._seconds < _QUICK
                course = self.explorer.course(*given) if quick else await run.io_bound(self.explorer.course, *given)
                self._seconds = time.perf_counter() - began
                if course is not None:
                    self._update(course)
                await asyncio.sleep(0.0)
        finally:
            self._busy = False

    def _update(self, course: Course) -> None:
        """Show a course by one short script, as long as sliders move; `_settle` tells the framework what it did."""
        self._last, self._unsettled = course, time.monotonic()
        shown, beside = [course, *([self._kept] if self._kept else [])], list(self._beside.values())
        given = self.explorer, shown, beside, self._measured
        self._lines, self._told = drawing.series(*given), tables.outcomes(self.explorer, shown, beside)
        if self._chart is None:
            self._first(course, drawing.options(*given, self._dark))
        elif len(self._lines) == len(self._chart.options["series"]):
            moved = [{key: line[key] for key in _MOVED if key in line} for line in self._lines]
            said = {label.html_id: [bar.html_id, text] for (label, bar), text in self._said.items()}
            script = json.dumps([self._chart.id, self._outcomes.html_id, moved, self._told, said])
            ui.run_javascript(f"adoseMoved(...{script})")
        else:
            self._settle(0.0)

    def _settle(self, after: float = _REST) -> None:
        """Once nothing moves any more, the elements of the page hold what is shown, and the long table too."""
        if self._unsettled is None or time.monotonic() - self._unsettled < after or self._chart is None:
            return
        self._unsettled, course = None, self._last
        for (label, bar), text in self._said.items():
            label.set_text(text)
            bar.props(f'aria-valuetext="{text}"')
        self._said = {}
        self._chart.options["series"] = self._lines
        self._chart.update()
        self._outcomes.set_content(self._told)
        self._course.set_content(tables.course_table(self.explorer, course))
        failed = "" if course.report.finite else "The simulation of these numbers failed. "
        self._state.set_text(f"{failed}Simulated on fixed nodes, as the search does; adose simulate audits it.")

    def _first(self, course: Course, options: dict[str, Any]) -> None:
        with self._drawn:
            spoken = "Cells, drug levels and doses over time; the tables below give the numbers"
            self._chart = ui.echart(options).style(f"height: {drawing.height(course)}px")
            self._chart.props(f'role="img" aria-label="{spoken}"')
            self._outcomes = ui.html(self._told, sanitize=False).classes("outcomes")
            self._course = ui.html("", sanitize=False)

    def _slider(self, knob: Knob, values: dict[str, float]) -> None:
        """A slider with its label, its value and its ends."""
        unit = "" if knob.unit in ("", "1") else f" {knob.unit}"
        name = f"{knob.label} [{knob.key}]" if knob.key != knob.label else knob.key
        value = values.get(knob.key, knob.value)

        async def change(event: events.GenericEventArguments) -> None:
            values[knob.key] = knob.at(float(event.args))
            self._said[said, bar] = f"{values[knob.key]:g}{unit}"
            await self._draw()

        with ui.element("label").classes("knob"):
            ui.label(name)
            said = ui.label(f"{value:g}{unit}").classes("value")
            bar = ui.element("input")
            bar.props(f'type="range" min="0" max="{STEPS}" step="1" value="{knob.step(value)}"')
            bar.props(f'aria-valuetext="{value:g}{unit}"').props["aria-label"] = name
            bar.on("input", change, js_handler="(event) => emit(event.target.value)", throttle=_THROTTLE)
            ui.label(f"{knob.low:g} to {knob.high:g}{unit}").classes("ends")

    async def _choose(self, event: events.ValueChangeEventArguments) -> None:
        self.way, self.doses = event.value, {}
        self._dosing.refresh()
        await self._draw()

    async def _spread(self, event: events.ValueChangeEventArguments) -> None:
        """Show the patients of [cohort] too, or say why they cannot be read."""
        try:
            self._fan, self._seconds = bool(event.value) and len(self.explorer.patients[1]) > 0, math.inf
        except (ScenarioError, DataError) as error:
            self._fault.set_text(str(error))
        await self._draw()

    async def _keep(self) -> None:
        self._kept = self._last
        await self._draw()

    async def _reset(self) -> None:
        self._kept, self.doses, self.parameters = None, {}, {}
        self._dosing.refresh()
        self._numbers.refresh()
        await self._draw()

    async def _overlay(self, event: events.ValueChangeEventArguments) -> None:
        names = [name for name in event.value or () if name not in self._beside]
        found = {name: await run.io_bound(self.explorer.course, name) for name in names}
        self._beside = {
            name: course for name, course in (self._beside | found).items() if course and name in event.value
        }
        await self._draw()

    async def _read(self, event: events.GenericEventArguments) -> None:
        """Draw a table of measurements, or say what is wrong with it."""
        name, text = event.args
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            place, said = Path(folder) / Path(name).name, []
            place.write_text(text, encoding="utf-8")
            try:
                self._measured = read_measurements(place, self.explorer.scenario.channels())
            except DataError as error:
                said.append(str(error))
            said += [f"warning: {note.message}" for note in notes]
        self._fault.set_text("\n".join(said).replace(f"{folder}/", ""))
        await self._draw()

    def _download(self) -> None:
        text = toml_text(self.explorer.tables(self.parameters))
        ui.download.content(f"# {DISCLAIMER}\n{text}", f"{self.explorer.scenario.name}_moved.toml")
