"""What the report shows of a run in which a text has a set of labels."""

from typing import Any

import numpy as np

from .data_checks import shortened
from .evaluated import EvaluatedSets

SHOWN_LABELS = 20  # of the table of labels that come together
BASELINES = {
    "zero_shot_": "the model before training (zero-shot)",
    "tfidf_": "TF-IDF with a logistic regression for each label on the same train rows",
    "majority_": "always the same labels",
}


def set_values(evaluated: EvaluatedSets, results: dict[str, Any]) -> dict[str, Any]:
    """Return what the template shows of a run in which a text has a set of labels.

    Args:
        evaluated: The evaluated rows.
        results: All metrics, as in `all_results.json`.
    """
    texts, labels = evaluated.rows["text"], np.array(evaluated.labels)
    truth, predicted = evaluated.truth, evaluated.predicted
    most_wrong = [
        {
            "row": row,
            "text": shortened(texts[row]),
            "right": labels[truth[row] & predicted[row]].tolist(),
            "missing": labels[truth[row] & ~predicted[row]].tolist(),
            "extra": labels[~truth[row] & predicted[row]].tolist(),
        }
        for row in evaluated.most_wrong
    ]
    confident = [
        {
            "row": row,
            "text": shortened(texts[row]),
            "label": evaluated.labels[label],
            "has": bool(truth[row, label]),
            "probability": float(evaluated.probabilities[row, label]),
        }
        for row, label in evaluated.confident_mistakes
    ]
    shown = _most_frequent(truth)
    return {
        "compared": compared(results, evaluated.prefix),
        "shown_labels": labels[shown].tolist(),
        "together": _together(truth[:, shown], predicted[:, shown]),
        "most_wrong": most_wrong,
        "confident": confident,
    }


def compared(results: dict[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Return the figures of the model, then those of the baselines, as far as they are known."""
    named = {"": "this model", **BASELINES}
    figures = ("f1_micro", "f1_macro", "f1_samples", "exact_match")
    return [
        {"name": name} | {figure: results.get(f"{start}{prefix}{figure}") for figure in figures}
        for start, name in named.items()
        if f"{start}{prefix}f1_micro" in results
    ]


def _most_frequent(truth: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return the numbers of the labels that most rows have, in the order of the labels."""
    return np.sort(np.argsort(-truth.sum(axis=0), kind="stable")[:SHOWN_LABELS])


def _together(truth: "np.ndarray[Any, Any]", predicted: "np.ndarray[Any, Any]") -> list[list[dict[str, Any]]]:
    """Count the rows with both of two labels, and their share of the rows with the first one."""
    true, answered = (sets.astype(int).T @ sets.astype(int) for sets in (truth, predicted))
    shares = true / np.maximum(np.diag(true)[:, None], 1)
    return [
        [
            {"true": int(true[cell]), "predicted": int(answered[cell]), "share": float(shares[cell])}
            for cell in ((row, column) for column in range(len(true)))
        ]
        for row in range(len(true))
    ]
