"""The comparisons parse their flags without the peers, and the page is made of what they write."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import tfidf_run
from benchmarks.__main__ import COMPARISONS
from benchmarks.accuracy import few_shot_flags, planned, summarize
from benchmarks.measure import Goal, finish, in_turn
from hf_sentiment_ft.config.command_line import parse_train_arguments

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


def test_few_shots_are_compared_before_temperature_scaling():
    """The temperature is fitted on a thousand rows, which few examples per class do not have."""
    scaled = {"test_log_loss": 0.3, "test_unscaled_log_loss": 0.5, "cpu_seconds": 99.6}
    runs = [{"name": "8 a class, label words", "figures": scaled}]
    runs += [{"name": "8 a class, label words", "figures": {"test_log_loss": 0.6}}]
    assert "| 8 a class, label words | 2 |" in (page := summarize("few_shot", runs))
    assert "0.550 (± 0.050)" in page
    assert "| 100 |" in page


def test_a_peer_learns_from_few_shots(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    texts = [(f"row {number}, {word} tea", label) for number in range(40) for word, label in (("bad", 0), ("good", 1))]
    (tmp_path / "tea.csv").write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in texts))
    monkeypatch.setattr(sys, "argv", ["tfidf_run", "--train_file", str(tmp_path / "tea.csv"), *few_shot_flags(8)])
    with pytest.raises(SystemExit):
        tfidf_run.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["test_accuracy"] == figures["eval_accuracy"] == 1
    assert 0 < figures["test_log_loss"] < 0.5


def test_descriptions_of_labels_are_compared_with_few_shots_and_none():
    """On the same rows as without, and only where it is known what the labels mean."""
    runs = {name: flags for name, *_, flags in planned("few_shot", [42], None)}
    for shots in (0, 8, 64):
        plain, described = (runs[f"{shots} a class, label words{more}"] for more in ("", ", described"))
        assert described[: len(plain)] == plain
        parsed = parse_train_arguments([*described, "--use_cpu"])
        assert set(json.loads(str(parsed.model.label_descriptions))) == {"neg", "pos"}
    assert not [name for name, *_ in planned("few_shot", [42], None, "sample_reviews") if "described" in name]
    figures = {"name": "8 a class, label words, described", "figures": {"test_log_loss": 0.6}}
    assert "| 8 a class, label words, described | 1 |" in summarize("few_shot", [figures])
