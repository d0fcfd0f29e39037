"""The evaluated rows of a finished run, read from its files."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

SHOWN_ROWS = 10  # of each list of texts


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


def read_evaluated(folder: Path) -> Evaluated:
    """Read the predictions of a finished run.

    Raises:
        UsageError: If the folder contains no finished run, or one that was not evaluated on rows with labels.
    """
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
        ids = np.array([labels.index(label) for label in rows["label"]])
        return Evaluated(rows, labels, rows[columns].to_numpy(float), ids, split, prefix)
    raise UsageError(
        f"{folder} contains no finished run with predictions. Name the output folder of a training run, or train first."
    )
