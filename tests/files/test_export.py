"""Doses for other tools: each form is read again by a reader of ours, and simulated to the same course."""

import json
import re
from datetime import datetime

import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.files import export
from optimizer.files.event_tables import read_events, write_events
from optimizer.files.events import DoseEvent, compress, expand, to_grid
from optimizer.policies.schedule import Schedule
from optimizer.simulate import Grid
from tests.small import small

UNITS = {"cetuximab": "mg/L", "blocker, the": "mg"}
EVENTS = [
    DoseEvent(0.0, "cetuximab", 2.5, interval=7.0, additional=3),
    DoseEvent(0.125, "blocker, the", 21.0, rate=3.0),
    DoseEvent(35.0, "cetuximab", 1.0 / 3.0),
]
START = datetime(2027, 3, 27).date()
# Arguments as the manuals of both packages have them.
CALL = r"\((?:\w+ = [\d.e+-]+)(?:, \w+ = [\d.e+-]+)*\)"


def read_r(text, word):
    """Events of R code, each a call of `word` with plain numbers."""
    drugs = list(UNITS)
    found = []
    for call in re.findall(rf"\b{word}({CALL})", text):
        own = {name: float(value) for name, value in re.findall(r"(\w+) = ([\d.e+-]+)", call)}
        assert set(own) <= {"time", "amt", "rate", "cmt", "ii", "addl"}
        more = {"interval": own.get("ii", 0.0), "additional": int(own.get("addl", 0))}
        found.append(DoseEvent(own["time"], drugs[int(own["cmt"]) - 1], own["amt"], own.get("rate", 0.0), **more))
    return found


def read_calendar(text):
    """Events of an iCalendar file, whose dates have to say the same."""
    lines = text.replace("\r\n ", "").split("\r\n")
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
    assert (lines[0], lines[-2:]) == ("BEGIN:VCALENDAR", ["END:VCALENDAR", ""])
    found, begins = [], [line[8:] for line in lines if line.startswith("DTSTART:")]
    exact = [line[8:].split() for line in lines if line.startswith("X-ADOSE:")]
    for begin, (time, amount, rate, cmt) in zip(begins, exact, strict=True):
        found.append(DoseEvent(float(time), list(UNITS)[int(cmt) - 1], float(amount), float(rate)))
        since = datetime.strptime(begin, "%Y%m%dT%H%M%S") - datetime(2027, 3, 27)
        assert since.total_seconds() == pytest.approx(86400.0 * float(time), abs=0.5)
    return found


def read_nonmem(text, folder):
    (folder / "doses.csv").write_text(text)
    assert not re.search(r"[a-z]", text)  # numbers alone under the header
    return read_events(folder / "doses.csv", list(UNITS))


def again(form, tmp_path):
    """What each form says."""
    if form == "calendar":
        return read_calendar(export.calendar(EVENTS, UNITS, START))
    text = getattr(export, form)(EVENTS, UNITS)
    if form == "nonmem":
        return read_nonmem(text, tmp_path)
    assert text.startswith("# Research use only")
    return read_r(text, "ev" if form == "mrgsolve" else "et")


@pytest.mark.parametrize("form", ["nonmem", "mrgsolve", "rxode2", "calendar"])
def test_every_form_says_the_same_doses(form, tmp_path):
    assert expand(again(form, tmp_path)) == expand(EVENTS)


def test_grammar_of_the_r_packages():
    """The whole text is what the manuals show; R itself is not at hand."""
    comment = r"(?:# .*\n){2}"
    ev = rf"{comment}library\(mrgsolve\)\n\ndoses <- c\(\n  ev{CALL}(?:,\n  ev{CALL})*\n\)\n"
    assert re.fullmatch(ev, export.mrgsolve(EVENTS, UNITS))
    et = rf'{comment}library\(rxode2\)\n\ndoses <- et\(timeUnits = "day"\)(?: \|>\n  et{CALL})+\n'
    assert re.fullmatch(et, export.rxode2(EVENTS, UNITS))


def test_a_sheet_for_the_ward():
    lines = export.sheet(EVENTS, UNITS, START).splitlines()
    assert lines[0] == "date,time,until,drug,dose,unit,rate,rate unit"
    assert lines[2] == '2027-03-27,03:00,2027-04-03 03:00,"blocker, the",21,mg,3,mg/day'
    assert [line[:10] for line in lines[3:]] == ["2027-04-03", "2027-04-10", "2027-04-17", "2027-05-01"]
    assert lines[-1].endswith(",cetuximab,0.333333,mg/L,,")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run directory as far as export reads it."""
    place = tmp_path_factory.mktemp("run")
    events = [DoseEvent(0.0, "cetuximab", 1.5, interval=7.0, additional=2), DoseEvent(28.0, "cetuximab", 0.7)]
    write_events(place / "schedule.csv", events, ["cetuximab"])
    (place / "report.json").write_text(json.dumps({"units": {"cumulative_dose": {"cetuximab": "mg/L"}}}))
    return place


def said(*words):
    return CliRunner().invoke(app, ["export", *map(str, words)])


def test_what_was_read_again_is_simulated_to_the_same_course(run, tmp_path):
    problem = small()

    def course(events):
        edges, doses = to_grid(events, ["cetuximab"], 42.0, {"cetuximab": "bolus"}, problem.task.grid.edges)
        return np.asarray(problem.simulate(Schedule(jnp.asarray(doses)), Grid(jnp.asarray(edges)))[0].burden)

    own = course(read_events(run / "schedule.csv"))
    out = tmp_path / "doses.csv"
    assert said(run, "--to", "nonmem", "--out", out).exit_code == 0
    texts = {form: said(run, "--to", form).stdout for form in ("mrgsolve", "rxode2")}
    texts["calendar"] = said(run, "--to", "calendar", "--start", "2027-03-27").stdout
    found = [read_events(out, ["cetuximab"]), read_r(texts["mrgsolve"], "ev"), read_r(texts["rxode2"], "et")]
    for events in (*found, read_calendar(texts["calendar"].replace("\r\n", "\n").replace("\n", "\r\n"))):
        assert compress(events) == compress(found[0])
        np.testing.assert_array_equal(course(events), own)


def test_faults_are_sentences(run, tmp_path):
    done = said(tmp_path, "--to", "nonmem")
    assert done.exit_code == 3
    assert "wanted a run directory that adose optimize or simulate wrote" in done.stderr
    done = said(run, "--to", "calendar")
    assert done.exit_code == 2
    assert "--start: wanted the date of day 0, as in 2027-01-04; got none" in done.stderr
    assert said(run, "--to", "calendar", "--start", "2027-13-01").exit_code == 2
    assert said(run, "--to", "phoenix").exit_code == 2
