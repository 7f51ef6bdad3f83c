"""The pages of docs/ say what is true: they build without a warning, their commands parse, their code runs."""

import contextlib
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import optimizer as opt
from optimizer.analysis.comparison import compare
from optimizer.cli import app
from optimizer.objectives.base import Scene
from optimizer.policies.base import Observation
from optimizer.scenario import Scenario
from optimizer.search.starts import on_decisions

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {page.relative_to(DOCS).as_posix(): page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md"))}


sys.path.insert(0, str(DOCS / "extension"))
outputs = importlib.import_module("outputs")
LEAVES = dict(outputs.leaves(get_command(app)))
EXAMPLES = [command.epilog.replace("\\[", "[") for command in LEAVES.values()]
COMMANDS = sorted(
    {c for text in PAGES.values() for c in re.findall(r"\$ \.venv/bin/adose (.+)", text)}
    | {example.removeprefix("Example: adose ") for example in EXAMPLES}
)
TUTORIAL = PAGES["tutorial.md"]


def blocks(text, language):
    """Code of a language in a page."""
    return [re.sub("(?m)^   (?=.)", "", code) for code in re.findall(rf"```{language}\n(.*?)```", text, re.S)]


class Requests(HTMLParser):
    """Addresses that a browser would ask for by itself."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.found += [given[name] for name in ("src", "srcset", "poster") if given.get(name)]
        self.found += [given["href"]] if tag == "link" and given.get("href") else []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages as built by the README's command, elsewhere."""
    pytest.importorskip("sphinx")
    place = tmp_path_factory.mktemp("site")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = re.search(r"-m (sphinx -W docs docs/_build/html)", readme)[1].split()
    command[-1] = str(place)
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


def test_pages_load_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        reader = Requests()
        reader.feed(page.read_text(encoding="utf-8"))
        assert reader.found
        assert not [address for address in reader.found if "//" in address], page.name


def test_reference_has_every_public_name_word_and_command(site):
    from optimizer.scenario.words import catalog

    python, words, commands = (
        (site / "reference" / f"{name}.html").read_text(encoding="utf-8") for name in ("python", "words", "commands")
    )
    assert not [name for name in opt.__all__ if f"<h2>{name}<" not in python]
    for family, found in catalog().items():
        assert f"<h2>{family}<" in words
        assert not [name for name in found if f">{name}</span>" not in words]
    assert not [name for name in LEAVES if f"<h2>adose {name}<" not in commands]


def test_equations_are_mathml(site):
    theory = (site / "theory.html").read_text(encoding="utf-8")
    assert theory.count("<math") > 30
    assert theory.count("<math") == theory.count('<math style="font-family: ')  # one with its measures, for accents
    assert "$$" not in theory


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    words = shlex.split(command)
    name = words[0] if words[0] in LEAVES else " ".join(words[:2])
    arguments = words[len(name.split()) :]
    parsed = LEAVES[name].make_context(name, list(arguments))
    assert parsed.params
    for argument in arguments:
        if argument.startswith(("scenarios/", "data/", "examples/")):
            assert (ROOT / argument).is_file(), argument


def test_the_reference_has_what_each_example_prints():
    lines = outputs.examples()
    for name, line in lines.items():
        typed, _, said = outputs.kept(name).read_text(encoding="utf-8").partition("\n")
        assert typed == f"$ {line}", f"python docs/extension/outputs.py '{name}' writes it anew"
        assert said.strip() or name == "schema", name  # which writes its file in silence
        assert "Traceback" not in said, name
    assert len(list(outputs.KEPT.iterdir())) == len(lines)


@pytest.mark.parametrize("name", ["check", "simulate", "window", "list"])
def test_what_examples_print_is_still_so(name):
    """In shape: numbers may move in their last digits."""
    done = CliRunner(env={"NO_COLOR": "1"}).invoke(app, shlex.split(outputs.examples()[name])[1:])
    assert done.exit_code == 0
    known = outputs.kept(name).read_text(encoding="utf-8").splitlines()[1:]
    printed = outputs.shortened(done.stdout).splitlines()
    shape = [re.sub(r"[-\d.e+]+", "#", line).split() for line in known]
    missing = [line for line in printed[:12] if re.sub(r"[-\d.e+]+", "#", line).split() not in shape]
    assert printed
    assert not missing


def test_files_that_pages_name_exist():
    names = {
        name
        for text in PAGES.values()
        for name in re.findall(r"`((?:scenarios|data|tests|examples|notebooks)/[\w/.]*)`", text)
    }
    assert len(names) > 8
    assert not [name for name in names if not (ROOT / name).exists()]


def test_the_gallery_has_every_figure_that_a_command_writes():
    rooms = [ROOT / "optimizer" / room for room in ("cli", "report")]
    code = "".join(path.read_text(encoding="utf-8") for room in rooms for path in sorted(room.rglob("*.py")))
    kinds = r"plots\.\w+_figure|plots\.patient|drawn\b|new_figure|(?:survived|swam|changed|spread|fell|whole)[,}]"
    pairs = re.findall(rf'"(\w+)": (?:{kinds})|(?:figures|found)\["(\w+)"\] = (?:_grid|new_figure|_tornado)', code)
    names = {first or second for first, second in pairs}
    assert len(names) >= 24
    assert not [name for name in names if f"`{name}`" not in PAGES["gallery.md"]]
    pictures = sorted((DOCS / "gallery").iterdir())
    assert not [picture.name for picture in pictures if f"](gallery/{picture.name})" not in PAGES["gallery.md"]]


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if "```toml" in text])
def test_scenarios_build(page):
    for text in blocks(PAGES[page], "toml"):
        scenario = Scenario.from_tables(tomllib.loads(text), "page")
        assert scenario.problem().task.grid.count > 1
        assert scenario.regimens()


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if "```python" in text])
def test_python_compiles(page):
    for code in blocks(PAGES[page], "python"):
        compile(code, page, "exec")


