"""Predictions of a model for the rows of a split, and all metrics of them."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..label_words.questions import YES
from ..label_words.scoring import label_probabilities
from .disagreement import measure_disagreement
from .thresholds import decided_rows

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import EvalPrediction
    from transformers.trainer_utils import PredictionOutput

    from ..label_words.questions import Questions
    from ..label_words.verbalizer import Verbalizer
    from ..training.trainer import LabelWordTrainer


@dataclass(frozen=True)
class Predictions:
    """Predictions of a model for the rows of a split, in the order of the split.

    Attributes:
        scores: Log-probabilities of the labels, (rows, num_labels).
        generated_tokens: Tokens that `pipeline` generates, (rows, max label tokens), padded on the right with -1.
        free_tokens: Tokens of greedy generation over the whole vocabulary, in the same format; None if `pipeline` is
            unconstrained and generates these itself.
        class_ids: True class ids, (rows,).
        metrics: Loss and speed as measured by Trainer, with names that begin with `test_`.
        temperature: Divisor of the scores before they become probabilities.
        thresholds: Smallest probability of a decided answer, by target error; None if there are none.
        label_thresholds: For multi-label rows, the probability of `yes` from which on a text gets each label.
        shares: Share of each label in each row, (rows, num_labels), if the labels are soft.
    """

    scores: "np.ndarray[Any, Any]"
    generated_tokens: "np.ndarray[Any, Any]"
    free_tokens: "np.ndarray[Any, Any] | None"
    class_ids: "np.ndarray[Any, Any]"
    metrics: dict[str, float] = field(default_factory=dict)
    temperature: float = 1.0
    thresholds: dict[str, float] | None = None
    label_thresholds: list[float] | None = None
    shares: "np.ndarray[Any, Any] | None" = None

    @property
    def probabilities(self) -> "np.ndarray[Any, Any]":
        """Return the probabilities of the labels, (rows, num_labels)."""
        return label_probabilities(self.scores.astype(np.float64) / self.temperature)

    @classmethod
    def of(cls, output: "EvalPrediction | PredictionOutput", constrained: bool) -> "Predictions":
        """Restore the order of the split in Trainer's output, which is sorted by length.

        Args:
            output: Output of Trainer, collected from batches of `LabelWordTrainer.prediction_step`.
            constrained: Whether `pipeline` can only generate label words.
        """
        class_ids, row_numbers = np.asarray(output.label_ids).reshape(-1, 2).T
        order = row_numbers.argsort()
        found = (np.asarray(values) for values in output.predictions)
        scores, generated, free, *more = (values.reshape(-1, values.shape[-1])[order] for values in found)
        metrics, shares = getattr(output, "metrics", {}), more[0] if more else None
        return cls(scores, generated, free if constrained else None, class_ids[order], metrics, shares=shares)


def correct_rows(predictions: Predictions, questions: "Questions | None") -> "np.ndarray[Any, Any]":
    """Return whether each row is right, (rows,): of several questions, whether each of them is.

    Args:
        predictions: Predictions for a split.
        questions: What was asked about every text; None for a single question.
    """
    right = predictions.scores.argmax(axis=1) == predictions.class_ids
    if questions is None:
        return right
    if questions.multi_label:
        asked = replace(questions, thresholds=predictions.label_thresholds)
        yes, truth = predictions.probabilities[:, YES], predictions.class_ids == YES
        chosen = asked.chosen(yes.reshape(-1, len(questions.names))).reshape(-1)
        right = chosen == truth
    return right.reshape(-1, len(questions.names)).all(axis=1)


def predict(trainer: "LabelWordTrainer", dataset: "Dataset") -> Predictions:
    """Predict a tokenized split with the trainer's model."""
    return Predictions.of(trainer.predict(dataset), trainer.constrained)


def report(predictions: Predictions, verbalizer: "Verbalizer", questions: "Questions | None" = None) -> dict[str, Any]:
    """Compute all metrics of an evaluation, including per-class metrics and the confusion matrix.

    Args:
        predictions: Predictions for a split.
        verbalizer: Label words.
        questions: What was asked about every text, if rows have several labels.
    """
    from .answers import measure_answers  # both import evaluate, which takes seconds
    from .metrics import measure

    def labels_of(tokens: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        return np.array([verbalizer.label_of(row) for row in tokens.tolist()])

    free = None if predictions.free_tokens is None else labels_of(predictions.free_tokens)
    generated = labels_of(predictions.generated_tokens)
    scores, class_ids, temperature = predictions.scores, predictions.class_ids, predictions.temperature
    if questions:
        thresholds = predictions.label_thresholds
        return measure_answers(scores, generated, class_ids, verbalizer.labels, questions, temperature, thresholds)
    figures = measure(scores, generated, class_ids, verbalizer.labels, free, temperature, verbalizer.numbers)
    if predictions.shares is not None:
        figures |= measure_disagreement(scores / temperature, class_ids, predictions.shares)
    if predictions.thresholds is not None:
        figures["target_errors"] = decided_rows(predictions.probabilities, class_ids, predictions.thresholds)
    return figures


def compute_metrics(
    output: "EvalPrediction", verbalizer: "Verbalizer", constrained: bool, questions: "Questions | None" = None
) -> dict[str, float]:
    """Compute the metrics that are a single number; loggers and `--metric_for_best_model` accept no others.

    Args:
        output: Output of Trainer's evaluation loop.
        verbalizer: Label words.
        constrained: Whether `pipeline` can only generate label words.
        questions: What is asked about every text, if rows have several labels.
    """
    figures = report(Predictions.of(output, constrained), verbalizer, questions)
    return {name: value for name, value in figures.items() if isinstance(value, float)}
