"""`notebook.ipynb` of a run: cells that really run, with texts that stay texts."""

import json
import shutil
from pathlib import Path

import nbformat
import pytest

from hf_sentiment_ft.export import main
from hf_sentiment_ft.publishing.notebook import save_notebook


@pytest.fixture
def finished(run_dir: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run_dir, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoint-*"))


def run_cells(notebook: nbformat.NotebookNode) -> dict:
    """Run the cells as a kernel would, but for the one that installs packages."""
    names: dict = {}
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0].startswith("%pip install")
    for source in code[1:]:
        exec(source, names)
    return names


def test_its_cells_run_and_give_the_label_words(finished: Path, capsys: pytest.CaptureFixture, monkeypatch):
    monkeypatch.setattr("sys.argv", ["export", str(finished), "--format", "notebook"])
    main()
    assert capsys.readouterr().out.strip() == str(finished / "notebook.ipynb")
    values = json.loads((finished / "card.json").read_text())
    save_notebook(finished, str(finished))  # as if published under the folder's name
    notebook = nbformat.read(finished / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    table = run_cells(notebook)["table"]
    assert table["text"].tolist() == [example["text"] for example in values["examples"]]
    assert table["label word"].tolist() == [example["output"].strip() for example in values["examples"]]


def test_texts_cannot_become_cells_or_markup(finished: Path):
    values = json.loads((finished / "card.json").read_text())
    hostile = ['"""\n```\n# not a heading\n```python\nraise SystemExit', "<script>alert(1)</script>", "{{ 7 * 7 }}"]
    values["examples"] = [{"text": text, "output": " positive"} for text in hostile]
    (finished / "card.json").write_text(json.dumps(values | {"model_name": "<b>x</b>"}))
    expected = len(nbformat.read(save_notebook(finished, "user/x"), as_version=4).cells)
    notebook = nbformat.read(save_notebook(finished, str(finished)), as_version=4)
    assert len(notebook.cells) == expected
    assert "<b>" not in "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert run_cells(notebook)["texts"] == hostile


def test_a_folder_without_a_run_is_refused(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr("sys.argv", ["export", str(tmp_path), "--format", "notebook"])
    with pytest.raises(SystemExit):
        main()
    assert "contains no finished run: it has no card.json" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
