"""The metrics, as our own subclasses of `evaluate.Metric`, so that none has to be downloaded from the Hub.

The computations are those of scikit-learn and SciPy.
"""

import re
from typing import Any

import datasets
import evaluate
import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, mean_absolute_error, precision_recall_fscore_support

from ..label_words.scoring import label_probabilities

_CITATION = ""


class LabelWordMetrics(evaluate.Metric):
    """Accuracy, macro F1, per-class metrics and the confusion matrix of predicted class ids."""

    def __init__(self, labels: list[str], **kwargs: Any) -> None:
        self.labels = labels
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        ids = datasets.Value("int64")
        return evaluate.MetricInfo(
            description="Classification metrics over a fixed list of labels.",
            citation=_CITATION,
            inputs_description="predictions and references: class ids, (rows,).",
            features=datasets.Features({"predictions": ids, "references": ids}),
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, Any]:
        ids = list(range(len(self.labels)))
        precision, recall, f1, support = precision_recall_fscore_support(
            references, predictions, labels=ids, zero_division=0.0
        )
        rows = zip(self.labels, precision, recall, f1, support, strict=True)
        return {
            "accuracy": float(np.mean(np.equal(predictions, references))),
            "f1_macro": float(np.mean(f1)),
            "per_class": {
                label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
                for label, p, r, f, n in rows
            },
            "confusion_matrix": confusion_matrix(references, predictions, labels=ids).tolist(),
        }


class Calibration(evaluate.Metric):
    """Log loss and expected calibration error of class probabilities.

    The error is the mean distance between confidence and accuracy over 15 bins of equal width, weighted by the number
    of rows in each bin (Guo et al. 2017, https://arxiv.org/abs/1706.04599).
    """

    num_bins = 15

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="How well the predicted probabilities match the accuracy.",
            citation=_CITATION,
            inputs_description="predictions: class probabilities, (rows, num_labels); references: class ids, (rows,).",
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: list[list[float]], references: list[int]) -> dict[str, float]:
        probabilities = np.asarray(predictions)
        confidence = probabilities.max(axis=1)
        correct = probabilities.argmax(axis=1) == np.asarray(references)
        bins = np.minimum((confidence * self.num_bins).astype(int), self.num_bins - 1)
        error = sum(abs(confidence[bins == b].sum() - correct[bins == b].sum()) for b in np.unique(bins))
        ids = list(range(probabilities.shape[1]))
        return {
            "log_loss": float(log_loss(references, probabilities, labels=ids)),
            "expected_calibration_error": float(error / len(references)),
        }


def label_numbers(labels: list[str]) -> list[float] | None:
    """Return the label names as numbers, ignoring the word "stars", or None if that is not possible.

    All labels must be numbers, and there must be more than two: with two classes, the distance between numbers says
    nothing that accuracy does not.
    """
    found = [re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)(?:[ _-]*stars?)?\s*", label, re.IGNORECASE) for label in labels]
    numbers = [float(match[1]) for match in found if match]
    return numbers if len(numbers) == len(labels) > 2 else None


def accuracy_interval(accuracy: float, num_rows: int) -> list[float]:
    """Return the 95 % Wilson score interval of an accuracy measured on `num_rows` rows."""
    interval = binomtest(round(accuracy * num_rows), num_rows).proportion_ci(method="wilson")
    return [float(interval.low), float(interval.high)]


def measure(
    scores: "np.ndarray[Any, Any]",
    generated: "np.ndarray[Any, Any]",
    references: "np.ndarray[Any, Any]",
    labels: list[str],
    unconstrained: "np.ndarray[Any, Any] | None" = None,
) -> dict[str, Any]:
    """Compute all metrics of one evaluation.

    Args:
        scores: Log-probabilities of the label words, (rows, num_labels).
        generated: Label whose word `pipeline` generates, -1 for none, (rows,).
        references: True class ids, (rows,).
        labels: Label names. If they are numbers, the mean absolute error of the predicted number is included.
        unconstrained: Label whose word greedy generation over the whole vocabulary generates, -1 for none, (rows,);
            only given if `pipeline` is constrained to label words.
    """
    probabilities = label_probabilities(scores)
    classes = LabelWordMetrics(labels, keep_in_memory=True).compute(
        predictions=probabilities.argmax(axis=1), references=references
    )
    calibration = Calibration(keep_in_memory=True).compute(predictions=probabilities, references=references)
    further: dict[str, float] = {}
    if unconstrained is not None:
        further["unconstrained_generation_accuracy"] = float(np.mean(unconstrained == references))
    if numbers := label_numbers(labels):
        said, true = np.take(numbers, probabilities.argmax(axis=1)), np.take(numbers, references)
        further["mean_absolute_error"] = float(mean_absolute_error(true, said))
    return {
        **classes,
        "generation_accuracy": float(np.mean(generated == references)),
        "accuracy_interval": accuracy_interval(classes["accuracy"], len(references)),
        **calibration,
        **further,
    }


def mcnemar(first: "np.ndarray[Any, Any]", second: "np.ndarray[Any, Any]") -> dict[str, Any]:
    """Compare two models on the same rows with McNemar's exact test (McNemar 1947, https://doi.org/10.1007/BF02295996).

    Rows that both models get right, or both get wrong, say nothing about which is better. If neither is better, each of
    the remaining rows is equally likely to favor either model, which makes it a binomial test.

    Args:
        first: Whether the first model was right, (rows,).
        second: Whether the second model was right, (rows,).

    Returns:
        `only_first_right` and `only_second_right`, in rows, and the two-sided `p_value`, which is 1 if the models do
        not differ on any row.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return {"only_first_right": only_first, "only_second_right": only_second, "p_value": p_value}
