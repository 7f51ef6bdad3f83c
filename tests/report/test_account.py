"""What a command came to: the same words on a terminal and on its page."""

import base64

import pytest

from optimizer.report import plots
from optimizer.report.account import Account, Table, write_account
from optimizer.report.plots.style import new_figure
from optimizer.report.terminal import show
from optimizer.status import DISCLAIMER
from tests.report.test_html import HOSTILE, Reader

ROWS = [["weekly", "1.25", "not reached"], [HOSTILE, "2", "3"]]
ACCOUNT = Account(
    HOSTILE,
    "Which regimen does best?",
    ["The best is weekly.", "It breaks nothing."],
    [Table("Regimens", ["regimen", "final\n[cell]", "progression"], ROWS), Table("Rules", ["rule"], [])],
    ["Numbers by the audit."],
)
DOCUMENT = {
    "title": "A tumor",
    "doi": ["10.1038/s41540-025-00495-0"],
    "notes": ["cells are counted"],
    "seed": 7,
    "versions": {"adose": "0.2.0"},
    "device": {"platform": "cpu", "kind": "cpu"},
    "rest": float("nan"),
}


@pytest.fixture
def figure():
    drawn = new_figure(3.0, 2.0)
    drawn.subplots().plot([0, 1], [1, 2])
    return drawn


def test_a_page_has_answer_tables_figures_evidence_and_fetches_nothing(tmp_path, figure):
    write_account(tmp_path, ACCOUNT, DOCUMENT, {"kaplan_meier": figure})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kaplan_meier.png", "kaplan_meier.svg", "report.html"]
    text = (tmp_path / "report.html").read_text()
    found = Reader(text)
    assert found.open == []
    assert {"The best is weekly.", "It breaks nothing.", "Numbers by the audit.", HOSTILE, "not reached"} <= set(
        found.words
    )
    assert "<script" not in text
    assert found.words.count(DISCLAIMER) == 2
    assert "Rules" not in found.text
    for said in ("Which regimen does best?", "cells are counted", "none: no schedule has been tried", "adose 0.2.0"):
        assert said in found.text
    (image,) = [attributes for tag, attributes in found.tags if tag == "img"]
    kind, _, data = image["src"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(data) == (tmp_path / "kaplan_meier.svg").read_bytes()
    assert "kaplan meier" in image["alt"]
    loads = [a for tag, a in found.tags if tag in ("script", "link", "img", "iframe") and "data:" not in str(a)]
    assert loads == []


def test_the_same_account_gives_the_same_bytes(tmp_path, figure):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_account(tmp_path / name, ACCOUNT, DOCUMENT, {"one": figure})
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_document_that_knows_nothing_of_scenarios_has_a_page(tmp_path):
    write_account(tmp_path, ACCOUNT, {})
    text = Reader((tmp_path / "report.html").read_text()).text
    assert DISCLAIMER in text
    assert "the scenario names none" in text


def test_the_terminal_has_the_answer_first(capsys):
    show(ACCOUNT)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:4] == ["The best is weekly.", "It breaks nothing.", "", "Regimens"]
    assert lines[-1] == "Numbers by the audit."
    assert "Rules" not in lines


def test_figures_are_drawings_with_a_picture_beside(tmp_path, figure):
    (text,) = plots.save_all({"one": figure}, tmp_path).values()
    assert text == (tmp_path / "one.svg").read_text()
    assert "<svg" in text
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
