"""Finished run → `notebook.ipynb`, with which visitors of the published model try it in Colab or Kaggle."""

import json
import re
from pathlib import Path
from typing import Any

from .card import CARD_VALUES
from .markdown import environment

NOTEBOOK = "notebook.ipynb"
TEMPLATE = Path(__file__).parent / "notebook.md.jinja"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
CODE = re.compile(r"^```python\n(.*?)\n```$", re.MULTILINE | re.DOTALL)  # texts are on one line, so cannot close it


def save_notebook(folder: Path, load_name: str | None = None) -> Path:
    """Write the notebook of a finished run to its folder, and return its path.

    Args:
        folder: Output folder of the run.
        load_name: Name that the notebook passes to `pipeline`: the Hub id; None for the model's name.
    """
    values = json.loads((folder / CARD_VALUES).read_text(encoding="utf-8"))
    page = environment().from_string(TEMPLATE.read_text(encoding="utf-8"))
    cells = as_cells(page.render(values | {"load_name": load_name or values["model_name"]}))
    notebook = {"cells": cells, "metadata": {"kernelspec": KERNEL}, "nbformat": 4, "nbformat_minor": 4}
    (folder / NOTEBOOK).write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder / NOTEBOOK


def as_cells(page: str) -> list[dict[str, Any]]:
    """Split Markdown into the cells of a notebook: fenced blocks of Python are code (nbformat.readthedocs.io)."""
    cells: list[dict[str, Any]] = []
    for number, part in enumerate(CODE.split(page)):
        if number % 2:
            cells.append({"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": part})
        elif part.strip():
            cells.append({"cell_type": "markdown", "metadata": {}, "source": part.strip()})
    return cells
