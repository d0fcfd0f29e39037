"""Results → plots for the model card and the report: training curve, confusion matrix, calibration and coverage."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.splits import reported_split
from .predictions import Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "plots"
MAX_NAMED_LABELS = 20  # with more, names and counts would cover the matrix


def save_plots(
    folder: Path,
    results: dict[str, Any],
    predictions: dict[str, Predictions],
    labels: list[str],
    log_history: list[dict[str, Any]],
) -> None:
    """Save the plots as PNG files of a few hundred pixels in the subfolder `plots` of the output folder.

    No display is needed, and the files contain neither dates nor paths, so the same run produces the same files.

    Args:
        folder: Output folder.
        results: All metrics, with the keys of `all_results.json`.
        predictions: Predictions of the trained model by split: `validation` and, if there is one, `test`.
        labels: Label names in the order of their class ids.
        log_history: Log history of Trainer.
    """
    from matplotlib import style

    split, prefix = reported_split(predictions)
    reported, unscaled = predictions[split], None
    probabilities, class_ids = reported.probabilities, reported.class_ids
    if reported.temperature != 1:
        unscaled = replace(reported, temperature=1.0).probabilities
    with style.context("default"):  # regardless of the user's matplotlib settings
        figures = {
            "training": training_curve(log_history),
            "calibration": calibration_plot(probabilities, class_ids, split, unscaled),
        }
        if f"{prefix}_confusion_matrix" in results:  # not where there are several questions
            right = probabilities.argmax(axis=1) == class_ids
            figures |= {
                "confusion_matrix": confusion_plot(results[f"{prefix}_confusion_matrix"], labels, split),
                "coverage": coverage_plot(probabilities.max(axis=1), right, split),
            }
        plots = folder / FOLDER
        plots.mkdir(exist_ok=True)
        for name, figure in figures.items():
            figure.savefig(plots / f"{name}.png", metadata={"Software": None})


def _figure(width: float, height: float) -> "tuple[Figure, Any]":
    """Create a figure independent of pyplot, so that no window opens."""
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=100, layout="constrained")
    return figure, figure.add_subplot()


def training_curve(log_history: list[dict[str, Any]]) -> "Figure":
    """Plot the training loss and, on a second axis, the validation accuracy over steps, as far as logged."""
    figure, loss_axis = _figure(6, 3.5)
    accuracy_axis = loss_axis.twinx()
    curves = (
        (loss_axis, "loss", "training loss", "C0", "-"),
        (accuracy_axis, "eval_accuracy", "validation accuracy", "C1", "o-"),
    )
    for axis, key, name, color, line in curves:
        points = [(entry["step"], entry[key]) for entry in log_history if key in entry]
        axis.plot([step for step, _ in points], [value for _, value in points], line, color=color)
        axis.set_ylabel(name, color=color)
    loss_axis.set(xlabel="step", ylim=(0, None))
    accuracy_axis.set_ylim(0, 1.02)
    return figure


def confusion_plot(counts: list[list[int]], labels: list[str], split: str) -> "Figure":
    """Plot the confusion matrix, coloring each cell by its share of the true label's rows.

    Labels are named and rows are counted if there are few labels and the font has all their letters; otherwise they are
    numbered.

    Args:
        counts: Confusion matrix, (labels, labels).
        labels: Label names in the order of their class ids.
        split: Name of the split, for the title.
    """
    matrix = np.asarray(counts)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axis = _figure(6, 5)
    # scikit-learn's ConfusionMatrixDisplay would color counts, not shares, and read `$` in labels as mathematics.
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the true label's rows")
    few = len(labels) <= MAX_NAMED_LABELS
    if few:
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, count, ha="center", va="center", color=color, fontsize=10 - len(labels) / 5)
    numbered = "" if few and _drawable(labels) else ", numbered from 0 in the order of the table"
    if numbered:
        axis.locator_params(integer=True)
    else:
        names = [label if len(label) <= 20 else label[:19] + "…" for label in labels]
        axis.set_xticks(range(len(labels)), names, rotation=90 if len(labels) > 4 else 0, parse_math=False)
        axis.set_yticks(range(len(labels)), names, parse_math=False)
    axis.set(xlabel=f"predicted label{numbered}", ylabel="true label", title=f"{split} split")
    return figure


def _drawable(labels: list[str]) -> bool:
    """Return whether matplotlib's font has a glyph for every letter."""
    from matplotlib import font_manager

    glyphs = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    return all(ord(letter) in glyphs for label in labels for letter in label)


def calibration_plot(
    probabilities: "np.ndarray[Any, Any]",
    class_ids: "np.ndarray[Any, Any]",
    split: str,
    unscaled: "np.ndarray[Any, Any] | None" = None,
) -> "Figure":
    """Plot the accuracy against the probability of the predicted label, in the bins of the calibration error.

    Args:
        probabilities: Probabilities of the labels, (rows, labels), each row adding up to 1.
        class_ids: True class ids, (rows,).
        split: Name of the split, for the title.
        unscaled: Probabilities before temperature scaling, in the same format; None if there are no others.
    """
    from sklearn.calibration import calibration_curve

    from .metrics import CALIBRATION_BINS

    correct = probabilities.argmax(axis=1) == class_ids

    def curve(confidence: "np.ndarray[Any, Any]") -> Any:
        return calibration_curve(correct, confidence, n_bins=CALIBRATION_BINS, pos_label=True)[::-1]

    confidence = np.minimum(probabilities.max(axis=1), 1.0)
    figure, axis = _figure(6, 4)
    axis.plot([0, 1], [0, 1], ":", color="gray", label="perfect calibration")
    axis.plot(*curve(confidence), "s-", label="this model")
    if unscaled is not None:
        axis.plot(*curve(np.minimum(unscaled.max(axis=1), 1.0)), ".--", color="C1", label="before temperature scaling")
    rows = axis.twinx()
    rows.hist(confidence, bins=CALIBRATION_BINS, range=(0, 1), color="C0", alpha=0.2)
    rows.set_ylabel("rows (bars)")
    axis.set(xlabel="probability of the predicted label", ylabel="accuracy", title=f"{split} split")
    axis.set(xlim=(0, 1), ylim=(0, 1.02))
    axis.legend(loc="upper left")
    return figure


def coverage_plot(confidence: "np.ndarray[Any, Any]", correct: "np.ndarray[Any, Any]", split: str) -> "Figure":
    """Plot the error among the most confident rows against their share of all rows (a risk-coverage curve).

    El-Yaniv and Wiener 2010 (https://jmlr.org/papers/v11/el-yaniv10a.html).

    Args:
        confidence: Probability of the predicted label, (rows,).
        correct: Whether the predicted label is the true one, (rows,).
        split: Name of the split, for the title.
    """
    wrong = ~correct[np.argsort(-confidence, kind="stable")]
    decided = np.arange(1, len(wrong) + 1)
    figure, axis = _figure(6, 4)
    axis.plot(decided / len(wrong), wrong.cumsum() / decided)
    axis.set(xlabel="share of rows that are decided", ylabel="error among them", title=f"{split} split")
    axis.set(xlim=(0, 1), ylim=(0, None))
    return figure
