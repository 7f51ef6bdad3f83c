"""Imports go down only: the contracts of import-linter in pyproject.toml."""

import os
from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]


def test_contracts_hold(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    broken = lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert broken == os.EX_OK, capsys.readouterr().out


def test_the_linter_sees_a_wrong_import(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "house"
    package.mkdir()
    for name, text in {"__init__": "", "cellar": "import house.attic", "attic": ""}.items():
        (package / f"{name}.py").write_text(text)
    (tmp_path / ".importlinter").write_text(
        "[importlinter]\nroot_package = house\n"
        "[importlinter:contract:down]\nname = down\ntype = layers\nlayers =\n  house.attic\n  house.cellar\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert lint_imports(no_cache=True) != os.EX_OK
