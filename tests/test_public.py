"""The public names, and the four lines a user starts with."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import optimizer as opt


def test_every_public_name_is_what_it_says():
    for name in opt.__all__:
        found = getattr(opt, name)
        assert found.__name__ in (name, f"optimizer.{name}", "optimizer.report.plots"), name
    assert set(dir(opt)) == set(opt.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'optimise'"):
        _ = opt.optimise


def test_float64_is_the_default():
    code = "import optimizer as opt; opt.Schedule; import jax.numpy as jnp; assert jnp.ones(1).dtype == 'float64'"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(__file__).parents[1])


def test_four_lines(small_problem, small_result, tmp_path):
    figure = opt.plot.overview(small_result, opt.compare(small_problem, [], small_result))
    opt.plot.save(figure, tmp_path / "overview.png")
    assert (tmp_path / "overview.png").stat().st_size > 10_000


def test_the_version_is_said_once_and_cited():
    root = Path(__file__).parents[1]
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    cited = re.search(r"^version: (.*)$", (root / "CITATION.cff").read_text(), re.M)[1]
    heads = re.findall(r"^## (.*)$", (root / "CHANGELOG.md").read_text(), re.M)
    assert cited == version
    assert heads[0] == "Unreleased" or heads[0].startswith(version)
    others = [p for p in (root / "optimizer").rglob("*.py") if f'"{version}"' in p.read_text()]
    assert not others
