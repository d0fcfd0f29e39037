"""What a model predicts for the rows of a split, and every figure of it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import EvalPrediction
    from transformers.trainer_utils import PredictionOutput

    from ..label_words.verbalizer import Verbalizer
    from ..training.trainer import LabelWordTrainer


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for the rows of a split, in the order of the split.

    Attributes:
        scores: Log-probabilities of the labels, (rows, num_labels).
        generated_tokens: Tokens that `pipeline` generates, (rows, max label tokens); -1 behind the last one.
        free_tokens: Tokens of greedy generation over the whole vocabulary, likewise; None where nothing constrains
            `pipeline`, which then generates them itself.
        class_ids: True class ids, (rows,).
        metrics: Loss and speed as Trainer measures them, under names that begin with `test_`.
    """

    scores: "np.ndarray[Any, Any]"
    generated_tokens: "np.ndarray[Any, Any]"
    free_tokens: "np.ndarray[Any, Any] | None"
    class_ids: "np.ndarray[Any, Any]"
    metrics: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, output: "EvalPrediction | PredictionOutput", constrained: bool) -> "Predictions":
        """Put Trainer's output, which goes by length, into the order of the split.

        Args:
            output: Made of the batches of `LabelWordTrainer.prediction_step`.
            constrained: Whether `pipeline` can only say label words.
        """
        class_ids, row_numbers = np.asarray(output.label_ids).T
        order = row_numbers.argsort()
        scores, generated, free = (np.asarray(values)[order] for values in output.predictions)
        return cls(scores, generated, free if constrained else None, class_ids[order], getattr(output, "metrics", {}))


def predict(trainer: "LabelWordTrainer", dataset: "Dataset") -> Predictions:
    """Have the trainer's model predict a tokenized split."""
    return Predictions.of(trainer.predict(dataset), trainer.constrained)


def report(predictions: Predictions, verbalizer: "Verbalizer") -> dict[str, Any]:
    """Measure every figure of an evaluation, per-class ones and the confusion matrix included."""
    from .metrics import measure  # it imports evaluate, which takes seconds

    def labels_of(tokens: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        return np.array([verbalizer.label_of(row) for row in tokens.tolist()])

    free = None if predictions.free_tokens is None else labels_of(predictions.free_tokens)
    generated = labels_of(predictions.generated_tokens)
    return measure(predictions.scores, generated, predictions.class_ids, verbalizer.labels, free)


def compute_metrics(output: "EvalPrediction", verbalizer: "Verbalizer", constrained: bool) -> dict[str, float]:
    """Measure the figures that are one number each; loggers and `--metric_for_best_model` know no others."""
    figures = report(Predictions.of(output, constrained), verbalizer)
    return {name: value for name, value in figures.items() if isinstance(value, float)}
