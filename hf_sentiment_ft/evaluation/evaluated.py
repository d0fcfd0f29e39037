"""The evaluated rows of a finished run, read from its files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

SHOWN_ROWS = 10  # of each list of texts
MULTI_LABEL, SEVERAL_COLUMNS = "multi_label_classification", "several_label_columns"  # `problem_type` in the results


@dataclass(frozen=True)
class Evaluated:
    """The evaluated rows of a run.

    Attributes:
        rows: Predictions file, with the columns `text`, `label`, `prediction` and `probability_LABEL`.
        labels: Label names in the order of their ids.
        probabilities: Probabilities of the labels, (rows, num_labels).
        class_ids: True class ids, (rows,).
        split: Name of the split.
        prefix: Prefix of its metrics, such as `test_`.
    """

    rows: "pd.DataFrame"
    labels: list[str]
    probabilities: "np.ndarray[Any, Any]"
    class_ids: "np.ndarray[Any, Any]"
    split: str
    prefix: str

    @property
    def confidence(self) -> "np.ndarray[Any, Any]":
        """Return the probability of the predicted label, (rows,)."""
        return self.probabilities.max(axis=1)

    @property
    def correct(self) -> "np.ndarray[Any, Any]":
        """Return whether the predicted label is the true one, (rows,)."""
        return self.probabilities.argmax(axis=1) == self.class_ids

    @property
    def confident_mistakes(self) -> list[int]:
        """Return the numbers of the wrong rows with the highest confidence, the highest first."""
        wrong = np.flatnonzero(~self.correct)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:SHOWN_ROWS].tolist()

    @property
    def least_certain(self) -> list[int]:
        """Return the numbers of the rows with the lowest confidence, the lowest first."""
        return np.argsort(self.confidence, kind="stable")[:SHOWN_ROWS].tolist()


@dataclass(frozen=True)
class EvaluatedSets:
    """The evaluated rows of a run in which a text has a set of labels.

    Attributes:
        rows: Predictions file, with the columns `text`, `label`, `prediction` and `probability_LABEL`.
        labels: Label names.
        probabilities: Probability of each label, (rows, num_labels).
        truth: Which labels each row has, (rows, num_labels).
        predicted: Which labels each row gets, (rows, num_labels).
        split: Name of the split.
        prefix: Prefix of its metrics, such as `test_`.
    """

    rows: "pd.DataFrame"
    labels: list[str]
    probabilities: "np.ndarray[Any, Any]"
    truth: "np.ndarray[Any, Any]"
    predicted: "np.ndarray[Any, Any]"
    split: str
    prefix: str

    @property
    def most_wrong(self) -> list[int]:
        """Return the numbers of the rows with the most wrong labels, the most first."""
        wrong = (self.truth != self.predicted).sum(axis=1)
        return [row for row in np.argsort(-wrong, kind="stable")[:SHOWN_ROWS].tolist() if wrong[row]]

    @property
    def confident_mistakes(self) -> list[tuple[int, int]]:
        """Return row and label number of the wrong answers that are the furthest from the truth, the furthest first."""
        rows, labels = np.nonzero(self.truth != self.predicted)
        distance = np.abs(self.probabilities - self.truth)[rows, labels]
        return [(int(rows[one]), int(labels[one])) for one in np.argsort(-distance, kind="stable")[:SHOWN_ROWS]]


def problem_type(folder: Path) -> str | None:
    """Return the `problem_type` in the results of a run; None if rows have one label each, or there are no results."""
    path = folder / "all_results.json"
    return json.loads(path.read_text(encoding="utf-8")).get("problem_type") if path.is_file() else None


def read_evaluated(folder: Path) -> Evaluated:
    """Read the predictions of a finished run.

    Raises:
        UsageError: If the folder contains no finished run, or one that was not evaluated on rows with labels.
    """
    rows, labels, probabilities, split, prefix = _read_predictions(folder)
    ids = np.array([labels.index(label) for label in rows["label"]])
    return Evaluated(rows, labels, probabilities, ids, split, prefix)


def read_evaluated_sets(folder: Path, separator: str) -> EvaluatedSets:
    """Read the predictions of a finished run in which a text has a set of labels.

    Args:
        folder: Output folder of the run.
        separator: What separates the labels in the columns `label` and `prediction`.

    Raises:
        UsageError: If the folder contains no finished run, or one that was not evaluated on rows with labels.
    """
    rows, labels, probabilities, split, prefix = _read_predictions(folder)
    number = {label: place for place, label in enumerate(labels)}
    truth, predicted = (np.zeros(probabilities.shape, bool) for _ in range(2))
    for sets, column in ((truth, "label"), (predicted, "prediction")):
        for row, joined in enumerate(rows[column]):
            sets[row, [number[label] for label in joined.split(separator) if joined]] = True
    return EvaluatedSets(rows, labels, probabilities, truth, predicted, split, prefix)


def _read_predictions(folder: Path) -> "tuple[pd.DataFrame, list[str], np.ndarray[Any, Any], str, str]":
    """Return the rows, the label names, the probabilities (rows, num_labels), the split, and its prefix."""
    import pandas as pd

    for split, prefix in (("test", "test_"), ("validation", "eval_")):
        path = folder / f"{prefix}predictions.csv"
        if not path.is_file() or not (folder / "all_results.json").is_file():
            continue
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        if "label" not in rows:
            continue
        columns = [name for name in rows.columns if name.startswith("probability_")]
        labels = [name.removeprefix("probability_") for name in columns]
        return rows, labels, rows[columns].to_numpy(float), split, prefix
    raise UsageError(
        f"{folder} contains no finished run with predictions. Name the output folder of a training run, or train first."
    )
