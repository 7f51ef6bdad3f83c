"""Every notebook runs from top to bottom, with public names alone."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def code(notebook):
    """Its code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    # The programs of the other tests, as the command line finds those of its earlier runs.
    shared = nbformat.v4.new_code_cell("from optimizer.report.terminal import numerics; numerics()")
    notebook.cells.insert(0, shared)
    # An error in a cell is raised here.
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()
    assert all(cell.outputs for cell in code(notebook) if "print(" in cell.source)
    shown = [output for cell in code(notebook) for output in cell.outputs if output.output_type != "stream"]
    assert any("image/png" in output.data for output in shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_one_to_learn_from(path):
    notebook = nbformat.read(path, 4)
    source = "\n".join(cell.source for cell in code(notebook))
    assert not re.search(r"from optimizer|import optimizer\.|\._[a-z]", source), "public names of opt alone"
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert "Research use only" in text
    assert "**To take home.**" in text
    assert "**The question.**" in notebook.cells[0].source
    *_, exercise, worked, answer = notebook.cells
    assert exercise.source.startswith("## Exercise")
    assert worked.outputs
    assert answer.source.startswith("**Answer.**")
    # What a reader sees without running it.
    assert all(cell.outputs for cell in code(notebook) if "print(" in cell.source)


def test_one_can_be_moved_by_hand():
    sources = ["\n".join(cell.source for cell in code(nbformat.read(path, 4))) for path in NOTEBOOKS]
    (moved,) = [source for source in sources if "from ipywidgets import" in source]
    assert "except ImportError:" in moved  # without it the cell shows one course


def test_there_are_six():
    assert len(NOTEBOOKS) == 6
