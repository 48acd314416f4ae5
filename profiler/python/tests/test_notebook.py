"""The magic command, in a real kernel and, where there is a browser, in a page that it shows."""

from __future__ import annotations

import html
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

pytestmark = pytest.mark.usefixtures("sampling")

LOAD = "%load_ext raptors_prof"
WORK = """%%raptors_prof --rate 499
def burn(count):
    return sum(i * i for i in range(count))

total = burn(8_000_000)
total % 1000
"""


def execute(*cells: str, directory: Path, allow_errors: bool = False) -> nbformat.NotebookNode:
    """Run cells in a kernel; return the notebook with what they put out."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, allow_errors=allow_errors, resources={"metadata": {"path": str(directory)}}).execute()
    return notebook


def shown(cell: nbformat.NotebookNode, kind: str) -> list[str]:
    """Return the outputs of a cell of this type."""
    return [output["data"][kind] for output in cell["outputs"] if kind in output.get("data", {})]


def test_a_cell_is_profiled_and_shown(tmp_path: Path) -> None:
    notebook = execute(LOAD, WORK, "!ls -a", "(total, _)", directory=tmp_path)
    _, profiled, listing, after = notebook["cells"]
    value, text = shown(profiled, "text/plain")
    assert value == str(sum(i * i for i in range(8_000_000)) % 1000)
    assert re.fullmatch(r"<raptors_prof.Profile of \d+ samples in \S+>", text)
    (page,) = shown(profiled, "text/html")
    frame = re.search(r'<iframe sandbox="allow-scripts allow-modals" srcdoc="([^"]*)"', page)
    assert frame
    graph = html.unescape(frame[1])
    assert "<svg" in graph and "function zoom" in graph
    # Named by the place in the cell, and first among the frames.
    assert re.search(r"burn \(\d+\.py:2\)|burn \(&lt;ipython-input", page)
    assert "499 Hz" in page
    # The cell is the root: what runs it is left out.
    assert "kernelbase.py" not in graph
    assert "raptors" not in listing["outputs"][0]["text"], "nothing is left in the directory"
    # What the cell defined is there.
    assert shown(after, "text/plain")[0].startswith(f"({sum(i * i for i in range(8_000_000))}")


def test_a_directory_is_kept(tmp_path: Path) -> None:
    execute(LOAD, WORK.replace("--rate 499", "-o kept"), directory=tmp_path)
    assert (tmp_path / "kept" / "summary.json").exists()


def test_an_error_of_the_cell_is_the_cells_own(tmp_path: Path) -> None:
    failing = "%%raptors_prof\nsum(i * i for i in range(8_000_000))\n1 / 0"
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(LOAD, failing, directory=tmp_path)
    notebook = execute(LOAD, failing, directory=tmp_path, allow_errors=True)
    outputs = notebook["cells"][1]["outputs"]
    assert any("<svg" in html.unescape(page) for page in shown(notebook["cells"][1], "text/html"))
    (error,) = [output for output in outputs if output["output_type"] == "error"]
    assert error["ename"] == "ZeroDivisionError"


def test_a_wrong_option_is_told(tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError, match="BadInputError"):
        execute(LOAD, "%%raptors_prof --event page-fault\n1", directory=tmp_path)


def test_the_page_has_the_graph(tmp_path: Path) -> None:
    notebook = execute(LOAD, WORK, directory=tmp_path)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count("<iframe sandbox=") == 1
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
