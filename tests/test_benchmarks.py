"""The comparisons parse their flags without the peers, and the page is made of what they write."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import COMPARISONS
from benchmarks.measure import Goal, finish, in_turn

from .conftest import ROOT


@pytest.mark.parametrize("comparison", ["__main__", "report", "gemm", "step_parts", *COMPARISONS])
def test_help_names_the_flags(comparison: str):
    command = [sys.executable, "-m", f"benchmarks.{comparison}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: python -m benchmarks" in done.stdout


def test_sides_run_in_turn(tmp_path: Path):
    log = tmp_path / "log"
    code = "import sys; print(open(sys.argv[1], 'a').write(sys.argv[2]))"
    sides = {name: [sys.executable, "-c", code + "; print('{\"speed\": 1}')", str(log), name] for name in "AB"}
    runs = in_turn(sides, 2)
    assert all(run.pop("run_seconds") > 0 for of in runs.values() for run in of)
    assert runs == {"A": [{"speed": 1}] * 2, "B": [{"speed": 1}] * 2}
    assert log.read_text() == "ABAB"


def test_page_shows_figures_machine_and_missed_goals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/benchmarks/speed.py"])
    args = argparse.Namespace(dataset="/a/private/folder/reviews", rows=8, results=tmp_path)
    goals = [Goal("faster", 4.0, 5), Goal("smaller", 1.0, 2, at_most=True)]
    finish("Speed", args, [{"": "ours", "rows/s": 1234.5}], goals, notes=["By day."])
    assert json.loads((tmp_path / "speed.json").read_text())["machine"]["cores"] >= 1
    page = tmp_path / "performance.md"
    command = [sys.executable, "-m", "benchmarks.report", "--results", str(tmp_path), "--output", str(page)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    text = page.read_text()
    for shown in ("| ours | 1,234 |", "| faster | ≥ 5 | 4 | **missed** |", "| smaller | ≤ 2 | 1 | met |", "By day."):
        assert shown in text
    assert "python -m benchmarks.speed --dataset reviews --rows 8" in text
    assert "/a/private" not in text
    assert text.index("| faster") < text.index("| smaller"), "goals that are missed come first"
