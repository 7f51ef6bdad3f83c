"""A page that is served, and a browser that looks at it; skipped by name where no Chromium is found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCENARIO = """
title = "One drug, one clone"
[model]
kind = "tumor"
growth = { law = "logistic", capacity = 1e10 }
[[model.clone]]
name = "sensitive"
cells = 1e8
growth_rate = "0.1 / day"
death_rate = "0.01 / day"
effect = [{ drug = "drug", law = "linear", strength = "0.5 L/mg/day" }]
[[drug]]
name = "drug"
role = "inhibitor"
route = "bolus"
pk = { kind = "first_order", elimination = "0.3 / day" }
dose = { min = "0 mg/L", max = "2 mg/L" }
[decision]
every = "7 day"
horizon = "56 day"
[objective]
burden = 1.0
drug_use = 0.1
[[observation]]
kind = "burden"
[[regimen]]
name = "weekly"
[[regimen.dose]]
drug = "drug"
amount = "1 mg/L"
every = "7 day"
[[regimen]]
name = "none"
dose = []
[search]
restarts = 2
"""
COHORT = """
[[cohort.vary]]
key = "model.clone[0].growth_rate"
distribution = "lognormal"
cv = 0.3
"""
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


# Journeys that run each time; the others are long, and run by `pytest -m slow`.
SHORT = ("test_a_slider_moves_the_numbers_and_the_table", "test_bad_toml_is_told_with_its_line")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what needs the browser for minutes as slow."""
    for item in items:
        own = Path(item.fspath).parent == Path(__file__).parent
        if own and "browser" in item.fixturenames and item.originalname not in SHORT:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def browser():
    """Chromium, where there is one."""
    api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    pytest.importorskip("nicegui", reason="the page needs the extra page")
    place = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
    )
    if not place:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=place, args=list(FLAGS))
        yield chromium
        chromium.close()


class Served:
    """A page on this machine, in a folder of its own."""

    def __init__(self, folder, *words):
        self.folder = folder
        # The framework serves nothing where it thinks that it is itself tested.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        environment["PYTHONPATH"] = str(ROOT)
        command = [sys.executable, "-m", "optimizer", "page", *words, "--no-browser"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder)
        lines = iter(self.process.stderr.readline, "")
        self.address = next((line.strip() for line in lines if line.startswith("http")), "")
        assert self.address, self.close()
        self.bare = self.address.partition("?")[0]

    def close(self):
        """End it; what it said on stderr after its address."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A page of a small scenario, beside a run of it."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "small.toml").write_text(SCENARIO)
    one = Served(folder, "small.toml")
    yield one
    assert "Traceback" not in one.close()


class Tab:
    """A browser tab that remembers errors and requests that went elsewhere."""

    def __init__(self, browser, address, **how):
        self.errors, self.outside = [], []
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "accept_downloads": True, **how}
        )
        self.page = self.context.new_page()
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._see)
        self.page.set_default_timeout(60_000)
        self._own = address.partition("?")[0]
        self.page.goto(address)

    def _see(self, request):
        if not request.url.startswith((self._own, "data:", "blob:", "ws://127.0.0.1:")):
            self.outside.append(request.url)

    def drawn(self):
        """Wait until the first course is shown."""
        self.page.wait_for_selector(".outcomes table")
        return self.page

    def go(self, name):
        """Choose a part of the page."""
        self.page.get_by_role("tab", name=name).click()
        self.page.get_by_role("heading", name=name, exact=True).wait_for()
        return self.page

    def close(self):
        """Nothing went wrong unseen, and nothing was asked of anybody else."""
        self.context.close()
        assert self.errors == []
        assert self.outside == []


@pytest.fixture
def tab(browser, served):
    """One tab on the page of the small scenario."""
    one = Tab(browser, served.address)
    yield one
    one.close()
