"""The notebook in `examples/`: its source and its executed form agree, and its cells run in a kernel."""

from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient

from .conftest import REVIEWS, ROOT

SOURCE = ROOT / "examples" / "train_a_classifier.py"


def test_the_executed_notebook_is_that_of_the_source():
    executed = jupytext.read(SOURCE.with_suffix(".ipynb"))
    assert [cell.source for cell in executed.cells] == [cell.source for cell in jupytext.read(SOURCE).cells]
    ran = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in ran)
    assert not [out for cell in ran for out in cell.outputs if out.output_type == "error"]


def test_its_cells_run(tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    notebook = jupytext.read(SOURCE)
    notebook.cells[1].source = f"MODEL, DATA, OUTPUT_DIR = {str(tiny_gpt2)!r}, {str(REVIEWS)!r}, 'my-classifier'"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", ()))
    assert "after training" in shown
    assert "it/s]" not in shown, "the libraries' progress bars, as text"
    last_table = next(cell for cell in reversed(notebook.cells) if cell.cell_type == "code").outputs[0].data
    assert "positive" in last_table["text/plain"]
    assert (tmp_path / "my-classifier" / "report.html").is_file()
