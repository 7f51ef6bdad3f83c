"""Imports go down only: the contracts of import-linter in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"]


def lint(folder):
    """Exit status and words of the linter."""
    done = subprocess.run(LINT, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_contracts_hold():
    status, words = lint(ROOT)
    assert "Contracts: 3 kept, 0 broken" in words
    assert status == 0


def test_the_linter_sees_a_wrong_import(tmp_path):
    package = tmp_path / "house"
    package.mkdir()
    for name, text in {"__init__": "", "cellar": "import house.attic", "attic": ""}.items():
        (package / f"{name}.py").write_text(text)
    (tmp_path / ".importlinter").write_text(
        "[importlinter]\nroot_package = house\n"
        "[importlinter:contract:down]\nname = down\ntype = layers\nlayers =\n  house.attic\n  house.cellar\n"
    )
    status, words = lint(tmp_path)
    assert "house.cellar is not allowed to import house.attic" in words
    assert status != 0


def test_code_is_linted_and_formatted():
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "optimizer", "tests", "benchmarks"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
