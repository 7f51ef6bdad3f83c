"""Journeys through the page in a real browser: no error in its console, no request to anybody else, nothing for axe."""

import os
import re
import shutil
import signal
import time
import urllib.error
import urllib.request

import pytest

from tests.page.conftest import COHORT, ROOT, SCENARIO, Served, Tab

COUNT = """() => { window.updates = 0; new MutationObserver(() => { window.updates++ })
  .observe(document.querySelector('.outcomes'), { childList: true, subtree: true }) }"""
SWEEP = """async (seconds) => {
  const slider = document.querySelector('input[type=range]'), began = performance.now();
  for (let i = 0; performance.now() - began < 1000 * seconds; i++) {
    slider.value = String(100 + (7 * i) % 200);
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}"""
LINES = """[...document.querySelectorAll('[role=img]')]
  .flatMap((e) => getElement(+e.id.slice(1)).chart.getOption().series.map((s) => s.name)).join()"""
# Of an idle machine 20; tests run beside others.
LEAST_UPDATES = 8
# Of 200 patients; of an idle machine 5.
LEAST_COHORTS = 2


def numbers(page, row):
    """Cells of a row of the table of outcomes."""
    return page.locator(".outcomes tr", has=page.get_by_role("rowheader", name=row)).locator("td").all_inner_texts()


def slide(page, label, share):
    """Put a slider somewhere between its ends, with the mouse."""
    bar = page.get_by_role("slider", name=re.compile(label)).first
    box = bar.bounding_box()
    bar.click(position={"x": box["width"] * share, "y": box["height"] / 2})


def until(page, what, seconds=60.0):
    """Wait until something holds."""
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends
        page.wait_for_timeout(50)


def choose(page, label, name):
    """One entry of a list."""
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=name, exact=True).click()