def test_python_without_a_file_is_the_same_by_both_ways():
    said = []
    for code in blocks(PAGES["howto/without_toml.md"], "python"):
        space = {"__name__": "page"}
        exec(compile(code, "without_toml", "exec"), space)
        said.append(space["result"])
    first, second = said
    assert first.status is second.status
    assert first.doses.sum() == pytest.approx(8.0)
    assert first.doses == pytest.approx(second.doses, abs=1e-4)


def test_refused_file_is_refused():
    done = CliRunner().invoke(app, ["check", str(ROOT / "scenarios" / "invalid" / "unit_missing.toml")])
    assert done.exit_code == 3


def part(name):
    """A class of the page on parts of one's own."""
    code = next(code for code in blocks(PAGES["howto/own_parts.md"], "python") if f"class {name}(" in code)
    space = {"__name__": "page"}
    exec(compile(code, name, "exec"), space)
    return space[name]


def test_own_limit_and_term_read_a_trajectory():
    from tests.small import small

    clones = [{"name": "a", "cells": 1e8}, {"name": "b", "resistant": True, "cells": 1e3}]
    problem = small(model={"kind": "stromal", "preset": "kraut2025_caf", "clone": clones})
    trajectory, _ = problem.simulate(opt.Schedule(jnp.ones((6, 1))))
    scene = Scene(trajectory, problem.task.grid, problem.task.scale, 1.0)
    last = float(trajectory.resistant[-1])
    assert last > 1e3
    assert float(part("FinalResistance")().evaluate(scene)) == pytest.approx(np.log10(last + 1.0))
    reading = part("ResistantCeiling")(cells=jnp.asarray(1e3)).read(scene)
    assert float(reading.excess[-1]) == pytest.approx(np.log((last + 1.0) / 1e3))


def test_own_policy_halves():
    rule = part("Tapering")(dose_max=jnp.asarray([3.0]), half_life=jnp.asarray(7.0))
    seen = Observation(jnp.asarray(2), jnp.asarray(14.0), jnp.asarray(7.0), jnp.asarray(1e8), jnp.asarray(1e8))
    assert float(rule.decide(rule.init(), seen)[0][0]) == pytest.approx(0.75)


def test_own_mechanism_kills():
    from optimizer.models.tumor import Tumor

    damage = part("Damage")(repair=jnp.asarray(0.5), kill=jnp.asarray([0.1]))
    with_it, without = (
        Tumor(("a",), (False,), jnp.asarray([1e8]), jnp.asarray([0.03]), jnp.asarray([0.0]), ((None,),), mechanisms=own)
        for own in ((damage,), ())
    )
    state = with_it.initial_state()
    later = state._replace(mechanisms=(jnp.asarray(2.0),))
    conc = jnp.asarray([1.0])
    slope = with_it.vector_field(jnp.asarray(0.0), later, conc)
    bare = without.vector_field(jnp.asarray(0.0), without.initial_state(), conc)
    assert float(slope.mechanisms[0]) == pytest.approx(0.0)
    assert float((slope.log_cells - bare.log_cells)[0]) == pytest.approx(-0.2)


def test_the_tutorial_shows_what_comes_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first.toml").write_text(blocks(TUTORIAL, "toml")[0])
    scenario = Scenario.load("first.toml")
    problem = scenario.problem()
    known = [on_decisions(problem, regimen) for regimen in scenario.regimens()]
    result = opt.optimize(problem, seed=scenario.seed, restarts=scenario.restarts, known=known)
    shown, compared, verdict = blocks(TUTORIAL, "text")
    doses = [float(dose) for _, dose in re.findall(r"(?m)^  (\d+) +([\d.]+)$", shown)]
    assert doses == pytest.approx(result.doses[:, 0].tolist(), rel=5e-3, abs=1e-6)
    assert f"total       {result.audit.report.total:.6g}" in shown
    assert result.status.sentence in verdict
    assert result.reason.split(";")[0] in verdict
    rows = {entry.name: entry for entry in compare(result.problem, scenario.regimens(), result)}
    found = re.findall(r"(?m)^  (\S.*?) {2,}([\d.]+)[ *]*? {2,}(not reached|[\d.]+) +([\d.e+]+) +([\d.]+)$", compared)
    assert {name for name, *_ in found} == set(rows)
    for name, objective, day, final, total in found:
        came = rows[name].outcome
        assert float(objective) == pytest.approx(rows[name].report.total, rel=1e-4)
        reached = came.time_to_progression_day
        assert (day == "not reached") == (reached is None)
        assert reached is None or float(day) == pytest.approx(reached, rel=1e-2)
        assert float(final) == pytest.approx(came.final_burden, rel=1e-2)
        assert float(total) == pytest.approx(came.cumulative_dose["cetuximab"], abs=1e-3)


def test_the_tutorial_says_which_levels_shrink_the_tumor(tmp_path):
    (tmp_path / "first.toml").write_text(blocks(TUTORIAL, "toml")[0])
    with contextlib.chdir(tmp_path):
        done = CliRunner().invoke(app, ["window", "first.toml"])
    assert done.exit_code == 0
    for level in re.findall(r"(0\.\d\d) mg/L", TUTORIAL.split("## 5.")[1]):
        assert re.search(rf"\b{level}\d|{float(level) - 0.005:.3f}", done.stdout), level
