"""The plots of a run are small, reproducible, need no display, and are readable for any labels."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hf_sentiment_ft.evaluation.plots import calibration_plot, confusion_plot, training_curve

PLOTS = {"training.png", "confusion_matrix.png", "calibration.png", "coverage.png"}
HISTORY = [{"step": 20, "loss": 0.9}, {"step": 30, "eval_loss": 0.5, "eval_accuracy": 0.7}, {"step": 40, "loss": 0.4}]


def test_a_run_has_its_plots_and_the_card_shows_them(run_dir: Path):
    assert {path.name for path in (run_dir / "plots").iterdir()} == PLOTS
    card = (run_dir / "README.md").read_text(encoding="utf-8")
    for name in PLOTS:
        content = (run_dir / "plots" / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < 100_000
        assert not {b"tEXt", b"tIME", b"Software", str(Path.home()).encode()} & set(content.split()), "no metadata"
        assert b"tEXt" not in content
        alt, _, _ = card.partition(f"](plots/{name})")[0].rpartition("![")[2].partition("]")
        assert len(alt.split()) > 3, "the alternative text describes the plot"


def test_the_same_figures_make_the_same_file(tmp_path: Path):
    contents = set()
    for name in ("a.png", "b.png"):
        training_curve(HISTORY).savefig(tmp_path / name, metadata={"Software": None})
        contents.add((tmp_path / name).read_bytes())
    assert len(contents) == 1


def test_curves_are_what_was_logged():
    loss, accuracy = training_curve(HISTORY).axes
    np.testing.assert_equal(loss.lines[0].get_xydata(), [[20, 0.9], [40, 0.4]])
    np.testing.assert_equal(accuracy.lines[0].get_xydata(), [[30, 0.7]])


@pytest.mark.parametrize("history", [[], HISTORY[:1], HISTORY[1:2]])
def test_a_run_that_logged_little_has_curves_too(history: list, tmp_path: Path):
    training_curve(history).savefig(tmp_path / "curve.png")


@pytest.mark.parametrize(
    ("labels", "cells", "named"),
    [
        (["negative", "positive"], 4, True),
        (["costs $5", "costs $9"], 4, True),
        (["很好", "不好"], 4, False),
        ([f"a class with a long name {number}" for number in range(20)], 400, True),
        ([f"class {number}" for number in range(21)], 0, False),
        ([f"class {number}" for number in range(1000)], 0, False),
    ],
)
@pytest.mark.filterwarnings("error")
def test_confusion_matrix_of_few_and_of_many_labels(labels: list[str], cells: int, named: bool, tmp_path: Path):
    counts = np.eye(len(labels), dtype=int) * 3
    counts[0, 1] = 1
    figure = confusion_plot(counts.tolist(), labels, "test")
    figure.savefig(tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").stat().st_size < 250_000
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.texts] == [str(count) for count in counts.flatten()][:cells]
    assert ("numbered" in axis.get_xlabel()) is not named
    np.testing.assert_allclose(axis.images[0].get_array()[0][:2], [0.75, 0.25])
    if named:
        assert axis.get_yticklabels()[0].get_text().startswith(labels[0][:19])
    assert len(axis.get_yticks()) <= 20


def test_calibration_is_accuracy_over_stated_probability():
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 2)
    figure = calibration_plot(probabilities, np.array([0, 0, 0, 1, 1, 0]), "test")
    np.testing.assert_allclose(figure.axes[0].lines[1].get_xydata(), [[0.6, 0.5], [0.9, 0.75]])
    assert figure.axes[0].get_title() == "test split"


def test_the_curve_before_temperature_scaling_is_shown_beside_it():
    class_ids = np.array([0, 0, 0, 1])
    scaled, unscaled = np.array([[0.75, 0.25]] * 4), np.array([[0.9, 0.1]] * 4)
    lines = calibration_plot(scaled, class_ids, "test", unscaled).axes[0].lines
    assert [line.get_label() for line in lines[1:]] == ["this model", "before temperature scaling"]
    np.testing.assert_allclose([line.get_xydata() for line in lines[1:]], [[[0.75, 0.75]], [[0.9, 0.75]]])


def test_certain_and_always_right_is_no_special_case(tmp_path: Path):
    calibration_plot(np.array([[1.0 + 1e-9, 0.0]] * 3), np.zeros(3, int), "validation").savefig(tmp_path / "c.png")


def test_neither_pyplot_nor_a_screen_nor_the_users_own_style(tmp_path: Path):
    (tmp_path / "matplotlibrc").write_text("backend: tkagg\ntext.usetex: true\n")
    program = (
        "import sys; from matplotlib import style; from hf_sentiment_ft.evaluation.plots import training_curve\n"
        "with style.context('default'): training_curve([]).savefig('x.png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