def violations(page):
    """What axe finds."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    found = axe.Axe().run(page).response["violations"]
    return [(one["id"], [node["html"][:160] for node in one["nodes"]][:3]) for one in found]


# --- who may come in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "?token=wrong", "_nicegui/auto/static/nicegui.css", "run/runs/small/report.html"])
def test_without_the_token_nothing_is_told(served, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(served.bare + path)
    assert refused.value.code == 403
    assert b"small" not in refused.value.read()


def test_a_socket_without_the_token_is_refused(browser, served):
    page = browser.new_context().new_page()
    page.goto("about:blank")
    address = served.bare.replace("http", "ws") + "_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    ask = """(a) => new Promise((r) => {
      const s = new WebSocket(a); s.onopen = () => r('open'); s.onerror = () => r('no') })"""
    assert page.evaluate(ask, address) == "no"
    page.context.close()


def test_the_page_is_on_this_machine_alone(served):
    assert served.address.startswith("http://127.0.0.1:")
    assert len(served.address.partition("token=")[2]) >= 32


# --- Explore ----------------------------------------------------------------------------------------------------------


def test_a_slider_moves_the_numbers_and_the_table(tab):
    page = tab.drawn()
    before = numbers(page, "total drug"), numbers(page, "final burden")
    slide(page, "each dose", 0.9)
    until(page, lambda: numbers(page, "total drug") != before[0])
    assert float(numbers(page, "total drug")[0]) == pytest.approx(8 * 1.8, rel=0.05)
    assert numbers(page, "final burden") != before[1]


def test_a_drag_is_followed(tab):
    page = tab.drawn()
    page.evaluate(COUNT)
    page.evaluate(SWEEP, 3)
    assert page.evaluate("window.updates") / 3 >= LEAST_UPDATES


def test_the_keyboard_moves_a_slider_and_says_its_value(tab):
    page = tab.drawn()
    bar = page.get_by_role("slider", name=re.compile("each dose"))
    bar.focus()
    page.keyboard.press("Home")
    until(page, lambda: bar.get_attribute("aria-valuetext") == "0 mg/L")
    until(page, lambda: float(numbers(page, "total drug")[0]) == 0.0)


def test_a_parameter_is_moved(tab):
    page = tab.drawn()
    before = numbers(page, "final burden")
    page.get_by_text("Numbers of the tumor and the drugs").click()
    slide(page, "growth_rate", 0.95)
    until(page, lambda: numbers(page, "final burden") != before)


def test_a_beside_b(tab):
    page = tab.drawn()
    page.get_by_role("button", name="Keep as A").click()
    until(page, lambda: len(numbers(page, "objective")) == 2)
    slide(page, "each dose", 0.1)
    until(page, lambda: len(set(numbers(page, "objective"))) == 2)
    page.get_by_role("button", name="Begin again").click()
    until(page, lambda: len(numbers(page, "objective")) == 1)


def test_regimens_lie_beside(tab):
    page = tab.drawn()
    choose(page, "Regimens beside", "weekly")
    page.keyboard.press("Escape")
    page.get_by_role("columnheader", name="weekly").wait_for()
    assert len(numbers(page, "objective")) == 2


def test_patients_of_a_cohort_follow_a_drag(browser, tmp_path):
    (tmp_path / "cohort.toml").write_text(SCENARIO + COHORT)
    one = Served(tmp_path, "cohort.toml")
    tab = Tab(browser, one.address)
    page = tab.drawn()
    page.get_by_role("switch", name="Patients of the cohort").click()
    until(page, lambda: "50 % of patients below" in page.evaluate(LINES))
    before = numbers(page, "95 % of patients end below")
    page.evaluate(COUNT)
    page.evaluate(SWEEP, 3.0)
    assert page.evaluate("window.updates") / 3.0 > LEAST_COHORTS
    slide(page, "each dose", 0.95)
    until(page, lambda: numbers(page, "95 % of patients end below") != before)
    page.get_by_role("switch", name="Patients of the cohort").click()
    until(page, lambda: "of patients" not in page.evaluate(LINES))
    tab.close()
    assert "Traceback" not in one.close()


def test_another_way_of_dosing_has_its_own_sliders(tab):
    page = tab.drawn()
    choose(page, "Way of dosing", "weekly")
    page.get_by_role("slider", name=re.compile("multiple of the regimen")).wait_for()
    until(page, lambda: numbers(page, "total drug") == ["8"])


def test_measured_values_are_drawn(tab, tmp_path):
    page = tab.drawn()
    file = tmp_path / "seen.csv"
    file.write_text("day,burden [cell]\n0,1e8\n14,<2e7\n")
    page.set_input_files("input[type=file]", str(file))
    until(page, lambda: "measured burden" in page.evaluate(LINES))


def test_a_wrong_csv_is_told_in_the_words_of_the_command(tab, tmp_path):
    page = tab.drawn()
    file = tmp_path / "wrong.csv"
    file.write_text("day,burden [cell]\n0,1e8\n14,much\n")
    page.set_input_files("input[type=file]", str(file))
    page.get_by_text(re.compile(r"^wrong.csv:3: column burden \[cell\]: wanted")).wait_for()


def test_the_moved_scenario_can_be_kept(tab, tmp_path):
    page = tab.drawn()
    with page.expect_download() as kept:
        page.get_by_role("button", name="Download scenario").click()
    text = kept.value.path().read_text()
    assert text.startswith("# Research use only")
    assert "[[drug]]" in text


def test_two_tabs_do_not_disturb_each_other(browser, served):
    one, other = Tab(browser, served.address), Tab(browser, served.address)
    first, second = one.drawn(), other.drawn()
    before = numbers(second, "total drug")
    slide(first, "each dose", 0.9)
    until(first, lambda: numbers(first, "total drug") != before)
    assert numbers(second, "total drug") == before
    one.close()
    other.close()


def test_a_page_that_is_loaded_again_begins_again(tab):
    page = tab.drawn()
    page.goto(page.url.partition("?")[0])  # the cookie is enough from now on
    tab.drawn()
    assert numbers(page, "objective")


def test_the_network_is_blocked_and_nothing_is_missed(browser, served):
    one = Tab(browser, "about:blank")
    one._own = served.bare
    one.context.route(re.compile(rf"^(?!{re.escape(served.bare)}).*"), lambda route: route.abort())
    one.page.goto(served.address)
    one.drawn()
    one.close()


# --- Search -----------------------------------------------------------------------------------------------------------


def test_a_search_runs_and_leaves_its_files(tab, served):
    page = tab.go("Search")
    page.get_by_role("button", name="Start").click()
    job = page.get_by_role("region", name="optimize to runs/small").last
    job.get_by_text("done", exact=True).wait_for(timeout=180_000)
    assert (served.folder / "runs" / "small" / "report.html").is_file()
    with page.expect_download() as kept:
        job.get_by_role("button", name="Export nonmem").click()
    assert "AMT" in kept.value.path().read_text()
    with page.context.expect_page() as report:
        job.get_by_role("link", name="report.html").click()
    report.value.get_by_text("Research use only").first.wait_for()


def long_search(tab, out):
    """A search that runs for long, begun; the page and its job."""
    page = tab.go("Search")
    page.get_by_label(re.compile("^restarts")).fill("4000")
    page.get_by_label("Run directory").fill(out)
    page.get_by_role("button", name="Start").click()
    job = page.get_by_role("region", name=f"optimize to {out}")
    job.get_by_text("running", exact=True).wait_for()
    return page, job


def test_a_search_is_cancelled_in_a_second(tab):
    page, job = long_search(tab, "runs/long")
    page.wait_for_timeout(2000)
    began = time.monotonic()
    job.get_by_role("button", name="Cancel").click()
    job.get_by_text("cancelled", exact=True).wait_for()
    assert time.monotonic() - began < 1.0


def test_a_child_that_is_killed_is_told(tab):
    page, job = long_search(tab, "runs/killed")
    until(page, lambda: child_of("runs/killed"))
    os.kill(child_of("runs/killed"), signal.SIGKILL)
    job.get_by_text("ended from outside (signal 9)").wait_for()
    job.get_by_text("failed", exact=True).wait_for()


def child_of(place):
    """The process that writes a run directory; None where there is none."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().decode().split("\0")
        except OSError:
            continue
        if place in words and "optimize" in words:
            return int(entry)
    return None


