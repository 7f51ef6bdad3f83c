"""The page of a run: complete, the same every time, and with nothing in it that a browser would fetch or run."""

import json
import tomllib
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from optimizer.analysis.comparison import compare
from optimizer.report.document import run_document, to_text, write_run
from optimizer.report.html import page
from optimizer.report.html.render import by_day, rows, weeks
from optimizer.report.html.words import quantity, sections
from optimizer.scenario import Scenario
from optimizer.status import DISCLAIMER
from tests.small import tables

ROOT = Path(__file__).parents[2]
VOID = {"meta", "link", "br", "img"}
HOSTILE = '<script>alert("title")</script> & <img src=http://example.org/x>'


class Reader(HTMLParser):
    """Elements, numbers, text, and what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.numbers, self.words, self.open = [], set(), [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "data":
            self.numbers.add(json.loads(dict(attrs)["value"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        """All text, blanks made one."""
        return " ".join(" ".join(self.words).split())


def numbers(value):
    """Every number of a document; a row of `scaled` counts as one of the regimens."""
    if isinstance(value, dict):
        return {x for item in value.values() for x in numbers(item)}
    if isinstance(value, list):
        return {x for item in value for x in numbers(item)}
    return {value} if isinstance(value, int | float) and not isinstance(value, bool) else set()


@pytest.fixture(scope="module")
def run(small_problem, small_result, tmp_path_factory):
    """A run directory."""
    scenario = Scenario.from_tables(tables() | {"title": HOSTILE, "doi": ["10.1038/s41540-025-00495-0"]}, "small")
    entries = compare(small_problem, scenario.regimens(), small_result)
    place = tmp_path_factory.mktemp("page") / "run"
    write_run(scenario, small_result, entries, place)
    return place, scenario, small_result, entries


def page_of(run, **changes):
    """The page of the same run with keys of its document replaced."""
    _, scenario, result, entries = run
    document = json.loads(to_text(run_document(scenario, result, entries))) | changes
    edges = np.asarray(result.problem.task.grid.edges).tolist()
    return page(scenario.resolved(), document, edges, result.doses)


def test_has_every_number_of_the_report_and_of_the_schedule(run):
    place, _, result, _ = run
    found = Reader((place / "report.html").read_text())
    document = json.loads((place / "report.json").read_text())
    assert len(numbers(document)) > 40
    assert numbers(document) - found.numbers == set()
    assert set(result.doses.ravel().tolist()) <= found.numbers
    for name, version in document["versions"].items():
        assert name in found.text
        assert version in found.text
    for constraint in document["constraints"]:
        assert constraint["name"].replace("_", " ") in found.text


def test_opens_with_the_answer_and_the_figure(run):
    """The sentence and its warnings stand in the head, the drawing before the scenario."""
    text = Reader((run[0] / "report.html").read_text()).text
    document = json.loads((run[0] / "report.json").read_text())
    places = [text.index(part) for part in (document["answer"]["sentence"], document["reason"], "The scenario")]
    assert places == sorted(places)
    source = (run[0] / "report.html").read_text()
    assert source.index("<svg") < source.index('id="scenario"')
    warned = page_of(run, answer={"sentence": "Told.", "against": None, "warnings": ["But <less>."]})
    assert "But &lt;less&gt;." in warned
    assert "<strong>" not in page_of(run, answer=None).split("<main>")[0]


def test_loads_nothing_and_runs_nothing(run):
    found = Reader((run[0] / "report.html").read_text())
    assert found.open == []
    names = [tag for tag, _ in found.tags]
    assert not {"script", "iframe", "object", "embed", "img", "base", "form"} & set(names)
    policy = next(a["content"] for tag, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "background")]
        link = attributes.get("href", attributes.get("xlink:href", "#"))
        assert link.startswith("https://doi.org/") if tag == "a" else link.startswith(("#", "data:,")), (tag, link)
    styles = (run[0] / "report.html").read_text().split("<style")[1:]
    assert not [style for style in styles if "@import" in style or "url(http" in style]


def test_can_be_read_by_a_program_that_reads_aloud(run):
    found = Reader((run[0] / "report.html").read_text())
    assert ("html", {"lang": "en"}) in found.tags
    assert [tag for tag, _ in found.tags].count("h1") == 1
    count = {tag: sum(name == tag for name, _ in found.tags) for tag in ("table", "caption")}
    assert count["table"] == count["caption"] > 8
    drawing = next(attributes for tag, attributes in found.tags if tag == "svg")
    assert drawing["role"] == "img"
    assert "Progression is" in drawing["aria-label"]
    names = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(names) == len(set(names))
    labels = {attributes["aria-labelledby"] for _, attributes in found.tags if "aria-labelledby" in attributes}
    assert labels
    assert labels <= set(names)


def test_says_twice_what_it_is_for(run):
    assert Reader((run[0] / "report.html").read_text()).text.count(DISCLAIMER) == 2


def test_a_title_is_text_whatever_it_holds(run):
    text = (run[0] / "report.html").read_text()
    assert "<script" not in text
    assert "<img" not in text
    assert "<title>&lt;script&gt;alert(&#34;title&#34;)" in text
    assert HOSTILE in Reader(text).text


def test_same_bytes_every_time_and_a_page_without_a_figure(run, tmp_path):
    place, *arguments = run
    write_run(*arguments, tmp_path / "again")
    assert (place / "report.html").read_bytes() == (tmp_path / "again" / "report.html").read_bytes()
    write_run(*arguments, tmp_path / "plain", plot=False)
    plain = (tmp_path / "plain" / "report.html").read_text()
    assert "<svg" not in plain
    assert Reader(plain).numbers >= numbers(json.loads((place / "report.json").read_text()))


def test_no_date_and_no_chance_in_the_drawing(run):
    text = (run[0] / "report.html").read_text()
    assert "<metadata" not in text
    assert "dc:date" not in text
    assert "<!--" not in text


def test_says_how_far_a_bound_is(run):
    assert "no bound is known" in Reader(page_of(run, bound=None)).text
    bound = {"name": "ideal containment", "doi": "10.1038/s41559-021-01428-w", "value": 40.0}
    later = bound | {"quantity": "time_to_progression_day", "reached": 38.0, "within_percent": 5.0}
    assert "within 5 % of the bound" in Reader(page_of(run, bound=later)).text
    never = later | {"reached": None, "within_percent": None}
    assert "does not reach progression within 42 days" in Reader(page_of(run, bound=never)).text
    least = bound | {"quantity": "objective", "reached": 42.0, "within_percent": 5.0}
    assert "no treatment of this tumor can have an objective below 40" in Reader(page_of(run, bound=least)).text


def test_shows_the_numbers_of_a_rule(run):
    assert "The rule" not in Reader(page_of(run)).text
    share = {"value": 0.89, "written": 0.77, "range": [0.125, 1.5]}
    found = Reader(page_of(run, policy={"kind": "threshold", "numbers": {"stop_below": share}}))
    assert "Numbers of the threshold rule" in found.text
    assert {0.89, 0.77, 0.125, 1.5} <= found.numbers


def test_a_number_that_is_missing_is_a_word(run):
    broken = {"passed": False, "method": "adaptive", "rtol": 1e-9, "objective": None}
    broken |= {"objective_difference": None, "gradient_difference": None, "gradient_error": None}
    broken |= {"constraint_differences": {"a": None}}
    found = Reader(page_of(run, audit=broken))
    assert "objective none relative difference of the objective none" in found.text


@pytest.mark.parametrize("file", sorted((ROOT / "scenarios").glob("*.toml")), ids=lambda file: file.stem)
def test_every_scenario_has_words(file):
    resolved = Scenario.load(file).resolved()
    found = {section.title: section for section in sections(resolved)}
    assert {"Tumor", "Drugs", "Decisions", "Goal"} <= set(found)
    assert ("Limits" in found) == bool(resolved["scenario"]["constraint"])
    assert [item.name for item in found["Drugs"].items] == list(resolved["drugs"])
    clones = [item.name for item in found["Tumor"].items if item.name.startswith("Clone: ")]
    assert clones == [f"Clone: {clone['name']}" for clone in resolved["scenario"]["model"]["clone"]]
    text = " ".join(item.text for section in found.values() for item in section.items)
    assert all(item.text for section in found.values() for item in section.items)
    assert not [word for word in ("{", "}", "None", "..", "[]") if word in text.replace("...", "")]


@pytest.mark.parametrize("file", sorted((ROOT / "examples/own_models").glob("*.toml")), ids=lambda f: f.stem)
def test_a_model_of_ones_own_has_words_whatever_its_keys_are_called(file):
    found = sections(Scenario.load(file, allow_code=True).resolved())
    tumor = next(section for section in found if section.title == "Tumor")
    assert len(tumor.items) == 1
    assert "Here: " in tumor.items[0].text


def test_quantities_as_a_person_writes_them():
    assert quantity("7.0 day") == "7 days"
    assert quantity("1.0 day") == "1 day"
    assert quantity("0.144 / day") == "0.144 / day"
    assert quantity(1e8) == "1e+08"
    assert quantity([0.05, 1.15]) == "0.05, 1.15"
    assert quantity("cetuximab") == "cetuximab"
    assert quantity(True) == "yes"


def test_rows_of_a_schedule():
    found = rows([0.0, 7.0, 14.0], np.array([[1.0, 2.0], [0.0, 3.0]]), ("bolus", "infusion"))
    assert [row.weeks for row in found] == [(1, 1), (2, 2)]
    assert found[0].amounts == (1.0, 14.0)
    edges = [7.0 * k for k in range(101)]
    many = rows(edges, np.repeat([[1.0], [0.0]], 50, axis=0), ("bolus",))
    assert [(row.decisions, row.weeks, row.doses) for row in many] == [(50, (1, 50), (1.0,)), (50, (51, 100), (0.0,))]


def test_weeks_of_a_schedule():
    assert by_day([0.0, 1.0, 2.0, 7.0])
    assert not by_day([0.0, 7.0, 14.0, 18.0])
    assert not by_day([0.0, 0.5, 7.0])
    first, second = weeks([0.0, 2.0, 9.0, 10.0], [1.0, 2.0, 3.0], "bolus")
    assert first.days == (1.0, None, 2.0, None, None, None, None)
    assert second.days == (None, None, 3.0, None, None, None, None)
    rates = weeks([0.0, 2.0, 9.0, 10.0], [1.0, 2.0, 3.0], "infusion")
    assert rates[0].days == (1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0)
    daily = weeks(list(range(701)), [1.0] * 350 + [0.0] * 350, "bolus")
    assert [(week.first, week.last) for week in daily] == [(1, 50), (51, 100)]


def test_the_template_is_in_the_package_and_so_in_the_wheel():
    assert files("optimizer.report.html").joinpath("report.html.j2").is_file()
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "optimizer" in wheel["only-include"]
    assert not [pattern for pattern in wheel["exclude"] if "j2" in pattern or "page" in pattern]
