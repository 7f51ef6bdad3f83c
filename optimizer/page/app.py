"""The page as a whole: four tabs for one scenario file, and the line that belongs on all of them."""

from pathlib import Path

from nicegui import ui

from optimizer.files.faults import DataError
from optimizer.page.build import build_tab
from optimizer.page.jobs import Queue
from optimizer.page.runs import runs_tab
from optimizer.page.search import search_tab
from optimizer.page.sliders import Sliders
from optimizer.scenario import Scenario, ScenarioError
from optimizer.status import DISCLAIMER

_STYLE = Path(__file__).with_name("page.css")
_TABS = ("Explore", "Search", "Build", "Runs")


class Page:
    """One browser tab: its scenario file, and what is shown of it.

    Attributes:
        file: the scenario; None before there is one.
        queue: searches of all browser tabs.
    """

    def __init__(self, file: Path | None, queue: Queue):
        self.file, self.queue = file, queue

    def show(self) -> None:
        """Fill the page."""
        ui.colors(primary="#0b5c8f", secondary="#26303a", accent="#0b5c8f")
        ui.add_css(_STYLE.read_text(encoding="utf-8"))
        ui.html(f'<p class="only" role="note">{DISCLAIMER}</p>', sanitize=False)
        with ui.element("div").classes("main"):
            ui.html("<h1>adose</h1>", sanitize=False)
            with ui.tabs().props('align="left" inline-label no-caps aria-label="Parts of the page"') as tabs:
                for name in _TABS:
                    ui.tab(name)
            begin = "Explore" if self.file else "Build"
            with ui.tab_panels(tabs, value=begin, animated=False, keep_alive=True).classes("full") as panels:
                self.panels = panels
                for name, fill in zip(_TABS, (self._explore, self._search, self._build, self._runs), strict=True):
                    with ui.tab_panel(name):
                        fill()

    def open(self, file: Path) -> None:
        """Go on with another file."""
        self.file = file
        self._explore.refresh()
        self._search.refresh()

    @ui.refreshable_method
    def _explore(self) -> None:
        ui.html("<h2>Explore</h2>", sanitize=False)
        if self.file is None:
            ui.label("No scenario yet: the tab Build writes one, and adose page FILE opens one.")
            return
        try:
            scenario = Scenario.load(self.file)
            Sliders(scenario).show()
        except (ScenarioError, DataError) as error:
            refused(str(error))

    @ui.refreshable_method
    def _search(self) -> None:
        search_tab(self.file, self.queue)

    def _build(self) -> None:
        build_tab(self.file, self.open)

    def _runs(self) -> None:
        runs_tab(self.queue)


def refused(text: str) -> None:
    """Messages as the command line has them."""
    ui.label(text).classes("fault").props('role="alert"')