def test_jobs_wait_for_each_other(tab):
    page = tab.go("Search")
    page.get_by_label(re.compile("^restarts")).fill("4000")
    for name in ("runs/first", "runs/second"):
        page.get_by_label("Run directory").fill(name)
        page.get_by_role("button", name="Start").click()
    first, second = (page.get_by_role("region", name=f"optimize to runs/{name}") for name in ("first", "second"))
    first.get_by_text("running", exact=True).wait_for()
    second.get_by_text("waiting", exact=True).wait_for()
    second.get_by_role("button", name="Cancel").click()
    first.get_by_role("button", name="Cancel").click()
    second.get_by_text("cancelled", exact=True).wait_for()


def test_a_wrong_option_is_told_in_the_words_of_the_command(tab):
    page = tab.go("Search")
    page.get_by_label(re.compile("^restarts")).fill("many")
    page.get_by_role("button", name="Start").click()
    job = page.get_by_role("region", name="optimize to runs/small").last
    job.get_by_text("failed (exit code 2)").wait_for()
    assert "many" in job.inner_text()


def test_the_command_and_the_python_are_copied(tab):
    page = tab.go("Search")
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_label(re.compile("^seed")).fill("3")
    page.get_by_role("button", name="Copy the command").click()
    read = "navigator.clipboard.readText()"
    until(page, lambda: page.evaluate(read) == "adose optimize small.toml --out runs/small --seed 3")
    page.get_by_role("button", name="Copy the Python").click()
    until(page, lambda: "OptimizeSettings(seed=3)" in page.evaluate(read))


# --- Build and Runs ---------------------------------------------------------------------------------------------------


def test_bad_toml_is_told_with_its_line(tab):
    page = tab.go("Build")
    page.get_by_label("Scenario (TOML)").fill("title = \n[model")
    page.get_by_role("button", name="Check").click()
    page.get_by_text(re.compile("line 1.*wanted valid TOML")).wait_for()


def test_form_and_text_follow_each_other(tab):
    page = tab.go("Build")
    text, field = page.get_by_label("Scenario (TOML)"), page.get_by_label("drug[0].dose.max", exact=True)
    assert field.input_value() == "2 mg/L"
    field.fill("3 mg/L")
    until(page, lambda: 'max = "3 mg/L"' in text.input_value())
    text.fill(SCENARIO.replace('max = "2 mg/L"', 'max = "4 mg/L"'))
    until(page, lambda: field.input_value() == "4 mg/L")
    text.fill(SCENARIO.replace('max = "2 mg/L"', "max = "))
    page.get_by_text(re.compile("small.toml: line.*wanted valid TOML")).wait_for()
    assert field.input_value() == "4 mg/L"
    text.fill(f"{SCENARIO}[progression]\nfactor = 1.5\n")
    until(page, lambda: page.get_by_label("progression.factor", exact=True).count() == 1)
    assert page.get_by_label("progression.factor", exact=True).input_value() == "1.5"
    assert not page.get_by_text("wanted valid TOML").count()


def test_a_scenario_is_put_together_from_choices(tab):
    page = tab.go("Build")
    text = page.get_by_label("Scenario (TOML)")
    choose(page, "Limits", "another: concentration_ceiling")
    until(page, lambda: 'kind = "concentration_ceiling"\ndrug = "drug"' in text.input_value())
    page.get_by_label("constraint[0].limit", exact=True).fill("3 mg/L")
    until(page, lambda: 'limit = "3 mg/L"' in text.input_value())
    choose(page, "Endpoint", "burden_factor")
    until(page, lambda: '[endpoint]\nkind = "burden_factor"' in text.input_value())
    choose(page, "Objective", "peak_burden")
    until(page, lambda: "peak_burden = 1.0" in text.input_value())
    page.keyboard.press("Escape")
    choose(page, "Drugs", "another: docetaxel")
    until(page, lambda: 'name = "docetaxel"' in text.input_value())
    page.keyboard.press("Escape")
    choose(page, "model.clone[0].effect[0].law", "hill")
    until(page, lambda: 'law = "hill", strength' in text.input_value())
    choose(page, "Limits", "1: concentration_ceiling drug")
    until(page, lambda: "concentration_ceiling" not in text.input_value())
    page.keyboard.press("Escape")
    choose(page, "Model", "stromal, kraut2025_caf")
    until(page, lambda: 'preset = "kraut2025_caf"' in text.input_value() and '"tumor"' not in text.input_value())
    assert page.get_by_label("model.preset", exact=True).count() == 1
    text.fill(SCENARIO)
    until(page, lambda: page.get_by_label("model.clone[0].growth.law", exact=True).count() == 0)
    until(page, lambda: page.get_by_label("Model", exact=True).input_value() == "tumor")


