"""Adding a part is adding one file: the examples of docs/howto/own_parts.md, each copied into a clone as it stands."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "howto" / "own_parts.md").read_text(encoding="utf-8")
ROOMS = dict(reversed(row) for row in re.findall(r"\| `optimizer/(\w+)/` \| `opt\.(\w+)` \|", PAGE))
PUBLIC = re.compile(r"optimizer\.(axes|fields|units|status|\w+\.base)")
COPIED = ["optimizer", "tests", "scenarios", "docs", "benchmarks", "pyproject.toml", "README.md", "data", "examples"]


class Part(NamedTuple):
    """An example: its class, its kind, the room of its base class, and the file."""

    name: str
    kind: str
    room: str
    text: str


def parts():
    """The examples of the page."""
    for text in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        name, base = re.search(r"^class (\w+)\((\w+)\):", text, re.M).groups()
        yield Part(name, re.search(r'kind: ClassVar\[str\] = "(\w+)"', text)[1], ROOMS[base], text)


PARTS = list(parts())
KINDS = [part.kind for part in PARTS]


def run(folder, *words):
    """What Python says in the clone, which is the only one it knows."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The tree with one more file for each example, and nothing else changed."""
    folder = tmp_path_factory.mktemp("clone")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
        else:
            shutil.copy(source, folder / name)
    for part in PARTS:
        path = folder / "optimizer" / part.room / f"{part.kind}.py"
        assert not path.exists()
        path.write_text(part.text, encoding="utf-8")
    return folder


def test_there_is_an_example_of_each_kind_of_part():
    rooms = [part.room for part in PARTS]
    assert sorted(rooms) == ["constraints", "endpoints", "mechanisms", "objectives", "pharmacology", "policies"]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.kind)
def test_examples_import_public_names_alone(part):
    for node in ast.walk(ast.parse(part.text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("optimizer"):
            assert PUBLIC.fullmatch(node.module), node.module
            assert not [alias.name for alias in node.names if alias.name.startswith("_")]


def test_words_schema_and_reference_have_them(clone):
    pytest.importorskip("docutils")
    code = (
        "import sys; sys.path.insert(0, 'docs/extension')\n"
        "from generated import words\n"
        "from optimizer.scenario.words import catalog\n"
        "from optimizer.scenario.words import schema_text\n"
        "listed = {kind for family in catalog().values() for kind in family}\n"
        f"for kind in {KINDS}:\n"
        "    assert kind in listed and f'\"{kind}\"' in schema_text() and f'`{kind}`' in words(), kind\n"
    )
    run(clone, "-c", code)


def test_their_laws_and_the_lists_of_kinds_hold(clone):
    chosen = " or ".join([*(part.kind for part in PARTS), *(part.name for part in PARTS), "every_kind", "every_law"])
    files = ["tests/laws", "tests/pharmacology/test_kinetics.py", "tests/models/test_growth.py"]
    said = run(clone, "-m", "pytest", "-q", "-m", "not slow", *files, "-k", chosen, "-rA")
    for part in PARTS:
        assert re.search(rf"PASSED .*\[.*({part.kind}|{part.name})", said), part.kind
    run(clone, "-m", "pytest", "-q", "tests/scenario/test_schema.py", "-k", "json or " + chosen)


@pytest.mark.slow
def test_the_fast_suite_holds(clone):
    run(clone, "-m", "pytest", "-q", "-m", "fast", "--deselect", "tests/test_own_parts.py")
