"""The map of the rooms names all of them, and a stranger who greps for a word of the field finds the room."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "optimizer"
MAP = (PACKAGE / "README.md").read_text(encoding="utf-8")
WORDS = {
    "receding horizon": "control",
    "model predictive control": "control",
    "particle filter": "control",
    "multiplier": "search",
    "adjoint": "search",
    "Riccati": "search",
    "homotopy": "search",
    "virtual population": "ensemble",
}


def rows():
    """Room, what happens and its names of each row of the table; a row without a room goes on with the one above."""
    room = ""
    for line in MAP.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and cells[0] not in ("room", "---"):
            room = cells[0] or room
            yield room, *cells[1:]


def test_every_room_and_module_is_on_the_map():
    named = {name.rstrip("/") for room, *_ in rows() for name in re.findall(r"`([\w/]+)`", room)}
    there = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    there |= {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert named == there


def test_modules_on_the_map_are_there():
    for room, what, _ in rows():
        folders = [PACKAGE / name for name in re.findall(r"`(\w+)/`", room)]
        there = {path.stem for folder in folders for path in folder.rglob("*")}
        wanted = {name.strip("/") for name in re.findall(r"`([a-z_]+/?)`", what)} if folders else set()
        assert wanted <= there, room


@pytest.mark.parametrize("word", WORDS)
def test_words_of_the_field_lead_to_a_room(word):
    found = {room.strip("`/") for room, *texts in rows() if word in " ".join(texts)}
    assert WORDS[word] in found


def test_places_that_contributors_are_sent_to_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8") + (ROOT / "tests" / "README.md").read_text("utf-8")
    places = re.findall(r"(?:optimizer|tests|scenarios|docs|benchmarks)/[\w/.]*\w", text)
    assert len(places) > 30
    assert not [p for p in places if not (ROOT / p).exists() and not p.endswith("/ROOM")]
    targets = re.findall(r"`make (\w+)`", text)
    assert targets
    assert not [name for name in targets if f"\n{name}:" not in (ROOT / "Makefile").read_text(encoding="utf-8")]
