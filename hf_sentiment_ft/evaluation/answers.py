"""Metrics of rows with several labels or label columns, each of which is asked for by a question of its own."""

from typing import Any

import numpy as np

from ..label_words.questions import YES, Questions
from ..label_words.scoring import label_probabilities
from .label_sets import measure_sets
from .metrics import accuracy_interval, measure

AVERAGED = ("log_loss", "f1_macro", "brier_score", "expected_calibration_error")


def measure_answers(
    scores: "np.ndarray[Any, Any]",
    generated: "np.ndarray[Any, Any]",
    references: "np.ndarray[Any, Any]",
    labels: list[str],
    questions: Questions,
    temperature: float = 1.0,
    thresholds: list[float] | None = None,
) -> dict[str, Any]:
    """Compute all metrics of the answers to several questions about each row.

    Args:
        scores: Log-probabilities of the label words, (rows * questions, num_labels).
        generated: Label whose word `pipeline` generates, -1 for none, (rows * questions,).
        references: True class ids, (rows * questions,).
        labels: Label names.
        questions: What was asked.
        temperature: Divisor of the scores.
        thresholds: Probability of `yes` from which on a text gets each label; None for 0.5.

    Returns:
        The figures of `measure_sets` or, for several label columns, `columns`: the figures of `measure` for each, and
        their means. `accuracy` is the share of rows of which every answer is right, as in scikit-learn.
    """
    num = len(questions.names)
    truth, answered = references.reshape(-1, num), generated.reshape(-1, num)
    scores = scores.astype(np.float64)
    if questions.multi_label:
        yes = label_probabilities(scores / temperature)[:, YES].reshape(-1, num)
        figures = measure_sets(yes, truth == YES, questions.names, thresholds or [0.5] * num)
        figures |= {"accuracy": figures["exact_match"], "accuracy_interval": figures["exact_match_interval"]}
    else:
        of_questions = scores.reshape(-1, num, len(labels))
        figures = _measure_columns(of_questions, answered, truth, labels, questions, temperature)
    figures["generation_accuracy"] = float((answered == truth).all(axis=1).mean())
    return figures | ({} if temperature == 1 else {"temperature": temperature})


def _measure_columns(
    scores: "np.ndarray[Any, Any]",
    answered: "np.ndarray[Any, Any]",
    truth: "np.ndarray[Any, Any]",
    labels: list[str],
    questions: Questions,
    temperature: float,
) -> dict[str, Any]:
    """Measure each label column on its own, then all of them; arrays are (rows, questions, ...)."""
    columns, right = {}, np.ones(len(scores), dtype=bool)
    for question, (name, ids) in enumerate(zip(questions.names, questions.label_ids, strict=True)):
        place = np.full(len(labels) + 1, -1)  # the last one is for -1, which is no label
        place[ids] = np.arange(len(ids))
        own, references = scores[:, question][:, ids], place[truth[:, question]]
        names = [labels[label] for label in ids]
        columns[name] = measure(own, place[answered[:, question]], references, names, temperature=temperature)
        right &= own.argmax(axis=1) == references
    accuracy = float(right.mean())
    means = {key: float(np.mean([figures[key] for figures in columns.values()])) for key in AVERAGED}
    figures: dict[str, Any] = {"accuracy": accuracy, "accuracy_interval": accuracy_interval(accuracy, len(right))}
    return figures | means | {"columns": columns}
