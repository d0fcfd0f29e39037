"""The metrics, as our own `evaluate.Metric`, so that none has to be downloaded from the Hub.

The computations are those of scikit-learn and SciPy.
"""

from typing import Any

import datasets
import evaluate
import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    brier_score_loss,
    cohen_kappa_score,
    confusion_matrix,
    log_loss,
    mean_absolute_error,
    precision_recall_fscore_support,
)

from ..data.labels import label_numbers
from ..label_words.scoring import label_probabilities

CALIBRATION_BINS = 15
SCALED = ("log_loss", "expected_calibration_error", "brier_score")  # what a temperature changes


class LabelWordMetrics(evaluate.Metric):
    """Metrics of class probabilities: right answers, overall and per class, and how good the probabilities are.

    The Brier score is the mean squared distance between the probabilities and the true label, halved for two labels, as
    scikit-learn does.
    """

    def __init__(self, labels: list[str], **kwargs: Any) -> None:
        self.labels = labels
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Classification metrics over a fixed list of labels.",
            citation="",
            inputs_description="predictions: class probabilities, (rows, num_labels); references: class ids, (rows,).",
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: list[list[float]], references: list[int]) -> dict[str, Any]:
        ids, probabilities = list(range(len(self.labels))), np.asarray(predictions)
        predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
        correct = predicted == np.asarray(references)
        precision, recall, f1, support = precision_recall_fscore_support(
            references, predicted, labels=ids, zero_division=0.0
        )
        rows = zip(self.labels, precision, recall, f1, support, strict=True)
        return {
            "accuracy": float(correct.mean()),
            "f1_macro": float(np.mean(f1)),
            "per_class": {
                label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
                for label, p, r, f, n in rows
            },
            "confusion_matrix": confusion_matrix(references, predicted, labels=ids).tolist(),
            "log_loss": float(log_loss(references, probabilities, labels=ids)),
            "brier_score": float(brier_score_loss(references, probabilities, labels=ids)),
            "expected_calibration_error": calibration_error(confidence, correct),
        }


def calibration_error(probabilities: "np.ndarray[Any, Any]", happened: "np.ndarray[Any, Any]") -> float:
    """Return the expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599).

    It is the mean distance between the probability of an event and how often it happened, over 15 bins of equal width,
    weighted by the number of probabilities in each bin.

    Args:
        probabilities: Probabilities, such as that of the predicted label, (answers,).
        happened: Whether the event happened, such as that this label is right, (answers,).
    """
    bins = np.minimum((probabilities * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    error = sum(abs(probabilities[bins == b].sum() - happened[bins == b].sum()) for b in np.unique(bins))
    return float(error / len(probabilities))


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
    temperature: float = 1.0,
    numbers: list[float] | None = None,
) -> dict[str, Any]:
    """Compute all metrics of one evaluation.

    Args:
        scores: Log-probabilities of the label words, (rows, num_labels).
        generated: Label whose word `pipeline` generates, -1 for none, (rows,).
        references: True class ids, (rows,).
        labels: Label names.
        unconstrained: Label whose word greedy generation over the whole vocabulary generates, -1 for none, (rows,);
            only given if `pipeline` is constrained to label words.
        temperature: Divisor of the scores. Unless it is 1, `unscaled_...` are the figures of the undivided scores.
        numbers: Number of each label, if they have an order; by default the labels themselves, if they are numbers.
            With them, the metrics of `measure_order` are included.
    """
    scores = scores.astype(np.float64)
    probabilities = label_probabilities(scores / temperature)
    metric = LabelWordMetrics(labels, keep_in_memory=True)
    figures = metric.compute(predictions=probabilities, references=references)
    if temperature != 1:
        unscaled = metric.compute(predictions=label_probabilities(scores), references=references)
        figures |= {"temperature": temperature} | {f"unscaled_{name}": unscaled[name] for name in SCALED}
    figures["generation_accuracy"] = float(np.mean(generated == references))
    figures["accuracy_interval"] = accuracy_interval(figures["accuracy"], len(references))
    if unconstrained is not None:
        figures["unconstrained_generation_accuracy"] = float(np.mean(unconstrained == references))
    if numbers := numbers or label_numbers(labels):
        figures |= measure_order(probabilities, references, np.array(numbers))
    return figures


def measure_order(
    probabilities: "np.ndarray[Any, Any]", references: "np.ndarray[Any, Any]", numbers: "np.ndarray[Any, Any]"
) -> dict[str, float]:
    """Compute how far the answers are from the truth where labels are ordered.

    Args:
        probabilities: Probabilities of the labels, (rows, num_labels).
        references: True class ids, (rows,).
        numbers: Number of each label, (num_labels,).

    Returns:
        `mean_absolute_error` of the number of the predicted label, and `expected_value_error` of the mean of all
        numbers, weighted by their probabilities; `within_one_accuracy`, the share of predictions that are at most one
        step in the order of the labels away; and `quadratic_weighted_kappa`, Cohen's kappa in which a mistake counts by
        the square of its steps (Cohen 1968, https://doi.org/10.1037/h0026256). It is missing if all rows have and get
        the same label, for which it is not defined.
    """
    predicted, steps = probabilities.argmax(axis=1), np.unique(numbers, return_inverse=True)[1]
    figures = {
        "mean_absolute_error": float(mean_absolute_error(numbers[references], numbers[predicted])),
        "expected_value_error": float(mean_absolute_error(numbers[references], probabilities @ numbers)),
        "within_one_accuracy": float(np.mean(abs(steps[references] - steps[predicted]) <= 1)),
    }
    if len(np.union1d(references, predicted)) > 1:
        kappa = cohen_kappa_score(steps[references], steps[predicted], labels=np.unique(steps), weights="quadratic")
        figures["quadratic_weighted_kappa"] = float(kappa)
    return figures


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