def test_a_fault_is_told_with_its_key_and_line(tab):
    page = tab.go("Build")
    page.get_by_label("Scenario (TOML)").fill(SCENARIO.replace('"7 day"', '"7 mg"', 1))
    page.get_by_role("button", name="Check").click()
    page.get_by_text(re.compile(r"small.toml.*decision.every.*wanted")).wait_for()


def test_a_template_is_saved_and_opened(tab, served):
    page = tab.go("Build")
    choose(page, "Begin with a template of adose new", "one_drug")
    page.get_by_label("Save as").fill("mine.toml")
    page.get_by_role("button", name="Save and open").click()
    until(page, lambda: (served.folder / "mine.toml").is_file())
    page.get_by_text("Good.").wait_for()
    tab.go("Explore")
    tab.drawn()
    assert (served.folder / "mine.toml").read_text().startswith("#")


def test_words_are_shown_and_inserted(tab):
    page = tab.go("Build")
    page.get_by_role("button", name="Other words of a scenario").click()
    choose(page, "Words of a scenario", "constraint")
    choose(page, "One of them", "cumulative_dose")
    page.get_by_role("cell", name="most drug").wait_for()
    page.get_by_role("button", name="Insert").click()
    until(page, lambda: 'kind = "cumulative_dose"' in page.get_by_label("Scenario (TOML)").input_value())


def test_two_runs_side_by_side(tab, served):
    source = served.folder / "runs" / "small"
    if not source.is_dir():
        pytest.skip("the run of another journey is not there")
    shutil.copytree(source, served.folder / "runs" / "again", dirs_exist_ok=True)
    page = tab.go("Runs")
    page.get_by_role("button", name="Look again").click()
    page.get_by_role("rowheader", name="runs/again").wait_for()
    choose(page, "First run", "runs/small")
    choose(page, "Second run", "runs/again")
    row = page.locator("tr", has=page.get_by_role("rowheader", name="objective"))
    row.wait_for()
    assert len(set(row.locator("td").all_inner_texts())) == 1


def test_a_file_that_is_no_run_is_not_served(tab, served):
    tab.drawn()
    answer = tab.context.request.get(f"{served.bare}run/small.toml")
    assert answer.status == 404
    assert tab.context.request.get(f"{served.bare}run/runs/small/../../small.toml").status == 404


def test_without_a_scenario_the_page_begins_with_a_template(browser, tmp_path):
    one = Served(tmp_path)
    tab = Tab(browser, one.address)
    tab.page.get_by_label("Scenario (TOML)").wait_for()
    tab.close()
    assert "Traceback" not in one.close()


# --- everybody --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["light", "dark", "narrow"])
def test_axe_finds_nothing(browser, served, how):
    size = {"width": 390, "height": 844} if how == "narrow" else {"width": 1280, "height": 900}
    tab = Tab(browser, served.address, color_scheme="dark" if how == "dark" else "light", viewport=size)
    page = tab.drawn()
    for name in ("Explore", "Search", "Build", "Runs"):
        tab.go(name)
        page.wait_for_timeout(500)
        assert not violations(page), (name, violations(page))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        assert page.get_by_role("note").inner_text() == "Research use only. Not for clinical decisions."
    tab.close()


def test_the_tab_key_goes_through_the_page(tab):
    page = tab.drawn()
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.innerText")
        )
    assert any("each dose" in (text or "") for text in seen)


def test_the_shipped_rule_is_explored(browser, tmp_path):
    shutil.copy(ROOT / "scenarios" / "competing_clones_rule.toml", tmp_path / "rule.toml")
    one = Served(tmp_path, "rule.toml")
    tab = Tab(browser, one.address)
    page = tab.drawn()
    choose(page, "Way of dosing", "the rule")
    page.get_by_role("slider", name=re.compile("off below this multiple")).wait_for()
    tab.close()
    assert "Traceback" not in one.close()
